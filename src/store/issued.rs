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
        "INSERT OR REPLACE INTO issued (tenant, hash, provider, key, at) SELECT ?1, ?2, ?3, ?4, ?5 \
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
            default.as_str()
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
