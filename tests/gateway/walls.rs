//! What one tenant does, suffers or knows never reaches another.

use std::collections::BTreeSet;

use aipipe::simulator::{Behaviour, Provider, Settings};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, ask};

const MODEL: &str = "openai/gpt-4o-mini";

impl Bench {
    async fn asked_by(&self, tenant: &str, prompt: &str) -> Answer {
        self.sent_by(tenant, &ask(MODEL, prompt)).await
    }

    async fn sent_by(&self, tenant: &str, body: &Value) -> Answer {
        Answer::read(self.chat(body).header("x-tenant-id", tenant).send().await.unwrap()).await
    }

    async fn feedback(&self, tenant: &str, request_id: &str) -> Answer {
        let request =
            self.post("/v1/feedback", &json!({"request_id": request_id, "score": 1})).header("x-tenant-id", tenant);
        Answer::read(request.send().await.unwrap()).await
    }

    async fn give_key(&self, tenant: &str, key: &str) {
        let keys = json!({"openai": key}).to_string();
        let request = self.admin(Method::POST, &format!("/admin/tenants/{tenant}/keys")).body(keys);
        Answer::read(request.send().await.unwrap()).await.ok();
    }

    async fn remove(&self, path: &str) -> Answer {
        Answer::read(self.admin(Method::DELETE, path).send().await.unwrap()).await
    }
}

#[tokio::test]
async fn nothing_of_one_tenant_is_found_by_another() {
    let bench = Bench::start().await;
    for tenant in ["acme", "globex"] {
        bench.put_tenant(tenant, &json!({"operator_keys": true})).await;
    }
    let answer = bench.asked_by("acme", "What is a mutex?").await.ok();
    let id = answer.header("x-request-id").to_owned();
    assert_eq!(bench.asked_by("acme", "What is a mutex?").await.header("x-aipipe-cache"), "hit");
    assert_eq!(bench.asked_by("globex", "What is a mutex?").await.header("x-aipipe-cache"), "miss");

    // A foreign id and one that never was are told alike.
    let (foreign, unknown) =
        (bench.feedback("globex", &id).await, bench.feedback("globex", "01a2189e-f0d3-765a-b883-812120e526d4").await);
    assert_eq!((foreign.status, foreign.json()["error"].clone()), (unknown.status, unknown.json()["error"].clone()));
    assert_eq!(foreign.status, 404);
    bench.feedback("acme", &id).await.ok();

    // Whoever names another's request as its own gets a new id, and the other's row stays as it is.
    let row = bench.shown(&format!("/admin/requests/{id}")).await;
    let mut request =
        bench.chat(&ask(MODEL, "Whose is this?")).header("x-tenant-id", "globex").header("x-request-id", &id);
    request = request.header("x-aipipe-session", &id);
    let answer = Answer::read(request.send().await.unwrap()).await.ok();
    assert_ne!(answer.header("x-request-id"), id);
    assert_eq!(bench.shown(&format!("/admin/requests/{id}")).await, row);

    let stats = async |tenant: &str| bench.shown(&format!("/admin/tenants/{tenant}/stats")).await["requests"].clone();
    assert_eq!((stats("acme").await, stats("globex").await), (json!(2), json!(2)));
}

#[tokio::test]
async fn identical_requests_of_two_tenants_share_no_call() {
    let bench = Bench::start().await;
    for tenant in ["acme", "globex"] {
        bench.put_tenant(tenant, &json!({"operator_keys": true})).await;
    }
    let hold = bench.simulator.hold(Provider::OpenAi);
    let body = ask(MODEL, "What is a semaphore?");
    let asking: Vec<_> = ["acme", "globex"]
        .iter()
        .map(|tenant| tokio::spawn(bench.chat(&body).header("x-tenant-id", *tenant).send()))
        .collect();
    bench.simulator.wait_for_calls(Provider::OpenAi, 2).await;
    drop(hold);
    for one in asking {
        assert_eq!(Answer::read(one.await.unwrap().unwrap()).await.ok().header("x-aipipe-cache"), "miss");
    }
    bench.idle().await;
}

#[tokio::test]
async fn a_tenants_own_bad_key_is_its_own_matter() {
    let good = "operators-own-key-0";
    let simulator = Settings { keys: vec![(Provider::OpenAi, good.into())], ..Settings::default() };
    let environment = [("OPENAI_API_KEY", good)];
    let bench = Bench::with(Setting { simulator, environment: &environment, ..Setting::default() }).await;
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    bench.put_tenant("globex", &json!({"operator_keys": true})).await;
    bench.give_key("acme", "sk-wrong-key-of-acme").await;
    for n in 0..30 {
        let refused = bench.asked_by("acme", &format!("Question {n}")).await;
        assert_eq!((refused.status, refused.code().as_str()), (502, "upstream_error"), "{}", refused.text);
        assert!(!refused.text.contains("sk-wrong"), "{}", refused.text);
    }
    assert_eq!(bench.simulator.counts(Provider::OpenAi).arrived, 1, "the key waits after its first refusal");
    for (n, failure) in
        [Behaviour::rate_limited(60), Behaviour::OutOfMoney, Behaviour::status(402)].into_iter().enumerate()
    {
        bench.give_key("acme", good).await;
        for round in 0..8 {
            bench.simulator.script_next(Provider::OpenAi, failure.clone());
            bench.give_key("acme", good).await;
            let refused = bench.asked_by("acme", &format!("Limited {n} {round}")).await;
            assert!([429, 502].contains(&refused.status), "{}", refused.text);
        }
        bench.asked_by("globex", &format!("Not limited {n}")).await.ok();
    }
    let shown = bench.shown("/admin/providers/openai").await;
    assert_eq!(shown["circuit"], "closed", "{shown}");
    let model = &shown["models"]["gpt-4o-mini"];
    assert_eq!(model["penalty"], json!(1.0), "nobody's health suffers: {shown}");
}

const ONE_PLACE: &str = "[providers.openai]\nmax_in_flight = 1\nmax_queue = 50\n";

#[tokio::test]
async fn a_busy_tenant_does_not_starve_another() {
    let bench = Bench::with(Setting { file: ONE_PLACE, ..Setting::default() }).await;
    for tenant in ["busy", "quiet"] {
        bench.put_tenant(tenant, &json!({"operator_keys": true})).await;
    }
    let hold = bench.simulator.hold(Provider::OpenAi);
    let send = |tenant: &'static str, n: usize| {
        tokio::spawn(bench.chat(&ask(MODEL, &format!("{tenant} {n}"))).header("x-tenant-id", tenant).send())
    };
    let mut asking: Vec<_> = (0..51).map(|n| send("busy", n)).collect();
    bench.queue_of(50).await;
    // The queue is full, and not for whoever has nobody in it.
    asking.push(send("quiet", 0));
    bench.queue_of(51).await;
    drop(hold);
    for one in asking {
        Answer::read(one.await.unwrap().unwrap()).await.ok();
    }
    let calls = bench.simulator.calls_of(Provider::OpenAi);
    let place = calls.iter().position(|call| call.json().to_string().contains("quiet 0")).unwrap();
    assert!(place <= 2, "it was served as number {place} of {}", calls.len());
    bench.idle().await;
}

#[tokio::test]
async fn tenants_that_wait_take_turns_by_weight() {
    let bench = Bench::with(Setting { file: ONE_PLACE, ..Setting::default() }).await;
    bench.put_tenant("heavy", &json!({"operator_keys": true, "weight": 3})).await;
    bench.put_tenant("light", &json!({"operator_keys": true})).await;
    assert_eq!(bench.shown("/admin/tenants/heavy").await["weight"], json!(3));
    assert_eq!(bench.shown("/admin/tenants/light").await["weight"], json!(1));
    let hold = bench.simulator.hold(Provider::OpenAi);
    let send = |tenant: &'static str, n: usize| {
        tokio::spawn(bench.chat(&ask(MODEL, &format!("{tenant} {n}"))).header("x-tenant-id", tenant).send())
    };
    let mut asking = vec![send("default", 0)];
    bench.simulator.wait_for_calls(Provider::OpenAi, 1).await;
    asking.extend((0..6).map(|n| send("light", n)));
    bench.queue_of(6).await;
    asking.extend((0..6).map(|n| send("heavy", n)));
    bench.queue_of(12).await;
    drop(hold);
    for one in asking {
        Answer::read(one.await.unwrap().unwrap()).await.ok();
    }
    let served = bench.simulator.calls_of(Provider::OpenAi);
    let by_heavy: Vec<bool> = served.iter().skip(1).map(|call| call.json().to_string().contains("heavy")).collect();
    let of = |places: std::ops::Range<usize>| by_heavy[places].iter().filter(|heavy| **heavy).count();
    assert_eq!((of(0..4), of(4..8), of(8..12)), (3, 3, 0), "{by_heavy:?}");
    bench.idle().await;
}

#[tokio::test]
async fn the_sdks_headers_tell_what_is_left_of_the_limits() {
    let bench = Bench::start().await;
    bench
        .put_tenant("acme", &json!({"operator_keys": true, "requests_per_minute": 2, "tokens_per_minute": 100_000}))
        .await;
    let first = bench.asked_by("acme", "One").await.ok();
    assert_eq!(
        (first.header("x-ratelimit-limit-requests"), first.header("x-ratelimit-remaining-requests")),
        ("2", "1")
    );
    assert_eq!(first.header("x-ratelimit-limit-tokens"), "100000");
    let used = first.json()["usage"]["total_tokens"].as_u64().unwrap();
    assert_eq!(first.header("x-ratelimit-remaining-tokens"), (100_000 - used).to_string());
    let seconds = |answer: &Answer, name: &str| answer.header(name).strip_suffix('s').unwrap().parse::<u64>().unwrap();
    assert!((1..=60).contains(&seconds(&first, "x-ratelimit-reset-requests")));

    let body = json!({"model": "anthropic/claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "Two"}]});
    let request = bench.post("/v1/messages", &body).header("x-tenant-id", "acme").send().await.unwrap();
    let second = Answer::read(request).await.ok();
    assert_eq!(second.header("anthropic-ratelimit-requests-limit"), "2");
    assert_eq!(second.header("anthropic-ratelimit-requests-remaining"), "0");
    second.header("anthropic-ratelimit-tokens-reset").parse::<jiff::Timestamp>().unwrap();
    assert!(second.header("x-ratelimit-limit-requests").is_empty());

    let refused = bench.asked_by("acme", "Three").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), "0");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait) && wait <= seconds(&refused, "x-ratelimit-reset-requests"), "{wait}");
    assert!(bench.answered(&ask(MODEL, "No limits")).await.header("x-ratelimit-limit-requests").is_empty());
}

#[tokio::test]
async fn tokens_per_minute_and_concurrency_hold() {
    let bench = Bench::start().await;
    bench.put_tenant("acme", &json!({"operator_keys": true, "tokens_per_minute": 300, "max_concurrent": 1})).await;
    let mut large = ask(MODEL, "One");
    large["max_tokens"] = json!(250);
    let hold = bench.simulator.hold(Provider::OpenAi);
    let first = tokio::spawn(bench.chat(&large).header("x-tenant-id", "acme").send());
    bench.simulator.wait_for_calls(Provider::OpenAi, 1).await;
    let refused = bench.asked_by("acme", "Two").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    assert!(refused.message().contains("max_concurrent"), "{}", refused.message());
    drop(hold);
    let used = Answer::read(first.await.unwrap().unwrap()).await.ok().json()["usage"]["total_tokens"].as_u64().unwrap();
    bench.idle().await;
    // What was asked for is given back, what was used is not.
    large["messages"][0]["content"] = json!("Three");
    large["max_tokens"] = json!(300 - used);
    let refused = bench.sent_by("acme", &large).await;
    assert!(refused.status == 429 && refused.message().contains("tokens_per_minute"), "{}", refused.text);
    large["max_tokens"] = json!(300 - used - 20);
    bench.sent_by("acme", &large).await.ok();
    bench.idle().await;
}

#[tokio::test]
async fn a_removed_tenant_settles_what_is_in_flight_and_keeps_its_books_when_it_comes_back() {
    let bench = Bench::start().await;
    let policy = json!({"operator_keys": true, "budget_usd": "1", "budget_period": "day"});
    bench.put_tenant("acme", &policy).await;
    bench.asked_by("acme", "Before").await.ok();
    let hold = bench.simulator.hold(Provider::OpenAi);
    let in_flight = tokio::spawn(bench.chat(&ask(MODEL, "During")).header("x-tenant-id", "acme").send());
    bench.simulator.wait_for_calls(Provider::OpenAi, 2).await;
    bench.remove("/admin/tenants/acme").await.ok();
    assert_eq!(bench.asked_by("acme", "Gone").await.code(), "unknown_tenant");

    bench.put_tenant("acme", &json!({"operator_keys": true, "budget_usd": "0", "budget_period": "day"})).await;
    let refused = bench.asked_by("acme", "Again").await;
    assert!(!refused.message().contains(" 0.000000000 USD held"), "what is in flight counts: {}", refused.message());
    drop(hold);
    Answer::read(in_flight.await.unwrap().unwrap()).await.ok();
    bench.idle().await;
    let stats = bench.shown("/admin/tenants/acme/stats").await;
    let refused = bench.asked_by("acme", "Again").await.message();
    assert!(refused.contains(&format!("{} USD spent", stats["cost_usd"].as_str().unwrap())), "{refused}: {stats}");

    assert_eq!(bench.remove("/admin/tenants/acme?purge=everything").await.status, 400);
    let removed = bench.remove("/admin/tenants/acme?purge=ledger").await.ok();
    assert_eq!(removed.json()["ledger_purged"], true);
    assert!(bench.rows().await.is_empty());
    assert_eq!(bench.remove("/admin/tenants/acme?purge=ledger").await.status, 404);
}

#[tokio::test]
async fn two_tokens_hold_at_a_time_until_they_end() {
    let bench = Bench::start().await;
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    let issue = async |body: Value| {
        let request = bench.admin(Method::POST, "/admin/tenants/acme/tokens").body(body.to_string());
        Answer::read(request.send().await.unwrap()).await.ok().json()
    };
    let (old, new) = (issue(json!({"expires_in_seconds": 1})).await, issue(json!({})).await);
    let status = async |token: &Value| {
        let request = bench.chat(&ask(MODEL, "Hello")).bearer_auth(token["token"].as_str().unwrap());
        Answer::read(request.send().await.unwrap()).await
    };
    status(&new).await.ok();
    let expires: jiff::Timestamp = old["expires_at"].as_str().unwrap().parse().unwrap();
    while jiff::Timestamp::now() < expires {
        status(&new).await.ok();
    }
    let ended = status(&old).await;
    assert_eq!((ended.status, ended.code().as_str()), (401, "invalid_token"));
    assert!(ended.message().contains("expired"), "{}", ended.message());
    let shown = bench.shown("/admin/tenants/acme/tokens").await;
    assert_eq!(shown["tokens"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(shown["tokens"][0]["id"], old["id"]);
    assert!(shown["tokens"][1]["last_used_at"].is_string() && shown["tokens"][0]["last_used_at"].is_null(), "{shown}");
    assert!(!shown.to_string().contains("aip_"), "{shown}");
}

/// `AIPIPE_UNKNOWN_NAMES` sets how many names ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_nobody_created_cost_nothing_lasting() {
    let names: u32 = std::env::var("AIPIPE_UNKNOWN_NAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    let bench = Bench::start().await;
    bench.answered(&ask(MODEL, "Hello")).await;
    let series = async || {
        let text = bench.client.get(bench.url("/metrics")).send().await.unwrap().text().await.unwrap();
        text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect::<BTreeSet<_>>()
    };
    let ask_as = async |n: u32| {
        let token = format!("aip_{n:018x}_{}", "0".repeat(48));
        let body = ask(MODEL, "Hello");
        let by_name = bench.chat(&body).header("x-tenant-id", format!("nobody-{n}")).send().await.unwrap();
        assert_eq!(by_name.status(), 403);
        let by_token = bench.chat(&body).bearer_auth(token).send().await.unwrap();
        assert_eq!(by_token.status(), 401);
    };
    ask_as(0).await;
    // What was recorded by now is in the database.
    bench.rows().await;
    let before = (series().await, bench.files());
    for n in 1..names {
        ask_as(n).await;
    }
    assert_eq!((series().await, bench.files()), before, "neither metrics nor disk remember them");
    assert_eq!((bench.gateway.directory.count(), bench.gateway.directory.all_live().len()), (1, 1));
    assert_eq!(bench.rows().await.len(), 1);
}
