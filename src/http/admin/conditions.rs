//! What is not well: since when, and what the gateway does about it by itself.

use aipipe_actors::money::NanoUsd;
use aipipe_actors::provider::Provider;
use aipipe_actors::provider::circuit::State as Circuit;
use aipipe_actors::provider::health::HealthView;
use aipipe_actors::runtime::{Node, Status};
use aipipe_actors::tenant::account::day_of;
use aipipe_actors::tenant::policy::BudgetPeriod;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::Gateway;
use crate::store::AdminScope;

/// How long an actor that failed and came back is worth a word.
const RECENT_MINUTES: i64 = 10;
/// A penalty from which on a model is noticeably passed over.
const NOTICEABLE_PENALTY: f64 = 1.5;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Requests fail, or will soon.
    Critical,
    /// Something is broken and gone around.
    Warning,
    /// Something was broken and is on trial: one call at a time tells whether it works again.
    Recovering,
    /// Worth knowing.
    Notice,
}

/// One thing that is not as it should be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Condition {
    pub(super) severity: Severity,
    /// A stable code: `draining`, `store`, `actor`, `actor_restarted`, `circuit_open`, `circuit_half_open`, `penalty`, `queue`, `no_key`,
    /// `budget`, `retiring`, `unsettled`.
    code: &'static str,
    /// What it is about: an actor, a provider, `provider/model`, a tenant.
    subject: String,
    /// What is wrong.
    what: String,
    /// Since when, where that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// What the gateway does about it.
    doing: String,
    /// What an operator can do, where something is left to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'static str>,
}

impl Condition {
    fn new(severity: Severity, code: &'static str, subject: impl Into<String>) -> Self {
        let subject = subject.into();
        Self { severity, code, subject, what: String::new(), since: None, doing: String::new(), advice: None }
    }

    fn what(mut self, what: impl Into<String>) -> Self {
        self.what = what.into();
        self
    }

    fn since(mut self, since: Option<Timestamp>) -> Self {
        self.since = since;
        self
    }

    fn doing(mut self, doing: impl Into<String>) -> Self {
        self.doing = doing.into();
        self
    }

    fn advice(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }
}

/// Everything that is not well, the worst first.
pub(super) async fn of(gateway: &Gateway, tree: &Node) -> Vec<Condition> {
    let mut found: Vec<Condition> = keys(gateway).await.into_iter().collect();
    let now = gateway.clock.now();
    process(gateway, &mut found);
    actor(tree, now, &mut found);
    let live = gateway.world.providers.load();
    for (of_provider, _) in live.values() {
        provider(gateway, of_provider, &mut found);
    }
    drop(live);
    budgets(gateway, now, &mut found);
    retiring(gateway, now, &mut found);
    found.sort_by(|a, b| (a.severity, &a.subject).cmp(&(b.severity, &b.subject)));
    found
}

fn process(gateway: &Gateway, found: &mut Vec<Condition>) {
    if gateway.drain.is_draining() {
        let condition = Condition::new(Severity::Critical, "draining", "gateway").what("is shutting down");
        let doing = format!("new requests get 503; {} under way are let finish", gateway.drain.present());
        found.push(condition.doing(doing));
    }
    if let Err(why) = gateway.store.health() {
        let condition = Condition::new(Severity::Critical, "store", "ledger").what(why);
        let condition = condition.doing("requests that cannot be written down are not sent");
        found.push(condition.advice("look at the disk of the database: space, permissions, errors"));
    }
    let unsettled = gateway.store.unsettled_count();
    if unsettled > 0 {
        let condition = Condition::new(Severity::Notice, "unsettled", "ledger");
        let condition = condition.what(format!("{unsettled} requests were open when a process died"));
        found.push(condition.doing("each counts at its reservation, the most that it can have cost"));
    }
}

/// Whether anybody has a key to be served with.
async fn keys(gateway: &Gateway) -> Option<Condition> {
    let setup = gateway.setup.load_full();
    let mut enabled = setup.config.providers.iter().filter(|provider| provider.enabled);
    if enabled.any(|provider| provider.key.is_some() || !provider.needs_key()) {
        return None;
    }
    // A store that cannot be read is a condition of its own.
    let have_tenants = gateway.store.has_provider_keys(AdminScope::granted()).await.unwrap_or(true);
    let condition = if have_tenants {
        Condition::new(Severity::Notice, "no_key", "providers").doing("only tenants with keys of their own are served")
    } else {
        let condition = Condition::new(Severity::Critical, "no_key", "providers").doing("no request can be served");
        condition.advice("set OPENAI_API_KEY or another provider's variable and restart, or give a tenant a key")
    };
    Some(condition.what("no operator key is set"))
}

fn retiring(gateway: &Gateway, now: Timestamp, found: &mut Vec<Condition>) {
    let setup = gateway.setup.load();
    let mut models: Vec<_> = setup.config.retiring(day_of(now)).map(|(model, day)| (day, model)).collect();
    models.sort_by_key(|(day, _)| *day);
    if models.is_empty() {
        return;
    }
    let named: Vec<String> =
        models.iter().map(|(day, model)| format!("{}/{} on {day}", model.provider, model.id)).collect();
    let condition = Condition::new(Severity::Notice, "retiring", "catalogue");
    let condition = condition.what(format!("models retire: {}", named.join(", ")));
    found.push(condition.doing("each is no candidate from its day on"));
}

fn actor(node: &Node, now: Timestamp, found: &mut Vec<Condition>) {
    let failure = node.last_failure.as_ref();
    let recent = now.checked_sub(RECENT_MINUTES.minutes()).unwrap_or(Timestamp::MIN);
    if matches!(node.status, Status::Restarting | Status::Starting) {
        let reason = failure.map_or("it has not started yet", |failure| &failure.reason);
        let condition = Condition::new(Severity::Warning, "actor", &node.name).what(format!("does not run: {reason}"));
        let doing = "its supervisor restarts it, at once the first time, then every 50 ms to 30 s";
        found.push(condition.since(Some(node.since)).doing(doing));
    } else if let Some(failure) = failure.filter(|failure| failure.at > recent) {
        let condition = Condition::new(Severity::Notice, "actor_restarted", &node.name);
        let condition = condition.what(format!("failed and runs again: {}", failure.reason)).since(Some(failure.at));
        found.push(condition.doing("its supervisor restarted it; requests in flight went on"));
    }
    for child in &node.children {
        actor(child, now, found);
    }
}

fn provider(gateway: &Gateway, provider: &Provider, found: &mut Vec<Condition>) {
    let (book, at) = (provider.snapshot(), provider.moment());
    let id = provider.id();
    circuit(id.as_str(), &book.reach(at), Severity::Critical, found);
    for (model, view) in book.models(at) {
        circuit(&format!("{id}/{model}"), &view, Severity::Warning, found);
    }
    let queued = provider.gate().queued();
    if queued > 0 {
        let in_flight = provider.gate().in_flight();
        let most = gateway.setup.load().config.provider(id.as_str()).map_or(0, |configured| configured.max_queue);
        let severity = if queued * 2 >= most { Severity::Warning } else { Severity::Notice };
        let condition = Condition::new(severity, "queue", id.as_str());
        let condition = condition.what(format!("all {in_flight} places are taken, {queued} of at most {most} wait"));
        found.push(condition.doing("beyond that requests go to another provider or get 503"));
    }
}

fn circuit(subject: &str, view: &HealthView, open: Severity, found: &mut Vec<Condition>) {
    let because = view.open_because.unwrap_or("failures");
    let tried = match view.failed_probes.unwrap_or_default() {
        0 => String::new(),
        1 => "; one probe has failed".to_owned(),
        many => format!("; {many} probes have failed"),
    };
    match view.circuit {
        Circuit::Open => {
            let seconds = view.open_for_ms.unwrap_or_default().div_ceil(1_000);
            let condition = Condition::new(open, "circuit_open", subject);
            let condition = condition.what(format!("circuit open because of {because}{tried}")).since(view.open_since);
            found.push(condition.doing(format!("requests go elsewhere; one probe goes out in {seconds} s")));
        }
        Circuit::HalfOpen => {
            let condition = Condition::new(Severity::Recovering, "circuit_half_open", subject);
            let what = format!("on trial, half open after {because}{tried}");
            let condition = condition.what(what).since(view.open_since);
            let probe = if view.probing { "the probe is under way" } else { "the next request is the probe" };
            let wait = view.next_cool_down.unwrap_or_default().as_secs();
            let doing = format!(
                "{probe}, one call at a time, and all others go elsewhere; its success closes the circuit, its failure puts off the next by \
                 up to {wait} s"
            );
            found.push(condition.doing(doing));
        }
        Circuit::Closed if view.rate.penalty >= NOTICEABLE_PENALTY => {
            let condition = Condition::new(Severity::Notice, "penalty", subject);
            let what =
                format!("{} of the last minute's {} calls failed", view.rate.failed, view.rate.failed + view.rate.ok);
            let doing = format!("counts as {:.1} times as expensive; that fades within a minute", view.rate.penalty);
            found.push(condition.what(what).since(view.last_error.as_ref().map(|error| error.at)).doing(doing));
        }
        Circuit::Closed => {}
    }
}

fn budgets(gateway: &Gateway, now: Timestamp, found: &mut Vec<Condition>) {
    for live in gateway.directory.all_live() {
        let policy = live.estate.policy.load();
        let Some(budget) = policy.budget_usd else { continue };
        let balance = live.estate.account.balance(now);
        let (spent, until) = match policy.budget_period {
            BudgetPeriod::Day => (balance.spent_day, "midnight UTC"),
            BudgetPeriod::Month => (balance.spent_month, "the first of the next month, UTC"),
        };
        // Nine tenths: the rest is less than some requests need.
        let gone = spent + balance.held;
        if gone < budget && NanoUsd(budget.0 - budget.0 / 10) > gone {
            continue;
        }
        let condition = Condition::new(Severity::Warning, "budget", live.id.as_str());
        let condition =
            condition.what(format!("{spent} of {budget} USD spent, {} held by requests in flight", balance.held));
        let doing = format!("requests that the rest does not cover get 402 until {until}");
        found.push(condition.doing(doing).advice("raise the budget, or let it be"));
    }
}
