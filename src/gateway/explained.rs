//! The decision for a request that is not sent.

use std::sync::Arc;

use aipipe_actors::routing::decision::Decision;
use aipipe_actors::routing::digest::Digest;
use aipipe_actors::tenant::Message;
use tokio::time::Instant;

use super::prepare::{self, Label};
use super::refusal::Refusal;
use super::search::refused_call;
use super::tenants::Live;
use super::{Gateway, Setup};
use crate::dialects::client::{Addressed, ClientRequest};
use crate::dialects::issued::Holdings;
use crate::dialects::surface;

/// A decision and what it was made on.
pub(super) struct Explained {
    pub(super) decision: Decision,
    pub(super) digest: Arc<Digest>,
    pub(super) holdings: Holdings,
}

impl Gateway {
    /// The decision for a body, without any effect.
    ///
    /// # Errors
    /// [`Refusal`] where the body is none, or nobody decides.
    pub async fn explain(&self, tenant: &Live, label: Label, body: &[u8]) -> Result<Decision, Refusal> {
        let setup = self.setup.load_full();
        let request = surface(label.dialect).scan(body, &Addressed::default())?;
        Ok(self.explained(tenant, label, &setup, &*request).await?.decision)
    }

    /// The same with what the decision was made on.
    pub(super) async fn explained(
        &self,
        tenant: &Live,
        label: Label,
        setup: &Setup,
        request: &dyn ClientRequest,
    ) -> Result<Explained, Refusal> {
        let holdings = self.holdings(tenant, request.facts()).await?;
        let digest = Arc::new(prepare::digest(request, label, setup, &self.prompt_hasher, &holdings)?);
        let deadline = Instant::now() + setup.config.reliability.total_timeout;
        let decision = tenant.address.call(deadline, |port| Message::Explain(digest.clone(), port)).await;
        let decision = decision.map_err(|error| refused_call(tenant, error))?;
        Ok(Explained { decision, digest, holdings })
    }
}
