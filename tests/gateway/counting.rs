//! Input tokens are counted by the provider where it counts, and estimated where it does not.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::{Value, json};

use crate::support::{Answer, Bench, model};

async fn count(bench: &Bench, path: &str, body: &Value) -> Answer {
    Answer::read(bench.post(path, body).send().await.unwrap()).await
}

fn messages(model: &str) -> Value {
    json!({"model": model, "system": "Be brief.", "messages": [{"role": "user", "content": "How is the weather in Bergen?"}]})
}

const MESSAGES: &str = "/v1/messages/count_tokens";

#[tokio::test]
async fn d95_the_provider_is_asked_where_it_speaks_the_dialect() {
    let bench = Bench::start().await;
    let counted = count(&bench, MESSAGES, &messages(model(Provider::Anthropic))).await.ok();
    let call = bench.simulator.calls_of(Provider::Anthropic).pop().unwrap();
    assert_eq!(call.path, MESSAGES);
    assert!(counted.json()["input_tokens"].as_u64().unwrap() > 5, "{}", counted.text);
    assert!(counted.headers.get("x-aipipe-estimated").is_none());
    assert_eq!(call.json()["system"], "Be brief.");

    let contents = json!([{"parts": [{"text": "How is the weather in Bergen?"}]}]);
    let name = model(Provider::Gemini);
    let path = format!("/v1beta/models/{name}:countTokens");
    let short = count(&bench, &path, &json!({"contents": contents})).await.ok();
    let whole = json!({"generateContentRequest": {
        "model": "models/any", "systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": contents,
    }});
    let whole = count(&bench, &path, &whole).await.ok();
    let total = |answer: &Answer| answer.json()["totalTokens"].as_u64().unwrap();
    assert!(total(&whole) > total(&short), "{} {}", whole.text, short.text);
    let calls = bench.simulator.calls_of(Provider::Gemini);
    assert_eq!(calls.len(), 2);
    for call in calls {
        let id = name.split_once('/').unwrap().1;
        assert_eq!(call.json()["generateContentRequest"]["model"], format!("models/{id}"));
        assert_eq!(call.json()["generateContentRequest"]["contents"], contents);
    }
    // White space in front of the body is none of its members.
    let spaced = format!("\r\n {}", json!({"contents": contents}));
    let request = bench.client.post(bench.url(&path)).header("content-type", "application/json").body(spaced);
    let spaced = Answer::read(request.send().await.unwrap()).await.ok();
    assert_eq!(total(&spaced), total(&short), "{}", spaced.text);
    assert!(spaced.headers.get("x-aipipe-estimated").is_none());
    assert!(bench.rows().await.is_empty(), "a count costs nothing");
    bench.idle().await;
}

#[tokio::test]
async fn what_is_counted_is_what_the_model_would_be_sent() {
    let bench = Bench::start().await;
    let mut body = messages("auto");
    body["aipipe"] = json!({"models": [model(Provider::Anthropic)]});
    body["max_tokens"] = json!(4_000);
    body["thinking"] = json!({"type": "adaptive"});
    Answer::read(bench.post("/v1/messages", &body).send().await.unwrap()).await.ok();
    count(&bench, MESSAGES, &body).await.ok();
    let [sent, counted] = &bench.simulator.calls_of(Provider::Anthropic)[..] else { panic!("two calls") };
    assert_eq!(counted.path, MESSAGES);
    assert_eq!(counted.json().get("thinking"), sent.json().get("thinking"));
    assert_ne!(sent.json()["thinking"], body["thinking"], "this model takes another form");
}

#[tokio::test]
async fn d95_others_are_estimated_and_the_answer_says_so() {
    let bench = Bench::start().await;
    for provider in [Provider::OpenAi, Provider::Moonshot, Provider::Gemini] {
        let counted = count(&bench, MESSAGES, &messages(model(provider))).await.ok();
        assert!(counted.json()["input_tokens"].as_u64().unwrap() > 5, "{}", counted.text);
        assert_eq!(counted.header("x-aipipe-estimated"), "true");
        assert!(bench.simulator.calls_of(provider).is_empty(), "{provider} is not asked");
    }
    bench.simulator.script(Provider::Anthropic, Behaviour::Status { status: 529, retry_after: None });
    let counted = count(&bench, MESSAGES, &messages(model(Provider::Anthropic))).await.ok();
    assert_eq!(counted.header("x-aipipe-estimated"), "true");
    bench.idle().await;
}

#[tokio::test]
async fn d95_responses_are_counted_by_openai_and_estimated_for_others() {
    let bench = Bench::start().await;
    let path = "/v1/responses/input_tokens";
    let body =
        |model: &str| json!({"model": model, "instructions": "Be brief.", "input": "How is the weather in Bergen?"});
    let counted = count(&bench, path, &body(model(Provider::OpenAi))).await.ok();
    assert_eq!(counted.json()["object"], "response.input_tokens");
    assert!(counted.json()["input_tokens"].as_u64().unwrap() > 5, "{}", counted.text);
    assert!(counted.headers.get("x-aipipe-estimated").is_none());
    let call = bench.simulator.calls_of(Provider::OpenAi).pop().unwrap();
    assert_eq!((&*call.path, &call.json()["model"]), (path, &json!("gpt-4o-mini")));
    for provider in [Provider::Xai, Provider::Anthropic, Provider::MiniMax] {
        let counted = count(&bench, path, &body(model(provider))).await.ok();
        assert!(counted.json()["input_tokens"].as_u64().unwrap() > 5, "{}", counted.text);
        assert_eq!(counted.header("x-aipipe-estimated"), "true");
        assert!(bench.simulator.calls_of(provider).is_empty(), "{provider} is not asked");
    }
    // Another tenant's answer is as unknown here as where it is gone on from.
    let mut foreign = body(model(Provider::OpenAi));
    foreign["previous_response_id"] = json!("resp_of_somebody_else");
    assert_eq!(count(&bench, path, &foreign).await.status, 400);
    let refused = count(&bench, "/v1/responses/compact", &body(model(Provider::OpenAi))).await;
    assert_eq!((refused.status, refused.code()), (404, "not_found".to_owned()));
    assert!(refused.message().contains("truncation"), "{}", refused.text);
    bench.idle().await;
}

#[tokio::test]
async fn what_nobody_can_answer_is_not_counted() {
    let bench = Bench::start().await;
    let unknown = count(&bench, MESSAGES, &messages("claude-99")).await;
    assert_eq!((unknown.status, unknown.json()["error"]["type"].as_str()), (404, Some("not_found_error")));
    let invalid = count(&bench, MESSAGES, &json!({"model": "auto"})).await;
    assert_eq!(invalid.status, 400);
    // In the provider's own words.
    let mut wrong = messages(model(Provider::Anthropic));
    wrong["no_such_field"] = json!(1);
    let refused = count(&bench, MESSAGES, &wrong).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    bench.idle().await;
}
