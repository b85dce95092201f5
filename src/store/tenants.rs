//! Tenants, their policies and their sealed provider keys.

use std::sync::Arc;

use aipipe_actors::identity::{ProviderId, TenantId};
use aipipe_actors::tenant::policy::Policy;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::seal::{Bound, hint};
use super::sqlite::value::{RowExt, nanos};
use super::{AdminScope, Reader, Store, StoreError, learning, shadow};

/// A tenant as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TenantRecord {
    /// Its name.
    pub id: TenantId,
    /// What was settled for it.
    #[serde(flatten)]
    pub policy: Policy,
    /// When it was first set or given a key; never for a default tenant that nothing was settled for.
    pub created_at: Option<Timestamp>,
    /// When its policy was last set.
    pub updated_at: Option<Timestamp>,
}

impl TenantRecord {
    fn unsettled_default() -> Self {
        Self { id: TenantId::default_tenant(), policy: Policy::default(), created_at: None, updated_at: None }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.name("id", TenantId::parse)?,
            policy: row.json("policy")?,
            created_at: Some(row.instant("created_at")?),
            updated_at: Some(row.instant("updated_at")?),
        })
    }
}

/// What becomes of the ledger rows of a tenant that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerRows {
    /// They stay, with what it spent.
    Keep,
    /// They go, with what it spent and what it said of answers. A request in flight still gets its row when it ends.
    Purge,
}

/// What is shown of a stored provider key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    /// Whose API it opens.
    pub provider: ProviderId,
    /// Its last characters, for people to recognise it by: `…abcd`.
    pub hint: String,
    /// When it was stored.
    pub updated_at: Timestamp,
}

impl Reader {
    /// Every tenant, by name. The default tenant is always among them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tenants(&self, _: AdminScope) -> Result<Vec<TenantRecord>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM tenants ORDER BY id")?;
            let mut tenants = statement.query_map([], TenantRecord::read)?.collect::<Result<Vec<_>, _>>()?;
            let default = TenantRecord::unsettled_default();
            if let Err(place) = tenants.binary_search_by(|tenant| tenant.id.cmp(&default.id)) {
                tenants.insert(place, default);
            }
            Ok(tenants)
        })
        .await
    }

    /// One tenant. The default tenant is always found.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tenant(&self, tenant: &TenantId) -> Result<Option<TenantRecord>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| {
            let found = connection
                .prepare_cached("SELECT * FROM tenants WHERE id = ?1")?
                .query_row([tenant.as_str()], TenantRecord::read)
                .optional()?;
            Ok(found.or_else(|| is_default(&tenant).then(TenantRecord::unsettled_default)))
        })
        .await
    }

    /// Whether any tenant has a provider key of its own.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_provider_keys(&self, _: AdminScope) -> Result<bool, StoreError> {
        self.read(|connection| Ok(connection.prepare_cached("SELECT 1 FROM provider_keys")?.exists([])?)).await
    }

    /// What may be shown of a tenant's provider keys, by provider.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn keys(&self, tenant: &TenantId) -> Result<Vec<KeyInfo>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| key_infos(connection, &tenant)).await
    }
}

impl Store {
    /// Sets a tenant's policy, and creates the tenant if need be.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub async fn put_tenant(&self, tenant: &TenantId, policy: Policy) -> Result<TenantRecord, StoreError> {
        let tenant = tenant.clone();
        let now = Timestamp::now();
        self.writer
            .handle()
            .change(move |transaction| {
                let policy = serde_json::to_string(&policy).map_err(|error| StoreError::Unreadable(error.to_string()))?;
                Ok(transaction
                    .prepare_cached(
                        "INSERT INTO tenants (id, policy, created_at, updated_at) VALUES (?1, ?2, ?3, ?3) \
                         ON CONFLICT (id) DO UPDATE SET policy = excluded.policy, updated_at = excluded.updated_at RETURNING *",
                    )?
                    .query_row(params![tenant.as_str(), policy, nanos(now)], TenantRecord::read)?)
            })
            .await
    }

    /// Removes a tenant with its provider keys, its client tokens, what providers issued to it and what its requests have taught; `false`
    /// where there was nothing to remove. The default tenant goes on with nothing settled for it.
    ///
    /// # Errors
    /// When the change cannot be written.
    pub async fn delete_tenant(&self, tenant: &TenantId, ledger: LedgerRows) -> Result<bool, StoreError> {
        let tenant = tenant.clone();
        self.writer
            .handle()
            .change(move |transaction| {
                learning::forget(transaction, &tenant)?;
                shadow::forget(transaction, &tenant)?;
                let tenant = [tenant.as_str()];
                let keys = transaction.execute("DELETE FROM provider_keys WHERE tenant = ?1", tenant)?;
                let tokens = transaction.execute("DELETE FROM tokens WHERE tenant = ?1", tenant)?;
                transaction.execute("DELETE FROM issued WHERE tenant = ?1", tenant)?;
                let mut rows = transaction.execute("DELETE FROM tenants WHERE id = ?1", tenant)?;
                if ledger == LedgerRows::Purge {
                    for table in ["requests", "spend", "feedback", "repricings"] {
                        rows += transaction.execute(&format!("DELETE FROM {table} WHERE tenant = ?1"), tenant)?;
                    }
                }
                Ok(keys + tokens + rows > 0)
            })
            .await
    }

    /// Sets the given provider keys of a tenant, or removes them (`None`), all or none; creates the tenant if need be. Answers with all
    /// keys that it then has.
    ///
    /// # Errors
    /// When a key cannot be sealed or the change cannot be written.
    pub async fn put_keys(
        &self,
        tenant: &TenantId,
        keys: Vec<(ProviderId, Option<SecretString>)>,
    ) -> Result<Vec<KeyInfo>, StoreError> {
        let tenant = tenant.clone();
        let now = nanos(Timestamp::now());
        let sealer = Arc::clone(&self.sealer);
        self.writer
            .handle()
            .change(move |transaction| {
                transaction
                    .prepare_cached(
                        "INSERT INTO tenants (id, policy, created_at, updated_at) VALUES (?1, '{}', ?2, ?2) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![tenant.as_str(), now])?;
                for (provider, key) in &keys {
                    let Some(key) = key else {
                        transaction
                            .prepare_cached("DELETE FROM provider_keys WHERE tenant = ?1 AND provider = ?2")?
                            .execute([tenant.as_str(), provider.as_str()])?;
                        continue;
                    };
                    let sealed = sealer.seal(key.expose_secret(), Bound::ProviderKey(&tenant, provider))?;
                    transaction
                        .prepare_cached(
                            "INSERT OR REPLACE INTO provider_keys (tenant, provider, sealed, hint, updated_at) \
                             VALUES (?1, ?2, ?3, ?4, ?5)",
                        )?
                        .execute(params![tenant.as_str(), provider.as_str(), sealed, hint(key), now])?;
                }
                key_infos(transaction, &tenant)
            })
            .await
    }

    /// A tenant's provider keys, opened.
    ///
    /// # Errors
    /// When the database cannot be read, or a key was not sealed for this tenant and provider.
    pub async fn open_keys(&self, tenant: &TenantId) -> Result<Vec<(ProviderId, SecretString)>, StoreError> {
        let tenant = tenant.clone();
        let sealer = Arc::clone(&self.sealer);
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT provider, sealed FROM provider_keys WHERE tenant = ?1 ORDER BY provider")?;
            let mut rows = statement.query([tenant.as_str()])?;
            let mut keys = Vec::new();
            while let Some(row) = rows.next()? {
                let provider = row.name("provider", ProviderId::parse)?;
                let sealed = row.get_ref("sealed")?.as_blob().map_err(rusqlite::Error::from)?;
                let key = sealer.open(sealed, Bound::ProviderKey(&tenant, &provider)).ok_or_else(|| {
                    StoreError::Unsealable { tenant: tenant.to_string(), provider: provider.to_string() }
                })?;
                keys.push((provider, key));
            }
            Ok(keys)
        })
        .await
    }
}

fn is_default(tenant: &TenantId) -> bool {
    *tenant == TenantId::default_tenant()
}

/// Whether a tenant is there to be given something.
pub(super) fn exists(connection: &Connection, tenant: &TenantId) -> rusqlite::Result<bool> {
    Ok(is_default(tenant)
        || connection.prepare_cached("SELECT 1 FROM tenants WHERE id = ?1")?.exists([tenant.as_str()])?)
}

fn key_infos(connection: &Connection, tenant: &TenantId) -> Result<Vec<KeyInfo>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT provider, hint, updated_at FROM provider_keys WHERE tenant = ?1 ORDER BY provider")?;
    let infos = statement.query_map([tenant.as_str()], |row| {
        Ok(KeyInfo {
            provider: row.name("provider", ProviderId::parse)?,
            hint: row.get("hint")?,
            updated_at: row.instant("updated_at")?,
        })
    })?;
    Ok(infos.collect::<Result<_, _>>()?)
}
