//! Client tokens: what proves a tenant where headers cannot be trusted.
//!
//! A token is `aip_<id>_<secret>`: the id finds its record, whose hash of the whole token is compared in constant time. Only the hash is
//! kept. All records are in memory from start-up, so that a token that nobody issued reads nothing and costs nothing, and a revoked one
//! ends at once. When each was last used is written down from time to time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use aipipe_actors::identity::TenantId;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::refusal::Refusal;
use crate::store::{AdminScope, Store, StoreError, TokenRecord, random};

/// Longest token that is looked at.
const LONGEST: usize = 128;
/// What stands for "never" among the seconds of last uses.
const NEVER: i64 = i64::MIN;

/// The tokens of all tenants, by id.
pub struct Tokens(RwLock<HashMap<String, Known>>);

struct Known {
    record: TokenRecord,
    /// Seconds since 1970 of its last use; `record` has what the store knows of it.
    last_used: AtomicI64,
}

impl Known {
    fn new(record: TokenRecord) -> Self {
        let last_used = record.last_used_at.map_or(NEVER, Timestamp::as_second);
        Self { record, last_used: AtomicI64::new(last_used) }
    }

    fn last_used_at(&self) -> Option<Timestamp> {
        let second = self.last_used.load(Ordering::Relaxed);
        Timestamp::from_second(second).ok().filter(|_| second != NEVER)
    }

    fn shown(&self) -> TokenRecord {
        TokenRecord { last_used_at: self.last_used_at(), ..self.record.clone() }
    }
}

/// A token that was just issued.
pub struct Issued {
    /// What is kept of it.
    pub record: TokenRecord,
    /// The token itself, which is shown once.
    pub token: String,
}

impl Tokens {
    /// The tokens that the store knows.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: &Store) -> Result<Self, StoreError> {
        let records = store.tokens(AdminScope::granted()).await?;
        Ok(Self(RwLock::new(records.into_iter().map(|record| (record.id.clone(), Known::new(record))).collect())))
    }

    /// The tenant that a token proves.
    ///
    /// # Errors
    /// [`Refusal`] where it proves none.
    pub fn tenant(&self, token: &str, now: Timestamp) -> Result<TenantId, Refusal> {
        let wrong = |message: &str| Refusal::new(StatusCode::UNAUTHORIZED, "invalid_token", message);
        let unknown = || wrong("the client token is not known; the operator issues another");
        let id = token.strip_prefix("aip_").and_then(|rest| rest.split_once('_')).map(|(id, _)| id);
        let id = id.filter(|_| token.len() <= LONGEST).ok_or_else(unknown)?;
        let all = self.read();
        let known = all.get(id).ok_or_else(unknown)?;
        if !bool::from(hash(token).ct_eq(&known.record.hash)) {
            return Err(unknown());
        }
        if known.record.expires_at.is_some_and(|expires| expires <= now) {
            return Err(wrong("the client token has expired; the operator issues another"));
        }
        known.last_used.store(now.as_second(), Ordering::Relaxed);
        Ok(known.record.tenant.clone())
    }

    /// What is known of a tenant's tokens, oldest first.
    pub fn of(&self, tenant: &TenantId) -> Vec<TokenRecord> {
        let mut tokens: Vec<_> =
            self.read().values().filter(|known| known.record.tenant == *tenant).map(Known::shown).collect();
        tokens.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        tokens
    }

    /// Issues a token for an existing tenant.
    ///
    /// # Errors
    /// Where there is no such tenant or it cannot be kept.
    pub(super) async fn issue(
        &self,
        tenant: &TenantId,
        lifetime: Option<Duration>,
        store: &Store,
    ) -> Result<Issued, StoreError> {
        let (id, secret) = (hexadecimal(&random::<9>()?), hexadecimal(&random::<24>()?));
        let token = format!("aip_{id}_{secret}");
        let created_at = Timestamp::now();
        let expires_at = lifetime
            .and_then(|lifetime| SignedDuration::try_from(lifetime).ok())
            .map(|lifetime| created_at.checked_add(lifetime).unwrap_or(Timestamp::MAX));
        let (tenant, hash) = (tenant.clone(), hash(&token));
        let record = TokenRecord { id, tenant, hash, created_at, expires_at, last_used_at: None };
        store.put_token(record.clone()).await?;
        self.write().insert(record.id.clone(), Known::new(record.clone()));
        Ok(Issued { record, token })
    }

    /// Revokes a token at once; `false` where the tenant has none of this id.
    ///
    /// # Errors
    /// Where the change cannot be kept.
    pub(super) async fn revoke(&self, tenant: &TenantId, id: &str, store: &Store) -> Result<bool, StoreError> {
        let removed = store.delete_token(tenant, id).await?;
        let mut all = self.write();
        if all.get(id).is_some_and(|known| known.record.tenant == *tenant) {
            all.remove(id);
        }
        Ok(removed)
    }

    /// Forgets the tokens of a tenant that was removed.
    pub(super) fn forget(&self, tenant: &TenantId) {
        self.write().retain(|_, known| known.record.tenant != *tenant);
    }

    /// Writes down which tokens were used since the last time.
    ///
    /// # Errors
    /// Where that cannot be kept; it is tried again with the next call.
    pub(super) async fn save_uses(&self, store: &Store) -> Result<(), StoreError> {
        let used = |known: &Known| known.last_used_at().filter(|at| Some(*at) != known.record.last_used_at);
        let uses: Vec<_> = self.read().iter().filter_map(|(id, known)| Some((id.clone(), used(known)?))).collect();
        if uses.is_empty() {
            return Ok(());
        }
        store.note_token_use(uses.clone()).await?;
        let mut all = self.write();
        for (id, at) in uses {
            if let Some(known) = all.get_mut(&id) {
                known.record.last_used_at = Some(at);
            }
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Known>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Known>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
