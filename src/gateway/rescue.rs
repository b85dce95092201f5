//! Goes on with a stream that broke after its first content, where the client or the operator asked for it.
//!
//! The answer so far goes, as the beginning of an assistant turn, to the next candidate that continues one (capability `prefill`), and
//! what that one writes is joined to the client's stream: the client sees one beginning, one id and one end. Only plain text is continued
//! ([`Progress`]): never a call, a thought, or an answer whose form the client prescribes. All calls are paid and stand in the ledger; the
//! figures at the end are their sum, what broke off being estimated, and beside the reason to end stands who went on:
//! `"aipipe": {"rescued": [{"provider": …, "model": …, "dropped": […]}]}`. A header cannot say so any more.

use std::sync::Arc;

use aipipe_actors::catalogue::{Capability, Model};
use aipipe_actors::fault::Fault;
use aipipe_actors::ledger::Role as CallRole;
use aipipe_actors::routing::decision::Reason;
use aipipe_actors::routing::digest::{Demand, Digest};
use aipipe_actors::routing::tokens::Estimator;
use aipipe_actors::tenant::{Dispatch, Reply, Stage};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::attempt::{Attempt, OpenStream, Patience};
use super::course::{Course, Permit};
use super::failure::Failure;
use super::meter::Meter;
use super::outgoing::{Outbound, Reading, translation};
use super::reading::{Joint, Translating};
use super::search::Search;
use crate::dialects::client::Decoded;
use crate::dialects::conversation::{Part, ResponseFormat, Role, ToolChoice, Turn};
use crate::dialects::form::Form;
use crate::dialects::progress::{Progress, Seam};
use crate::dialects::translate::StreamEncoder;

/// What it takes to go on with the answer to one request.
pub(super) struct Rescue {
    search: Search,
    /// The request, and what its translation leaves out.
    decoded: Decoded,
    /// Who went on so far.
    told: Vec<Value>,
}

/// A stream that goes on with another's answer.
pub(super) struct Continuation {
    pub(super) stream: OpenStream,
    pub(super) key: Option<SecretString>,
    pub(super) model: Arc<Model>,
    pub(super) meter: Meter,
    pub(super) patience: Patience,
}

/// The beginning of an answer, on its way to whoever goes on.
struct Beginning<'a> {
    digest: Arc<Digest>,
    progress: &'a Progress,
    encoder: &'a dyn StreamEncoder,
    seam: Seam,
}

impl Rescue {
    /// Keeps what is needed of a request whose stream has begun; `None` where nobody could go on with its answer.
    pub(super) fn prepare(search: Search, outbound: &mut Outbound<'_>) -> Option<Self> {
        let decoded = outbound.decoded().ok()?;
        let conversation = &decoded.conversation;
        let is_free = matches!(conversation.format, ResponseFormat::Text)
            && matches!(
                conversation.tool_choice,
                ToolChoice::Auto | ToolChoice::None | ToolChoice::Allowed { required: false, .. }
            )
            && conversation.settings.choices.is_none_or(|choices| choices == 1);
        is_free.then(|| Self { search, decoded, told: Vec::new() })
    }

    /// Looks for a model that goes on behind `failure`, of which the course knows already; `None` where none does.
    pub(super) async fn go_on(
        &mut self,
        failure: &Failure,
        (progress, encoder): (&Progress, &dyn StreamEncoder),
        course: &mut Course,
    ) -> Option<Continuation> {
        let text = progress.text_to_continue().filter(|_| can_be_mended(failure))?;
        self.search.failed(failure);
        let (given, seam) = Seam::cut(text);
        let digest = Arc::new(with_beginning(course.digest(), given)?);
        let settings = &mut self.decoded.conversation.settings;
        settings.max_output_tokens = settings.max_output_tokens.and(digest.demand.output_limit);
        let turn = Turn { role: Role::Assistant, parts: vec![Part::Text(given.to_owned())], name: None };
        self.decoded.conversation.turns.push(turn);
        let found = self.find(failure, Beginning { digest, progress, encoder, seam }, course).await;
        self.decoded.conversation.turns.pop();
        self.search.gateway.meters.rescued(found.is_some());
        let by = found.as_ref().map(|found| found.model.address());
        tracing::warn!(
            request_id = %course.digest().request_id,
            tenant = %self.search.tenant.id,
            broken = failure.model.address(),
            continued_by = by,
            "a stream broke after its first content"
        );
        found
    }

    async fn find(&mut self, failure: &Failure, beginning: Beginning<'_>, course: &mut Course) -> Option<Continuation> {
        loop {
            if self.search.is_spent(course.calls()) || Instant::now() >= self.search.deadline {
                return None;
            }
            match self.search.ask(&beginning.digest, Stage::Failover).await.ok()? {
                Reply::Dispatch(dispatch) => {
                    if let Some(found) = self.call(*dispatch, &beginning, course).await? {
                        return Some(found);
                    }
                }
                Reply::Denied(_) if self.search.readmit_providers() => {}
                // The model that broke may itself go on, where nobody else can.
                Reply::Denied(_) if failure.model.capabilities.contains(Capability::Prefill) => {
                    if !self.search.repeat(failure, course.calls()).await {
                        return None;
                    }
                }
                Reply::Denied(_) | Reply::Cached(..) | Reply::Follow(..) => return None,
            }
        }
    }

    /// Calls the model that was chosen: the outer `None` ends the search, the inner one is for the next candidate.
    async fn call(
        &mut self,
        dispatch: Dispatch,
        beginning: &Beginning<'_>,
        course: &mut Course,
    ) -> Option<Option<Continuation>> {
        let Dispatch { model, shown, reservation, grant, .. } = dispatch;
        let ticket = match self.search.ticket(grant).await.ok()? {
            Ok(ticket) => ticket,
            Err(reason) => {
                self.search.pass_over(&model, reason);
                return Some(None);
            }
        };
        let setup = self.search.setup.clone();
        let translated = setup
            .upstreams
            .get(&model.provider)
            .map(|upstream| (upstream, translation(&self.decoded, &model, upstream)));
        let Some((upstream, Ok(outgoing))) = translated else {
            self.search.pass_over(&model, Reason::Disabled);
            return Some(None);
        };
        let Reading::Translated(undo) = outgoing.reading else { return None };
        let turns = self.search.turns(Some(&shown.decision), course.calls());
        let patience = Patience::new(&setup.config.reliability, &model, true, self.search.deadline);
        let input_tokens = beginning.digest.demand.input_tokens;
        let permit = Permit { model: model.clone(), reservation, ticket, input_tokens, role: Some(CallRole::Rescue) };
        let earlier = course.used();
        let meter = course.begin(permit).ok()?;
        let attempt = Attempt {
            http: &self.search.gateway.client,
            upstream,
            key: self.search.tenant.key(&model.provider),
            patience: patience.shared(turns, None),
            model: model.clone(),
            meter,
        };
        let told = json!({"provider": model.provider, "model": model.id, "dropped": outgoing.dropped});
        let mut encoder = beginning.encoder.copy();
        encoder.tell(json!({"rescued": self.told.iter().chain([&told]).collect::<Vec<_>>()}).to_string());
        let joint = Joint { seam: beginning.seam.clone(), earlier };
        // What must follow a schema is never continued.
        let decoder = upstream.dialect.stream_decoder(&model.address(), undo);
        let reader = Translating::new(decoder, encoder, Form::default()).joined(beginning.progress.clone(), joint);
        match attempt.continuation(outgoing.call, reader).await {
            Ok(stream) => {
                self.told.push(told);
                let Attempt { key, meter, .. } = attempt;
                self.search.remember(course, &model.provider, &model.id);
                Some(Some(Continuation { stream, key, model, meter, patience }))
            }
            Err(failure) => {
                course.fail(&attempt.meter, &failure);
                self.search.failed(&failure);
                self.search.pass_over_smaller(&failure, Some(&shown.decision));
                Some(None)
            }
        }
    }
}

/// Whether the failure is the provider's: what the client did, asked for or has no time for, nobody else can mend.
fn can_be_mended(failure: &Failure) -> bool {
    !failure.is_about_the_request() && !matches!(failure.fault, Fault::ClientDeadline | Fault::ClientGone)
}

/// The digest of a request together with the beginning of its answer; `None` where that is as long as the answer may be.
fn with_beginning(digest: &Digest, given: &str) -> Option<Digest> {
    let mut estimate = Estimator::default();
    estimate.message();
    estimate.text(given);
    let begun = estimate.tokens();
    let output_limit = match digest.demand.output_limit {
        Some(limit) => Some(limit.checked_sub(begun).filter(|left| *left > 0)?),
        None => None,
    };
    let demand = Demand {
        needs: digest.demand.needs.with(Capability::Prefill),
        input_tokens: digest.demand.input_tokens.saturating_add(begun),
        input_bound: digest.demand.input_bound.saturating_add(estimate.upper_bound()),
        output_limit,
        ..(*digest.demand).clone()
    };
    Some(Digest { demand: Arc::new(demand), ..digest.clone() })
}
