//! The way of a choice through a tenant's and a provider's actor, with crashes on the way: whatever happens, nothing stays held.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::{Capabilities, Catalogue, Model};
use aipipe_actors::clock::{Clock, SystemClock};
use aipipe_actors::fault::Fault;
use aipipe_actors::identity::{ModelId, ProviderId, RequestId, TenantId};
use aipipe_actors::money::{NanoUsd, Rate, Rates, Tokens};
use aipipe_actors::provider::gate::Gate;
use aipipe_actors::provider::health::CallReport;
use aipipe_actors::provider::{self, Grant, Provider};
use aipipe_actors::routing::complexity::Weights;
use aipipe_actors::routing::conversation::Turn;
use aipipe_actors::routing::digest::{ClientDialect, Demand, Digest, PromptKey, Requested};
use aipipe_actors::routing::preferences::Preferences;
use aipipe_actors::routing::signals::Features;
use aipipe_actors::runtime::{Address, CallError, Leaf, Roster, System};
use aipipe_actors::tenant::account::{Account, Position};
use aipipe_actors::tenant::answers::{Answers, CacheBounds, CacheLimits};
use aipipe_actors::tenant::cooling::Cooling;
use aipipe_actors::tenant::hedging::Hedging;
use aipipe_actors::tenant::pins::Pins;
use aipipe_actors::tenant::policy::Policy;
use aipipe_actors::tenant::{Denial, Dispatch, Estate, Message, Question, Reply, Stage, Tenant, World};
use arc_swap::ArcSwap;
use tokio::time::Instant;

struct Bench {
    system: Arc<System>,
    tenant: Address<Message>,
    estate: Arc<Estate>,
    provider: Arc<Provider>,
    provider_address: Address<provider::Message>,
}

fn model(id: &str) -> Model {
    let rate = |text| Rate::parse_usd_per_million(text).unwrap();
    Model {
        provider: ProviderId::parse("openai").unwrap(),
        id: ModelId::parse(id).unwrap(),
        aliases: Vec::new(),
        rates: Some(Rates {
            input: rate("1"),
            cached_input: rate("1"),
            cache_write: rate("1"),
            output: rate("2"),
            long_context: None,
        }),
        quality: 0.5,
        auto: true,
        context_tokens: 10_000,
        max_output_tokens: 1_000,
        capabilities: Capabilities::NONE,
        parameters: Default::default(),
        token_ratio: 1.0,
        added: aipipe_actors::catalogue::AddedTokens::default(),
        retires_on: None,
    }
}

impl Bench {
    /// One tenant and one provider with `places` places and as many in its queue.
    async fn start(places: usize, policy: Policy) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let system = System::new();
        let id = ProviderId::parse("openai").unwrap();
        let provider = Provider::new(id.clone(), Gate::new(places, places), clock.clone());
        let provider_address = Address::new("provider:openai".into(), 100, system.gauges("provider:openai"));
        let world = Arc::new(World {
            catalogue: ArcSwap::from_pointee(Catalogue::new([model("small")], 1)),
            weights: ArcSwap::from_pointee(Weights::default()),
            providers: ArcSwap::from_pointee(HashMap::from([(
                id.clone(),
                (provider.clone(), provider_address.clone()),
            )])),
            clock: clock.clone(),
        });
        let name = TenantId::default_tenant();
        let estate = Arc::new(Estate {
            tenant: name.clone(),
            policy: ArcSwap::from_pointee(policy),
            reachable: ArcSwap::from_pointee(HashSet::from([id])),
            account: Account::open(Position::default(), clock.now()),
            answers: Answers::new(CacheBounds::new(CacheLimits {
                ttl: Duration::from_secs(300),
                max_entries: 100,
                max_bytes: 1 << 20,
            })),
            cooling: Cooling::default(),
            pins: Pins::default(),
            learning: Default::default(),
            shadow: Default::default(),
            hedging: Hedging::new(Instant::now()),
        });
        let tenant = Address::new(format!("tenant:{name}"), 100, system.gauges("tenant"));
        let (tenants, providers) = (Arc::new(Roster::default()), Arc::new(Roster::default()));
        tenants.add(Leaf::new(Tenant::new(estate.clone(), world), tenant.clone()));
        providers.add(Leaf::new(provider.clone(), provider_address.clone()));
        let supervisors = [system.supervisor("providers", providers), system.supervisor("tenants", tenants)];
        system.start(supervisors.into_iter().map(|one| Arc::new(one) as _).collect()).await;
        Self { system, tenant, estate, provider, provider_address }
    }

    async fn ask(&self, question: Question) -> Result<Reply, CallError> {
        let deadline = Instant::now() + Duration::from_secs(5);
        self.tenant.call(deadline, |port| Message::Choose(question.clone(), port)).await
    }

    async fn dispatch(&self) -> Box<Dispatch> {
        match self.ask(question(None)).await.unwrap() {
            Reply::Dispatch(dispatch) => dispatch,
            other => panic!("expected a dispatch, got {other:?}"),
        }
    }

    /// Nothing is held: no place, no queue, no money, no admission, no message.
    fn assert_idle(&self) {
        let balance = self.estate.account.balance(SystemClock.now());
        assert_eq!((balance.held, balance.in_flight), (NanoUsd::ZERO, 0));
        assert_eq!((self.provider.gate().in_flight(), self.provider.gate().queued()), (0, 0));
        assert_eq!((self.tenant.gauges().mailbox(), self.provider_address.gauges().mailbox()), (0, 0));
        assert!(self.estate.answers.flights().is_empty());
    }
}

fn question(cache_key: Option<PromptKey>) -> Question {
    let digest = Digest {
        request_id: RequestId::generate(),
        dialect: ClientDialect::Chat,
        requested: Requested::Auto,
        requested_text: "auto".into(),
        quality: None,
        turn: Turn::default(),
        preferences: Preferences::default(),
        demand: Arc::new(Demand {
            features: Features::default(),
            needs: Capabilities::NONE,
            parameters: Vec::new(),
            effort: None,
            input_tokens: 100,
            input_bound: 400,
            output_limit: Some(100),
            choices: 1,
            stream: false,
        }),
        cache_key,
    };
    Question { digest: Arc::new(digest), stage: Stage::First, passed: Arc::from([]), rehearsal: None }
}

#[tokio::test]
async fn a_choice_comes_back_with_a_ticket_and_its_money_held() {
    let bench = Bench::start(2, Policy::default()).await;
    let dispatch = bench.dispatch().await;
    assert!(matches!(dispatch.grant, Grant::Granted(_)));
    // 400 tokens of input at most for $1 and 100 of output for $2 a million.
    assert_eq!(dispatch.reservation.amount(), NanoUsd(600_000));
    assert_eq!(bench.provider.gate().in_flight(), 1);
    drop(dispatch);
    bench.assert_idle();
}

#[tokio::test]
async fn a_full_provider_queues_then_refuses_and_a_released_place_is_handed_on() {
    let bench = Bench::start(1, Policy::default()).await;
    let first = bench.dispatch().await;
    let mut second = bench.dispatch().await;
    let third = bench.dispatch().await;
    assert!(matches!(third.grant, Grant::Refused(provider::Refusal::QueueFull)));
    let refused = Grant::Refused(provider::Refusal::QueueFull);
    let Grant::Waiting(wait) = std::mem::replace(&mut second.grant, refused) else { panic!("expected to wait") };
    drop(first);
    let ticket = wait.turn().await.unwrap();
    assert_eq!(bench.provider.gate().in_flight(), 1);
    drop((ticket, second, third));
    bench.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn with_the_tenant_actor_suspended_nothing_is_granted() {
    let bench = Bench::start(2, Policy::default()).await;
    let suspension = bench.tenant.suspend();
    assert!(matches!(bench.ask(question(None)).await, Err(CallError::Unavailable)));
    assert_eq!(bench.provider_address.gauges().handled(), 0, "the provider's actor was never asked");
    drop(suspension);
    while bench.tenant.gauges().mailbox() > 0 {
        tokio::task::yield_now().await;
    }
    bench.assert_idle();
}

#[tokio::test]
async fn a_choice_on_its_way_survives_the_crash_of_any_actor() {
    for name in ["provider:openai", "tenant:default", "providers", "tenants", "root"] {
        let bench = Bench::start(4, Policy::default()).await;
        let holding = bench.dispatch().await;
        // The crash stands in the mailbox before the offer that the choice becomes.
        let suspensions = (bench.tenant.suspend(), bench.provider_address.suspend());
        assert!(bench.system.crash(name));
        let asked = bench.ask(question(None));
        let (reply, ()) = tokio::join!(asked, async {
            while bench.tenant.gauges().mailbox() == 0 && bench.tenant.gauges().restarts() == 0 {
                tokio::task::yield_now().await;
            }
            drop(suspensions);
        });
        let Reply::Dispatch(dispatch) = reply.unwrap() else { panic!("{name}: expected a dispatch") };
        assert!(matches!(dispatch.grant, Grant::Granted(_)), "{name}");
        assert_eq!(bench.provider.gate().in_flight(), 2, "{name}: what was held before the crash is held after it");
        drop((holding, dispatch));
        bench.assert_idle();
    }
}

#[tokio::test]
async fn a_budget_holds_across_a_crash_of_the_tenant_actor() {
    let policy = Policy { budget_usd: Some(NanoUsd(1_000_000)), ..Policy::default() };
    let bench = Bench::start(4, policy).await;
    let holding = bench.dispatch().await;
    assert!(bench.system.crash("tenant:default"));
    let Reply::Denied(Denial::Budget(over)) = bench.ask(question(None)).await.unwrap() else {
        panic!("expected no money")
    };
    assert_eq!((over.held, over.needed), (NanoUsd(600_000), NanoUsd(600_000)));
    drop(holding);
    drop(bench.dispatch().await);
    bench.assert_idle();
}

#[tokio::test]
async fn identical_questions_share_one_flight_and_an_abandoned_one_wakes_its_followers() {
    let bench = Bench::start(4, Policy::default()).await;
    let asked = question(Some(PromptKey(7)));
    let Reply::Dispatch(leading) = bench.ask(asked.clone()).await.unwrap() else { panic!("expected to lead") };
    assert!(leading.leader.is_some());
    let Reply::Follow(follower, shown) = bench.ask(asked).await.unwrap() else { panic!("expected to follow") };
    drop(leading);
    assert!(matches!(follower.landing().await, aipipe_actors::tenant::flight::Landing::Abandoned));
    drop(shown);
    bench.assert_idle();
}

#[tokio::test]
async fn failures_open_the_circuit_which_outlives_the_provider_actor() {
    let bench = Bench::start(4, Policy::default()).await;
    for _ in 0..provider::circuit::MIN_VOLUME {
        let report = CallReport {
            model: ModelId::parse("small").unwrap(),
            fault: Some(Fault::Upstream),
            error: "500".into(),
            latency: Duration::ZERO,
            ttft: None,
            tokens: Tokens::default(),
            cost: NanoUsd::ZERO,
        };
        bench.provider_address.cast(provider::Message::Ended(report)).unwrap();
    }
    while bench.provider_address.gauges().mailbox() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(bench.system.crash("provider:openai"));
    let Reply::Denied(Denial::NoCandidate(decision)) = bench.ask(question(None)).await.unwrap() else {
        panic!("expected no candidate")
    };
    assert_eq!(decision.candidates.first().unwrap().reason.as_ref().unwrap().name(), "circuit_open");
    assert_eq!(bench.provider.circuit(), provider::circuit::State::Open);
    bench.assert_idle();
}
