//! The shapes of the answers, as the OpenAPI document shows them.
//!
//! The types that answers are made of belong to the actors and the store, which know nothing of HTTP; these describe what they look like
//! from outside. A test holds real answers against them.

#![expect(dead_code, reason = "they describe and are never made")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// An amount in USD as a decimal string with nine places.
#[derive(Serialize, ToSchema)]
#[schema(example = "0.000258450", pattern = r"^-?\d+\.\d{9}$")]
pub(super) struct Usd(String);

/// An instant, RFC 3339.
#[derive(Serialize, ToSchema)]
#[schema(format = DateTime)]
pub(super) struct Instant(String);

/// Shapes of answers that are only ever written.
macro_rules! shapes {
    ($($(#[$about:meta])* $name:ident { $($(#[$on:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $($(#[$about])* #[derive(Serialize, ToSchema)] #[serde(deny_unknown_fields)]
        pub(super) struct $name { $($(#[$on])* $field: $type),* })*
    };
}

shapes! {
    /// What is settled for a tenant; what is left out is not limited.
    Policy {
        /// Whether the operator's keys serve it where it has none of its own.
        operator_keys: Option<bool>,
        /// The models that it may use, each as `model` or `provider/model`; all where null.
        models: Option<Vec<String>>,
        /// The most that it may spend in a period, in USD: a decimal string or a number.
        #[schema(value_type = Option<String>)]
        budget_usd: Option<Usd>,
        budget_period: Option<BudgetPeriod>,
        requests_per_minute: Option<u64>,
        tokens_per_minute: Option<u64>,
        max_concurrent: Option<u64>,
        /// Its share of the turns at a busy provider beside other tenants that wait, 1 to 100; 1 where absent.
        weight: Option<u64>,
        /// The complexity, 0 to 1, of a request that has nothing to be scored by.
        default_complexity: Option<f64>,
        /// How good answers to plain `auto` should be; `balanced` where absent.
        quality: Option<Quality>,
        /// Least quality, 0 to 1, of what `auto` chooses.
        min_quality: Option<f64>,
        /// Whether what becomes of its requests shifts the quality that models have for it; `true` where absent.
        learning: Option<bool>,
        /// The share of its `auto` requests, 0 to 0.05, in which the runner-up is tried to learn of it; 0 where absent.
        exploration: Option<f64>,
        /// Another policy that a share of its requests is also weighed under, without effect.
        shadow: Option<ShadowPolicy>,
        /// Whether the spans of its requests carry prompts and answers, where `telemetry.content` permits it; `false` where absent.
        telemetry_content: Option<bool>,
    }

    /// A second policy. What is left out is as the tenant has it.
    ShadowPolicy {
        /// The share of `auto` requests, 0 to 1, that are weighed.
        sample: f64,
        models: Option<Vec<String>>,
        default_complexity: Option<f64>,
        quality: Option<Quality>,
        min_quality: Option<f64>,
        /// Whether requests for which it chooses another model are sent to that too, after the client has its answer.
        send: Option<bool>,
        /// The most that those calls may cost in a day (UTC), in USD; needed to send.
        #[schema(value_type = Option<String>)]
        budget_usd: Option<Usd>,
    }

    /// What a tenant's requests have taught.
    Learning {
        tenant: String,
        /// Whether it counts.
        learning: bool,
        exploration: f64,
        /// Seconds after which an outcome counts half.
        half_life_seconds: f64,
        /// The most that a quality is shifted by, in logits.
        bound: f64,
        lessons: Vec<Lesson>,
    }

    /// What is known of one model's answers to one kind of task.
    Lesson {
        provider: String,
        model: String,
        task: Task,
        answers: AnswerCounts,
        feedback: FeedbackCounts,
        /// The catalogue's quality; absent, as all that follows, where the model is in no catalogue any more.
        prior: Option<f64>,
        /// What is added to its logit.
        shift: Option<f64>,
        /// The quality that counts.
        quality: Option<f64>,
        /// The share of good answers that the catalogue makes one expect of average requests.
        expected: Option<f64>,
        /// The share by how answers ended.
        ended: Option<Estimate>,
        /// The share by feedback.
        judged: Option<Estimate>,
    }

    /// Answers by what became of them, those of long ago counting less.
    AnswerCounts {
        sound: f64,
        refused: f64,
        cut_off: f64,
        malformed: f64,
        asked_again: f64,
    }

    /// Answers that were judged, and the sum of their scores.
    FeedbackCounts {
        answers: f64,
        scores: f64,
    }

    /// A share with its 95 % interval.
    Estimate {
        mean: f64,
        low: f64,
        high: f64,
    }

    /// A tenant of which nothing is known any more.
    ForgottenLearning {
        tenant: String,
        forgotten: bool,
    }

    /// How the second policy compares; null where there is none.
    Shadow {
        tenant: String,
        comparison: Option<Comparison>,
    }

    /// Two policies beside each other.
    Comparison {
        policy: ShadowPolicy,
        since: Option<Instant>,
        /// Requests weighed under both.
        sampled: u64,
        /// Of them, those for which the second would have no model.
        unserved: u64,
        /// The share of the others for which both choose the same model.
        agreement: Option<Estimate>,
        /// Mean expected cost of a request.
        chosen_cost_usd: Usd,
        shadow_cost_usd: Usd,
        /// By how much the second is dearer, a request, with its 95 % interval.
        difference_usd: Option<UsdInterval>,
        answers: ShadowAnswers,
    }

    /// What came of the requests for which the policies choose differently and that were sent to both models.
    ShadowAnswers {
        sent: u64,
        /// Not sent, though the policies choose differently: beyond the budget or a limit, too many at once, no place at the provider, or
        /// not to be said in every dialect's words.
        skipped: u64,
        /// Of those sent, not answered.
        failed: u64,
        /// Of those sent, those of which both answers could be judged.
        judged: u64,
        /// Of all calls since the policy was set.
        cost_usd: Usd,
        spent_today_usd: Usd,
        /// How good the answers were that clients got, from 0 to 1, judged as for learning.
        chosen_quality: Option<Estimate>,
        shadow_quality: Option<Estimate>,
        /// By how much the second policy's are better.
        difference: Option<Estimate>,
    }

    /// An amount with its 95 % interval.
    UsdInterval {
        mean: Usd,
        low: Usd,
        high: Usd,
    }

    /// A tenant as it is kept.
    TenantRecord {
        id: String,
        operator_keys: bool,
        models: Option<Vec<String>>,
        budget_usd: Option<Usd>,
        budget_period: BudgetPeriod,
        requests_per_minute: Option<u64>,
        tokens_per_minute: Option<u64>,
        max_concurrent: Option<u64>,
        weight: u64,
        default_complexity: Option<f64>,
        quality: Quality,
        min_quality: Option<f64>,
        learning: bool,
        exploration: f64,
        shadow: Option<ShadowPolicy>,
        telemetry_content: bool,
        created_at: Option<Instant>,
        updated_at: Option<Instant>,
    }

    /// A tenant with what it has spent.
    Tenant {
        id: String,
        operator_keys: bool,
        models: Option<Vec<String>>,
        budget_usd: Option<Usd>,
        budget_period: BudgetPeriod,
        requests_per_minute: Option<u64>,
        tokens_per_minute: Option<u64>,
        max_concurrent: Option<u64>,
        weight: u64,
        default_complexity: Option<f64>,
        quality: Quality,
        min_quality: Option<f64>,
        learning: bool,
        exploration: f64,
        shadow: Option<ShadowPolicy>,
        telemetry_content: bool,
        created_at: Option<Instant>,
        updated_at: Option<Instant>,
        spent: Spent,
    }

    /// What a tenant has spent, by UTC.
    Spent {
        day_usd: Usd,
        month_usd: Usd,
        /// Held by requests in flight.
        held_usd: Usd,
        in_flight: u64,
    }

    /// Tenants by name.
    Tenants {
        tenants: Vec<Tenant>,
        next_cursor: Option<String>,
    }

    /// A tenant that is no more.
    RemovedTenant {
        tenant: String,
        removed: bool,
        /// Whether its ledger rows went too.
        ledger_purged: bool,
    }

    /// A tenant's provider keys.
    Keys {
        tenant: String,
        keys: Vec<Key>,
    }

    /// What is shown of a provider key.
    Key {
        provider: String,
        /// Its last characters: `…abcd`.
        hint: String,
        updated_at: Instant,
    }

    /// A tenant's client tokens.
    Tokens {
        tenant: String,
        tokens: Vec<Token>,
    }

    /// What is shown of a client token.
    Token {
        id: String,
        created_at: Instant,
        expires_at: Option<Instant>,
        last_used_at: Option<Instant>,
    }

    /// A client token, once.
    IssuedToken {
        id: String,
        token: String,
        tenant: String,
        created_at: Instant,
        expires_at: Option<Instant>,
    }

    /// A client token that no longer holds.
    RevokedToken {
        id: String,
        tenant: String,
        revoked: bool,
    }

    /// A tenant's figures.
    TenantStats {
        tenant: String,
        since: Instant,
        until: Instant,
        requests: u64,
        errors: u64,
        cache_hits: u64,
        unsettled: u64,
        cost_usd: Usd,
        saved_usd: Usd,
        tokens: StatsTokens,
        latency_ms: Ranks,
        ttft_ms: Ranks,
        success_rate: Option<f64>,
        providers: BTreeMap<String, Totals>,
        models: BTreeMap<String, Totals>,
    }

    /// Figures of some calls.
    Totals {
        requests: u64,
        errors: u64,
        cache_hits: u64,
        unsettled: u64,
        cost_usd: Usd,
        saved_usd: Usd,
        tokens: StatsTokens,
        latency_ms: Ranks,
        ttft_ms: Ranks,
        success_rate: Option<f64>,
    }

    /// Tokens; `input` holds `cached_input`, `output` holds `reasoning`.
    StatsTokens {
        input: u64,
        cached_input: u64,
        output: u64,
        reasoning: u64,
    }

    /// Tokens; `input` holds `cached_input`, `cache_write` and `audio_input`, `output` holds `reasoning` and `audio_output`.
    TokenCounts {
        input: u64,
        cached_input: u64,
        cache_write: u64,
        output: u64,
        reasoning: u64,
        audio_input: u64,
        audio_output: u64,
    }

    /// Milliseconds by nearest rank.
    Ranks {
        p50: Option<u64>,
        p95: Option<u64>,
        p99: Option<u64>,
    }

    /// Milliseconds with the samples that they stand on.
    Percentiles {
        p50: u64,
        p95: u64,
        p99: u64,
        samples: u64,
    }

    /// Figures over time.
    SeriesSet {
        since: Instant,
        until: Instant,
        step_seconds: f64,
        total: Flow,
        series: Vec<Series>,
    }

    /// One named line of a plot.
    Series {
        name: String,
        requests: u64,
        errors: u64,
        cost_usd: Usd,
        saved_usd: Usd,
        points: Vec<Flow>,
    }

    /// Figures of a stretch of time.
    Flow {
        requests: u64,
        errors: u64,
        cost_usd: Usd,
        saved_usd: Usd,
    }

    /// Ledger rows.
    RequestPage {
        requests: Vec<Request>,
        next_cursor: Option<String>,
    }

    /// A ledger row.
    Request {
        request_id: String,
        tenant: String,
        at: Instant,
        dialect: String,
        requested: String,
        provider: String,
        model: String,
        complexity: f64,
        outcome: Outcome,
        attempts: Vec<Attempt>,
        tokens: TokenCounts,
        estimated: bool,
        cost_usd: Usd,
        reserved_usd: Usd,
        saved_usd: Usd,
        latency_ms: Option<u64>,
        ttft_ms: Option<u64>,
        cache: CacheUse,
        tags: Vec<String>,
        /// As `POST /v1/route` shows it.
        #[schema(value_type = Object)]
        decision: (),
        /// The client's request that this call of a second policy's model repeats, where it is one.
        shadow_of: Option<String>,
    }

    /// One upstream call.
    Attempt {
        provider: String,
        model: String,
        outcome: Outcome,
        status: Option<u16>,
        latency_ms: u64,
        cost_usd: Usd,
        fault: Option<String>,
        role: Option<Role>,
    }

    /// Providers as configured.
    Providers {
        providers: Vec<Provider>,
    }

    /// A provider; from `circuit` on only where it is enabled.
    Provider {
        name: String,
        enabled: bool,
        dialect: String,
        base_url: String,
        operator_key: bool,
        max_in_flight: u64,
        max_queue: u64,
        circuit: Option<Circuit>,
        reach: Option<Health>,
        in_flight: Option<u64>,
        queue_depth: Option<u64>,
        models: Option<BTreeMap<String, Health>>,
        requests: Option<u64>,
        errors: Option<u64>,
        latency_ms: Option<Percentiles>,
        ttft_ms: Option<Percentiles>,
    }

    /// What is known of a model, or of whether a provider can be reached.
    Health {
        circuit: Circuit,
        open_since: Option<Instant>,
        open_for_ms: Option<u64>,
        open_because: Option<String>,
        /// Probes that failed since it opened first.
        failed_probes: Option<u64>,
        /// Whether a probe is under way.
        probing: bool,
        ok: u64,
        failed: u64,
        success_rate: f64,
        penalty: f64,
        /// Since the process started; of a provider, all its models together.
        calls: u64,
        /// Of them, failed, also where another model then answered.
        failures: u64,
        calls_last_minute: u64,
        failures_last_minute: u64,
        cost_usd: Usd,
        tokens: TokenCounts,
        /// A moving average, as the next.
        latency_ms: f64,
        /// Of streams; 0 where none has succeeded yet.
        ttft_ms: f64,
        last_error: Option<LastError>,
    }

    /// The last error of a model.
    LastError {
        at: Instant,
        fault: String,
        message: String,
    }

    /// The global aggregate.
    Metrics {
        since: Option<Instant>,
        total: Aggregate,
        providers: BTreeMap<String, Aggregate>,
        requests_under_way: u64,
    }

    /// What happened at a provider or with a model.
    Aggregate {
        requests: u64,
        errors: u64,
        cost_usd: Usd,
        tokens: TokenCounts,
        latency_ms: Percentiles,
        ttft_ms: Percentiles,
        /// Of a provider.
        #[schema(value_type = Option<Object>)]
        models: (),
        /// Of a provider.
        queue_depth: Option<u64>,
        /// Of a provider.
        in_flight: Option<u64>,
        /// Of a provider, since the process started.
        calls: Option<u64>,
        /// Of its calls, failed, also where another model then answered.
        failures: Option<u64>,
        /// Of a provider.
        calls_last_minute: Option<u64>,
        /// Of a provider.
        failures_last_minute: Option<u64>,
    }

    /// An actor of the tree.
    Actor {
        name: String,
        kind: String,
        status: ActorStatus,
        since: Instant,
        restarts: u64,
        messages: u64,
        mailbox: u64,
        in_flight: u64,
        last_failure: Option<Failure>,
        #[schema(no_recursion)]
        children: Vec<Actor>,
    }

    /// The last failure of an actor.
    Failure {
        at: Instant,
        reason: String,
    }

    /// An actor that was told to fail.
    Restarting {
        name: String,
        status: String,
    }

    /// What a reload changed.
    Reloaded {
        changed: Vec<Change>,
    }

    /// A changed key of the configuration.
    Change {
        key: String,
        change: String,
        /// Whether it holds now; a restart is needed where it does not.
        applied: bool,
    }
}

/// Names of a closed set.
macro_rules! names {
    ($($(#[$about:meta])* $name:ident { $($value:ident),* $(,)? })*) => {
        $($(#[$about])* #[derive(Serialize, ToSchema)] #[serde(rename_all = "snake_case")]
        pub(super) enum $name { $($value),* })*
    };
}

names! {
    /// Calendar days or months of UTC.
    BudgetPeriod { Day, Month }
    /// What is preferred where a better answer costs more.
    Quality { Economy, Balanced, Best }
    /// What kind of task a request is.
    Task { Structured, Tools, Code, Prose }
    /// How a request ended; `reserved` while it is open.
    Outcome { Reserved, Ok, Cancelled, Truncated, Failed, Unsettled }
    /// What the cache had to do with it.
    CacheUse { Hit, Miss, Off }
    /// What a call was for, beside giving the answer by itself: to go on with one that broke off, or to stand in for one that is slow.
    Role { Rescue, Hedge, Shadow }
    /// The state of a circuit.
    Circuit { Closed, HalfOpen, Open }
    /// Whether an actor runs.
    ActorStatus { Starting, Running, Restarting, Stopped }
}
