//! Embeddings: they pass through with their cost, by the model that was named and no other.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting};

const MODEL: &str = "text-embedding-3-small";
/// The catalogue's price of it: 0.02 USD a million tokens, in 10⁻⁹ USD a token.
const NANOS_PER_TOKEN: u64 = 20;

fn embed(input: &Value) -> Value {
    json!({"model": MODEL, "input": input, "dimensions": 8})
}

impl Bench {
    async fn embedded(&self, body: &Value) -> Answer {
        Answer::read(self.post("/v1/embeddings", body).send().await.unwrap()).await
    }
}

/// USD as the gateway writes it, in 10⁻⁹ USD.
fn nanos(usd: &str) -> u64 {
    let (whole, fraction) = usd.split_once('.').unwrap_or((usd, ""));
    format!("{whole}{fraction:0<9}").parse().unwrap()
}

#[tokio::test]
async fn d96_every_form_of_input_is_embedded_and_billed_by_the_providers_count() {
    let bench = Bench::start().await;
    let inputs = [json!("rain in Bergen"), json!(["rain", "snow", "hail"]), json!([11, 22, 33]), json!([[1, 2], [3]])];
    for (input, vectors) in inputs.iter().zip([1, 3, 1, 2]) {
        let answer = bench.embedded(&embed(input)).await.ok();
        let body = answer.json();
        assert_eq!((&body["object"], &body["model"]), (&json!("list"), &json!(MODEL)));
        assert_eq!(body["data"].as_array().unwrap().len(), vectors, "{input}");
        assert_eq!(body["data"][0]["embedding"].as_array().unwrap().len(), 8);
        assert_eq!((answer.header("x-aipipe-provider"), answer.header("x-aipipe-model")), ("openai", MODEL));
        assert_eq!((answer.header("x-aipipe-attempts"), answer.header("x-aipipe-cache")), ("1", "miss"));

        let tokens = body["usage"]["prompt_tokens"].as_u64().unwrap();
        let cost = answer.header("x-aipipe-cost-usd");
        assert_eq!(nanos(cost), tokens * NANOS_PER_TOKEN, "{input}");
        assert!(answer.text.contains(&format!("\"cost\":{cost}")), "{cost} in {}", answer.text);
        let row = bench.rows().await.remove(0);
        assert_eq!((&row["dialect"], &row["outcome"]), (&json!("embeddings"), &json!("ok")), "{row}");
        assert_eq!((&row["tokens"]["input"], &row["tokens"]["output"]), (&json!(tokens), &json!(0)), "{row}");
        assert_eq!(
            (nanos(row["cost_usd"].as_str().unwrap()), &row["estimated"]),
            (tokens * NANOS_PER_TOKEN, &json!(false))
        );
        assert_eq!(nanos(row["saved_usd"].as_str().unwrap()), 0, "a chat model is no baseline of vectors: {row}");
    }
    bench.idle().await;
}

#[tokio::test]
async fn the_context_holds_one_input_and_not_all_of_them() {
    let bench = Bench::start().await;
    let ids = vec![7; 5_000];
    let answer = bench.embedded(&embed(&json!([ids, ids, ids]))).await.ok();
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 15_000);
}

#[tokio::test]
async fn d96_the_body_passes_byte_for_byte_apart_from_the_model() {
    let bench = Bench::start().await;
    let body = r#"{ "input" : "caf\u00e9", "aipipe":{"tags":["t"]}, "model":"openai/text-embedding-3-small",  "encoding_format":"base64","dimensions": 8 }"#;
    let sent = bench.client.post(bench.url("/v1/embeddings")).header("content-type", "application/json").body(body);
    let answer = Answer::read(sent.send().await.unwrap()).await.ok();
    // Eight numbers of four bytes.
    assert_eq!(answer.json()["data"][0]["embedding"].as_str().unwrap().len(), 44);
    let call = bench.simulator.calls_of(Provider::OpenAi).remove(0);
    assert!(call.path.ends_with("/embeddings"), "{}", call.path);
    let expected =
        r#"{ "input" : "caf\u00e9", "model":"text-embedding-3-small",  "encoding_format":"base64","dimensions": 8 }"#;
    assert_eq!(call.body, expected);
}

#[tokio::test]
async fn the_same_request_is_answered_from_the_cache_and_another_encoding_is_not() {
    let bench = Bench::start().await;
    let body = embed(&json!("rain"));
    let first = bench.embedded(&body).await.ok();
    let hit = bench.embedded(&body).await.ok();
    assert_eq!((hit.header("x-aipipe-cache"), hit.header("x-aipipe-cost-usd")), ("hit", "0.000000000"));
    assert_eq!(hit.json()["data"], first.json()["data"]);
    assert_eq!(hit.json()["usage"]["cost"].as_f64(), Some(0.0));
    let mut encoded = body;
    encoded["encoding_format"] = json!("base64");
    assert_eq!(bench.embedded(&encoded).await.ok().header("x-aipipe-cache"), "miss");
    assert_eq!(bench.simulator.calls_of(Provider::OpenAi).len(), 2);
}

#[tokio::test]
async fn no_model_is_chosen_or_fallen_back_to() {
    let bench = Bench::start().await;
    let ask = |model: &str| json!({"model": model, "input": "rain"});
    let mut listed = ask(MODEL);
    listed["aipipe"] = json!({"models": ["text-embedding-3-large"]});
    for (body, status, code, param) in [
        (ask("auto"), 400, "invalid_request", json!("model")),
        (listed, 400, "invalid_request", json!("aipipe.models")),
        (ask("openai/gpt-4o-mini"), 422, "no_candidate", json!("embeddings")),
        (ask("no-such-model"), 404, "model_not_found", json!("model")),
        (ask("gemini/gemini-embedding-001"), 400, "invalid_request", json!("model")),
        (json!({"model": MODEL}), 400, "invalid_request", json!("input")),
    ] {
        let answer = bench.embedded(&body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}: {}", answer.text);
        assert_eq!(answer.json()["error"]["param"], param, "{body}: {}", answer.text);
    }
    let by_header = bench.post("/v1/embeddings", &ask(MODEL)).header("x-aipipe-models", "text-embedding-3-large");
    assert_eq!(by_header.send().await.unwrap().status(), 400);
    assert!(bench.simulator.calls().is_empty());
    bench.idle().await;
}

#[tokio::test]
async fn a_deployment_of_the_same_model_takes_over() {
    let file = "[[models]]\nprovider = \"openrouter\"\nid = \"text-embedding-3-small\"\ninput = 0.03\noutput = 0\n\
                context_tokens = 8192\nmax_output_tokens = 0\ncapabilities = [\"embeddings\"]\n";
    let simulator = aipipe::simulator::Settings { models: vec![MODEL.into()], ..Default::default() };
    let bench = Bench::with(Setting { file, simulator, ..Setting::default() }).await;
    bench.simulator.script(Provider::OpenAi, Behaviour::status(503));
    let answer = bench.embedded(&embed(&json!("rain"))).await.ok();
    assert_eq!((answer.header("x-aipipe-provider"), answer.header("x-aipipe-model")), ("openrouter", MODEL));
}

#[tokio::test]
async fn a_failing_provider_becomes_an_error_of_openais_shape() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::status(500));
    let answer = bench.embedded(&embed(&json!("rain"))).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_error"), "{}", answer.text);
    assert!(!answer.header("x-request-id").is_empty());
    assert_eq!(answer.json()["error"]["type"], "server_error");
    assert_eq!(bench.rows().await[0]["outcome"], "failed");
    bench.idle().await;
}

#[tokio::test]
async fn limits_and_budgets_hold_for_embeddings_too() {
    let bench = Bench::start().await;
    bench.put_tenant("slow", &json!({"operator_keys": true, "requests_per_minute": 0})).await;
    bench.put_tenant("poor", &json!({"operator_keys": true, "budget_usd": "0.000000001"})).await;
    for (tenant, status, code) in [("slow", 429, "rate_limited"), ("poor", 402, "budget_exceeded")] {
        let request = bench.post("/v1/embeddings", &embed(&json!("rain in Bergen"))).header("x-tenant-id", tenant);
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.text);
    }
    assert!(bench.simulator.calls().is_empty());
}
