//! What a tenant has spent in the periods that budgets are for.

use aipipe_actors::identity::TenantId;
use aipipe_actors::money::NanoUsd;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::params;

use super::sqlite::value::{day, nanos};
use super::{Reader, StoreError};

/// The cost of the requests that were admitted in the current periods: settled ones at their cost, unsettled ones at their bound. What is
/// still open is not in it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Since midnight UTC.
    pub day: NanoUsd,
    /// Since the first of the month, UTC.
    pub month: NanoUsd,
}

impl Reader {
    /// What the tenant has spent in the day and the month of `now`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn position(&self, tenant: &TenantId, now: Timestamp) -> Result<Spent, StoreError> {
        let tenant = tenant.clone();
        let today = day(nanos(now));
        let date = TimeZone::UTC.to_datetime(now).date();
        let first_of_month = today - i64::from(date.day() - 1);
        let days_of_month = i64::from(date.days_in_month());
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT day, cost FROM spend WHERE tenant = ?1 AND day >= ?2 AND day < ?3")?;
            let mut days = statement.query(params![tenant.as_str(), first_of_month, first_of_month + days_of_month])?;
            let mut spent = Spent::default();
            while let Some(row) = days.next()? {
                let cost = NanoUsd(row.get(1)?);
                spent.month += cost;
                if row.get::<_, i64>(0)? == today {
                    spent.day += cost;
                }
            }
            Ok(spent)
        })
        .await
    }
}
