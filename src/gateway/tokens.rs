//! Client tokens: what proves a tenant where headers cannot be trusted.
//!
//! A token is `aip_<id>_<secret>`: the id finds its record, whose hash of the whole token is compared in constant time. Only the hash is
//! kept. Records that were looked up stay in memory, bounded, until the token is revoked.

use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::identity::TenantId;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::refusal::Refusal;
use crate::store::{AdminScope, Store, StoreError, TokenRecord};

/// Records kept in memory.
const KEPT: usize = 10_000;
/// Longest token that is looked at.
const LONGEST: usize = 128;

/// The tokens of all tenants.
pub struct Tokens {
    known: Cache<String, Arc<TokenRecord>>,
}

/// A token that was just issued.
pub struct Issued {
    /// What is kept of it.
    pub record: TokenRecord,
    /// The token itself, which is shown once.
    pub token: String,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { known: Cache::new(KEPT) }
    }
}

impl Tokens {
    /// The tenant that a token proves.
    ///
    /// # Errors
    /// [`Refusal`] where it proves none.
    pub async fn tenant(&self, token: &str, store: &Store) -> Result<TenantId, Refusal> {
        let wrong = |message: &str| Refusal::new(StatusCode::UNAUTHORIZED, "invalid_token", message);
        let unknown = || wrong("the client token is not known; the operator issues another");
        let id = token.strip_prefix("aip_").and_then(|rest| rest.split_once('_')).map(|(id, _)| id);
        let id = id.filter(|_| token.len() <= LONGEST).ok_or_else(unknown)?;
        let record = match self.known.get(id) {
            Some(record) => record,
            None => {
                let found = store.token(AdminScope::granted(), id).await.map_err(|error| {
                    tracing::error!(%error, "a client token could not be looked up");
                    Refusal::unavailable("the client token cannot be checked; the operator's log says why")
                })?;
                let record = Arc::new(found.ok_or_else(unknown)?);
                self.known.insert(id.to_owned(), record.clone());
                record
            }
        };
        if !bool::from(hash(token).ct_eq(&record.hash)) {
            return Err(unknown());
        }
        if record.expires_at.is_some_and(|expires| expires <= Timestamp::now()) {
            return Err(wrong("the client token has expired; the operator issues another"));
        }
        Ok(record.tenant.clone())
    }

    /// Issues a token for an existing tenant.
    ///
    /// # Errors
    /// Where there is no such tenant or it cannot be kept.
    pub async fn issue(
        &self,
        tenant: &TenantId,
        lifetime: Option<Duration>,
        store: &Store,
    ) -> Result<Issued, StoreError> {
        let (id, secret) = (random::<9>()?, random::<24>()?);
        let token = format!("aip_{id}_{secret}");
        let created_at = Timestamp::now();
        let expires_at = lifetime
            .and_then(|lifetime| SignedDuration::try_from(lifetime).ok())
            .map(|lifetime| created_at.checked_add(lifetime).unwrap_or(Timestamp::MAX));
        let record = TokenRecord { id, tenant: tenant.clone(), hash: hash(&token), created_at, expires_at };
        store.put_token(record.clone()).await?;
        Ok(Issued { record, token })
    }

    /// Revokes a token at once; `false` where the tenant has none of this id.
    ///
    /// # Errors
    /// Where the change cannot be kept.
    pub async fn revoke(&self, tenant: &TenantId, id: &str, store: &Store) -> Result<bool, StoreError> {
        let removed = store.delete_token(tenant, id).await?;
        if removed {
            self.known.remove(id);
        }
        Ok(removed)
    }

    /// Forgets the tokens of a tenant that was removed.
    pub fn forget(&self, tenant: &TenantId) {
        self.known.retain(|_, record| record.tenant != *tenant);
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Random bytes from the system, in hexadecimal digits.
fn random<const N: usize>() -> Result<String, StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Unreadable(format!("no randomness: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
