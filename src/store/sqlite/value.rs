//! Between the gateway's types and the database's columns.

use aipipe_actors::identity::InvalidName;
use aipipe_actors::ledger::{CacheUse, Outcome};
use jiff::Timestamp;
use rusqlite::types::Type;

pub(in crate::store) const NANOS_PER_DAY: i64 = 86_400 * 1_000_000_000;

/// An instant as nanoseconds since 1970, which an `i64` holds until 2262.
pub(in crate::store) fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(if at < Timestamp::UNIX_EPOCH { i64::MIN } else { i64::MAX })
}

/// The UTC day of an instant in nanoseconds, counted from 1970-01-01.
pub(in crate::store) fn day(nanos: i64) -> i64 {
    nanos.div_euclid(NANOS_PER_DAY)
}

/// A count as the database holds it; an absurd one becomes the largest.
pub(in crate::store) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Why a column could not be read.
fn unreadable(column: usize, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

/// Reads columns of a row as the gateway's types.
pub(in crate::store) trait RowExt {
    /// An instant.
    fn instant(&self, column: &str) -> rusqlite::Result<Timestamp>;
    /// An instant that may be missing.
    fn optional_instant(&self, column: &str) -> rusqlite::Result<Option<Timestamp>>;
    /// A count.
    fn count(&self, column: &str) -> rusqlite::Result<u64>;
    /// A count that may be missing.
    fn optional_count(&self, column: &str) -> rusqlite::Result<Option<u64>>;
    /// A name, read by the rules of its kind.
    fn name<T>(&self, column: &str, parse: fn(&str) -> Result<T, InvalidName>) -> rusqlite::Result<T>;
    /// How a request ended.
    fn outcome(&self, column: &str) -> rusqlite::Result<Outcome>;
    /// What the cache had to do with it.
    fn cache(&self, column: &str) -> rusqlite::Result<CacheUse>;
    /// A column of JSON.
    fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> rusqlite::Result<T>;
}

impl RowExt for rusqlite::Row<'_> {
    fn instant(&self, column: &str) -> rusqlite::Result<Timestamp> {
        let index = self.as_ref().column_index(column)?;
        Timestamp::from_nanosecond(i128::from(self.get::<_, i64>(index)?)).map_err(|error| unreadable(index, error))
    }

    fn optional_instant(&self, column: &str) -> rusqlite::Result<Option<Timestamp>> {
        match self.get::<_, Option<i64>>(column)? {
            Some(_) => self.instant(column).map(Some),
            None => Ok(None),
        }
    }

    fn count(&self, column: &str) -> rusqlite::Result<u64> {
        Ok(u64::try_from(self.get::<_, i64>(column)?).unwrap_or(0))
    }

    fn optional_count(&self, column: &str) -> rusqlite::Result<Option<u64>> {
        Ok(self.get::<_, Option<i64>>(column)?.map(|count| u64::try_from(count).unwrap_or(0)))
    }

    fn name<T>(&self, column: &str, parse: fn(&str) -> Result<T, InvalidName>) -> rusqlite::Result<T> {
        let index = self.as_ref().column_index(column)?;
        parse(self.get_ref(index)?.as_str()?).map_err(|error| unreadable(index, error))
    }

    fn outcome(&self, column: &str) -> rusqlite::Result<Outcome> {
        use Outcome::{Cancelled, Failed, Ok as Answered, Reserved, Truncated, Unsettled};
        let index = self.as_ref().column_index(column)?;
        let text = self.get_ref(index)?.as_str()?;
        [Reserved, Answered, Cancelled, Truncated, Failed, Unsettled]
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or_else(|| unreadable(index, format!("{text:?} is no outcome")))
    }

    fn cache(&self, column: &str) -> rusqlite::Result<CacheUse> {
        let index = self.as_ref().column_index(column)?;
        let text = self.get_ref(index)?.as_str()?;
        [CacheUse::Hit, CacheUse::Miss, CacheUse::Off]
            .into_iter()
            .find(|cache| cache.as_str() == text)
            .ok_or_else(|| unreadable(index, format!("{text:?} is no use of the cache")))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> rusqlite::Result<T> {
        let index = self.as_ref().column_index(column)?;
        serde_json::from_str(self.get_ref(index)?.as_str()?).map_err(|error| unreadable(index, error))
    }
}
