//! Who a request belongs to, what a tenant can reach, and what it never sees of another.

use aipipe::simulator::{Behaviour, Provider, Settings};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Bench, SECRET, Setting, ask};

const MODEL: &str = "openai/gpt-4o-mini";

impl Bench {
    async fn ask_as(&self, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.chat(&ask(MODEL, "Hello"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.send().await.unwrap()).await
    }

    async fn issue(&self, tenant: &str, body: &Value) -> Value {
        let path = format!("/admin/tenants/{tenant}/tokens");
        let answer = self.admin(Method::POST, &path).body(body.to_string()).send().await.unwrap();
        let answer = Answer::read(answer).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()
    }
}

#[tokio::test]
async fn a_name_that_is_none_or_that_nobody_created_is_refused() {
    let bench = Bench::start().await;
    for name in ["..", "a b", "ä", "", &"x".repeat(65)] {
        let answer = bench.ask_as(&[("x-tenant-id", name)]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_tenant"), "{name:?}");
    }
    let answer = bench.ask_as(&[("x-tenant-id", "a"), ("x-tenant-id", "b")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_tenant"));
    let answer = bench.ask_as(&[("x-tenant-id", "nobody")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "unknown_tenant"));
    assert_eq!(bench.gateway.directory.count(), 1, "nothing is kept of a name that nobody created");
    bench.ask_as(&[("x-tenant-id", "default"), ("authorization", "Bearer sk-whatever")]).await.ok();
}

#[tokio::test]
async fn a_tenant_uses_its_own_key_and_the_operators_only_where_it_may() {
    let settings = Settings {
        keys: vec![
            (Provider::OpenAi, "operators-key".into()),
            (Provider::OpenAi, "own-key-that-is-long-enough-abcd".into()),
        ],
        ..Settings::default()
    };
    let environment = [("OPENAI_API_KEY", "operators-key")];
    let bench = Bench::with(Setting { simulator: settings, environment: &environment, ..Setting::default() }).await;
    let key_of_last_call = || {
        let calls = bench.simulator.calls_of(Provider::OpenAi);
        calls.last().unwrap().headers["authorization"].to_str().unwrap().to_owned()
    };
    bench.put_tenant("acme", &json!({})).await;
    let answer = bench.ask_as(&[("x-tenant-id", "acme")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (422, "no_candidate"), "{}", answer.text);
    assert!(answer.message().contains("no_key"), "{}", answer.message());
    assert!(bench.simulator.calls().is_empty());

    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    bench.ask_as(&[("x-tenant-id", "acme")]).await.ok();
    assert_eq!(key_of_last_call(), "Bearer operators-key");

    let set =
        bench.admin(Method::POST, "/admin/tenants/acme/keys").body(r#"{"openai":"own-key-that-is-long-enough-abcd"}"#);
    let shown = Answer::read(set.send().await.unwrap()).await.ok();
    assert_eq!(shown.json()["keys"][0]["hint"], "…abcd");
    assert!(!shown.text.contains("long-enough"));
    bench.ask_as(&[("x-tenant-id", "acme"), ("x-aipipe-cache", "off")]).await.ok();
    assert_eq!(key_of_last_call(), "Bearer own-key-that-is-long-enough-abcd");

    let gone = bench.admin(Method::POST, "/admin/tenants/acme/keys").body(r#"{"openai":null}"#);
    assert_eq!(Answer::read(gone.send().await.unwrap()).await.ok().json()["keys"], json!([]));
    bench.ask_as(&[("x-tenant-id", "acme"), ("x-aipipe-cache", "off")]).await.ok();
    assert_eq!(key_of_last_call(), "Bearer operators-key");
    assert!(!bench.simulator.calls().iter().any(|call| call.headers.contains_key("x-tenant-id")));
}

#[tokio::test]
async fn a_token_decides_the_tenant() {
    let file = "[tenants]\nauth = \"token\"\n";
    let bench = Bench::with(Setting { file, ..Setting::default() }).await;
    for headers in [&[][..], &[("x-tenant-id", "default")], &[("authorization", "Bearer sk-other")]] {
        let answer = bench.ask_as(headers).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_token"), "{headers:?}");
    }
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    let issued = bench.issue("acme", &json!({})).await;
    let token = issued["token"].as_str().unwrap();
    assert!(token.starts_with("aip_"));
    let bearer = format!("Bearer {token}");
    for (name, value) in [("authorization", bearer.as_str()), ("x-api-key", token), ("x-goog-api-key", token)] {
        bench.ask_as(&[(name, value)]).await.ok();
    }
    assert_eq!(bench.rows().await[0]["tenant"], "acme");
    let answer = bench.ask_as(&[("authorization", &bearer), ("x-tenant-id", "default")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "tenant_mismatch"));
    let wrong = format!("{bearer}0");
    assert_eq!(bench.ask_as(&[("authorization", &wrong)]).await.code(), "invalid_token");
    assert!(bench.simulator.calls().iter().all(|call| !format!("{call:?}").contains(token)));

    let path = format!("/admin/tenants/acme/tokens/{}", issued["id"].as_str().unwrap());
    Answer::read(bench.admin(Method::DELETE, &path).send().await.unwrap()).await.ok();
    assert_eq!(bench.ask_as(&[("authorization", &bearer)]).await.code(), "invalid_token");
}

#[tokio::test]
async fn where_headers_are_trusted_a_token_still_counts() {
    let bench = Bench::start().await;
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    let token = bench.issue("acme", &json!({"expires_in_seconds": 3600})).await;
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    bench.ask_as(&[("authorization", &bearer)]).await.ok();
    assert_eq!(bench.rows().await[0]["tenant"], "acme");
    assert_eq!(bench.ask_as(&[("authorization", "Bearer aip_abc_def")]).await.status, 401);
}

#[tokio::test]
async fn limits_and_budget_hold_a_tenant_back() {
    let bench = Bench::start().await;
    bench.put_tenant("slow", &json!({"operator_keys": true, "requests_per_minute": 1})).await;
    bench.ask_as(&[("x-tenant-id", "slow")]).await.ok();
    let answer = bench.ask_as(&[("x-tenant-id", "slow")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"), "a hit passes the same gate");
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);

    bench.put_tenant("poor", &json!({"operator_keys": true, "budget_usd": "0.0000001"})).await;
    let answer = bench.ask_as(&[("x-tenant-id", "poor")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (402, "budget_exceeded"));
    assert!(answer.message().contains("0.000000100"), "{}", answer.message());

    bench.put_tenant("narrow", &json!({"operator_keys": true, "models": ["gpt-4o"]})).await;
    let answer = bench.ask_as(&[("x-tenant-id", "narrow")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "model_not_allowed"));
    assert!(bench.rows().await.iter().all(|row| row["tenant"] == "slow"), "what is refused before dispatch has no row");
}

#[tokio::test]
async fn a_removed_tenant_is_gone_with_its_keys_and_answers() {
    let bench = Bench::start().await;
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    let token = bench.issue("acme", &json!({})).await;
    bench.ask_as(&[("x-tenant-id", "acme")]).await.ok();
    Answer::read(bench.admin(Method::DELETE, "/admin/tenants/acme").send().await.unwrap()).await.ok();
    assert_eq!(bench.ask_as(&[("x-tenant-id", "acme")]).await.code(), "unknown_tenant");
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    assert_eq!(bench.ask_as(&[("authorization", &bearer)]).await.status, 401);
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    assert_eq!(bench.ask_as(&[("x-tenant-id", "acme")]).await.ok().header("x-aipipe-cache"), "miss");
    let stats = bench.shown("/admin/tenants/acme/stats").await;
    assert_eq!(stats["requests"], 2, "its rows stay: {stats}");
}

#[tokio::test]
async fn a_request_that_needs_a_decision_after_its_tenant_was_removed_is_told_so() {
    let bench = Bench::start().await;
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    bench.simulator.script_next(Provider::OpenAi, Behaviour::status(500));
    let hold = bench.simulator.hold(Provider::OpenAi);
    let request = bench.chat(&ask(MODEL, "Hello")).header("x-tenant-id", "acme");
    let asked = tokio::spawn(request.send());
    bench.simulator.wait_for_calls(Provider::OpenAi, 1).await;
    Answer::read(bench.admin(Method::DELETE, "/admin/tenants/acme").send().await.unwrap()).await.ok();
    drop(hold);
    let answer = Answer::read(asked.await.unwrap().unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "unknown_tenant"), "{}", answer.text);
    assert_eq!(bench.rows().await[0]["outcome"], "failed");
    bench.idle().await;
}

#[tokio::test]
async fn tenants_see_their_own_models() {
    let bench = Bench::with(Setting { without_key: &[Provider::Anthropic], ..Setting::default() }).await;
    let list = async |headers: &[(&str, &str)]| {
        let mut request = bench.client.get(bench.url("/v1/models"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let list = Answer::read(request.send().await.unwrap()).await.ok().json();
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = list(&[]).await;
    assert_eq!(all[0], "auto");
    assert!(all.contains(&"gpt-4o-mini".to_owned()), "{all:?}");
    assert!(!all.iter().any(|id| id.starts_with("claude")), "{all:?}");
    for id in &all {
        let one = bench.client.get(bench.url(&format!("/v1/models/{id}"))).send().await.unwrap();
        assert_eq!(Answer::read(one).await.ok().json()["id"], *id);
    }
    bench.put_tenant("bare", &json!({})).await;
    let nothing_in_particular = ["auto", "auto:economy", "auto:balanced", "auto:best"];
    assert_eq!(list(&[("x-tenant-id", "bare")]).await, nothing_in_particular);
    let gone = bench.client.get(bench.url("/v1/models/claude-haiku-4-5")).send().await.unwrap();
    assert_eq!(Answer::read(gone).await.code(), "model_not_found");
}

#[tokio::test]
async fn the_admin_api_needs_its_secret() {
    let bench = Bench::start().await;
    for path in ["/admin/tenants", "/admin/actors", "/admin/requests", "/admin/nothing"] {
        for secret in [None, Some("wrong")] {
            let mut request = bench.client.get(bench.url(path));
            if let Some(secret) = secret {
                request = request.header("x-admin-secret", secret);
            }
            let answer = Answer::read(request.send().await.unwrap()).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "admin_forbidden"), "{path}");
            assert!(!answer.text.contains(SECRET));
        }
        // The right one is taken however often it was wrong before, and nothing waits after it.
        Answer::read(bench.admin(Method::GET, "/admin/tenants").send().await.unwrap()).await.ok();
    }
    let off = Bench::with(Setting { environment: &[("AIPIPE_ADMIN_SECRET", "")], ..Setting::default() }).await;
    let answer = Answer::read(off.admin(Method::GET, "/admin/tenants").send().await.unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "admin_disabled"));
}
