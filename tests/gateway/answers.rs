//! The first answer: from each of the seven providers, whole and streamed, with its cost, its headers and its row.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::json;

use crate::support::{Answer, Bench, ask, ask_stream, model};

#[tokio::test]
async fn every_provider_answers_whole_and_streamed() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        bench.simulator.script(provider, Behaviour::Says("It rains in Bergen.".into()));
        let name = model(provider);

        let whole = bench.answered(&ask(name, &format!("How is the weather, {name}?"))).await;
        assert_eq!(whole.content(), "It rains in Bergen.", "{name}");
        assert_eq!(whole.header("x-aipipe-provider"), provider.as_str());
        assert_eq!(format!("{provider}/{}", whole.header("x-aipipe-model")), name);
        assert_eq!((whole.header("x-aipipe-attempts"), whole.header("x-aipipe-cache")), ("1", "miss"));
        let usage = &whole.json()["usage"];
        assert!(usage["prompt_tokens"].as_u64().unwrap() > 0, "{usage}");
        let cost = format!("\"cost\":{}", whole.header("x-aipipe-cost-usd"));
        assert!(whole.text.contains(&cost), "{cost} in {}", whole.text);

        let stream =
            Answer::read(bench.chat(&ask_stream(name, "How is the weather?")).send().await.unwrap()).await.ok();
        assert!(stream.header("content-type").starts_with("text/event-stream"));
        assert_eq!(stream.streamed(), "It rains in Bergen.", "{name}");
        assert!(stream.is_whole_stream(), "{}", stream.text);
        let last = stream.chunks().pop().unwrap();
        assert!(last["usage"]["cost"].is_number(), "{last}");
        assert_eq!(stream.header("x-aipipe-cache"), "off");
    }
    let rows = bench.rows().await;
    assert_eq!(rows.len(), 14);
    for row in &rows {
        assert_eq!(row["outcome"], "ok", "{row}");
        assert_eq!(row["attempts"].as_array().unwrap().len(), 1);
        assert_eq!(row["estimated"], false);
    }
    bench.idle().await;
}

#[tokio::test]
async fn usage_is_shown_only_to_those_who_ask() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        let mut body = ask_stream(model(provider), "Hello");
        body.as_object_mut().unwrap().remove("stream_options");
        let stream = Answer::read(bench.chat(&body).send().await.unwrap()).await.ok();
        assert!(stream.is_whole_stream());
        for chunk in stream.chunks() {
            assert!(chunk.get("usage").is_none_or(serde_json::Value::is_null), "{provider}: {chunk}");
            assert!(!chunk["choices"].as_array().unwrap().is_empty(), "{provider}: {chunk}");
        }
    }
    for row in bench.rows().await {
        assert!(row["tokens"]["output"].as_u64().unwrap() > 0, "{row}");
        assert_eq!(row["estimated"], false, "{row}");
    }
}

#[tokio::test]
async fn a_tool_call_goes_there_and_back_at_every_provider() {
    let bench = Bench::start().await;
    let weather = json!({"type": "function", "function": {
        "name": "get_weather", "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }});
    for provider in Provider::ALL {
        let mut body = ask(model(provider), "What is the weather in Bergen? Use the tool.");
        body["tools"] = json!([weather]);
        let called = bench.answered(&body).await.json();
        let message = &called["choices"][0]["message"];
        assert_eq!(called["choices"][0]["finish_reason"], "tool_calls", "{provider}: {called}");
        let call = &message["tool_calls"][0];
        assert_eq!(call["function"]["name"], "get_weather");
        let arguments: serde_json::Value =
            serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert!(arguments["city"].is_string(), "{provider}: {arguments}");

        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(message.clone());
        messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "rain, 9 degrees"}));
        let answer = bench.answered(&body).await;
        assert!(!answer.content().is_empty(), "{provider}: {}", answer.text);
    }
}
