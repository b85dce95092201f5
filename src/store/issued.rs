//! What providers issued to a tenant, as hashes.

use aipipe_actors::identity::{ProviderId, TenantId};
use aipipe_actors::ledger::{Issued, IssuedHash};
use rusqlite::{OptionalExtension, Transaction, params};

use super::sqlite::value::{RowExt, nanos};
use super::{Reader, StoreError};

/// How long it is remembered, in nanoseconds: the 30 days for which OpenAI keeps a response
/// (<https://platform.openai.com/docs/guides/your-data>).
const KEPT: i64 = 30 * 86_400 * 1_000_000_000;
/// Rows that are forgotten at most with each record, so that no batch is long: more than one record adds.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// Who issued something, as far as the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The provider.
    pub provider: ProviderId,
    /// The hash of the key that it was made with.
    pub key: IssuedHash,
}

impl Reader {
    /// Of these hashes the ones that were issued to this tenant, with who did.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn issued(
        &self,
        tenant: &TenantId,
        hashes: Vec<IssuedHash>,
    ) -> Result<Vec<(IssuedHash, Issuer)>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT provider, key FROM issued WHERE tenant = ?1 AND hash = ?2")?;
            let mut found = Vec::new();
            for hash in hashes {
                let issuer = statement.query_row(params![tenant.as_str(), hash.0.to_be_bytes()], |row| {
                    let key = IssuedHash(u128::from_be_bytes(row.get("key")?));
                    Ok(Issuer { provider: row.name("provider", ProviderId::parse)?, key })
                });
                found.extend(issuer.optional()?.map(|issuer| (hash, issuer)));
            }
            Ok(found)
        })
        .await
    }
}

/// Keeps what was issued, and forgets what is too old. A tenant that was removed, or removed and made anew since, gets nothing.
pub(super) fn keep(transaction: &Transaction<'_>, issued: &Issued) -> rusqlite::Result<()> {
    let at = nanos(issued.at);
    let default = TenantId::default_tenant();
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO issued (tenant, hash, provider, key, at, request) SELECT ?1, ?2, ?3, ?4, ?5, ?7 \
         WHERE ?1 = ?6 OR EXISTS (SELECT 1 FROM tenants WHERE id = ?1 AND created_at <= ?5)",
    )?;
    let (tenant, provider) = (issued.tenant.as_str(), issued.provider.as_str());
    for hash in &issued.hashes {
        insert.execute(params![
            tenant,
            hash.0.to_be_bytes(),
            provider,
            issued.key.0.to_be_bytes(),
            at,
            default.as_str(),
            issued.request_id.as_bytes(),
        ])?;
    }
    let forgotten = FORGOTTEN_AT_ONCE.max(i64::try_from(issued.hashes.len()).unwrap_or(i64::MAX));
    transaction
        .prepare_cached(
            "DELETE FROM issued WHERE (tenant, hash) IN (SELECT tenant, hash FROM issued WHERE at < ?1 ORDER BY at LIMIT ?2)",
        )?
        .execute(params![at.saturating_sub(KEPT), forgotten])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use aipipe_actors::tenant::policy::Policy;
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::store::samples::{id, provider, tenant};
    use crate::store::{LedgerRows, MasterKeySource, Settings, Store, Synchronous};

    fn open(directory: &std::path::Path) -> Store {
        let settings = Settings {
            path: directory.join("aipipe.db"),
            master_key: MasterKeySource::FileBesideDatabase,
            synchronous: Synchronous::Normal,
        };
        Store::open(settings).unwrap().0
    }

    fn issued(name: &str, hashes: &[u128], at: Timestamp) -> Issued {
        let hashes = hashes.iter().copied().map(IssuedHash).collect();
        Issued { request_id: id(1), tenant: tenant(name), provider: provider("openai"), key: IssuedHash(9), at, hashes }
    }

    async fn known(store: &Store, name: &str, hashes: &[u128]) -> Vec<u128> {
        let asked = hashes.iter().copied().map(IssuedHash).collect();
        let found = store.issued(&tenant(name), asked).await.unwrap();
        let is_right = |issuer: &Issuer| *issuer == Issuer { provider: provider("openai"), key: IssuedHash(9) };
        assert!(found.iter().all(|(_, issuer)| is_right(issuer)));
        found.into_iter().map(|(hash, _)| hash.0).collect()
    }

    #[tokio::test]
    async fn each_tenant_knows_its_own_also_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        for name in ["acme", "other"] {
            store.put_tenant(&tenant(name), Policy::default()).await.unwrap();
        }
        store.ledger().issue(&issued("acme", &[1, u128::MAX], Timestamp::now()));
        store.ledger().issue(&issued("default", &[2], Timestamp::now()));
        // Nobody by this name exists.
        store.ledger().issue(&issued("nobody", &[3], Timestamp::now()));
        drop(store);
        let store = open(directory.path());
        let all = [1, 2, 3, u128::MAX];
        assert_eq!(known(&store, "acme", &all).await, [1, u128::MAX]);
        assert_eq!(known(&store, "default", &all).await, [2]);
        assert_eq!(known(&store, "other", &all).await, [0; 0]);
        assert_eq!(known(&store, "nobody", &all).await, [0; 0]);
    }

    #[tokio::test]
    async fn a_tenant_made_anew_knows_nothing_of_the_former() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let acme = tenant("acme");
        store.put_tenant(&acme, Policy::default()).await.unwrap();
        let before = Timestamp::now();
        store.ledger().issue(&issued("acme", &[1], before));
        assert_eq!(known(&store, "acme", &[1]).await, [1]);
        store.delete_tenant(&acme, LedgerRows::Keep).await.unwrap();
        store.put_tenant(&acme, Policy::default()).await.unwrap();
        // A request of the former that ends only now.
        store.ledger().issue(&issued("acme", &[2], before));
        assert_eq!(known(&store, "acme", &[1, 2]).await, [0; 0]);
    }

    #[tokio::test]
    async fn what_is_too_old_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        let now = Timestamp::now();
        let days = |days: i64| now - SignedDuration::from_hours(24 * days);
        store.ledger().issue(&issued("default", &[1], days(31)));
        store.ledger().issue(&issued("default", &[2], days(29)));
        store.ledger().issue(&issued("default", &[3], now));
        assert_eq!(known(&store, "default", &[1, 2, 3]).await, [2, 3]);
    }
}
