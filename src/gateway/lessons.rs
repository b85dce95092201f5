//! What the end of an answer teaches the tenant's routing, and how that is kept.

use aipipe_actors::catalogue::Capability;
use aipipe_actors::identity::{ModelId, ProviderId, RequestId, TenantId};
use aipipe_actors::routing::decision::Decision;
use aipipe_actors::routing::digest::Digest;
use aipipe_actors::routing::evidence::Verdict;
use jiff::Timestamp;

use super::Gateway;
use super::tenants::Live;
use crate::dialects::conversation::Stop;
use crate::dialects::form::Form;
use crate::store::{Feedback, Judged, StoreError};

/// What the end of an answer says of its model; `None`: nothing.
pub(super) fn verdict(stop: Stop, form: &Form, client_limit: Option<u64>) -> Option<Verdict> {
    match stop {
        Stop::Refusal | Stop::Filtered => Some(Verdict::Refused),
        // A limit that the client set is its own doing.
        Stop::Length | Stop::ContextFull => client_limit.is_none().then_some(Verdict::CutOff),
        Stop::Paused => None,
        Stop::End | Stop::ToolUse | Stop::Sequence if form.is_refused() => Some(Verdict::Refused),
        // The client's own stop text cuts JSON off too.
        Stop::End | Stop::ToolUse if form.is_malformed() => Some(Verdict::Malformed),
        Stop::End | Stop::ToolUse | Stop::Sequence => Some(Verdict::Sound),
    }
}

impl Live {
    /// What became of an answer of this model counts from now on, where the tenant wants that.
    pub(super) fn learn(
        &self,
        (digest, decision): (&Digest, &Decision),
        model: (&ProviderId, &ModelId),
        verdict: Verdict,
        now: Timestamp,
    ) {
        if self.estate.policy.load().learning && !digest.demand.needs.contains(Capability::Embeddings) {
            self.estate.learning.note(model, decision.task, verdict, now);
        }
    }
}

impl Gateway {
    /// Keeps what a client says of an answer that its tenant got, and learns from it; `None` where the tenant has no such request.
    ///
    /// # Errors
    /// Where it cannot be kept.
    pub async fn judge(
        &self,
        tenant: &Live,
        id: RequestId,
        (score, comment): (f64, Option<String>),
    ) -> Result<Option<Judged>, StoreError> {
        let counted = tenant.estate.policy.load().learning;
        let judged = self.store.feedback(&tenant.id, id, Feedback { score, comment, counted }).await?;
        if let Some(judged) = judged.as_ref().filter(|judged| judged.answered && (counted || judged.replaced.is_some()))
        {
            let model = (&judged.provider, &judged.model);
            let score = counted.then_some(score);
            tenant.estate.learning.judge(model, judged.task, (score, judged.replaced), self.clock.now());
        }
        Ok(judged)
    }

    /// Writes down what a tenant's requests have taught since the last time.
    pub(super) async fn save_lessons(&self, live: &Live) {
        let Some((revision, lessons)) = live.estate.learning.unsaved(self.clock.now()) else { return };
        match self.store.save_lessons(&live.id, lessons).await {
            Ok(()) => live.estate.learning.saved(revision),
            Err(error) => tracing::warn!(tenant = %live.id, %error, "what was learned could not be written down"),
        }
    }

    /// Forgets what a tenant's requests have taught: the catalogue's qualities hold again.
    ///
    /// # Errors
    /// Where that cannot be kept.
    pub async fn forget_lessons(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        self.store.forget_lessons(tenant).await?;
        if let Some(live) = self.directory.if_live(tenant) {
            live.estate.learning.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_the_models_doing_or_the_clients() {
        let sound = Form::default();
        for (stop, limit, said) in [
            (Stop::End, None, Some(Verdict::Sound)),
            (Stop::ToolUse, Some(5), Some(Verdict::Sound)),
            (Stop::Refusal, None, Some(Verdict::Refused)),
            (Stop::Filtered, Some(5), Some(Verdict::Refused)),
            (Stop::Length, None, Some(Verdict::CutOff)),
            (Stop::Length, Some(5), None),
            (Stop::Paused, None, None),
        ] {
            assert_eq!(verdict(stop, &sound, limit), said, "{stop:?} {limit:?}");
        }
    }
}
