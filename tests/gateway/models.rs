//! The list of models, in the shape of whoever asks.

use std::collections::BTreeSet;

use aipipe::simulator::Provider;
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, ask, model};

#[tokio::test]
async fn d192_each_sdk_gets_the_list_that_it_reads() {
    let bench = Bench::start().await;
    let get = async |path: &str, header: (&str, &str)| {
        Answer::read(bench.client.get(bench.url(path)).header(header.0, header.1).send().await.unwrap()).await
    };
    let one = model(Provider::Anthropic);
    let openai = ("authorization", "Bearer any");
    let anthropic = ("anthropic-version", "2023-06-01");
    let google = ("x-goog-api-key", "any");

    let listed = get("/v1/models", openai).await.ok().json();
    assert_eq!((&listed["object"], &listed["data"][0]["id"]), (&json!("list"), &json!("auto")));
    for entry in listed["data"].as_array().unwrap() {
        assert!(entry["id"].is_string() && entry["owned_by"].is_string() && entry["created"].is_u64(), "{entry}");
        assert_eq!(entry["object"], "model");
    }
    let ids: Vec<&Value> = listed["data"].as_array().unwrap().iter().map(|entry| &entry["id"]).collect();

    let listed = get("/v1/models?limit=1000", anthropic).await.ok().json();
    let data = listed["data"].as_array().unwrap();
    assert_eq!((&listed["has_more"], &listed["first_id"]), (&json!(false), &json!("auto")));
    assert_eq!(listed["last_id"], data.last().unwrap()["id"]);
    assert_eq!(data.iter().map(|entry| &entry["id"]).collect::<Vec<_>>(), ids);
    for entry in data {
        assert!(entry["display_name"].is_string() && entry["created_at"].as_str().unwrap().ends_with('Z'), "{entry}");
        assert_eq!(entry["type"], "model");
    }

    for path in ["/v1beta/models", "/v1/models"] {
        let listed = get(path, google).await.ok().json();
        let models = listed["models"].as_array().unwrap();
        assert_eq!(models.len(), ids.len());
        for (entry, id) in models.iter().zip(&ids) {
            assert_eq!(entry["name"], format!("models/{}", id.as_str().unwrap()));
            let methods = entry["supportedGenerationMethods"].as_array().unwrap();
            assert!(methods.contains(&json!("generateContent")), "{entry}");
        }
        assert!(listed.get("nextPageToken").is_none(), "all of them are here");
    }

    let path = format!("/v1/models/{one}");
    assert_eq!(get(&path, openai).await.ok().json()["object"], "model");
    assert_eq!(get(&path, anthropic).await.ok().json()["type"], "model");
    assert_eq!(get(&format!("/v1beta/models/{one}"), google).await.ok().json()["name"], format!("models/{one}"));
    assert_eq!(get("/v1/models/no-such", openai).await.code(), "model_not_found");
    assert_eq!(get("/v1/models/no-such", anthropic).await.json()["error"]["type"], "not_found_error");
    assert_eq!(get("/v1beta/models/no-such", google).await.json()["error"]["status"], "NOT_FOUND");
}

#[tokio::test]
async fn d189_an_embedding_model_whose_provider_has_another_shape_is_no_candidate() {
    let file = "[[models]]\nprovider = \"minimax\"\nid = \"embo-01\"\ninput = 0.1\noutput = 0\ncontext_tokens = 4096\n\
                max_output_tokens = 0\ncapabilities = [\"embeddings\"]\n";
    let bench = Bench::with(Setting { file, ..Setting::default() }).await;
    let body = json!({"model": "minimax/embo-01", "input": "rain"});
    let answer = Answer::read(bench.post("/v1/embeddings", &body).send().await.unwrap()).await;
    assert!((400..500).contains(&answer.status), "{}", answer.text);
    assert!(bench.simulator.calls().is_empty());
}

#[tokio::test]
async fn a_model_without_a_price_answers_who_names_it_and_the_decision_says_why_it_is_not_chosen() {
    let file = "[[models]]\nprovider = \"openai\"\nid = \"gpt-priceless\"\nquality = 0.99\n";
    let bench = Bench::with(Setting { file, ..Setting::default() }).await;
    let routed = bench.post("/v1/route", &ask("auto", "Prove it, step by step")).send().await.unwrap();
    let decision = Answer::read(routed).await.ok().json();
    let candidates = decision["candidates"].as_array().unwrap();
    let found = candidates.iter().find(|candidate| candidate["model"] == "gpt-priceless").unwrap();
    assert_eq!((&found["eligible"], &found["reason"]), (&json!(false), &json!("unpriced")), "{found}");
    let answer = bench.answered(&ask("openai/gpt-priceless", "Hello")).await;
    assert_eq!(answer.header("x-aipipe-cost-usd"), "0.000000000");
}

#[tokio::test]
async fn models_of_a_provider_that_is_switched_off_are_in_no_list() {
    let bench = Bench::with(Setting { file: "[providers.anthropic]\nenabled = false\n", ..Setting::default() }).await;
    let listed = Answer::read(bench.client.get(bench.url("/v1/models")).send().await.unwrap()).await.ok().json();
    let owners: BTreeSet<&str> =
        listed["data"].as_array().unwrap().iter().filter_map(|entry| entry["owned_by"].as_str()).collect();
    assert!(owners.contains("openai") && !owners.contains("anthropic"), "{owners:?}");
    let path = format!("/v1/models/{}", model(Provider::Anthropic));
    let one = Answer::read(bench.client.get(bench.url(&path)).send().await.unwrap()).await;
    assert_eq!((one.status, one.code().as_str()), (404, "model_not_found"));
}
