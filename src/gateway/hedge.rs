//! A second call beside one that is slow to begin (`[hedge]`, off by default).
//!
//! Past the time that one stream of the model in twenty exceeds ([`Pace`](aipipe_actors::provider::pace::Pace)), the next candidate of
//! another provider is asked too. Whose content comes first answers; the other call is cancelled and paid. Both are reserved; what hedges
//! cost beside their requests keeps within a share of the tenant's spend ([`Hedging`](aipipe_actors::tenant::hedging::Hedging)). A request
//! is hedged where asking twice changes nothing but the bill: a stream that the client left to several models and that no provider keeps.

use std::pin::pin;
use std::time::Duration;

use aipipe_actors::catalogue::Model;
use aipipe_actors::ledger::Role;
use aipipe_actors::money::NanoUsd;
use aipipe_actors::provider::Grant;
use aipipe_actors::routing::choice::expected_tokens;
use aipipe_actors::routing::decision::Reason;
use aipipe_actors::routing::digest::{ClientDialect, Digest, Requested};
use aipipe_actors::tenant::{Dispatch, Passed, Reply, Stage};
use tokio::time::{Instant, sleep};

use super::attempt::{Attempt, Client, OpenStream, Patience};
use super::course::{Course, Permit};
use super::failure::Failure;
use super::outgoing::Outgoing;
use super::pipeline::Journey;

/// A call with what its answer leaves out.
#[derive(Clone)]
pub(super) struct Runner<'a> {
    pub(super) attempt: Attempt<'a>,
    pub(super) dropped: String,
}

/// Which call is to be followed, and how it began.
pub(super) struct Raced<'a> {
    pub(super) runner: Runner<'a>,
    pub(super) began: Result<OpenStream, Failure>,
}

impl<'a> Journey<'a> {
    /// Calls for a stream and reads to its first content, with a second call beside it where it is slow.
    pub(super) async fn race(
        &mut self,
        first: Runner<'a>,
        outgoing: Outgoing,
        client: &Client<'a>,
        course: &mut Course,
    ) -> Raced<'a> {
        let delay = self.hedge_after(&first.attempt.model, client, course);
        let raced = match delay {
            // In a box, as are the other detours: a future is as large as its longest way, and each request moves all of it.
            Some(delay) => Box::pin(self.hedged(first, outgoing, client, course, delay)).await,
            None => {
                let began = first.attempt.stream(outgoing, client).await;
                Raced { runner: first, began }
            }
        };
        let ttft = raced.runner.attempt.meter.ttft().filter(|_| self.setup.config.hedge.enabled && raced.began.is_ok());
        if let Some(ttft) = ttft {
            self.note_pace(&raced.runner.attempt.model, ttft);
        }
        raced
    }

    /// How long the first call may take to begin before it gets company; `None`: it gets none.
    fn hedge_after(&self, model: &Model, client: &Client<'_>, course: &Course) -> Option<Duration> {
        let digest = course.digest();
        let may = self.setup.config.hedge.enabled
            && is_left_to_several(digest)
            && client.request.facts().stored.is_empty()
            // Providers keep the answers of this dialect.
            && digest.dialect != ClientDialect::Responses
            && !self.search.is_spent(course.calls());
        let providers = self.gateway.world.providers.load();
        let (provider, _) = providers.get(&model.provider).filter(|_| may)?;
        provider.pace().p95(&model.id)
    }

    async fn hedged(
        &mut self,
        first: Runner<'a>,
        outgoing: Outgoing,
        client: &Client<'a>,
        course: &mut Course,
        delay: Duration,
    ) -> Raced<'a> {
        let mut slow = pin!(first.attempt.stream(outgoing, client));
        let second = async {
            sleep(delay).await;
            self.second(&first.attempt.model, course).await
        };
        let second = tokio::select! {
            biased;
            began = &mut slow => return Raced { runner: first.clone(), began },
            second = second => second,
        };
        let Some((second, outgoing)) = second else {
            let began = slow.await;
            return Raced { runner: first.clone(), began };
        };
        let mut hedge = pin!(second.attempt.stream(outgoing, client));
        tokio::select! {
            biased;
            began = &mut slow => match began {
                Ok(_) => {
                    course.outrun(&second.attempt.meter);
                    self.gateway.meters.hedged(false);
                    Raced { runner: first.clone(), began }
                }
                Err(failure) => {
                    // The hedge goes on in its place.
                    self.lost(&first.attempt, failure, course);
                    let began = hedge.await;
                    self.gateway.meters.hedged(began.is_ok());
                    Raced { runner: second.clone(), began }
                }
            },
            began = &mut hedge => match began {
                Ok(_) => {
                    self.note_pace(&first.attempt.model, first.attempt.meter.started().elapsed());
                    course.outrun(&first.attempt.meter);
                    self.gateway.meters.hedged(true);
                    Raced { runner: second.clone(), began }
                }
                Err(failure) => {
                    self.lost(&second.attempt, failure, course);
                    self.gateway.meters.hedged(false);
                    let began = slow.await;
                    Raced { runner: first.clone(), began }
                }
            },
        }
    }

    /// The second call, begun in the books and not yet sent; `None` where nobody can make it at once, or it would cost too much.
    async fn second(&mut self, slow: &Model, course: &mut Course) -> Option<(Runner<'a>, Outgoing)> {
        let mut search = self.search.clone();
        // What makes one model slow is likely to make its neighbours slow.
        search.passed.push(Passed { provider: slow.provider.clone(), model: None, reason: Reason::Excluded });
        let Reply::Dispatch(dispatch) = search.ask(course.digest(), Stage::Failover).await.ok()? else { return None };
        let Dispatch { model, reservation, grant: Grant::Granted(ticket), shown, .. } = *dispatch else { return None };
        let rates = model.rates?;
        let expected: NanoUsd = rates.cost(&expected_tokens(course.digest(), &model));
        let share = self.setup.config.hedge.max_extra_cost;
        let allowed = search.tenant.estate.hedging.allow(expected, share, Instant::now())?;
        let setup = self.setup;
        let upstream = setup.upstreams.get(&model.provider)?;
        let outgoing = self.outbound.write(&model, upstream).ok()?;
        let patience = Patience::new(&setup.config.reliability, &model, true, self.search.deadline);
        let turns = self.search.turns(Some(&shown.decision), course.calls());
        let input_tokens = course.digest().demand.input_tokens;
        let permit = Permit { model: model.clone(), reservation, ticket, input_tokens, role: Some(Role::Hedge) };
        let meter = course.begin(permit).ok()?;
        course.hedged(allowed);
        tracing::info!(
            request_id = %course.digest().request_id,
            tenant = %self.search.tenant.id,
            slow = slow.address(),
            hedge = model.address(),
            "a second model is asked beside a slow one"
        );
        let attempt = Attempt {
            http: &self.gateway.client,
            upstream,
            key: self.search.tenant.key(&model.provider),
            patience: patience.shared(turns, None),
            model,
            meter,
        };
        let dropped = outgoing.dropped.join(", ");
        Some((Runner { attempt, dropped }, outgoing))
    }

    /// One of the two failed; the other goes on.
    fn lost(&mut self, attempt: &Attempt<'_>, failure: Failure, course: &mut Course) {
        course.fail(&attempt.meter, &failure);
        // Whether the request may go on after both is decided when the other has failed too.
        let _ = self.failed(failure, course);
    }

    fn note_pace(&self, model: &Model, first_content: Duration) {
        if let Some((provider, _)) = self.gateway.world.providers.load().get(&model.provider) {
            provider.pace().note(&model.id, first_content);
        }
    }
}

/// Whether the client takes an answer from more than one model.
fn is_left_to_several(digest: &Digest) -> bool {
    digest.requested == Requested::Auto || !digest.preferences.models.is_empty()
}
