//! The first answer: from each of the seven providers, whole and streamed, with its cost, its headers and its row.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, ask, ask_stream, model};
use crate::wire::{Then, Wire, unframed};

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
        // OpenRouter sends its figures unasked: they are not AiPipe's to hide.
        for chunk in stream.chunks().into_iter().filter(|_| provider != Provider::OpenRouter) {
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

#[tokio::test]
async fn the_decision_joins_the_answer_where_it_is_asked_for() {
    let bench = Bench::start().await;
    let explained = |mut body: serde_json::Value| {
        body["aipipe"] = json!({"explain": true, "complexity": 0.9});
        body
    };
    let whole = bench.answered(&explained(ask("auto", "Hello"))).await;
    let hit = bench.answered(&explained(ask("auto", "Hello"))).await;
    assert_eq!((hit.header("x-aipipe-cache"), hit.header("x-aipipe-complexity")), ("hit", "0.900"));
    let stream = Answer::read(bench.chat(&explained(ask_stream("auto", "Hello"))).send().await.unwrap()).await.ok();
    assert!(stream.is_whole_stream() && !stream.streamed().is_empty());
    let routed = bench.post("/v1/route", &explained(ask("auto", "Hello"))).send().await.unwrap();
    let routed = Answer::read(routed).await.ok().json();
    let row = bench.rows().await.pop().unwrap();
    for decision in [
        &whole.json()["aipipe"]["decision"],
        &hit.json()["aipipe"]["decision"],
        &stream.chunks()[0]["aipipe"]["decision"],
        &routed,
        &row["decision"],
    ] {
        assert_eq!((&decision["signal"], &decision["complexity"]), (&json!("override"), &json!(0.9)), "{decision}");
        assert_eq!(decision["chosen"]["model"], whole.header("x-aipipe-model"), "{decision}");
        assert_eq!(decision["candidates"][0]["rank"], 1);
        recompute(decision);
    }
    let plain = bench.answered(&ask("auto", "Hello")).await;
    assert!(plain.json().get("aipipe").is_none());
}

#[tokio::test]
async fn the_ledger_has_the_decision_to_the_last_digit() {
    let bench = Bench::start().await;
    for n in 1..12 {
        let mut body = ask("auto", &"x".repeat(n * 2_000));
        body["aipipe"] = json!({"explain": true, "cache": "off"});
        let answer = bench.answered(&body).await;
        let path = format!("/admin/requests/{}", answer.header("x-request-id"));
        let row = Answer::read(bench.admin(reqwest::Method::GET, &path).send().await.unwrap()).await;
        // Texts are compared: reading a number may round it.
        let (_, told) = answer.text.split_once("\"decision\":").unwrap();
        let told = told.trim_end().strip_suffix("}}").unwrap();
        assert!(row.text.contains(told), "{} {told}", row.text);
    }
}

/// Every number of a decision follows from the others.
fn recompute(decision: &serde_json::Value) {
    let usd = |value: &serde_json::Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let exponent = (decision["complexity"].as_f64().unwrap() - 0.25).max(0.0) * 6.0;
    assert!((decision["exponent"].as_f64().unwrap() - exponent).abs() < 1e-12);
    let mut last = 0.0;
    for candidate in decision["candidates"].as_array().unwrap() {
        if candidate["raw_cost_usd"].is_null() {
            continue;
        }
        let quality = candidate["quality"].as_f64().unwrap();
        let adjusted = usd(&candidate["raw_cost_usd"]) / quality.powf(exponent);
        assert!((usd(&candidate["adjusted_cost_usd"]) / adjusted - 1.0).abs() < 1e-11, "{candidate}");
        let effective = usd(&candidate["adjusted_cost_usd"]) * candidate["penalty"].as_f64().unwrap();
        assert!((usd(&candidate["effective_cost_usd"]) / effective - 1.0).abs() < 1e-11, "{candidate}");
        if candidate["eligible"] == true {
            assert!(effective >= last, "{candidate}");
            last = effective;
        }
    }
}

#[tokio::test]
async fn a_client_narrows_the_choice_and_orders_the_fall_back() {
    let bench = Bench::start().await;
    let with = |model: &str, wishes: serde_json::Value| {
        let mut body = ask(model, "Hello");
        body["aipipe"] = wishes;
        body
    };
    for (body, provider) in [
        (with("auto", json!({"providers": ["gemini"]})), "gemini"),
        (with("auto", json!({"models": ["anthropic/claude-haiku-4-5"]})), "anthropic"),
        (with("gpt-4o-mini", json!({"exclude": ["openrouter"]})), "openai"),
        (with("openrouter/openai/gpt-4o-mini", json!({})), "openrouter"),
    ] {
        assert_eq!(bench.answered(&body).await.header("x-aipipe-provider"), provider, "{body}");
    }
    let request = bench.chat(&ask("auto", "Hello")).header("x-aipipe-models", "xai/grok-4.3, nothing");
    assert_eq!(Answer::read(request.send().await.unwrap()).await.ok().header("x-aipipe-provider"), "xai");

    bench.simulator.script(Provider::OpenAi, Behaviour::status(500));
    let ordered = json!({"models": ["gemini/gemini-3.5-flash", "anthropic/claude-haiku-4-5"]});
    let mut body = with("openai/gpt-4o-mini", ordered);
    body["temperature"] = json!(0.5);
    let answer = bench.answered(&body).await;
    assert_eq!(answer.header("x-aipipe-provider"), "gemini", "the first of the list, not the cheapest");
}

#[tokio::test]
async fn what_only_tunes_is_left_out_and_named() {
    let bench = Bench::start().await;
    let mut body = ask("anthropic/claude-haiku-4-5", "Hello");
    body["user"] = json!("me");
    body["seed"] = json!(7);
    body["store"] = json!(false);
    let answer = bench.answered(&body).await;
    let dropped: Vec<&str> = answer.header("x-aipipe-dropped").split(", ").collect();
    for name in ["user", "seed", "store"] {
        assert!(dropped.contains(&name), "{dropped:?}");
    }
    let sent = &bench.simulator.calls_of(Provider::Anthropic)[0].body;
    assert!(!String::from_utf8_lossy(sent).contains("aipipe"));
}

#[tokio::test]
async fn what_passes_through_passes_byte_for_byte() {
    let bench = Bench::start().await;
    let odd = concat!(
        r#"{ "model" : "openai/gpt-4o-mini" ,"temperature":1.0e0, "metadata":{"b" :"1"}, "#,
        r#""messages":[ {"content":"caf\u00e9 \/ 😀","role":"user"} ],"aipipe":{"cache":"off"},"user":"me"}"#
    );
    let request = bench.client.post(bench.url("/v1/chat/completions")).body(odd);
    let answer = Answer::read(request.send().await.unwrap()).await.ok();
    assert_eq!(answer.header("x-aipipe-dropped"), "");
    let sent = bench.simulator.calls_of(Provider::OpenAi).pop().unwrap().body;
    let expected = odd.replace("openai/gpt-4o-mini", "gpt-4o-mini").replace(r#","aipipe":{"cache":"off"}"#, "");
    assert_eq!(String::from_utf8(sent.to_vec()).unwrap(), expected);
}

#[tokio::test]
async fn images_and_schemas_reach_every_dialect() {
    let bench = Bench::start().await;
    let pixel = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let schema = json!({
        "type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"], "additionalProperties": false,
    });
    for provider in [Provider::OpenAi, Provider::Anthropic, Provider::Gemini] {
        let mut body = ask(model(provider), "");
        body["messages"][0]["content"] = json!([
            {"type": "text", "text": "What colour is it?"},
            {"type": "image_url", "image_url": {"url": pixel}},
        ]);
        body["response_format"] =
            json!({"type": "json_schema", "json_schema": {"name": "seen", "strict": true, "schema": schema}});
        let answer = bench.answered(&body).await;
        let seen: serde_json::Value = serde_json::from_str(&answer.content()).unwrap();
        assert!(seen["colour"].is_string(), "{provider}: {}", answer.text);
        let sent = String::from_utf8(bench.simulator.calls_of(provider).pop().unwrap().body.to_vec()).unwrap();
        assert!(sent.contains("iVBORw0KGgo"), "{provider}: {sent}");
    }
    // An address is passed on where the provider fetches it, and is never fetched here.
    let mut body = ask("auto", "");
    body["messages"][0]["content"] = json!([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]);
    let decision = Answer::read(bench.post("/v1/route", &body).send().await.unwrap()).await.ok().json();
    let gemini = decision["candidates"].as_array().unwrap().iter().find(|one| one["provider"] == "gemini").unwrap();
    assert_eq!(gemini["eligible"], false, "{gemini}");
}

#[tokio::test]
async fn a_client_says_how_good_its_answer_was() {
    let bench = Bench::start().await;
    let answer = bench.answered(&ask("openai/gpt-4o-mini", "Hello")).await;
    let id = answer.header("x-request-id");
    let say = async |body: serde_json::Value, tenant: &str| {
        Answer::read(bench.post("/v1/feedback", &body).header("x-tenant-id", tenant).send().await.unwrap()).await
    };
    let kept = say(json!({"request_id": id, "score": 0.9, "comment": "right"}), "default").await.ok();
    assert_eq!(kept.json()["model"], "gpt-4o-mini");
    bench.put_tenant("other", &json!({})).await;
    assert_eq!(say(json!({"request_id": id, "score": 0.9}), "other").await.status, 404, "it is not this tenant's");
    assert_eq!(say(json!({"request_id": "nothing", "score": 0.9}), "default").await.code(), "not_found");
    assert_eq!(say(json!({"request_id": id, "score": 2}), "default").await.json()["error"]["param"], "score");
}

#[tokio::test]
async fn audio_tokens_are_recorded_and_cost_what_text_does() {
    let chat = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_780_000_000, "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "A dog barks."}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 70}, "completion_tokens_details": {"audio_tokens": 9}},
    });
    let gemini = json!({
        "candidates": [{"content": {"role": "model", "parts": [{"text": "A dog barks."}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 120,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 30}, {"modality": "AUDIO", "tokenCount": 70}],
            "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}, {"modality": "TEXT", "tokenCount": 11}]},
    });
    let bench = Bench::start().await;
    for (provider, mut answer, usage, details) in [
        (Provider::OpenAi, chat, "usage", ["prompt_tokens_details", "completion_tokens_details"]),
        (Provider::Gemini, gemini, "usageMetadata", ["promptTokensDetails", "candidatesTokensDetails"]),
    ] {
        let cost_of = async |answer: &Value, prompt: &str| {
            let (content_type, bytes) = ("application/json".to_owned(), answer.to_string().into());
            bench.simulator.script(provider, Behaviour::Fixed { content_type, bytes });
            bench.answered(&ask(model(provider), prompt)).await;
            let row = bench.rows().await.swap_remove(0);
            let count = |name: &str| row["tokens"][name].as_u64().unwrap();
            ((count("audio_input"), count("audio_output")), row["cost_usd"].clone())
        };
        let (audio, cost) = cost_of(&answer, "What is to be heard?").await;
        assert_eq!(audio, (70, 9), "{provider:?}");
        details.iter().for_each(|name| drop(answer[usage].as_object_mut().unwrap().remove(*name)));
        assert_eq!(cost_of(&answer, "What is to be read?").await, ((0, 0), cost), "{provider:?}");
    }
}

#[tokio::test]
async fn d134_an_answer_that_names_no_model_is_told_under_the_one_that_was_asked() {
    let whole = r#"{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}"#;
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for (kind, said) in [("application/json", whole), ("text/event-stream", stream)] {
        let head = format!("content-type: {kind}\r\n");
        let wire = Wire::start(unframed("200 OK", &head, said), Then::Close).await;
        let environment = [("AIPIPE_OPENAI_BASE_URL", wire.url())];
        let bench = Bench::with(Setting { environment: &environment, ..Setting::default() }).await;
        let name = model(Provider::OpenAi);
        let mut body = ask(name, "Hello");
        body["max_tokens"] = json!(9);
        body["stream"] = json!(kind == "text/event-stream");
        let answer = Answer::read(bench.post("/v1/messages", &body).send().await.unwrap()).await.ok();
        let told = format!("\"model\":\"{}\"", name.split_once('/').unwrap().1);
        assert!(answer.text.contains(&told), "{}", answer.text);
    }
}
