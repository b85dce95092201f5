//! OpenAI Responses from outside: answered by every provider, and what providers keep, behind the walls between tenants.

use aipipe::simulator::{Behaviour, Provider, Settings};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, model};
use crate::wire::{Then, Wire, unframed};

/// Providers that offer Responses themselves.
const NATIVE: [Provider; 3] = [Provider::OpenAi, Provider::Xai, Provider::OpenRouter];

impl Bench {
    async fn respond(&self, body: &Value) -> Answer {
        Answer::read(self.post("/v1/responses", body).send().await.unwrap()).await
    }

    async fn respond_as(&self, tenant: &str, body: &Value) -> Answer {
        Answer::read(self.post("/v1/responses", body).header("x-tenant-id", tenant).send().await.unwrap()).await
    }

    async fn about(&self, method: Method, tenant: &str, path: &str) -> Answer {
        let request = self.client.request(method, self.url(&format!("/v1/responses/{path}")));
        Answer::read(request.header("x-tenant-id", tenant).send().await.unwrap()).await
    }
}

fn text_of(response: &Value) -> String {
    let items = response["output"].as_array().unwrap();
    items.iter().filter_map(|item| item["content"][0]["text"].as_str()).collect()
}

/// The data of a stream's events, in order.
fn events(answer: &Answer) -> Vec<Value> {
    let data = answer.text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn weather() -> Value {
    json!({"type": "function", "name": "get_weather", "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}})
}

#[tokio::test]
async fn every_provider_answers_whole_and_streamed() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        let name = model(provider);
        let whole =
            bench.respond(&json!({"model": name, "input": "Say hello.", "instructions": "Be brief."})).await.ok();
        let response = whole.json();
        assert!(!text_of(&response).is_empty(), "{name}");
        assert_eq!((&response["object"], &response["status"]), (&json!("response"), &json!("completed")), "{name}");
        assert_eq!(response["instructions"], "Be brief.", "{name}");
        let cost: f64 = whole.header("x-aipipe-cost-usd").parse().unwrap();
        assert_eq!(response["usage"]["cost"].as_f64(), Some(cost), "{name}");
        assert_eq!(whole.header("x-aipipe-provider"), provider.as_str(), "{name}");

        let body = json!({"model": name, "input": [{"role": "user", "content": "Tell me a story."}], "stream": true});
        let stream = bench.respond(&body).await.ok();
        let events = events(&stream);
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number, "{name}");
        }
        assert_eq!(events[0]["type"], "response.created", "{name}");
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.completed", "{name}");
        assert!(last["response"]["usage"]["cost"].as_f64().unwrap() > 0.0, "{name}");
        let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
        let told: String = deltas.filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(told, text_of(&last["response"]), "{name}");
        assert_eq!(stream.text.contains("[DONE]"), provider == Provider::OpenRouter, "{name}");

        let call = bench.simulator.calls_of(provider).pop().unwrap();
        assert_eq!(call.path.ends_with("/responses"), NATIVE.contains(&provider), "{name}: {}", call.path);
    }
    bench.idle().await;
    let rows = bench.rows().await;
    assert!(rows.iter().all(|row| row["dialect"] == "responses" && row["outcome"] == "ok"));
}

#[tokio::test]
async fn tools_of_every_kind_go_round_at_every_provider() {
    let bench = Bench::start().await;
    let patch = json!({"type": "custom", "name": "apply_patch", "description": "Edits files",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}});
    for provider in Provider::ALL {
        let name = model(provider);
        for (tool, kind, payload) in
            [(weather(), "function_call", "arguments"), (patch.clone(), "custom_tool_call", "input")]
        {
            for stream in [false, true] {
                let ask = json!({"role": "user", "content": "What is the weather in Bergen? Use the tool."});
                let body = json!({"model": name, "input": [ask], "tools": [tool], "stream": stream, "store": false,
                    "tool_choice": {"type": tool["type"], "name": tool["name"]}});
                let answer = bench.respond(&body).await.ok();
                let response = if stream { events(&answer).pop().unwrap()["response"].clone() } else { answer.json() };
                let output = response["output"].as_array().unwrap().clone();
                let call =
                    output.iter().find(|item| item["type"] == kind).unwrap_or_else(|| panic!("{name}: {response}"));
                assert_eq!(call["name"], tool["name"], "{name}");
                let payload = call[payload].as_str().unwrap();
                assert_eq!(
                    serde_json::from_str::<Value>(payload).is_ok_and(|read| read.is_object()),
                    kind == "function_call",
                    "{name}: {payload}"
                );
                // Everything goes back, thoughts included.
                let mut input = vec![ask];
                input.extend(
                    output
                        .iter()
                        .filter(|item| item["type"] != "reasoning" || !item["encrypted_content"].is_null())
                        .cloned(),
                );
                input.push(
                    json!({"type": format!("{kind}_output"), "call_id": call["call_id"], "output": "rain, 9 degrees"}),
                );
                let next = json!({"model": name, "input": input, "tools": [tool]});
                let answer = bench.respond(&next).await.ok();
                assert!(!text_of(&answer.json()).is_empty(), "{name}");
            }
        }
    }
    bench.idle().await;
}

#[tokio::test]
async fn d195_what_codex_sends_is_answered_by_every_provider() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        let body = json!({
            "model": model(provider), "stream": true, "store": false, "include": ["reasoning.encrypted_content"],
            "instructions": "You are a coding agent. ".repeat(400), "parallel_tool_calls": true, "prompt_cache_key": "session-1",
            "tool_choice": "auto", "tools": [
                {"type": "function", "name": "shell", "strict": false,
                 "parameters": {"type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}}}, "required": ["command"]}},
                {"type": "custom", "name": "apply_patch", "description": "Edits", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
                {"type": "web_search"}, {"type": "local_shell"}],
            "input": [
                {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>"}]},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files."}]},
                {"type": "reasoning", "summary": [], "encrypted_content": "gAAAAAB-of-another-account"},
                {"type": "function_call", "name": "shell", "arguments": "{\"command\":[\"ls\"]}", "call_id": "call_1"},
                {"type": "function_call_output", "call_id": "call_1", "output": "a.rs"},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And now?"}]}],
        });
        let events = events(&bench.respond(&body).await.ok());
        assert_eq!(events.last().unwrap()["type"], "response.completed", "{provider}");
        let sent = bench.simulator.calls_of(provider).pop().unwrap();
        assert!(!String::from_utf8_lossy(&sent.body).contains("of-another-account"), "{provider}");
    }
}

#[tokio::test]
async fn a_native_request_goes_as_it_came() {
    let bench = Bench::start().await;
    let text = r#"{ "metadata":{"b":"1", "a":"2"}, "input" : [ {"role":"user","content":[{"type":"input_text","text":"caf\u00e9"}]} ],
        "aipipe": {"tags": ["t"]}, "model":"openai/gpt-4o-mini" , "top_p":1.0 }"#;
    let request = bench.client.post(bench.url("/v1/responses")).header("content-type", "application/json").body(text);
    let answer = Answer::read(request.send().await.unwrap()).await.ok();
    let sent = bench.simulator.calls_of(Provider::OpenAi).pop().unwrap();
    let expected =
        text.replace(",\n        \"aipipe\": {\"tags\": [\"t\"]}", "").replace("openai/gpt-4o-mini", "gpt-4o-mini");
    assert_eq!(String::from_utf8_lossy(&sent.body), expected);
    assert_eq!(answer.json()["metadata"], json!({"b": "1", "a": "2"}));
}

#[tokio::test]
async fn d88_a_conversation_goes_on_where_it_is_kept() {
    let bench = Bench::start().await;
    let first = bench.respond(&json!({"model": "xai/grok-4.3", "input": "My name is Ada."})).await.ok().json();
    let id = first["id"].as_str().unwrap();
    let next = json!({"model": "auto", "input": "What is my name?", "previous_response_id": id});
    let answer = bench.respond(&next).await.ok();
    assert_eq!((answer.header("x-aipipe-provider"), answer.header("x-aipipe-cache")), ("xai", "off"));
    assert_eq!(answer.json()["previous_response_id"], id);
    // Elsewhere nobody has it.
    let elsewhere = json!({"model": "openai/gpt-4o-mini", "input": "And?", "previous_response_id": id});
    assert_eq!(bench.respond(&elsewhere).await.status, 422);
    let elsewhere =
        json!({"model": "auto", "input": "And?", "previous_response_id": id, "aipipe": {"providers": ["openai"]}});
    assert_eq!(bench.respond(&elsewhere).await.status, 400);

    let kept = bench.about(Method::GET, "default", id).await.ok().json();
    assert_eq!(kept["id"], id);
    let items = bench.about(Method::GET, "default", &format!("{id}/input_items?limit=5")).await.ok().json();
    assert_eq!(items["data"][0]["content"], "My name is Ada.");
    assert_eq!(bench.about(Method::POST, "default", &format!("{id}/cancel")).await.status, 400);
    assert_eq!(bench.about(Method::GET, "default", &format!("{id}?stream=true")).await.status, 400);
    assert_eq!(bench.about(Method::DELETE, "default", id).await.ok().json()["deleted"], true);
    let gone = bench.about(Method::GET, "default", id).await;
    assert_eq!((gone.status, gone.code()), (404, "not_found".to_owned()));
    bench.idle().await;
}

#[tokio::test]
async fn what_is_kept_for_one_tenant_does_not_exist_for_another() {
    let bench = Bench::start().await;
    for tenant in ["alice", "mallory"] {
        bench.put_tenant(tenant, &json!({"operator_keys": true})).await;
    }
    let name = "openai/gpt-5.1";
    let body = json!({"model": name, "input": "A secret plan.", "include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}});
    let first = bench.respond_as("alice", &body).await.ok().json();
    let id = first["id"].as_str().unwrap();
    let thought = first["output"].as_array().unwrap().iter().find(|item| item["type"] == "reasoning").unwrap();
    let message = first["output"].as_array().unwrap().iter().find(|item| item["type"] == "message").unwrap();
    let (thought_id, message_id) = (thought["id"].as_str().unwrap(), message["id"].as_str().unwrap());
    let calls = bench.simulator.calls_of(Provider::OpenAi).len();

    // In whatever place another tenant puts them, they are what was never issued to anybody.
    let attempts = |id: &str, item: &str| {
        let user = json!({"role": "user", "content": "Go on."});
        let answered = json!({"role": "assistant", "content": "Yes."});
        vec![
            json!({"model": name, "input": "Go on.", "previous_response_id": id}),
            json!({"model": name, "input": [{"type": "item_reference", "id": item}, user]}),
            json!({"model": name, "input": [{"id": item}, user]}),
            json!({"model": name, "input": [{"type": "reasoning", "id": item, "summary": []}, answered, user]}),
            json!({"model": name, "input": [{"type": "web_search_call", "id": item, "status": "completed"}, user]}),
            json!({"model": name, "input": [{"type": "mcp_approval_response", "approval_request_id": item, "approve": true}, user]}),
            json!({"model": name, "input": [{"role": "user", "content": [{"type": "input_file", "file_id": item}]}]}),
            json!({"model": name, "input": [{"role": "user", "content": [{"type": "input_image", "file_id": item}]}]}),
            json!({"model": name, "input": [{"type": "code_interpreter_call", "id": "x", "container_id": item, "code": "1"}, user]}),
            json!({"model": name, "input": [{"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "file_id": item}}, user]}),
            json!({"model": name, "input": "Hi.", "conversation": item}),
            json!({"model": name, "input": "Hi.", "conversation": {"id": item}}),
            json!({"model": name, "input": "Hi.", "prompt": {"id": item}}),
            json!({"model": name, "input": "Hi.", "tools": [{"type": "code_interpreter", "container": item}]}),
            json!({"model": name, "input": "Hi.", "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [item]}}]}),
            json!({"model": name, "input": "Hi.", "tools": [{"type": "file_search", "vector_store_ids": [item]}]}),
            json!({"model": name, "input": "Hi.", "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "file_search", "vector_store_ids": [item]}]}]}),
            json!({"model": name, "input": "Hi.", "something_new": {"deep": [{"file_id": item}]}}),
        ]
    };
    for item in [thought_id, message_id] {
        let foreign = attempts(id, item);
        let unknown = attempts("resp_0123456789", "rs_0123456789");
        for (foreign, unknown) in foreign.iter().zip(&unknown) {
            let (foreign, unknown) =
                (bench.respond_as("mallory", foreign).await, bench.respond_as("mallory", unknown).await);
            assert!(matches!(foreign.status, 400 | 404), "{}", foreign.text);
            let same = foreign.text.replace(id, "resp_0123456789").replace(item, "rs_0123456789");
            assert_eq!((foreign.status, same), (unknown.status, unknown.text));
        }
    }
    let previous = bench.respond_as("mallory", &attempts(id, thought_id)[0]).await;
    assert_eq!((previous.status, previous.code()), (400, "previous_response_not_found".to_owned()));
    assert_eq!(previous.json()["error"]["param"], "previous_response_id");
    for (method, path) in [
        (Method::GET, id.to_owned()),
        (Method::DELETE, id.to_owned()),
        (Method::POST, format!("{id}/cancel")),
        (Method::GET, format!("{id}/input_items")),
        (Method::GET, format!("..%2Fresponses%2F{id}")),
    ] {
        let refused = bench.about(method, "mallory", &path).await;
        assert_eq!(refused.status, 404, "{path}: {}", refused.text);
    }
    assert_eq!(bench.simulator.calls_of(Provider::OpenAi).len(), calls, "the provider was asked");

    // Whole items stand for themselves: without the id, and without what is encrypted.
    let mut stolen = thought.clone();
    stolen["summary"] = json!([]);
    let input =
        json!([{"role": "user", "content": "Hi."}, stolen, message, {"role": "user", "content": "What is the plan?"}]);
    bench.respond_as("mallory", &json!({"model": name, "input": input})).await.ok();
    let sent = bench.simulator.calls_of(Provider::OpenAi).pop().unwrap();
    let sent = String::from_utf8_lossy(&sent.body).into_owned();
    for kept in [thought_id, message_id, thought["encrypted_content"].as_str().unwrap()] {
        assert!(!sent.contains(kept), "{sent}");
    }
    // Its own tenant has all of it.
    bench.respond_as("alice", &json!({"model": name, "input": input})).await.ok();
    let sent = bench.simulator.calls_of(Provider::OpenAi).pop().unwrap();
    let sent = String::from_utf8_lossy(&sent.body).into_owned();
    for kept in [thought_id, message_id, thought["encrypted_content"].as_str().unwrap()] {
        assert!(sent.contains(kept), "{sent}");
    }
    let reference = json!({"model": name, "input": [{"type": "item_reference", "id": message_id}, {"role": "user", "content": "Go on."}]});
    bench.respond_as("alice", &reference).await.ok();
    bench.respond_as("alice", &attempts(id, thought_id)[0]).await.ok();
    bench.respond_as("alice", &attempts(id, thought_id)[3]).await.ok();

    // A tenant of the same name that was made anew is another.
    bench.admin(Method::DELETE, "/admin/tenants/alice").send().await.unwrap().error_for_status().unwrap();
    bench.put_tenant("alice", &json!({"operator_keys": true})).await;
    assert_eq!(bench.respond_as("alice", &attempts(id, thought_id)[0]).await.code(), "previous_response_not_found");
    assert_eq!(bench.about(Method::GET, "alice", id).await.status, 404);
    bench.idle().await;
}

#[tokio::test]
async fn what_a_key_has_is_out_of_reach_for_another_key() {
    let keys = ["simulated-openai-key", "sk-own-1"].map(|key| (Provider::OpenAi, key.to_owned())).to_vec();
    let bench =
        Bench::with(Setting { simulator: Settings { keys, ..Settings::default() }, ..Setting::default() }).await;
    bench.put_tenant("alice", &json!({"operator_keys": true})).await;
    let body = json!({"model": "openai/gpt-4o-mini", "input": "Hello."});
    let id = bench.respond_as("alice", &body).await.ok().json()["id"].as_str().unwrap().to_owned();
    let next = json!({"model": "openai/gpt-4o-mini", "input": "Go on.", "previous_response_id": id});
    bench.respond_as("alice", &next).await.ok();
    let own = bench.admin(Method::POST, "/admin/tenants/alice/keys").body(json!({"openai": "sk-own-1"}).to_string());
    Answer::read(own.send().await.unwrap()).await.ok();
    assert_eq!(bench.respond_as("alice", &next).await.code(), "previous_response_not_found");
    assert_eq!(bench.about(Method::GET, "alice", &id).await.status, 404);
}

#[tokio::test]
async fn thoughts_go_back_to_their_own_model_alone() {
    let bench = Bench::start().await;
    let user = |text: &str| json!({"role": "user", "content": text});
    let body =
        json!({"model": "anthropic/claude-haiku-4-5", "input": [user("Think.")], "reasoning": {"effort": "high"}});
    let answer = bench.respond(&body).await.ok().json();
    let output = answer["output"].as_array().unwrap();
    let thought = output.iter().find(|item| item["type"] == "reasoning").unwrap_or_else(|| panic!("{answer}"));
    let marked = thought["encrypted_content"].as_str().unwrap();
    let signature = marked.strip_prefix("aipipe:1:signature:anthropic/claude-haiku-4-5:").unwrap();
    let input: Vec<Value> =
        [user("Think.")].into_iter().chain(output.iter().cloned()).chain([user("Go on.")]).collect();
    for (name, provider, gets) in [
        ("anthropic/claude-haiku-4-5", Provider::Anthropic, true),
        ("openai/gpt-4o-mini", Provider::OpenAi, false),
        ("gemini/gemini-3.5-flash", Provider::Gemini, false),
    ] {
        bench
            .respond(
                &json!({"model": name, "input": input, "reasoning": {"effort": "high"}, "aipipe": {"cache": "off"}}),
            )
            .await;
        let sent = bench.simulator.calls_of(provider).pop().unwrap();
        let sent = String::from_utf8_lossy(&sent.body).into_owned();
        assert_eq!(sent.contains(signature), gets, "{name}: {sent}");
        assert!(!sent.contains("aipipe:1:"), "{name}: {sent}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_says_so_and_numbers_on() {
    let bench = Bench::start().await;
    for provider in Provider::ALL {
        for failure in [Behaviour::EndsEarly(3), Behaviour::BreaksAfter(3), Behaviour::ErrorEventAfter(3)] {
            bench.simulator.script_next(provider, failure.clone());
            let body = json!({"model": model(provider), "input": "Tell me a long story.", "stream": true});
            let answer = bench.respond(&body).await.ok();
            let events = events(&answer);
            for (number, event) in events.iter().enumerate() {
                assert_eq!(event["sequence_number"], number, "{provider} {failure:?}: {}", answer.text);
            }
            let [.., error, failed] = &events[..] else { panic!("{}", answer.text) };
            assert_eq!((&error["type"], &failed["type"]), (&json!("error"), &json!("response.failed")), "{provider}");
            assert!(error["error"]["message"].is_string() && failed["response"]["status"] == "failed", "{provider}");
            assert!(failed["response"]["id"].is_string(), "{provider}: {failed}");
            assert!(!answer.text.contains("event: response.completed"), "{provider}");
        }
    }
    bench.idle().await;
    assert!(bench.rows().await.iter().all(|row| row["outcome"] == "truncated"));
}

#[tokio::test]
async fn what_cannot_be_carried_is_refused_and_named() {
    let bench = Bench::start().await;
    let name = "anthropic/claude-haiku-4-5";
    for (body, param) in [
        (json!({"model": name}), "input"),
        (json!({"model": name, "input": []}), "input"),
        (json!({"model": name, "input": "x", "background": true}), "background"),
        (json!({"model": name, "input": [{"role": "robot", "content": "x"}]}), "input[0].role"),
        (
            json!({"model": name, "input": [{"type": "novelty", "call_id": "1"}, {"role": "user", "content": "x"}]}),
            "input[0].type",
        ),
        (
            json!({"model": name, "input": [{"type": "function_call_output", "call_id": "1", "output": "x"}]}),
            "input[0].call_id",
        ),
        (
            json!({"model": name, "input": "x", "tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}),
            "tool_choice",
        ),
    ] {
        let refused = bench.respond(&body).await;
        assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some(param)), "{}", refused.text);
    }
    // Where the provider speaks the dialect itself, what AiPipe does not know is the provider's to judge.
    let body = json!({"model": "openai/gpt-4o-mini", "input": [{"type": "novelty", "call_id": "1", "x": 1}, {"role": "user", "content": "x"}]});
    bench.respond(&body).await.ok();
    let body = json!({"model": name, "input": "Hello.", "tools": [{"type": "web_search"}], "truncation": "auto", "metadata": {"a": "b"}, "store": true});
    let answer = bench.respond(&body).await.ok();
    for dropped in ["tools.web_search", "truncation", "metadata", "store"] {
        assert!(answer.header("x-aipipe-dropped").contains(dropped), "{dropped}");
    }
    assert_eq!((&answer.json()["store"], &answer.json()["metadata"]["a"]), (&json!(false), &json!("b")));
    // What is not kept anywhere cannot be gone on from.
    let next = json!({"model": name, "input": "Go on.", "previous_response_id": answer.json()["id"]});
    assert_eq!(bench.respond(&next).await.code(), "previous_response_not_found");
    let limit = json!({"model": "openai/gpt-4o-mini", "input": "x", "max_output_tokens": 3});
    assert_eq!(bench.respond(&limit).await.json()["error"]["param"], "max_output_tokens");
}

#[tokio::test]
async fn answers_are_cached_for_their_own_tenant() {
    let bench = Bench::start().await;
    bench.put_tenant("other", &json!({"operator_keys": true})).await;
    for name in ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"] {
        let body = json!({"model": name, "input": "What is a mutex?"});
        let (first, second) = (bench.respond(&body).await.ok(), bench.respond(&body).await.ok());
        assert_eq!((first.header("x-aipipe-cache"), second.header("x-aipipe-cache")), ("miss", "hit"), "{name}");
        let (mut one, mut two) = (first.json(), second.json());
        assert_eq!(two["usage"]["cost"], json!(0.0), "{name}");
        for answer in [&mut one, &mut two] {
            answer["usage"].as_object_mut().unwrap().shift_remove("cost");
        }
        assert_eq!(one, two, "{name}");
        assert_eq!(bench.respond_as("other", &body).await.ok().header("x-aipipe-cache"), "miss");
        // The answer tells them back, so that they make another answer.
        let told = json!({"model": name, "input": "What is a mutex?", "metadata": {"a": "b"}});
        assert_eq!(bench.respond(&told).await.ok().json()["metadata"]["a"], "b", "{name}");
    }
}

#[tokio::test]
async fn d162_d163_an_error_event_is_told_by_what_it_says_wherever_it_says_it() {
    let created = r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","output":[]}}"#;
    let within = |code: &str| {
        format!(r#"{{"type":"error","sequence_number":1,"error":{{"code":"{code}","message":"so it is"}}}}"#)
    };
    let itself = |code: &str| {
        format!(r#"{{"type":"error","sequence_number":1,"code":"{code}","message":"so it is","param":null}}"#)
    };
    let failed = |code: &str| {
        format!(
            r#"{{"type":"response.failed","sequence_number":1,"response":{{"id":"resp_1","status":"failed","output":[],"error":{{"code":"{code}","message":"so it is"}}}}}}"#
        )
    };
    let shapes: [&dyn Fn(&str) -> String; 3] = [&within, &itself, &failed];
    for (code, status, told) in [
        ("rate_limit_exceeded", 429, "rate_limited"),
        ("insufficient_quota", 502, "upstream_error"),
        ("context_length_exceeded", 400, "context_length_exceeded"),
        ("server_error", 502, "upstream_error"),
    ] {
        for shape in shapes {
            let said = format!("data: {created}\n\ndata: {}\n\n", shape(code));
            let wire = Wire::start(unframed("200 OK", "content-type: text/event-stream\r\n", &said), Then::Close).await;
            let environment = [("AIPIPE_OPENAI_BASE_URL", wire.url())];
            let bench = Bench::with(Setting { environment: &environment, ..Setting::default() }).await;
            let body = json!({"model": model(Provider::OpenAi), "input": "Hello", "stream": true});
            let answer = bench.respond(&body).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, told), "{said}: {}", answer.text);
            assert!(answer.message().contains("so it is"), "{}", answer.text);
        }
    }
}
