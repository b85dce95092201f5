//! What was used by day and model, for comparison with what providers say.

use std::collections::BTreeMap;
use std::ops::Range;

use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::money::{NanoUsd, Tokens};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rusqlite::params;

use super::sqlite::value::{RowExt, nanos};
use super::{AdminScope, Reader, StoreError, repricing};

/// The calls of one model in one day.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DayUsage {
    /// Calls.
    pub calls: u64,
    /// Of them, those whose tokens were estimated here.
    pub estimated: u64,
    /// What they used.
    pub tokens: Tokens,
    /// What they cost.
    pub cost: NanoUsd,
}

impl Reader {
    /// All tenants' calls of one provider by the UTC day in which their request was admitted, and by model. Calls that used nothing are
    /// left out, as providers do.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn usage_by_day(
        &self,
        _: AdminScope,
        provider: &ProviderId,
        stretch: Range<Timestamp>,
    ) -> Result<BTreeMap<(Date, ModelId), DayUsage>, StoreError> {
        let provider = provider.clone();
        self.scan(move |connection| {
            let mut days: BTreeMap<(Date, ModelId), DayUsage> = BTreeMap::new();
            let mut statement = connection.prepare_cached(
                "SELECT at, attempts, repriced FROM requests WHERE at >= ?1 AND at < ?2 AND attempts <> '[]'",
            )?;
            let mut rows = statement.query(params![nanos(stretch.start), nanos(stretch.end)])?;
            while let Some(row) = rows.next()? {
                let day = row.instant("at")?.to_zoned_datetime(TimeZone::UTC).date();
                for attempt in repricing::attempts(row)? {
                    if attempt.provider != provider || attempt.tokens == Tokens::default() {
                        continue;
                    }
                    let usage = days.entry((day, attempt.model)).or_default();
                    usage.calls += 1;
                    usage.estimated += u64::from(attempt.estimated);
                    usage.tokens += attempt.tokens;
                    usage.cost += attempt.cost;
                }
            }
            Ok(days)
        })
        .await
    }
}
