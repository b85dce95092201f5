//! What past requests would cost, or from now on do cost, at other prices: the tokens of each attempt stay as they were counted, and so do
//! the prices that it was charged at first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use aipipe_actors::catalogue::Catalogue;
use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::ledger::Attempt;
use aipipe_actors::money::{NanoUsd, Rates};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::sqlite::apply::add_spend;
use super::sqlite::value::{RowExt, day, nanos};
use super::{AdminScope, Reader, Store, StoreError};

/// Rows that are looked at in one go.
const PAGE: i64 = 5_000;

/// The calls of one model before and after.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// Calls that were looked at.
    pub calls: u64,
    /// What they cost by now.
    pub old: NanoUsd,
    /// What they come to by the other prices.
    pub new: NanoUsd,
}

/// What other prices make of a stretch of the ledger.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Repricing {
    /// Rows with calls that were looked at.
    pub rows: u64,
    /// Of them, those whose cost changes.
    pub changed: u64,
    /// By provider and model.
    pub models: BTreeMap<(ProviderId, ModelId), Difference>,
    /// Models that the other prices do not have: their calls keep their cost.
    pub unpriced: BTreeSet<(ProviderId, ModelId)>,
}

/// Prices and cost of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Priced {
    rates: Rates,
    cost: NanoUsd,
}

impl From<&Attempt> for Priced {
    fn from(attempt: &Attempt) -> Self {
        Self { rates: attempt.rates, cost: attempt.cost }
    }
}

/// The attempts of a row with the prices and costs that hold.
pub(super) fn attempts(row: &Row<'_>) -> rusqlite::Result<Vec<Attempt>> {
    let mut attempts: Vec<Attempt> = row.json("attempts")?;
    if row.get_ref("repriced")? != rusqlite::types::ValueRef::Null {
        let repriced: Vec<Priced> = row.json("repriced")?;
        for (attempt, Priced { rates, cost }) in attempts.iter_mut().zip(repriced) {
            (attempt.rates, attempt.cost) = (rates, cost);
        }
    }
    Ok(attempts)
}

impl Reader {
    /// What the prices of `catalogue` would make of the requests admitted in a stretch of time; nothing is changed. Requests that are
    /// open, or unsettled since the process died, are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn compare_prices(
        &self,
        _: AdminScope,
        stretch: Range<Timestamp>,
        catalogue: Arc<Catalogue>,
    ) -> Result<Repricing, StoreError> {
        self.scan(move |connection| walk(connection, &stretch, &catalogue, |_| Ok(()))).await
    }
}

impl Store {
    /// Charges the requests admitted in a stretch of time at the prices of `catalogue`, all or none. The prices and costs of before are
    /// kept; what was saved moves by as much as the cost does.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub async fn reprice(
        &self,
        _: AdminScope,
        stretch: Range<Timestamp>,
        catalogue: Arc<Catalogue>,
    ) -> Result<Repricing, StoreError> {
        let now = nanos(Timestamp::now());
        self.writer
            .handle()
            .change(move |transaction| walk(transaction, &stretch, &catalogue, |row| row.keep(transaction, now)))
            .await
    }
}

/// A row whose cost changes.
struct Changed {
    seq: i64,
    id: Vec<u8>,
    tenant: String,
    at: i64,
    old: Vec<Priced>,
    new: Vec<Priced>,
}

fn total(prices: &[Priced]) -> NanoUsd {
    prices.iter().map(|priced| priced.cost).sum()
}

impl Changed {
    fn keep(&self, connection: &Connection, now: i64) -> Result<(), StoreError> {
        let text = |prices: &[Priced]| {
            serde_json::to_string(prices).map_err(|error| StoreError::Unreadable(error.to_string()))
        };
        let (old, new) = (total(&self.old), total(&self.new));
        let difference = new.minus(old);
        connection
            .prepare_cached("UPDATE requests SET cost = ?2, saved = saved - ?3, repriced = ?4 WHERE seq = ?1")?
            .execute(params![self.seq, new.0, difference.0, text(&self.new)?])?;
        connection
            .prepare_cached(
                "INSERT INTO repricings (request_id, tenant, at, old_cost, new_cost, old_prices, new_prices) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![self.id, self.tenant, now, old.0, new.0, text(&self.old)?, text(&self.new)?])?;
        Ok(add_spend(connection, &self.tenant, day(self.at), difference)?)
    }
}

/// Looks at every settled row of the stretch and hands on those whose cost changes.
fn walk(
    connection: &Connection,
    stretch: &Range<Timestamp>,
    catalogue: &Catalogue,
    mut change: impl FnMut(&Changed) -> Result<(), StoreError>,
) -> Result<Repricing, StoreError> {
    let mut repricing = Repricing::default();
    let mut last = 0;
    loop {
        // A page is read to its end before anything of it changes.
        let mut page = Vec::new();
        let mut statement = connection.prepare_cached(
            "SELECT seq, id, tenant, at, attempts, repriced FROM requests \
             WHERE seq > ?1 AND at >= ?2 AND at < ?3 AND outcome NOT IN ('reserved', 'unsettled') ORDER BY seq LIMIT ?4",
        )?;
        let mut rows = statement.query(params![last, nanos(stretch.start), nanos(stretch.end), PAGE])?;
        let mut read = 0;
        while let Some(row) = rows.next()? {
            read += 1;
            last = row.get("seq")?;
            let attempts = attempts(row)?;
            if attempts.is_empty() {
                continue;
            }
            repricing.rows += 1;
            let old: Vec<Priced> = attempts.iter().map(Priced::from).collect();
            let new: Vec<Priced> = attempts.iter().map(|attempt| repricing.look_at(attempt, catalogue)).collect();
            if total(&old) != total(&new) {
                let (id, tenant, at) = (row.get("id")?, row.get("tenant")?, row.get("at")?);
                page.push(Changed { seq: last, id, tenant, at, old, new });
            }
        }
        drop(rows);
        drop(statement);
        repricing.changed += page.len() as u64;
        page.iter().try_for_each(&mut change)?;
        if read < PAGE {
            return Ok(repricing);
        }
    }
}

impl Repricing {
    /// An attempt at the catalogue's prices.
    fn look_at(&mut self, attempt: &Attempt, catalogue: &Catalogue) -> Priced {
        let name = (attempt.provider.clone(), attempt.model.clone());
        let model = catalogue.at_provider(attempt.provider.as_str(), attempt.model.as_str());
        let new = match model.and_then(|model| model.rates) {
            Some(rates) => Priced { rates, cost: rates.cost(&attempt.tokens) },
            None => {
                self.unpriced.insert(name.clone());
                Priced::from(attempt)
            }
        };
        let difference = self.models.entry(name).or_default();
        difference.calls += 1;
        difference.old += attempt.cost;
        difference.new += new.cost;
        new
    }
}
