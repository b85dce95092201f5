//! Every token accounted for: random schedules of requests, faults, clients that leave, crashes and reloads, after which the ledger says
//! what the providers counted; and budgets that hold, and are used up, under many requests at once.
//!
//! `AIPIPE_SCHEDULE_REQUESTS` sets how many requests a schedule has, `AIPIPE_SCHEDULE_SEED` repeats one; `AIPIPE_BUDGET_REQUESTS` sets how
//! many ask at once for a budget, `AIPIPE_BUDGET_CRASHES` how often the actor crashes meanwhile.

use std::collections::{BTreeMap, HashMap};

use aipipe::simulator::{Behaviour, Call, Provider, Settings, Usage};
use aipipe_actors::catalogue::Catalogue;
use aipipe_actors::money::NanoUsd;
use fastrand::Rng;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{Answer, Bench, Setting, all_rows, ask, ask_stream, model};

const TENANTS: [&str; 3] = ["default", "acme", "globex"];

pub(crate) fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// What a client knows when its request has ended.
struct Told {
    /// The request's own mark, which stands in its prompt and its tags.
    mark: String,
    status: u16,
    cost: Option<String>,
    /// The client read the answer to its end.
    stayed: bool,
}

/// What a request does, drawn before it starts.
#[derive(Clone)]
struct Plan {
    mark: String,
    tenant: &'static str,
    path: &'static str,
    body: Value,
    /// The client leaves after so many pieces of the answer; before the first where it is 0.
    leaves_after: Option<usize>,
}

fn plan(number: u64, rng: &mut Rng) -> Plan {
    let mark = format!("mark-{number}-");
    let name = model(Provider::ALL[rng.usize(..Provider::ALL.len())]);
    let name = if rng.u8(..5) == 0 { "auto" } else { name };
    // Some ask what others ask at the same time: one of them pays.
    let prompt = match rng.u8(..6) {
        0 => format!("What is {}?", rng.u8(..3)),
        _ => format!("{mark} tell me {}", "more ".repeat(rng.usize(..40))),
    };
    let stream = rng.bool();
    let (path, mut body) = match rng.u8(..4) {
        0 => ("/v1/messages", {
            let mut body = ask(name, &prompt);
            body["max_tokens"] = json!(1_000);
            body["stream"] = json!(stream);
            body
        }),
        _ if stream => ("/v1/chat/completions", ask_stream(name, &prompt)),
        _ => ("/v1/chat/completions", ask(name, &prompt)),
    };
    body["aipipe"] = json!({"tags": [mark]});
    let leaves_after = (rng.u8(..5) == 0).then(|| rng.usize(..4));
    Plan { mark, tenant: TENANTS[rng.usize(..TENANTS.len())], path, body, leaves_after }
}

async fn carry_out(bench: &Bench, plan: Plan) -> Told {
    let Plan { mark, tenant, path, body, leaves_after } = plan;
    let sending = bench.post(path, &body).header("x-tenant-id", tenant).send();
    let gone = |status| Told { mark: mark.clone(), status, cost: None, stayed: false };
    let mut response = match leaves_after {
        // It leaves while the provider is being asked, or before, as the schedule has it.
        Some(0) => {
            let patience = tokio::time::sleep(std::time::Duration::from_micros(fastrand::u64(..4_000)));
            tokio::select! { biased; () = patience => return gone(0), response = sending => response.unwrap() }
        }
        _ => sending.await.unwrap(),
    };
    let status = response.status().as_u16();
    let cost = response.headers().get("x-aipipe-cost-usd").map(|cost| cost.to_str().unwrap().to_owned());
    let mut pieces = 0;
    while response.chunk().await.unwrap().is_some() {
        pieces += 1;
        if leaves_after.is_some_and(|most| pieces >= most) {
            return gone(status);
        }
    }
    Told { mark, status, cost, stayed: true }
}

fn faults() -> Vec<Behaviour> {
    vec![
        Behaviour::Normal,
        Behaviour::UsageMissing,
        Behaviour::status(500),
        Behaviour::status(529),
        Behaviour::ErrorIn200,
        Behaviour::ResetBeforeHeaders,
        Behaviour::BreaksAfter(2),
        Behaviour::EndsEarly(1),
        Behaviour::ErrorEventAfter(1),
        Behaviour::MalformedEventAfter(3),
        Behaviour::Truncated,
        Behaviour::NotJson { body: "<html>".into(), status: 200 },
    ]
}

/// What happens beside the requests.
async fn disturb(bench: &Bench, rng: &mut Rng) {
    match rng.u8(..10) {
        0 => {
            bench.gateway.reload().await.unwrap();
        }
        1 | 2 => {
            const ACTORS: [&str; 8] = [
                "tenant:default",
                "tenant:acme",
                "provider:openai",
                "provider:anthropic",
                "metrics",
                "tenants",
                "providers",
                "root",
            ];
            // One that is being restarted at this moment is not there to crash.
            bench.gateway.system.crash(ACTORS[rng.usize(..ACTORS.len())]);
        }
        _ => {
            let faults = faults();
            let failure = Box::new(faults[rng.usize(..faults.len())].clone());
            let provider = Provider::ALL[rng.usize(..Provider::ALL.len())];
            bench.simulator.script(provider, Behaviour::FailureRate { rate: 0.3, failure });
        }
    }
}

/// What a call costs by the simulator's count and the catalogue's prices: written out here, not taken from the program.
pub(crate) fn price(catalogue: &Catalogue, call: &Call, usage: Usage) -> i128 {
    let asked = call.model.as_deref().unwrap();
    let rates = catalogue.at_provider(call.provider.as_str(), asked).and_then(|model| model.rates).unwrap();
    assert!(rates.long_context.is_none_or(|long| usage.input <= long.threshold_tokens));
    let plain = usage.input - usage.cached - usage.cache_written;
    let terms = [
        (plain, rates.input),
        (usage.cached, rates.cached_input),
        (usage.cache_written, rates.cache_write),
        (usage.output, rates.output),
    ];
    let millionths: i128 = terms.iter().map(|(count, rate)| i128::from(*count) * i128::from(rate.0)).sum();
    (millionths + 999_999) / 1_000_000
}

pub(crate) fn nanos(usd: &Value) -> i128 {
    i128::from(NanoUsd::parse_usd(usd.as_str().unwrap()).unwrap().0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_the_ledger_says_what_the_providers_counted() {
    let requests = number("AIPIPE_SCHEDULE_REQUESTS", 300);
    let seed = number("AIPIPE_SCHEDULE_SEED", fastrand::u64(..));
    println!("AIPIPE_SCHEDULE_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let bench = Bench::start().await;
    let shadow = json!({"sample": 1.0, "models": [model(Provider::Anthropic)], "send": true, "budget_usd": "100"});
    for tenant in TENANTS {
        bench.put_tenant(tenant, &json!({"operator_keys": true, "shadow": shadow})).await;
    }
    let mut told = Vec::new();
    let mut under_way = FuturesUnordered::new();
    let mut plans = HashMap::new();
    for n in 0..requests {
        let plan = plan(n, &mut rng);
        plans.insert(plan.mark.clone(), plan.clone());
        under_way.push(carry_out(&bench, plan));
        if under_way.len() > rng.usize(..24) {
            told.extend(under_way.next().await);
        }
        if rng.u8(..8) == 0 {
            disturb(&bench, &mut rng).await;
        }
    }
    while let Some(one) = under_way.next().await {
        told.push(one);
    }
    drop(under_way);
    bench.gateway.drain.begin();
    bench.idle().await;

    let all = all_rows(async |path| bench.shown(&path).await).await;
    let (rows, shadows): (Vec<Value>, Vec<Value>) = all.iter().cloned().partition(|row| row["shadow_of"].is_null());
    let mut row_of: BTreeMap<&str, &Value> = BTreeMap::new();
    for row in &rows {
        let mark = row["tags"][0].as_str().unwrap();
        assert!(row_of.insert(mark, row).is_none(), "{mark} has two rows");
        assert!(["ok", "cancelled", "truncated", "failed"].contains(&row["outcome"].as_str().unwrap()), "{row}");
    }
    // Who asked for what is told by the mark; where several asked the same, by the row's own figures.
    let calls = bench.simulator.calls();
    let mut calls_of: HashMap<&str, Vec<&Call>> = HashMap::new();
    let mut shared = 0;
    for call in &calls {
        let body = std::str::from_utf8(&call.body).unwrap();
        let Some(at) = body.find("mark-") else {
            shared += 1;
            continue;
        };
        let mark = &body[at..=at + body[at..].match_indices('-').nth(1).unwrap().0];
        calls_of.entry(mark).or_default().push(call);
    }
    let (mut exact, mut attempts, mut shared_attempts) = (0, 0, 0);
    let catalogue = bench.gateway.catalogue();
    // A call for a second policy is made when the client has its answer: it is the last of those with its mark.
    for row in &shadows {
        let (mark, made) = (row["tags"][0].as_str().unwrap(), row["attempts"].as_array().unwrap());
        assert_eq!((made.len(), &row["shadow_of"]), (1, &row_of[mark]["request_id"]), "{row}");
        let Some(calls) = calls_of.get_mut(mark) else {
            shared_attempts += 1;
            continue;
        };
        let call = calls.pop().unwrap();
        assert_eq!(made[0]["provider"], call.provider.as_str(), "{row}");
        let cost = nanos(&row["cost_usd"]);
        if row["estimated"] == false && cost > 0 {
            assert_eq!(cost, price(&catalogue, call, call.usage.unwrap()), "{row}");
        }
    }
    assert!(!shadows.is_empty());
    for (mark, calls) in &calls_of {
        let row = row_of.get(mark).unwrap_or_else(|| panic!("{mark} was sent {} times and has no row", calls.len()));
        let made = row["attempts"].as_array().unwrap();
        assert!(made.len() >= calls.len(), "{mark}: {} calls, {row}", calls.len());
    }
    for (mark, row) in &row_of {
        let made = row["attempts"].as_array().unwrap();
        let cost: i128 = made.iter().map(|attempt| nanos(&attempt["cost_usd"])).sum();
        assert_eq!(nanos(&row["cost_usd"]), cost, "{row}");
        if row["cache"] == "hit" {
            assert_eq!((made.len(), cost, &row["tokens"]["input"]), (0, 0, &json!(0)), "{row}");
            continue;
        }
        let is_shared = !plans[*mark].body["messages"].to_string().contains("mark-");
        attempts += made.len();
        shared_attempts += if is_shared { made.len() } else { 0 };
        if row["outcome"] != "ok" {
            assert!(
                cost == 0 || row["estimated"] == true,
                "figures of an answer that broke off are not its last: {row}"
            );
        }
        if is_shared || row["estimated"] == true {
            continue;
        }
        // Every attempt that may be billed has the provider's figures.
        let calls = calls_of.get(mark).map(Vec::as_slice).unwrap_or_default();
        let mut counted = Usage::default();
        let mut priced = 0;
        for (attempt, call) in made.iter().filter(|attempt| !attempt["status"].is_null()).zip(calls) {
            assert_eq!(attempt["provider"], call.provider.as_str(), "{row}");
            if nanos(&attempt["cost_usd"]) == 0 {
                continue;
            }
            let usage = call.usage.unwrap();
            counted.input += usage.input;
            counted.cached += usage.cached;
            counted.cache_written += usage.cache_written;
            counted.output += usage.output;
            counted.reasoning += usage.reasoning;
            priced += price(&catalogue, call, usage);
        }
        let tokens = &row["tokens"];
        let figures =
            ["input", "cached_input", "cache_write", "output", "reasoning"].map(|kind| tokens[kind].as_u64().unwrap());
        let Usage { input, cached, cache_written, output, reasoning } = counted;
        assert_eq!(figures, [input, cached, cache_written, output, reasoning], "{row}");
        assert_eq!(cost, priced, "{row}");
        exact += 1;
    }
    assert!(exact > rows.len() / 4, "{exact} of {} rows could be compared", rows.len());
    assert!(shared_attempts >= shared, "{shared} calls of shared questions, {shared_attempts} attempts in the ledger");

    for one in &told {
        let row = row_of.get(one.mark.as_str());
        if one.stayed && one.status == 200 {
            let row = row.unwrap_or_else(|| panic!("{} was answered and has no row", one.mark));
            assert!(matches!(row["outcome"].as_str(), Some("ok" | "truncated")), "{row}");
            if let Some(cost) = &one.cost {
                assert_eq!(row["cost_usd"], json!(cost));
            }
        }
        if one.stayed && one.status >= 400 {
            assert!(row.is_none_or(|row| row["outcome"] == "failed"), "{}: {row:?}", one.status);
        }
    }

    // The same sums everywhere: stats, accounts, providers, metrics.
    let total: i128 = all.iter().map(|row| nanos(&row["cost_usd"])).sum();
    let mut by_stats = 0;
    for tenant in TENANTS {
        let stats = bench.shown(&format!("/admin/tenants/{tenant}/stats")).await;
        let own: i128 = all.iter().filter(|row| row["tenant"] == tenant).map(|row| nanos(&row["cost_usd"])).sum();
        assert_eq!(nanos(&stats["cost_usd"]), own, "{tenant}");
        let asked = rows.iter().filter(|row| row["tenant"] == tenant).count();
        assert_eq!(stats["requests"], asked, "{tenant}");
        by_stats += own;
        let live = bench.gateway.directory.if_live(&aipipe_actors::identity::TenantId::parse(tenant).unwrap()).unwrap();
        let balance = live.estate.account.balance(bench.gateway.clock.now());
        assert_eq!(i128::from(balance.spent_day.0), own, "{tenant}");
    }
    assert_eq!(by_stats, total);
    let metrics = bench.client.get(bench.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let sum = |name: &str| -> f64 {
        let of = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        of.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    assert!((sum("aipipe_cost_usd_total") - total as f64 / 1e9).abs() < 1e-6);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    told.iter().for_each(|one| *statuses.entry(one.status).or_default() += 1);
    println!("statuses: {statuses:?}");
    println!("{} rows, {attempts} attempts, {} calls, {exact} compared to the token", rows.len(), calls.len());
}

/// A model so dear that some hundreds of its answers cost a dollar.
const DEAR: &str = r#"
[[models]]
provider = "openai"
id = "dear"
input = 60.0
cached_input = 60.0
output = 60.0
quality = 0.5
context_tokens = 100000
max_output_tokens = 64
"#;

/// Many requests at once against a budget that covers about a third of them, while the tenant's actor crashes so often. Who is refused asks
/// again when another request has ended, until nothing is held any more.
async fn spend_it_all(crashes: u64) {
    let requests = number("AIPIPE_BUDGET_REQUESTS", 300);
    let budget = NanoUsd(i64::try_from(requests).unwrap() * 1_000_000);
    let file = format!("[cache]\nttl_seconds = 0\n{DEAR}");
    let simulator = Settings { models: vec!["dear".into()], ..Settings::default() };
    let bench = Bench::with(Setting { file: &file, simulator, ..Setting::default() }).await;
    bench.put_tenant("acme", &json!({"operator_keys": true, "budget_usd": budget.to_string()})).await;
    let (ended, _) = watch::channel(0_u64);
    let one = async |n: u64| {
        let mut changes = ended.subscribe();
        let mut body = ask("openai/dear", &format!("Question {n}"));
        body["max_tokens"] = json!(64);
        loop {
            changes.borrow_and_update();
            let answer = Answer::read(bench.chat(&body).header("x-tenant-id", "acme").send().await.unwrap()).await;
            match answer.status {
                200 => {
                    ended.send_modify(|count| *count += 1);
                    return 1;
                }
                402 if answer.message().contains(" 0.000000000 USD held") => {
                    ended.send_modify(|count| *count += 1);
                    return 0;
                }
                402 => drop(changes.changed().await),
                // The actor was restarted more than twice in this request's time.
                503 => {}
                status => panic!("{status}: {}", answer.text),
            }
        }
    };
    let mut asking: FuturesUnordered<_> = (0..requests).map(one).collect();
    let (mut answered, mut crashed) = (0_u64, 0);
    while let Some(one) = asking.next().await {
        answered += one;
        if crashed < crashes && answered >= 10 * (crashed + 1) && bench.gateway.system.crash("tenant:acme") {
            crashed += 1;
        }
    }
    drop(asking);
    assert_eq!(crashed, crashes);
    bench.gateway.drain.begin();
    bench.idle().await;
    let tenant = aipipe_actors::identity::TenantId::parse("acme").unwrap();
    let spent =
        bench.gateway.directory.if_live(&tenant).unwrap().estate.account.balance(bench.gateway.clock.now()).spent_day;
    assert!(spent <= budget, "{spent} USD of {budget} USD");
    assert!(spent.0 >= budget.0 / 100 * 95, "{spent} USD of {budget} USD, with {answered} answers");
    let stats = bench.shown("/admin/tenants/acme/stats").await;
    assert_eq!((nanos(&stats["cost_usd"]), stats["requests"].as_u64()), (spent.0.into(), Some(answered)));
    println!("{answered} answers for {spent} USD, {crashed} crashes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_holds_and_is_used_up() {
    spend_it_all(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_holds_while_its_actor_crashes() {
    spend_it_all(number("AIPIPE_BUDGET_CRASHES", 4)).await;
}

#[tokio::test]
async fn an_error_costs_nothing_whatever_its_status() {
    let file = "[reliability]\nmax_attempts = 1\n";
    let bench = Bench::with(Setting { file, ..Setting::default() }).await;
    for (n, failure) in
        [Behaviour::ErrorIn200, Behaviour::status(500), Behaviour::rate_limited(1)].into_iter().enumerate()
    {
        for name in ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"] {
            for body in [ask(name, &format!("Whole {n}")), ask_stream(name, &format!("Streamed {n}"))] {
                bench.simulator.script_next(Provider::OpenAi, failure.clone());
                bench.simulator.script_next(Provider::Anthropic, failure.clone());
                bench.refused(&body).await;
            }
        }
    }
    for row in bench.rows().await {
        assert_eq!((&row["cost_usd"], &row["estimated"]), (&json!("0.000000000"), &json!(false)), "{row}");
    }
}

#[tokio::test]
async fn figures_that_are_all_zero_are_estimated() {
    let bench = Bench::start().await;
    let answer = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "It rains in Bergen, as it mostly does."}],
        "usage": {"input_tokens": 0, "output_tokens": 0},
    });
    let bytes = answer.to_string().into();
    bench
        .simulator
        .script_next(Provider::Anthropic, Behaviour::Fixed { content_type: "application/json".into(), bytes });
    bench.answered(&ask("anthropic/claude-haiku-4-5", "How is the weather?")).await;
    let row = bench.rows().await.remove(0);
    let tokens = |kind: &str| row["tokens"][kind].as_u64().unwrap();
    assert!(tokens("input") > 0 && tokens("output") > 0 && row["estimated"] == true, "{row}");
}
