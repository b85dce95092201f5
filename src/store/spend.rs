//! What a tenant has spent in the periods that budgets are for.

use std::collections::HashMap;

use aipipe_actors::identity::TenantId;
use aipipe_actors::money::NanoUsd;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::params;

use super::sqlite::value::{RowExt, day, nanos};
use super::{AdminScope, Reader, StoreError};

/// The cost of the requests that were admitted in the current periods: settled ones at their cost, unsettled ones at their bound. What is
/// still open is not in it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Since midnight UTC.
    pub day: NanoUsd,
    /// Since the first of the month, UTC.
    pub month: NanoUsd,
}

/// The days of the current periods: today, the first of its month and the first of the next, counted since 1970.
#[derive(Debug, Clone, Copy)]
struct Days {
    today: i64,
    first: i64,
    next_first: i64,
}

impl Days {
    fn of(now: Timestamp) -> Self {
        let today = day(nanos(now));
        let date = TimeZone::UTC.to_datetime(now).date();
        let first = today - i64::from(date.day() - 1);
        Self { today, first, next_first: first + i64::from(date.days_in_month()) }
    }
}

impl Spent {
    fn add(&mut self, cost: NanoUsd, is_today: bool) {
        self.month += cost;
        if is_today {
            self.day += cost;
        }
    }
}

impl Reader {
    /// What the tenant has spent in the day and the month of `now`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn position(&self, tenant: &TenantId, now: Timestamp) -> Result<Spent, StoreError> {
        let tenant = tenant.clone();
        let Days { today, first, next_first } = Days::of(now);
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT day, cost FROM spend WHERE tenant = ?1 AND day >= ?2 AND day < ?3")?;
            let mut days = statement.query(params![tenant.as_str(), first, next_first])?;
            let mut spent = Spent::default();
            while let Some(row) = days.next()? {
                spent.add(NanoUsd(row.get(1)?), row.get::<_, i64>(0)? == today);
            }
            Ok(spent)
        })
        .await
    }

    /// The same of every tenant that has spent anything.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn positions(&self, _: AdminScope, now: Timestamp) -> Result<HashMap<TenantId, Spent>, StoreError> {
        let Days { today, first, next_first } = Days::of(now);
        self.scan(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT tenant, day, cost FROM spend WHERE day >= ?1 AND day < ?2")?;
            let mut days = statement.query(params![first, next_first])?;
            let mut spent: HashMap<TenantId, Spent> = HashMap::new();
            while let Some(row) = days.next()? {
                let tenant = row.name("tenant", TenantId::parse)?;
                spent.entry(tenant).or_default().add(NanoUsd(row.get("cost")?), row.get::<_, i64>("day")? == today);
            }
            Ok(spent)
        })
        .await
    }
}
