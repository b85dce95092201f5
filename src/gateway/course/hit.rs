//! A request that needs no call: it is written down and settled at once.

use aipipe_actors::ledger::{CacheUse, Closing, Outcome};
use aipipe_actors::money::{NanoUsd, Tokens};
use aipipe_actors::tenant::answers::CachedAnswer;

use super::super::refusal::Refusal;
use super::{Course, milliseconds};

impl Course {
    /// Answered without a call of its own: from the cache, or by another request's call.
    ///
    /// # Errors
    /// Where the ledger cannot be written.
    pub fn settle_hit(&mut self, answer: &CachedAnswer) -> Result<(), Refusal> {
        self.cache = CacheUse::Hit;
        let rates = self
            .gateway
            .world
            .catalogue
            .load()
            .at_provider(answer.provider.as_str(), answer.model.as_str())
            .and_then(|model| model.rates);
        let opening = self.opening((&answer.provider, &answer.model), rates.unwrap_or_default(), NanoUsd::ZERO);
        let latency = self.arrival.instant.elapsed();
        let closing = Closing {
            request_id: self.digest.request_id,
            tenant: self.tenant.id.clone(),
            at: self.gateway.clock.now(),
            outcome: Outcome::Ok,
            provider: answer.provider.clone(),
            model: answer.model.clone(),
            attempts: Vec::new(),
            tokens: Tokens::default(),
            estimated: false,
            cost: NanoUsd::ZERO,
            saved: self.at_baseline(&answer.tokens).unwrap_or_default(),
            latency_ms: milliseconds(latency),
            ttft_ms: None,
        };
        self.gateway.ledger.open_and_close(&opening, &closing).map_err(|error| {
            tracing::error!(request_id = %self.digest.request_id, tenant = %self.tenant.id, %error, "a cache hit is not delivered");
            Refusal::ledger()
        })?;
        if let Some(admission) = &mut self.admission {
            admission.used(closing.at, 0);
        }
        self.tell(&closing, latency);
        Ok(())
    }
}
