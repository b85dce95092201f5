//! What reaches a provider of a client's request: fitted to the model, in the client's order, and with nothing lost in silence.

use std::collections::BTreeSet;
use std::time::Duration;

use aipipe::simulator::{Behaviour, LatencyProfile, Provider};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialects::{Dialect, message_of};
use crate::support::{Answer, Bench, Setting, ask, model};

impl Bench {
    /// The body of the last call of a provider.
    fn sent(&self, provider: Provider) -> String {
        String::from_utf8(self.simulator.calls_of(provider).pop().unwrap().body.to_vec()).unwrap()
    }

    async fn message(&self, model: &str, members: &Value) -> Answer {
        let mut body = json!({"model": model, "max_tokens": 4_000, "messages": [{"role": "user", "content": "Hello"}]});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        Answer::read(self.post("/v1/messages", &body).send().await.unwrap()).await
    }

    async fn generated(&self, model: &str, body: &Value) -> Answer {
        let path = format!("/v1beta/models/{model}:generateContent");
        Answer::read(self.post(&path, body).send().await.unwrap()).await
    }
}

#[tokio::test]
async fn d67_d68_d69_d70_parameters_that_a_model_refuses_are_left_out_and_named_or_refused() {
    let bench = Bench::start().await;
    let tuning = json!({"temperature": 0.3, "top_p": 0.9});
    for (name, members, left_out) in [
        ("openai/gpt-5-mini", &tuning, vec!["temperature", "top_p"]),
        ("openai/gpt-5.1", &tuning, vec!["temperature", "top_p"]),
        ("openai/gpt-4o-mini", &tuning, vec![]),
        ("xai/grok-4.3", &tuning, vec![]),
        ("moonshot/kimi-k2.6", &tuning, vec!["temperature", "top_p"]),
        ("minimax/MiniMax-M2.7", &tuning, vec![]),
        ("anthropic/claude-haiku-4-5", &json!({"temperature": 0.3}), vec![]),
    ] {
        let answer = bench.message(name, members).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        let dropped: Vec<&str> =
            answer.header("x-aipipe-dropped").split(", ").filter(|name| !name.is_empty()).collect();
        assert_eq!(dropped, left_out, "{name}");
        let provider = Provider::ALL.into_iter().find(|p| name.starts_with(&format!("{p}/"))).unwrap();
        let sent: Value = serde_json::from_str(&bench.sent(provider)).unwrap();
        for member in ["temperature", "top_p"] {
            let is_sent = members.get(member).is_some() && !left_out.contains(&member);
            assert_eq!(sent.get(member).is_some(), is_sent, "{name}: {sent}");
        }
    }
    // A penalty of 0 is none, and a temperature beyond the provider's scale is moved into it: neither in silence.
    let mut body =
        json!({"messages": [{"role": "user", "content": "Hello"}], "presence_penalty": 0, "temperature": 1.5});
    for (name, left_out, temperature) in [
        ("anthropic/claude-haiku-4-5", "temperature, presence_penalty", 1.0),
        ("gemini/gemini-2.5-flash", "presence_penalty", 1.5),
    ] {
        body["model"] = json!(name);
        let answer = bench.answered(&body).await;
        let dropped: BTreeSet<&str> = answer.header("x-aipipe-dropped").split(", ").collect();
        assert_eq!(dropped, left_out.split(", ").collect(), "{name}");
        let provider = Provider::ALL.into_iter().find(|p| name.starts_with(&format!("{p}/"))).unwrap();
        let sent: Value = serde_json::from_str(&bench.sent(provider)).unwrap();
        assert_eq!(
            sent.get("temperature").or(sent.pointer("/generationConfig/temperature")),
            Some(&json!(temperature))
        );
        assert!(!sent.to_string().to_lowercase().contains("penalty"), "{sent}");
    }
    // A stop sequence changes the answer: a model that takes none is no candidate.
    let refused = bench.message("xai/grok-4.3", &json!({"stop_sequences": ["END"]})).await;
    let (code, message) = Dialect::Messages.error(&refused);
    assert_eq!((refused.status, &*code), (422, "no_candidate"), "{}", refused.text);
    assert!(message.contains("stop"), "{message}");
    // Several answers are none of Kimi's.
    let several = json!({"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": {"candidateCount": 2}});
    assert_eq!(bench.generated("moonshot/kimi-k2.6", &several).await.status, 422);
}

#[tokio::test]
async fn d12_an_answer_that_is_begun_goes_only_where_it_is_continued() {
    let bench = Bench::start().await;
    let begun = json!({"messages": [{"role": "user", "content": "A limerick."}, {"role": "assistant", "content": "There once"}]});
    assert_eq!(bench.message("anthropic/claude-haiku-4-5", &begun).await.status, 200);
    for name in ["openai/gpt-4o-mini", "moonshot/kimi-k2.6", "gemini/gemini-3.5-flash", "anthropic/claude-opus-4-8"] {
        let refused = bench.message(name, &begun).await;
        assert_eq!(refused.status, 422, "{name}: {}", refused.text);
        assert!(Dialect::Messages.error(&refused).1.contains("prefill"), "{name}: {}", refused.text);
    }
    // In OpenAI's and Google's dialect a new answer begins after the last one.
    let mut body = ask("openai/gpt-4o-mini", "A limerick.");
    body["messages"].as_array_mut().unwrap().push(json!({"role": "assistant", "content": "There once"}));
    bench.answered(&body).await;
    let contents = json!([{"role": "user", "parts": [{"text": "A limerick."}]}, {"role": "model", "parts": [{"text": "There once"}]}]);
    for name in ["gemini/gemini-3.5-flash", "openai/gpt-4o-mini"] {
        let answer = bench.generated(name, &json!({"contents": contents})).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
    }
}

#[tokio::test]
async fn d2_d43_instructions_reach_every_provider_in_its_own_words() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        let mut body = ask(model(provider), "Hello");
        body["messages"].as_array_mut().unwrap().insert(0, json!({"role": "developer", "content": "Be brief."}));
        bench.answered(&body).await;
        let sent: Value = serde_json::from_str(&bench.sent(provider)).unwrap();
        match provider {
            Provider::Anthropic => assert_eq!(sent["system"][0]["text"], "Be brief."),
            Provider::Gemini => assert_eq!(sent["systemInstruction"]["parts"][0]["text"], "Be brief."),
            Provider::OpenAi => assert_eq!(sent["messages"][0]["role"], "developer"),
            _ => assert_eq!(sent["messages"][0], json!({"role": "system", "content": "Be brief."}), "{provider}"),
        }
        // Google's clients ask for JSON without a word of it.
        let free = json!({"contents": [{"parts": [{"text": "Name a city."}]}], "generationConfig": {"responseMimeType": "application/json"}});
        let answer = bench.generated(model(provider), &free).await;
        assert_eq!(answer.status, 200, "{provider}: {}", answer.text);
    }
}

#[tokio::test]
async fn d29_d81_order_and_numbers_reach_every_provider_as_the_client_wrote_them() {
    let bench = Bench::start().await;
    let names = ["zebra", "mango", "apple", "Quail"];
    let schema = r#"{"type":"object","properties":{"z":{"type":"integer","maximum":12345678901234567890123},"a":{"type":"number","minimum":1.0},"m":{"type":"string"}},"required":["z","a","m"],"additionalProperties":false}"#;
    let arguments = r#"{"z":12345678901234567890123,"a":1.0,"m":"x"}"#;
    let quoted = serde_json::to_string(arguments).unwrap();
    let functions: Vec<String> = names
        .iter()
        .map(|name| format!(r#"{{"type":"function","function":{{"name":"{name}","parameters":{schema}}}}}"#))
        .collect();
    let tools: Vec<String> =
        names.iter().map(|name| format!(r#"{{"name":"{name}","input_schema":{schema}}}"#)).collect();
    let declarations: Vec<String> =
        names.iter().map(|name| format!(r#"{{"name":"{name}","parametersJsonSchema":{schema}}}"#)).collect();
    for provider in Provider::ALL {
        let name = model(provider);
        let chat = format!(
            r#"{{"model":"{name}","messages":[{{"role":"user","content":"Go."}},{{"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[{{"id":"c1","type":"function","function":{{"name":"zebra","arguments":{quoted}}}}}]}},{{"role":"tool","tool_call_id":"c1","content":"1"}}],"tools":[{}]}}"#,
            functions.join(",")
        );
        let messages = format!(
            r#"{{"model":"{name}","max_tokens":900,"messages":[{{"role":"user","content":"Go."}},{{"role":"assistant","content":[{{"type":"tool_use","id":"c1","name":"zebra","input":{arguments}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"c1","content":"1"}}]}}],"tools":[{}]}}"#,
            tools.join(",")
        );
        let contents = format!(
            r#"{{"contents":[{{"role":"user","parts":[{{"text":"Go."}}]}},{{"role":"model","parts":[{{"functionCall":{{"id":"c1","name":"zebra","args":{arguments}}},"thoughtSignature":"skip_thought_signature_validator"}}]}},{{"role":"user","parts":[{{"functionResponse":{{"id":"c1","name":"zebra","response":{{"result":"1"}}}}}}]}}],"tools":[{{"functionDeclarations":[{}]}}]}}"#,
            declarations.join(",")
        );
        let gemini = format!("/v1beta/models/{name}:generateContent");
        for (path, body) in [("/v1/chat/completions", chat), ("/v1/messages", messages), (&*gemini, contents)] {
            let request = bench.client.post(bench.url(path)).header("content-type", "application/json").body(body);
            let answer = Answer::read(request.send().await.unwrap()).await;
            assert_eq!(answer.status, 200, "{provider} {path}: {}", answer.text);
            let sent = bench.sent(provider);
            let declared = |name: &str| {
                let members = ["parameters", "input_schema"].map(|member| format!("\"{name}\",\"{member}"));
                members.iter().find_map(|text| sent.find(text)).unwrap_or_else(|| panic!("{name} in {sent}"))
            };
            let places = names.map(declared);
            assert!(places.is_sorted(), "{provider} {path}: {sent}");
            assert_eq!(sent.matches(schema).count(), names.len(), "{provider} {path}: {sent}");
            let written = sent.contains(arguments) || sent.contains(&quoted);
            assert!(written, "{provider} {path}: {sent}");
        }
    }
}

#[tokio::test]
async fn d25_a_history_of_calls_goes_on_where_no_more_may_be_made() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        for declared in [true, false] {
            let mut body = json!({"model": model(provider), "tool_choice": "none", "messages": [
                {"role": "user", "content": "Go."},
                {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "1"},
                {"role": "tool", "tool_call_id": "c2", "content": "2"},
            ]});
            if declared {
                body["tools"] = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]);
            }
            let answer = bench.answered(&body).await;
            assert_eq!(answer.json()["choices"][0]["finish_reason"], "stop", "{provider}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn d38_a_custom_tool_passes_where_it_is_known_is_a_function_elsewhere_and_is_refused_where_neither_holds() {
    let bench = Bench::start().await;
    let body = |name: &str| {
        let mut body = ask(name, "Hello");
        let grammar = json!({"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a+/"}});
        body["tools"] = json!([{"type": "custom", "custom": {"name": "apply_patch", "format": grammar}}]);
        body
    };
    bench.answered(&body("openai/gpt-4o-mini")).await;
    let sent: Value = serde_json::from_str(&bench.sent(Provider::OpenAi)).unwrap();
    assert_eq!(sent["tools"], body("x")["tools"]);
    for name in ["xai/grok-4.3", "moonshot/kimi-k2.6", "minimax/MiniMax-M2.7"] {
        let refused = bench.refused(&body(name)).await;
        assert_eq!(refused.status, 422, "{name}: {}", refused.text);
        assert!(refused.text.contains("custom_tools"), "{name}: {}", refused.text);
    }
    for name in ["anthropic/claude-haiku-4-5", "gemini/gemini-3.5-flash"] {
        let mut forced = body(name);
        forced["tool_choice"] = json!({"type": "custom", "custom": {"name": "apply_patch"}});
        let answer = bench.answered(&forced).await.json();
        let choice = &answer["choices"][0];
        let call = &choice["message"]["tool_calls"][0];
        assert_eq!(
            (&call["type"], &choice["finish_reason"]),
            (&json!("custom"), &json!("tool_calls")),
            "{name}: {answer}"
        );
        assert_eq!(call["custom"]["name"], "apply_patch");
        let input = call["custom"]["input"].as_str().unwrap().to_owned();
        assert!(!input.is_empty() && !input.starts_with('{'), "{name}: {call}");
        let provider = Provider::ALL.into_iter().find(|p| name.starts_with(&format!("{p}/"))).unwrap();
        assert!(bench.sent(provider).contains("must follow this lark grammar"), "{}", bench.sent(provider));

        // The same as a stream: the input comes in one piece, after the call's own name.
        forced["stream"] = json!(true);
        let chunks = bench.answered(&forced).await.chunks();
        let calls: Vec<&Value> = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0])
            .filter(|call| call.is_object())
            .collect();
        assert_eq!(calls.len(), 1, "{name}: {chunks:?}");
        assert_eq!((&calls[0]["type"], &calls[0]["custom"]["name"]), (&json!("custom"), &json!("apply_patch")));
        assert_eq!(calls[0]["custom"]["input"], *input);

        // Client and provider go on from it, each in its own form.
        let mut next = body(name);
        let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "done"});
        next["messages"].as_array_mut().unwrap().extend([choice["message"].clone(), result]);
        bench.answered(&next).await;
        let quoted = Value::from(&*input).to_string();
        assert!(bench.sent(provider).contains(&format!("{{\"input\":{quoted}}}")), "{}", bench.sent(provider));
    }
}

#[tokio::test]
async fn d82_d84_hints_go_where_they_are_known_and_are_named_elsewhere() {
    let bench = Bench::start().await;
    let mut body = ask("openai/gpt-4o-mini", "Hello");
    body["prompt_cache_key"] = json!("session-1");
    body["prompt_cache_retention"] = json!("24h");
    bench.answered(&body).await;
    let sent: Value = serde_json::from_str(&bench.sent(Provider::OpenAi)).unwrap();
    assert_eq!((&sent["prompt_cache_key"], &sent["prompt_cache_retention"]), (&json!("session-1"), &json!("24h")));
    body["model"] = json!("anthropic/claude-haiku-4-5");
    let answer = bench.answered(&body).await;
    assert_eq!(answer.header("x-aipipe-dropped"), "prompt_cache_key, prompt_cache_retention");
    assert!(!bench.sent(Provider::Anthropic).contains("session-1"));

    let safety = json!([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]);
    let guarded = json!({"contents": [{"parts": [{"text": "Hello"}]}], "safetySettings": safety});
    for provider in Provider::ALL {
        let answer = bench.generated(model(provider), &guarded).await.ok();
        let keeps = provider == Provider::Gemini;
        assert_eq!(bench.sent(provider).contains("safetySettings"), keeps, "{provider}");
        assert_eq!(answer.header("x-aipipe-dropped").contains("safetySettings"), !keeps, "{provider}");
    }
    // Nobody who did not ask for them gets any.
    bench.answered(&ask(model(Provider::Gemini), "Hello")).await;
    assert!(!bench.sent(Provider::Gemini).contains("safetySettings"));
}

#[tokio::test]
async fn d154_google_is_asked_for_events_whatever_the_client_reads() {
    let bench = Bench::start().await;
    let name = model(Provider::Gemini);
    for query in ["", "?alt=sse", "?alt=json"] {
        let path = format!("/v1beta/models/{name}:streamGenerateContent{query}");
        let body = json!({"contents": [{"parts": [{"text": "Hello"}]}]});
        Answer::read(bench.post(&path, &body).send().await.unwrap()).await.ok();
        let call = bench.simulator.calls_of(Provider::Gemini).pop().unwrap();
        assert!(call.path.ends_with(":streamGenerateContent?alt=sse"), "{}", call.path);
    }
}

#[tokio::test]
async fn d156_d157_d160_comments_are_signs_of_life_and_split_characters_whole() {
    let bench = Bench::start().await;
    let chunk = |text: &str| {
        format!(
            "data: {{\"id\":\"g\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        )
    };
    let comment = ": OPENROUTER PROCESSING\n\n";
    let end = "data: {\"id\":\"g\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let stream = [comment, &chunk("so \\ud83d"), comment, &chunk("\\ude00!"), end].concat();
    let bytes = Bytes::from(stream.clone());
    bench.simulator.script(Provider::OpenRouter, Behaviour::Fixed { content_type: "text/event-stream".into(), bytes });
    let name = model(Provider::OpenRouter);

    let request = Dialect::Messages.ask_stream(&bench, name, "Hello");
    let answer = Answer::read(request.send().await.unwrap()).await.ok();
    assert_eq!(message_of(&answer.text)["content"][0]["text"], "so 😀!");
    // One after the start of the message, one for the comment after it; before it there is nothing to keep alive.
    assert_eq!(answer.text.matches("event: ping").count(), 2, "{}", answer.text);

    let request = Dialect::Gemini.ask_stream(&bench, name, "Hello");
    let answer = Answer::read(request.send().await.unwrap()).await.ok();
    let said: String = answer
        .chunks()
        .iter()
        .filter_map(|c| c["candidates"][0]["content"]["parts"][0]["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(said, "so 😀!");

    let request = Dialect::Chat.ask_stream(&bench, name, "Hello");
    let passed = Answer::read(request.send().await.unwrap()).await.ok();
    assert_eq!(passed.text, stream, "what passes through is not touched");
}

#[tokio::test]
async fn d156_a_silence_within_a_translated_stream_is_bridged_by_signs_of_life() {
    let bench = Bench::with(Setting { file: "[reliability]\nkeep_alive_ms = 20\n", ..Setting::default() }).await;
    let pace = LatencyProfile { per_token: Duration::from_millis(100), ..LatencyProfile::default() };
    for provider in [Provider::OpenAi, Provider::Anthropic] {
        bench.simulator.script(provider, Behaviour::Latency(pace));
    }
    let stream = async |path: &str, provider| {
        let messages = json!([{"role": "user", "content": "Hello"}]);
        let body = json!({"model": model(provider), "messages": messages, "stream": true, "max_tokens": 4});
        Answer::read(bench.post(path, &body).send().await.unwrap()).await.ok().text
    };
    let translated = stream("/v1/messages", Provider::OpenAi).await;
    assert!(translated.matches("event: ping").count() > 2, "{translated}");
    assert!(translated.contains("message_stop"), "{translated}");
    let translated = stream("/v1/chat/completions", Provider::Anthropic).await;
    assert!(translated.contains(": keep-alive\n\n") && translated.ends_with("data: [DONE]\n\n"), "{translated}");
    // What passes through is the provider's own.
    let passed = stream("/v1/chat/completions", Provider::OpenAi).await;
    assert!(!passed.contains("keep-alive"), "{passed}");
}

#[tokio::test]
async fn d119_what_a_providers_own_tools_were_used_for_is_passed_on() {
    let bench = Bench::start().await;
    let usage = r#""usage":{"input_tokens":9,"output_tokens":4,"server_tool_use":{"web_search_requests":3,"web_fetch_requests":1}}"#;
    let body = format!(
        r#"{{"id":"m","type":"message","role":"assistant","model":"c","content":[{{"type":"text","text":"Hi"}}],"stop_reason":"end_turn",{usage}}}"#
    );
    bench.simulator.script(
        Provider::Anthropic,
        Behaviour::Fixed { content_type: "application/json".into(), bytes: Bytes::from(body) },
    );
    let tools = json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]});
    let answer = bench.message("anthropic/claude-haiku-4-5", &tools).await.ok().json();
    assert_eq!(answer["usage"]["server_tool_use"], json!({"web_search_requests": 3, "web_fetch_requests": 1}));
    // The ledger counts tokens alone.
    let row = bench.rows().await.remove(0);
    assert_eq!((&row["tokens"]["input"], &row["tokens"]["output"]), (&json!(9), &json!(4)), "{row}");
}

#[tokio::test]
async fn d50_a_schema_is_strict_at_openai_only_where_openai_takes_it_so() {
    let bench = Bench::start().await;
    let closed = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let mut open = closed.clone();
    open["properties"]["b"] = json!({"type": "string"});
    for (schema, is_strict) in [(closed, true), (open, false)] {
        let members = json!({
            "output_config": {"format": {"type": "json_schema", "schema": schema}},
            "tools": [{"name": "look", "strict": true, "input_schema": schema}],
        });
        let answer = bench.message("openai/gpt-4o-mini", &members).await.ok();
        let sent: Value = serde_json::from_str(&bench.sent(Provider::OpenAi)).unwrap();
        let strict = is_strict.then_some(&json!(true)).cloned();
        assert_eq!(sent.pointer("/response_format/json_schema/strict").cloned(), strict, "{sent}");
        assert_eq!(sent.pointer("/tools/0/function/strict").cloned(), strict, "{sent}");
        let dropped = answer.header("x-aipipe-dropped");
        assert_eq!(dropped, if is_strict { "" } else { "tools.strict, response_format.json_schema.strict" });
    }
}
