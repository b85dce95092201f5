//! Clients that speak Gemini: every provider answers in their dialect.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, model};
use crate::wire::{Then, Wire, unframed};

fn ask(prompt: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]})
}

impl Bench {
    async fn generate(&self, model: &str, body: &Value) -> Answer {
        let path = format!("/v1beta/models/{model}:generateContent");
        Answer::read(self.post(&path, body).send().await.unwrap()).await
    }
}

fn text(answer: &Value) -> String {
    let parts = answer["candidates"][0]["content"]["parts"].as_array().cloned().unwrap_or_default();
    parts.iter().filter(|part| part["thought"] != true).filter_map(|part| part["text"].as_str()).collect()
}

#[tokio::test]
async fn d154_providers_answer_whole_as_events_and_as_an_array() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        bench.simulator.script(provider, Behaviour::Says("It rains in Bergen.".into()));
        let name = model(provider);
        for model in [name.to_owned(), name.replace('/', "%2F")] {
            let answer = bench.generate(&model, &ask("Weather?")).await.ok();
            assert_eq!(text(&answer.json()), "It rains in Bergen.", "{model}");
            assert_eq!(answer.json()["candidates"][0]["finishReason"], "STOP");
            assert!(answer.json()["usageMetadata"]["promptTokenCount"].as_u64().unwrap() > 0);
            let cost = format!("\"cost\":{}", answer.header("x-aipipe-cost-usd"));
            assert!(answer.text.contains(&cost) || answer.header("x-aipipe-cache") == "hit", "{}", answer.text);
        }
        let path = format!("/v1beta/models/{name}:streamGenerateContent");
        let events = bench.post(&format!("{path}?alt=sse"), &ask("Weather?")).send().await.unwrap();
        let events = Answer::read(events).await.ok();
        let chunks = events.chunks();
        assert_eq!(chunks.iter().map(text).collect::<String>(), "It rains in Bergen.", "{name}");
        let last = chunks.last().unwrap();
        assert_eq!(last["candidates"][0]["finishReason"], "STOP", "{name}");
        assert!(last["usageMetadata"]["cost"].is_number(), "{name}: {last}");

        let array = Answer::read(bench.post(&path, &ask("Weather?")).send().await.unwrap()).await.ok();
        assert_eq!(array.header("content-type"), "application/json");
        let items = array.json();
        let said: String = items.as_array().unwrap().iter().map(text).collect();
        assert_eq!(said, "It rains in Bergen.", "{name}");
    }
    for row in bench.rows().await {
        assert_eq!((&row["outcome"], &row["dialect"]), (&json!("ok"), &json!("gemini")), "{row}");
    }
    bench.idle().await;
}

#[tokio::test]
async fn d14_one_object_stands_for_a_list_of_one() {
    let bench = Bench::start().await;
    let body = json!({
        "system_instruction": {"parts": {"text": "Speak as a sailor."}},
        "contents": {"role": "user", "parts": {"text": "How is the weather?"}},
        "tools": {"function_declarations": {"name": "barometer", "description": "Reads the barometer."}},
    });
    for provider in [Provider::Gemini, Provider::Anthropic, Provider::OpenAi] {
        bench.generate(model(provider), &body).await.ok();
        let calls = bench.simulator.calls();
        let sent = String::from_utf8_lossy(&calls.last().unwrap().body).into_owned();
        for words in ["Speak as a sailor.", "How is the weather?", "Reads the barometer."] {
            assert!(sent.contains(words), "{provider}: {sent}");
        }
        if provider == Provider::Gemini {
            assert_eq!(sent, body.to_string(), "what needs no change is not changed");
        }
    }
}

#[tokio::test]
async fn what_only_gemini_streams_passes_to_its_own_clients() {
    let events = [
        r#"{"candidates":[{"content":{"parts":[{"text":"One"}]},"index":0}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"Another"}]},"index":1}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}]},"index":0}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"look","willContinue":true}}]},"index":0}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.id","stringValue":"A"}],"willContinue":true}}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{}}]},"index":0}]}"#,
        r#"{"candidates":[{"finishReason":"STOP","index":1}]}"#,
        r#"{"candidates":[{"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":8,"candidatesTokenCount":9}}"#,
    ];
    let said: String = events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
    let wire = Wire::start(unframed("200 OK", "content-type: text/event-stream\r\n", &said), Then::Close).await;
    let environment = [("AIPIPE_GEMINI_BASE_URL", wire.url())];
    let bench = Bench::with(Setting { environment: &environment, ..Setting::default() }).await;
    let path = format!("/v1beta/models/{}:streamGenerateContent?alt=sse", model(Provider::Gemini));
    let answer = Answer::read(bench.post(&path, &ask("Look")).send().await.unwrap()).await.ok();
    let (passed, last) = answer.text.trim_end().rsplit_once("\r\n\r\n").unwrap();
    assert_eq!(passed, said.trim_end().rsplit_once("\r\n\r\n").unwrap().0);
    assert!(last.contains(r#""candidatesTokenCount":9,"cost":"#), "{last}");
    let row = &bench.rows().await[0];
    assert_eq!((&row["outcome"], &row["tokens"]["output"]), (&json!("ok"), &json!(9)), "{row}");
    // Whoever speaks another dialect did not ask for it.
    let mut other = crate::support::ask_stream(model(Provider::Gemini), "Look");
    other["max_tokens"] = json!(9);
    let told = Answer::read(bench.chat(&other).send().await.unwrap()).await;
    assert!(told.text.contains("upstream_malformed"), "{}", told.text);
}

#[tokio::test]
async fn tool_calls_go_there_and_back() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        let mut body = ask("What is the weather in Bergen? Use the tool.");
        let parameters = json!({"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]});
        body["tools"] = json!([{"functionDeclarations": [{"name": "get_weather", "parameters": parameters}]}]);
        let called = bench.generate(model(provider), &body).await.ok().json();
        let content = &called["candidates"][0]["content"];
        let parts = content["parts"].as_array().unwrap();
        let call =
            parts.iter().find_map(|part| part.get("functionCall")).unwrap_or_else(|| panic!("{provider}: {called}"));
        assert_eq!(call["name"], "get_weather");
        assert!(call["args"]["city"].is_string(), "{provider}: {call}");
        let contents = body["contents"].as_array_mut().unwrap();
        contents.push(content.clone());
        let response = json!({"id": call["id"], "name": "get_weather", "response": {"result": "rain"}});
        contents.push(json!({"role": "user", "parts": [{"functionResponse": response}]}));
        let answer = bench.generate(model(provider), &body).await.ok();
        assert!(!text(&answer.json()).is_empty(), "{provider}: {}", answer.text);
    }
}

#[tokio::test]
async fn refusals_have_googles_shape() {
    let bench = Bench::start().await;
    let unknown = bench.generate("gemini-99", &ask("Hello")).await;
    let error = &unknown.json()["error"];
    assert_eq!((unknown.status, &error["status"], &error["code"]), (404, &json!("NOT_FOUND"), &json!(404)));
    assert_eq!(error["details"][0]["reason"], "model_not_found");
    assert_eq!(error["details"][0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
    let invalid = bench.generate("auto", &json!({"contents": []})).await;
    assert_eq!((invalid.status, &invalid.json()["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));

    bench.simulator.script(Provider::Anthropic, Behaviour::BreaksAfter(2));
    let path = format!("/v1beta/models/{}:streamGenerateContent", model(Provider::Anthropic));
    let events = bench.post(&format!("{path}?alt=sse"), &ask("Tell me a story.")).send().await.unwrap();
    let last = Answer::read(events).await.chunks().pop().unwrap();
    assert_eq!(last["error"]["details"][0]["reason"], "upstream_malformed", "{last}");
    let array = Answer::read(bench.post(&path, &ask("Tell me a story.")).send().await.unwrap()).await;
    let items = array.json();
    assert_eq!(items.as_array().unwrap().last().unwrap()["error"]["status"], "INTERNAL", "{items}");

    let listed = bench.client.get(bench.url("/v1beta/models")).send().await.unwrap();
    assert_eq!(Answer::read(listed).await.ok().json()["models"][0]["name"], "models/auto");
}

#[tokio::test]
async fn a_token_may_stand_in_the_address() {
    let bench = Bench::start().await;
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    let issued = bench.admin(reqwest::Method::POST, "/admin/tenants/acme/tokens").send().await.unwrap();
    let token = Answer::read(issued).await.ok().json()["token"].as_str().unwrap().to_owned();
    let path = format!("/v1beta/models/{}:generateContent?key={token}", model(Provider::Gemini));
    Answer::read(bench.post(&path, &ask("Hello")).send().await.unwrap()).await.ok();
    assert_eq!(bench.rows().await[0]["tenant"], "acme");
    assert!(bench.simulator.calls().iter().all(|call| !format!("{call:?}").contains(&token)));
}
