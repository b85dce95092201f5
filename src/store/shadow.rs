//! How tenants' second policies compare, as it was last written down, and what their calls have cost.

use aipipe_actors::identity::TenantId;
use aipipe_actors::money::NanoUsd;
use aipipe_actors::tenant::shadow::Figures;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::sqlite::value::{NANOS_PER_DAY, day, nanos};
use super::{Reader, Store, StoreError};

/// Forgets how a tenant's second policy compares.
pub(super) fn forget(transaction: &Transaction<'_>, tenant: &TenantId) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM shadow WHERE tenant = ?1")?.execute([tenant.as_str()]).map(drop)
}

impl Reader {
    /// How a tenant's second policy compares; nothing where that was never written down, or by a version that wrote it otherwise.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn shadow(&self, tenant: &TenantId) -> Result<Figures, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT figures FROM shadow WHERE tenant = ?1")?;
            let written: Option<String> = statement.query_row([tenant.as_str()], |row| row.get(0)).optional()?;
            Ok(written.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default())
        })
        .await
    }

    /// What a tenant's calls for its second policy have cost in the day of `now`, by UTC: those that are open at their bound.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn shadow_cost(&self, tenant: &TenantId, now: Timestamp) -> Result<NanoUsd, StoreError> {
        let tenant = tenant.clone();
        let midnight = day(nanos(now)) * NANOS_PER_DAY;
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT iif(outcome = 'reserved', reserved, cost) FROM requests \
                 WHERE shadow_of IS NOT NULL AND tenant = ?1 AND at >= ?2",
            )?;
            let costs = statement.query_map(params![tenant.as_str(), midnight], |row| row.get(0).map(NanoUsd))?;
            costs.sum::<Result<NanoUsd, _>>().map_err(StoreError::from)
        })
        .await
    }
}

impl Store {
    /// Writes down how a tenant's second policy compares.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub async fn save_shadow(&self, tenant: &TenantId, figures: &Figures) -> Result<(), StoreError> {
        let tenant = tenant.clone();
        let json =
            serde_json::to_string(figures).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.writer
            .handle()
            .change(move |transaction| {
                let sql = "INSERT INTO shadow (tenant, figures) VALUES (?1, ?2) \
                           ON CONFLICT (tenant) DO UPDATE SET figures = excluded.figures";
                transaction.prepare_cached(sql)?.execute(params![tenant.as_str(), json])?;
                Ok(())
            })
            .await
    }
}
