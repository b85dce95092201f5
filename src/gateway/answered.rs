//! An answer ready to be delivered: a model's, or one that another request paid for.

use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::ledger::CacheUse;
use aipipe_actors::money::NanoUsd;
use aipipe_actors::tenant::answers::CachedAnswer;
use bytes::Bytes;
use serde_json::json;

use super::attempt::Attempt;
use super::course::Course;
use super::overheard;
use super::refusal::Refusal;
use super::relay::Relay;
use crate::dialects::client::{Frame, annotate};
use crate::dialects::surface;
use crate::providers::Profile;

/// The type of a whole answer.
pub(super) const JSON: &str = "application/json";

/// An answer, ready to be delivered.
pub struct Answered {
    /// Who gave it.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// The complexity that the choice was made with.
    pub complexity: f64,
    /// Upstream calls made for it.
    pub attempts: usize,
    /// What the cache had to do with it.
    pub cache: CacheUse,
    /// What it cost; of a stream that is not known yet.
    pub cost: Option<NanoUsd>,
    /// Names of fields of the request that were left out, comma separated.
    pub dropped: String,
    /// The body.
    pub body: AnswerBody,
}

/// The body of an answer.
pub enum AnswerBody {
    /// All of it.
    Whole {
        /// The bytes.
        bytes: Bytes,
        /// Their type.
        content_type: String,
    },
    /// As it comes.
    Stream(Box<Relay>),
}

/// What is known of an answer before its body.
pub(super) fn answered(course: &Course, attempt: &Attempt<'_>, dropped: String) -> Answered {
    Answered {
        provider: attempt.model.provider.clone(),
        model: attempt.model.id.clone(),
        complexity: course.decision().map_or(0.0, |decision| decision.complexity),
        attempts: course.calls(),
        cache: course.cache(),
        cost: None,
        dropped,
        body: AnswerBody::Whole { bytes: Bytes::new(), content_type: JSON.to_owned() },
    }
}

/// An answer that another request paid for.
pub(super) fn hit(answer: &CachedAnswer, course: &mut Course) -> Result<Answered, Refusal> {
    course.settle_hit(answer)?;
    if let Some(span) = course.confidant() {
        overheard::whole(span, course.digest().dialect, &answer.body);
    }
    let body = Bytes::copy_from_slice(&answer.body);
    let explanation = explanation(course);
    let bytes = match surface(course.digest().dialect).read_answer(&body, &Profile::OPENAI) {
        Ok(facts) => annotate(&body, &facts, Some(NanoUsd::ZERO), explanation.as_deref()),
        // It could be read when it was kept.
        Err(_) => body,
    };
    Ok(Answered {
        provider: answer.provider.clone(),
        model: answer.model.clone(),
        complexity: course.decision().map_or(0.0, |decision| decision.complexity),
        attempts: 0,
        cache: CacheUse::Hit,
        cost: Some(NanoUsd::ZERO),
        dropped: answer.dropped.clone(),
        body: AnswerBody::Whole { bytes, content_type: answer.content_type.clone() },
    })
}

pub(super) fn frame(course: &Course) -> Frame {
    let created = course.arrival().at.as_second().max(0).unsigned_abs();
    Frame { request_id: course.digest().request_id, created }
}

/// The decision as it joins an answer, where the client asked for it.
pub(super) fn explanation(course: &Course) -> Option<String> {
    let decision = course.decision().filter(|_| course.digest().preferences.explain)?;
    Some(json!({"decision": decision.to_json()}).to_string())
}
