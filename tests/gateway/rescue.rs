//! A stream that breaks after its first content is continued by another model, where the client or the operator asked for it: the client
//! sees one answer, and all calls stand in the books.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, ask, ask_stream};

const OPENAI: &str = "openai/gpt-4o-mini";
const HAIKU: &str = "anthropic/claude-haiku-4-5";
const SONNET: &str = "anthropic/claude-sonnet-4-5";
const GEMINI: &str = "gemini/gemini-3.5-flash";
/// Short waits, so that silence is noticed soon.
const IMPATIENT: &str = "[reliability]\nfirst_byte_timeout_ms = 300\nanswer_timeout_ms = 300\nidle_timeout_ms = 300\n";
/// Long enough in the simulator's words for several deltas.
const PROMPT: &str = "Tell me a long story about the sea.";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Client {
    Chat,
    Messages,
    Gemini,
    Responses,
}

impl Client {
    const ALL: [Self; 4] = [Self::Chat, Self::Messages, Self::Gemini, Self::Responses];

    async fn ask(self, bench: &Bench, model: &str, prompt: &str, then: &str) -> Answer {
        let (path, body) = match self {
            Self::Chat => ("/v1/chat/completions".to_owned(), ask_stream(model, prompt)),
            Self::Messages => {
                let mut body = ask(model, prompt);
                (body["stream"], body["max_tokens"]) = (json!(true), json!(500));
                ("/v1/messages".to_owned(), body)
            }
            Self::Gemini => (
                format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
                json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]}),
            ),
            Self::Responses => {
                ("/v1/responses".to_owned(), json!({"model": model, "input": prompt, "stream": true, "store": false}))
            }
        };
        let request = bench.post(&path, &body).header("x-aipipe-models", then).header("x-aipipe-on-break", "continue");
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{self:?} {model}: {}", answer.text);
        answer
    }

    /// The text that the client puts together.
    fn text(self, chunks: &[Value]) -> String {
        let text = |chunk: &Value| match self {
            Self::Chat => chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned),
            Self::Messages => chunk["delta"]["text"].as_str().map(str::to_owned),
            Self::Gemini => chunk["candidates"][0]["content"]["parts"][0]["text"].as_str().map(str::to_owned),
            Self::Responses if chunk["type"] == "response.output_text.delta" => {
                chunk["delta"].as_str().map(str::to_owned)
            }
            Self::Responses => None,
        };
        chunks.iter().filter_map(text).collect()
    }

    /// How often the answer begins, the ids that it has, and how often it ends.
    fn frame(self, chunks: &[Value]) -> (usize, Vec<String>, usize) {
        let count = |is: &dyn Fn(&Value) -> bool| chunks.iter().filter(|chunk| is(chunk)).count();
        let mut ids: Vec<String> = chunks
            .iter()
            .filter_map(|chunk| match self {
                Self::Chat => chunk["id"].as_str(),
                Self::Messages => chunk["message"]["id"].as_str(),
                Self::Gemini => chunk["responseId"].as_str(),
                Self::Responses => chunk["response"]["id"].as_str(),
            })
            .map(str::to_owned)
            .collect();
        ids.dedup();
        let (begins, ends) = match self {
            Self::Chat => (
                count(&|chunk| chunk["choices"][0]["delta"]["role"].is_string()),
                count(&|chunk| chunk["choices"][0]["finish_reason"].is_string()),
            ),
            Self::Messages => {
                (count(&|chunk| chunk["type"] == "message_start"), count(&|chunk| chunk["type"] == "message_stop"))
            }
            Self::Gemini => (1, count(&|chunk| chunk["candidates"][0]["finishReason"].is_string())),
            Self::Responses => (
                count(&|chunk| chunk["type"] == "response.created"),
                count(&|chunk| chunk["type"] == "response.completed"),
            ),
        };
        (begins, ids, ends)
    }

    /// The event that says why the answer ended, with what it says of input, output and cost.
    fn end(self, chunks: &[Value]) -> (Value, [f64; 3]) {
        let has = |name: &str| chunks.iter().rev().find(|chunk| !chunk[name].is_null()).cloned().unwrap_or_default();
        let (end, usage, names) = match self {
            Self::Chat => {
                let end = chunks.iter().find(|chunk| chunk["choices"][0]["finish_reason"].is_string());
                (
                    end.cloned().unwrap_or_default(),
                    has("usage")["usage"].clone(),
                    ["prompt_tokens", "completion_tokens"],
                )
            }
            Self::Messages => (has("usage"), has("usage")["usage"].clone(), ["input_tokens", "output_tokens"]),
            Self::Gemini => {
                let names = ["promptTokenCount", "candidatesTokenCount"];
                (has("usageMetadata"), has("usageMetadata")["usageMetadata"].clone(), names)
            }
            Self::Responses => {
                let end = has("response")["response"].clone();
                (end.clone(), end["usage"].clone(), ["input_tokens", "output_tokens"])
            }
        };
        let figure = |name: &str| usage[name].as_f64().unwrap_or_else(|| panic!("{self:?}: no {name} in {usage}"));
        // Anthropic counts the cache beside the input, Google thoughts beside the output.
        let beside = |names: &[&str]| names.iter().filter_map(|name| usage[name].as_f64()).sum::<f64>();
        let input = figure(names[0]) + beside(&["cache_read_input_tokens", "cache_creation_input_tokens"]);
        (end, [input, figure(names[1]) + beside(&["thoughtsTokenCount"]), figure("cost")])
    }

    /// AiPipe's code in the error event that ends a stream.
    fn failed(self, chunks: &[Value]) -> String {
        let last = chunks.last().unwrap();
        let code = match self {
            Self::Chat | Self::Messages => &last["error"]["code"],
            Self::Gemini => &last["error"]["details"][0]["reason"],
            Self::Responses => &last["response"]["error"]["code"],
        };
        code.as_str().unwrap_or_default().to_owned()
    }
}

async fn impatient() -> Bench {
    Bench::with(Setting { file: IMPATIENT, ..Setting::default() }).await
}

/// What every simulated model says to the prompt.
async fn whole_text(bench: &Bench) -> String {
    bench.answered(&ask(OPENAI, PROMPT)).await.content()
}

fn usd(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_broken_stream_goes_on_in_the_clients_own_dialect() {
    for (behaviour, faults) in [
        (Behaviour::BreaksAfter(3), &["broken"][..]),
        (Behaviour::EndsEarly(3), &["broken"]),
        (Behaviour::StallAfter(3), &["stalled"]),
        (Behaviour::ErrorEventAfter(3), &["overloaded", "upstream"]),
        (Behaviour::MalformedEventAfter(3), &["malformed"]),
    ] {
        let bench = impatient().await;
        let whole = whole_text(&bench).await;
        for client in Client::ALL {
            for (provider, first, then) in [
                (Provider::OpenAi, OPENAI, HAIKU),
                (Provider::Gemini, GEMINI, HAIKU),
                (Provider::Anthropic, SONNET, HAIKU),
            ] {
                let case = format!("{behaviour:?} {client:?} {first}");
                bench.simulator.script_next(provider, behaviour.clone());
                let before = bench.simulator.calls().len();
                let answer = client.ask(&bench, first, PROMPT, then).await;
                let chunks = answer.chunks();
                assert_eq!(client.text(&chunks), whole, "{case}: {}", answer.text);
                let (begins, ids, ends) = client.frame(&chunks);
                assert_eq!((begins, ids.len(), ends), (1, 1, 1), "{case}: {}", answer.text);
                let (end, [input, output, cost]) = client.end(&chunks);
                let by = &end["aipipe"]["rescued"][0];
                assert_eq!(
                    format!("{}/{}", by["provider"].as_str().unwrap(), by["model"].as_str().unwrap()),
                    then,
                    "{case}"
                );
                if client == Client::Responses {
                    let message =
                        end["output"].as_array().unwrap().iter().find(|item| item["type"] == "message").unwrap();
                    assert_eq!(message["content"][0]["text"], whole, "{case}: {end}");
                }

                let row = &bench.rows().await[0];
                assert_eq!(row["outcome"], "ok", "{case}: {row}");
                let [broken, rescue] = row["attempts"].as_array().unwrap().as_slice() else { panic!("{case}: {row}") };
                assert_eq!(broken["outcome"], "truncated", "{case}: {row}");
                assert!(faults.iter().any(|fault| broken["fault"] == *fault), "{case}: {row}");
                assert_eq!((&rescue["outcome"], &rescue["role"]), (&json!("ok"), &json!("rescue")), "{case}: {row}");
                // The client is told what the books say: both calls together.
                assert_eq!(row["tokens"]["input"].as_f64(), Some(input), "{case}: {row}");
                assert_eq!(row["tokens"]["output"].as_f64(), Some(output), "{case}: {row}");
                assert!((usd(&row["cost_usd"]) - cost).abs() < 1e-12, "{case}: {row}");
                let sum = usd(&broken["cost_usd"]) + usd(&rescue["cost_usd"]);
                assert!((sum - cost).abs() < 1e-12, "{case}: {row}");
                // The second call by the provider's own count; the price is Haiku's, 1 and 5 USD per million.
                let calls = bench.simulator.calls();
                let usage = calls[before..].last().unwrap().usage.unwrap();
                let own = (usage.input as f64 * 1.0 + usage.output as f64 * 5.0) / 1e6;
                assert!((usd(&rescue["cost_usd"]) - own).abs() < 1e-9, "{case}: {own} {row}");
                assert_eq!(calls.len(), before + 2, "{case}");
            }
        }
        bench.idle().await;
        assert_eq!(bench.metric(r#"aipipe_rescues_total{result="continued"}"#).await, 12.0);
    }
}

#[tokio::test]
async fn the_operator_asks_for_it_and_a_client_may_decline() {
    let file = format!("{IMPATIENT}on_break = \"continue\"\n");
    let bench = Bench::with(Setting { file: &file, ..Setting::default() }).await;
    let whole = whole_text(&bench).await;
    let mut body = ask_stream(OPENAI, PROMPT);
    body["aipipe"] = json!({"models": [HAIKU]});
    bench.simulator.script(Provider::OpenAi, Behaviour::BreaksAfter(2));
    let answer = Answer::read(bench.chat(&body).send().await.unwrap()).await;
    assert_eq!(answer.streamed(), whole);
    for declined in [bench.chat(&body).header("x-aipipe-on-break", "error"), {
        body["aipipe"]["on_break"] = json!("error");
        bench.chat(&body).header("x-aipipe-on-break", "continue")
    }] {
        let answer = Answer::read(declined.send().await.unwrap()).await;
        assert_eq!(answer.chunks().pop().unwrap()["error"]["code"], "upstream_malformed", "{}", answer.text);
    }
}

#[tokio::test]
async fn only_plain_text_is_continued() {
    let bench = impatient().await;
    let weather = json!([{"type": "function", "function": {
        "name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }}]);
    let format = json!({"type": "json_schema", "json_schema": {
        "name": "a", "schema": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false},
    }});
    let arguments = json!({"tools": weather, "messages": [{"role": "user", "content": "How is the weather in Rome?"}]});
    let (form, thoughts) = (json!({"response_format": format}), json!({}));
    for (why, provider, model, members) in [
        ("within arguments", Provider::OpenAi, OPENAI, &arguments),
        ("within arguments", Provider::Gemini, GEMINI, &arguments),
        ("within a form", Provider::OpenAi, OPENAI, &form),
        ("within thoughts", Provider::Moonshot, "moonshot/kimi-k2.6", &thoughts),
        ("within thoughts", Provider::MiniMax, "minimax/MiniMax-M2.7", &thoughts),
    ] {
        bench.simulator.script_next(provider, Behaviour::BreaksAfter(1));
        let mut body = ask_stream(model, PROMPT);
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        body["aipipe"] = json!({"models": [HAIKU], "on_break": "continue"});
        let answer = Answer::read(bench.chat(&body).send().await.unwrap()).await;
        let chunks = answer.chunks();
        assert_eq!(chunks.last().unwrap()["error"]["code"], "upstream_malformed", "{why} {model}: {}", answer.text);
        assert!(chunks.len() > 1 && !answer.is_whole_stream(), "{why} {model}: {}", answer.text);
    }
    assert_eq!(bench.simulator.counts(Provider::Anthropic).arrived, 0);
    bench.idle().await;
}

#[tokio::test]
async fn a_model_that_refuses_beginnings_is_not_asked() {
    let bench = impatient().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::BreaksAfter(2));
    let answer = Client::Chat.ask(&bench, OPENAI, PROMPT, "anthropic/claude-opus-4-6").await;
    assert_eq!(Client::Chat.failed(&answer.chunks()), "upstream_malformed", "{}", answer.text);
    assert_eq!(bench.simulator.counts(Provider::Anthropic).arrived, 0);
    assert_eq!(bench.metric(r#"aipipe_rescues_total{result="failed"}"#).await, 1.0);
}

#[tokio::test]
async fn what_cannot_be_mended_tells_of_the_first_failure() {
    for client in Client::ALL {
        let bench = impatient().await;
        bench.simulator.script(Provider::OpenAi, Behaviour::StallAfter(2));
        bench.simulator.script(Provider::Anthropic, Behaviour::status(500));
        let answer = client.ask(&bench, OPENAI, PROMPT, &format!("{HAIKU}, {SONNET}")).await;
        let chunks = answer.chunks();
        assert_eq!(client.failed(&chunks), "upstream_timeout", "{client:?}: {}", answer.text);
        assert!(!client.text(&chunks).is_empty() && client.frame(&chunks).2 == 0, "{client:?}: {}", answer.text);
        let row = &bench.rows().await[0];
        assert_eq!(row["outcome"], "truncated", "{client:?}: {row}");
        // What the client has is the first model's.
        assert_eq!(row["provider"], "openai", "{client:?}: {row}");
        // No more calls than a request may make.
        assert_eq!(row["attempts"].as_array().unwrap().len(), 3, "{client:?}: {row}");
        bench.idle().await;
    }
}

#[tokio::test]
async fn a_continuation_that_breaks_is_continued_in_turn() {
    let bench = impatient().await;
    let whole = whole_text(&bench).await;
    for client in Client::ALL {
        bench.simulator.script_next(Provider::OpenAi, Behaviour::BreaksAfter(2));
        bench.simulator.script_next(Provider::Anthropic, Behaviour::BreaksAfter(2));
        let answer = client.ask(&bench, OPENAI, PROMPT, &format!("{HAIKU}, {SONNET}")).await;
        let chunks = answer.chunks();
        assert_eq!(client.text(&chunks), whole, "{client:?}: {}", answer.text);
        let (end, [_, output, _]) = client.end(&chunks);
        assert_eq!(end["aipipe"]["rescued"].as_array().unwrap().len(), 2, "{client:?}: {end}");
        let row = &bench.rows().await[0];
        assert_eq!(row["tokens"]["output"].as_f64(), Some(output), "{client:?}: {row}");
        assert_eq!(row["attempts"].as_array().unwrap().len(), 3, "{client:?}: {row}");
    }
}

#[tokio::test]
async fn a_budget_that_does_not_cover_it_leaves_the_answer_broken() {
    let bench = impatient().await;
    // Enough for 200 tokens of gpt-4o-mini, and not of Haiku.
    bench.put_tenant("poor", &json!({"operator_keys": true, "budget_usd": "0.0005", "budget_period": "day"})).await;
    bench.simulator.script(Provider::OpenAi, Behaviour::BreaksAfter(2));
    let mut body = ask_stream(OPENAI, PROMPT);
    body["max_tokens"] = json!(200);
    body["aipipe"] = json!({"models": [HAIKU], "on_break": "continue"});
    let answer = Answer::read(bench.chat(&body).header("x-tenant-id", "poor").send().await.unwrap()).await;
    assert_eq!(answer.chunks().pop().unwrap()["error"]["code"], "upstream_malformed", "{}", answer.text);
    assert_eq!(bench.simulator.counts(Provider::Anthropic).arrived, 0);
    bench.idle().await;
}

#[tokio::test]
async fn a_client_that_leaves_during_a_rescue_cancels_it() {
    let bench = impatient().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::BreaksAfter(2));
    let hold = bench.simulator.hold(Provider::Anthropic);
    let mut body = ask_stream(OPENAI, PROMPT);
    body["aipipe"] = json!({"models": [HAIKU], "on_break": "continue"});
    let response = bench.chat(&body).send().await.unwrap();
    bench.simulator.wait_for_calls(Provider::Anthropic, 1).await;
    drop(response);
    bench.simulator.wait_for_disconnects(Provider::Anthropic, 1).await;
    drop(hold);
    bench.idle().await;
    let row = &bench.rows().await[0];
    assert_eq!((&row["outcome"], &row["estimated"]), (&json!("cancelled"), &json!(true)), "{row}");
    assert_eq!(row["attempts"].as_array().unwrap().len(), 2, "{row}");
}
