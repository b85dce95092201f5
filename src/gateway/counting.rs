//! How many input tokens a request has, without an answer to it.
//!
//! A provider that speaks the client's dialect is asked: it counts for nothing. Where none can be asked, or it does not answer in time,
//! the count is AiPipe's own estimate. A count costs nothing and nobody waits for a model, so it takes no place at the provider's gate and
//! has no row in the ledger; a bound of its own keeps many of them from a provider that has become slow.

use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::routing::decision::Decision;
use bytes::Bytes;
use tokio::time::timeout;

use super::explained::Explained;
use super::failure::Failure;
use super::outgoing::Outbound;
use super::prepare::Label;
use super::refusal::Refusal;
use super::tenants::Live;
use super::{Gateway, Setup};
use crate::dialects::client::{Addressed, Counting};
use crate::dialects::surface;
use crate::dialects::translate::Malformed;
use crate::upstream::client::{MAX_ERROR_BYTES, read_body};

/// Counts asked of providers at the same time; beyond it clients get the estimate.
pub(super) const MOST_AT_ONCE: usize = 64;
/// How long a provider may take to count.
const PATIENCE: Duration = Duration::from_secs(3);

/// A count in the client's dialect.
#[derive(Debug)]
pub struct Count {
    /// The body of the answer.
    pub body: Bytes,
    /// Whether it is AiPipe's own estimate.
    pub is_estimated: bool,
}

impl Gateway {
    /// Counts the input tokens of a request, in the tokens of the model that it would go to.
    ///
    /// # Errors
    /// [`Refusal`] where the body is none, nobody could answer it, or the provider refuses it.
    pub async fn count_tokens(
        &self,
        tenant: &Arc<Live>,
        label: Label,
        counting: &dyn Counting,
        addressed: &Addressed<'_>,
        body: &[u8],
    ) -> Result<Count, Refusal> {
        let body = counting.request(body);
        let along = label.along.clone();
        let dialect = label.dialect;
        let setup = self.setup.load_full();
        let surface = surface(dialect);
        let request = surface.scan(body, addressed)?;
        let Explained { decision, digest, holdings } = self.explained(tenant, label, &setup, &*request).await?;
        if decision.candidates.is_empty() {
            return Err(Refusal::no_candidate(&decision, &digest.requested));
        }
        let outbound = Outbound::new(surface, &*request, &digest, along, holdings);
        match self.asked(tenant, &setup, &outbound, counting, &decision).await {
            Some(Ok(body)) => Ok(Count { body, is_estimated: false }),
            Some(Err(failure)) if failure.is_about_the_request() => Err(Refusal::failed(&failure)),
            asked => {
                if let Some(Err(failure)) = asked {
                    tracing::debug!(fault = ?failure.fault, message = failure.noted(), "the provider does not count");
                }
                let tokens = decision.chosen().map_or(decision.input_tokens, |chosen| chosen.input_tokens);
                Ok(Count { body: counting.write(tokens), is_estimated: true })
            }
        }
    }

    /// The count of the provider that was chosen; `None` where it is not asked.
    async fn asked(
        &self,
        tenant: &Arc<Live>,
        setup: &Setup,
        outbound: &Outbound<'_>,
        counting: &dyn Counting,
        decision: &Decision,
    ) -> Option<Result<Bytes, Failure>> {
        let chosen = decision.chosen()?;
        let model = setup.config.catalogue.at_provider(chosen.provider.as_str(), chosen.model.as_str())?;
        let upstream = setup.upstreams.get(&model.provider)?;
        let call = outbound.count(model, upstream, counting)?;
        let _place = self.counts.try_acquire().ok()?;
        let profile = &upstream.config.profile;
        let asked = async {
            let key = tenant.key(&model.provider);
            let broken = |broken| Failure::broken(model, broken);
            let response = self.client.send(call, profile.auth, key.as_ref()).await.map_err(broken)?;
            let status = response.status();
            let body = read_body(response, MAX_ERROR_BYTES).await.map_err(broken)?;
            if !status.is_success() {
                return Err(Failure::refused(model, upstream.read_error(status, &body), key.as_ref()));
            }
            match counting.read(&body) {
                Some(_) => Ok(body),
                None => Err(Failure::malformed(model, Malformed("the answer has no count".to_owned()))),
            }
        };
        Some(timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(Failure::silent(model, PATIENCE))))
    }
}
