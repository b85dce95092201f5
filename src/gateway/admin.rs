//! What the operator changes of tenants: kept in the store, then taken over by whoever is live. One change at a time, so that what is in
//! memory is always what was kept last.

use std::time::Duration;

use aipipe_actors::identity::{ProviderId, TenantId};
use aipipe_actors::tenant::policy::Policy;
use http::StatusCode;
use secrecy::SecretString;

use super::Gateway;
use super::refusal::Refusal;
use super::tokens::Issued;
use crate::store::{KeyInfo, LedgerRows, StoreError, TenantRecord};

impl Gateway {
    /// Sets what is settled for a tenant, and creates it if need be.
    ///
    /// # Errors
    /// [`Refusal`] where there are as many tenants as may be, or the change cannot be kept.
    pub async fn set_tenant(&self, tenant: &TenantId, policy: Policy) -> Result<TenantRecord, Refusal> {
        let _one_at_a_time = self.changing.lock().await;
        self.settle(tenant, policy).await
    }

    async fn settle(&self, tenant: &TenantId, policy: Policy) -> Result<TenantRecord, Refusal> {
        self.make_room(tenant)?;
        let record = self.store.put_tenant(tenant, policy).await.map_err(failed)?;
        self.take_over(tenant).await?;
        Ok(record)
    }

    /// Creates a tenant of which nothing is settled, unless somebody has created it meanwhile.
    ///
    /// # Errors
    /// As [`Self::set_tenant`].
    pub async fn create_tenant(&self, tenant: &TenantId) -> Result<(), Refusal> {
        let _one_at_a_time = self.changing.lock().await;
        if self.directory.knows(tenant) {
            return Ok(());
        }
        self.settle(tenant, Policy::default()).await.map(drop)
    }

    /// Sets or removes provider keys of a tenant, and creates it if need be. Answers that were cached or are being made end with a key
    /// that goes or changes.
    ///
    /// # Errors
    /// As [`Self::set_tenant`].
    pub async fn set_keys(
        &self,
        tenant: &TenantId,
        keys: Vec<(ProviderId, Option<SecretString>)>,
    ) -> Result<Vec<KeyInfo>, Refusal> {
        let _one_at_a_time = self.changing.lock().await;
        self.make_room(tenant)?;
        let providers: Vec<ProviderId> = keys.iter().map(|(provider, _)| provider.clone()).collect();
        let infos = self.store.put_keys(tenant, keys).await.map_err(failed)?;
        let taken_over = self.take_over(tenant).await;
        if let Some(live) = self.directory.if_live(tenant) {
            live.keys_changed(&providers);
        }
        taken_over.map(|()| infos)
    }

    /// Removes a tenant with its keys, tokens and cached answers; `false` where there was none.
    ///
    /// # Errors
    /// [`Refusal`] where the change cannot be kept.
    pub async fn remove_tenant(&self, tenant: &TenantId, ledger: LedgerRows) -> Result<bool, Refusal> {
        let _one_at_a_time = self.changing.lock().await;
        let removed = self.store.delete_tenant(tenant, ledger).await.map_err(failed)?;
        self.directory.remove(tenant);
        self.tokens.forget(tenant);
        Ok(removed)
    }

    /// Issues a client token for an existing tenant.
    ///
    /// # Errors
    /// Where there is no such tenant, or it cannot be kept.
    pub async fn issue_token(&self, tenant: &TenantId, lifetime: Option<Duration>) -> Result<Issued, StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        self.tokens.issue(tenant, lifetime, &self.store).await
    }

    /// Revokes a client token at once; `false` where the tenant has none of this id.
    ///
    /// # Errors
    /// Where the change cannot be kept.
    pub async fn revoke_token(&self, tenant: &TenantId, id: &str) -> Result<bool, StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        self.tokens.revoke(tenant, id, &self.store).await
    }

    fn make_room(&self, tenant: &TenantId) -> Result<(), Refusal> {
        let most = self.setup.load().config.tenants.max;
        if self.directory.knows(tenant) || self.directory.count() < most {
            return Ok(());
        }
        let message = format!("there are {most} tenants already, as many as may be (tenants.max)");
        Err(Refusal::new(StatusCode::FORBIDDEN, "unknown_tenant", message))
    }

    async fn take_over(&self, tenant: &TenantId) -> Result<(), Refusal> {
        let setup = self.setup.load_full();
        self.directory.refresh(tenant, &self.store, &setup.config).await.map_err(failed)
    }
}

fn failed(error: StoreError) -> Refusal {
    tracing::error!(%error, "a change of a tenant could not be kept");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "store_failed", format!("the change could not be kept: {error}"))
}
