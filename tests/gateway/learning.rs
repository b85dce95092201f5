//! What becomes of answers shifts the quality that models have for a tenant; nobody else's, within bounds, and until it is forgotten.

use aipipe::simulator::{Behaviour, Provider, Settings, Simulator};
use bytes::Bytes;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::process::Daemon;
use crate::recompute::recompute;
use crate::support::{Answer, Bench, Setting, ask};

const CHEAP: &str = "openai/gpt-5.4-nano";
const DEAR: &str = "anthropic/claude-haiku-4-5";
const MODELS: &str = "openai/gpt-5.4-nano,anthropic/claude-haiku-4-5";

/// Two models as good as each other, of which the second costs so many times as much.
fn catalogue(times: f64) -> String {
    let model = |address: &str, price: f64| {
        let (provider, id) = address.split_once('/').unwrap();
        format!(
            "[[models]]\nprovider = \"{provider}\"\nid = \"{id}\"\ninput = {price}\noutput = {price}\nquality = 0.5\n\
             capabilities = [\"tools\", \"parallel_tools\", \"json_schema\"]\n"
        )
    };
    model(CHEAP, 1.0) + &model(DEAR, times)
}

async fn bench(times: f64) -> Bench {
    Bench::with(Setting { file: &catalogue(times), ..Setting::default() }).await
}

async fn sent(request: RequestBuilder) -> Answer {
    Answer::read(request.send().await.unwrap()).await.ok()
}

fn served(answer: &Answer) -> String {
    format!("{}/{}", answer.header("x-aipipe-provider"), answer.header("x-aipipe-model"))
}

/// A request for JSON at a complexity at which quality counts to the third power.
fn structured(model: &str) -> Value {
    let mut body = ask(model, "Where is it?");
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "place", "schema": schema}});
    body["aipipe"] = json!({"complexity": 0.75, "cache": "off"});
    body
}

fn auto(bench: &Bench, body: &Value) -> RequestBuilder {
    bench.chat(body).header("x-aipipe-models", MODELS)
}

/// What is known of a model's answers to a kind of task.
async fn lesson(bench: &Bench, tenant: &str, model: &str, task: &str) -> Value {
    let learning = bench.shown(&format!("/admin/tenants/{tenant}/learning")).await;
    let lessons = learning["lessons"].as_array().unwrap().clone();
    let of = |lesson: &Value| {
        format!("{}/{}", lesson["provider"].as_str().unwrap(), lesson["model"].as_str().unwrap()) == model
            && lesson["task"] == task
    };
    lessons.into_iter().find(of).unwrap_or_default()
}

async fn judge(bench: &Bench, tenant: &str, request: &str, score: f64) {
    let body = json!({"request_id": request, "score": score});
    sent(bench.post("/v1/feedback", &body).header("x-tenant-id", tenant)).await;
}

/// The candidate of this address in a decision.
fn candidate<'a>(decision: &'a Value, model: &str) -> &'a Value {
    let of = |candidate: &&Value| {
        format!("{}/{}", candidate["provider"].as_str().unwrap(), candidate["model"].as_str().unwrap()) == model
    };
    decision["candidates"].as_array().unwrap().iter().find(of).unwrap()
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

fn logit(chance: f64) -> f64 {
    (chance / (1.0 - chance)).ln()
}

fn logistic(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

#[tokio::test]
async fn traffic_leaves_a_model_that_regresses_and_comes_back_when_it_is_repaired() {
    let bench = bench(2.0).await;
    bench.put_tenant("other", &json!({"operator_keys": true})).await;
    let body = structured("auto");
    for _ in 0..5 {
        assert_eq!(served(&sent(auto(&bench, &body)).await), CHEAP);
    }
    bench.simulator.script(Provider::OpenAi, Behaviour::Says("It is in Norway.".into()));
    let mut failures = 0;
    while served(&sent(auto(&bench, &body)).await) == CHEAP {
        failures += 1;
    }
    // Twice the price for 1.18 times the tokens is worth it once (quality / 0.5)³ is below 1 / 2.36: after five malformed answers beside
    // as many good ones.
    assert_eq!(failures, 5);
    let expected = logistic(logit(0.5) + 2.66);
    let shift = logit(expected * 105.0 / 110.0) - logit(expected);
    let decision = bench.rows().await[0]["decision"].clone();
    let weighed = candidate(&decision, CHEAP);
    assert_eq!((&decision["task"], &weighed["learned"]["prior"]), (&json!("structured"), &json!(0.5)), "{decision}");
    assert!(near(weighed["learned"]["shift"].as_f64().unwrap(), shift), "{weighed} {shift}");
    assert!(near(weighed["quality"].as_f64().unwrap(), logistic(logit(0.5) + shift)), "{weighed}");
    // Neither another tenant's choice has moved, nor another kind of task.
    assert_eq!(served(&sent(auto(&bench, &body).header("x-tenant-id", "other")).await), CHEAP);
    let mut prose = ask("auto", "Tell me a story.");
    prose["aipipe"] = json!({"complexity": 0.75});
    assert_eq!(served(&sent(auto(&bench, &prose)).await), CHEAP);

    bench.simulator.script(Provider::OpenAi, Behaviour::Normal);
    let mut good = 0;
    while served(&sent(auto(&bench, &body)).await) == DEAR {
        // Somebody names it meanwhile, and says that the answer was good.
        let named = sent(bench.chat(&structured(CHEAP))).await;
        judge(&bench, "default", named.header("x-request-id"), 1.0).await;
        good += 1;
        assert!(good < 100, "{}", lesson(&bench, "default", CHEAP, "structured").await);
    }
    assert_eq!(good, 2);

    // A conversation in which the prompt cache counts, and all that was decided before, recomputed from what is shown.
    let story = "It was a dark and stormy night. ".repeat(200);
    let turns = json!([{"role": "user", "content": story}, {"role": "assistant", "content": "Go on."}, {"role": "user", "content": "And?"}]);
    for history in [json!([turns[0]]), turns] {
        let mut turn = body.clone();
        turn["messages"] = history;
        sent(auto(&bench, &turn)).await;
    }
    let rows = crate::support::all_rows(async |path| bench.shown(&path).await).await;
    let decisions: Vec<Value> = rows.into_iter().map(|row| row["decision"].clone()).collect();
    assert!(
        decisions.iter().any(|decision| decision["conversation"]["cached_cost_usd"].is_string()),
        "{}",
        decisions[0]
    );
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("models.toml");
    crate::support::write_configuration(&file, &catalogue(2.0));
    recompute(&decisions, &[&file]);
}

#[tokio::test]
async fn the_admin_sees_what_was_learned_and_forgets_it() {
    let bench = bench(2.0).await;
    let body = structured("auto");
    bench.simulator.script(Provider::OpenAi, Behaviour::Says("It is in Norway.".into()));
    while served(&sent(auto(&bench, &body)).await) == CHEAP {}
    let learned = lesson(&bench, "default", CHEAP, "structured").await;
    let number = |name: &str| learned[name].as_f64().unwrap();
    assert!((learned["answers"]["malformed"].as_f64().unwrap() - 5.0).abs() < 1e-3, "{learned}");
    assert!(near(number("quality"), logistic(logit(number("prior")) + number("shift"))), "{learned}");
    assert!(number("shift") < -0.3 && number("shift") >= -1.0, "{learned}");
    let ended = &learned["ended"];
    assert!(ended["low"].as_f64() < ended["mean"].as_f64() && ended["mean"].as_f64() < ended["high"].as_f64());

    let forget = |tenant: &str| bench.admin(Method::DELETE, &format!("/admin/tenants/{tenant}/learning"));
    sent(forget("default")).await;
    assert_eq!(bench.shown("/admin/tenants/default/learning").await["lessons"], json!([]));
    assert_eq!(served(&sent(auto(&bench, &body)).await), CHEAP);
    let unknown = Answer::read(forget("nobody").send().await.unwrap()).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "not_found"));

    // Switched off, nothing counts and nothing is noted.
    bench.put_tenant("default", &json!({"learning": false})).await;
    for _ in 0..6 {
        assert_eq!(served(&sent(auto(&bench, &body)).await), CHEAP);
    }
    assert_eq!(candidate(&bench.rows().await[0]["decision"], CHEAP)["learned"], Value::Null);
    let malformed = lesson(&bench, "default", CHEAP, "structured").await["answers"]["malformed"].as_f64().unwrap();
    assert!((malformed - 1.0).abs() < 1e-3, "{malformed}");
}

#[tokio::test]
async fn feedback_counts_once_for_each_of_the_tenants_own_answers() {
    let bench = bench(2.0).await;
    for tenant in ["acme", "globex"] {
        bench.put_tenant(tenant, &json!({"operator_keys": true})).await;
    }
    let request = bench.chat(&ask(CHEAP, "Tell me a story.")).header("x-tenant-id", "acme");
    let id = sent(request).await.header("x-request-id").to_owned();
    for score in [0.0, 0.2, 1.0] {
        judge(&bench, "acme", &id, score).await;
        let feedback = lesson(&bench, "acme", CHEAP, "prose").await["feedback"].clone();
        assert!((feedback["answers"].as_f64().unwrap() - 1.0).abs() < 1e-3, "{feedback}");
        assert!((feedback["scores"].as_f64().unwrap() - score).abs() < 1e-3, "{feedback}");
    }
    let foreign = bench.post("/v1/feedback", &json!({"request_id": id, "score": 0.0})).header("x-tenant-id", "globex");
    assert_eq!(Answer::read(foreign.send().await.unwrap()).await.status, 404);
    assert_eq!(bench.shown("/admin/tenants/globex/learning").await["lessons"], json!([]));

    // However many say so, the shift stays within its bound.
    for _ in 0..30 {
        let named = sent(bench.chat(&ask(DEAR, "Tell me a story.")).header("x-tenant-id", "acme")).await;
        judge(&bench, "acme", named.header("x-request-id"), 0.0).await;
    }
    assert_eq!(lesson(&bench, "acme", DEAR, "prose").await["shift"], json!(-1.0));
}

#[tokio::test]
async fn a_refusal_and_a_second_try_count_against_a_model_and_a_limit_of_the_clients_own_does_not() {
    let bench = bench(2.0).await;
    let count = async |name: &str| {
        let answers = lesson(&bench, "default", CHEAP, "prose").await["answers"].clone();
        answers[name].as_f64().map(|count| count.round())
    };
    let mut limited = ask(CHEAP, "Tell me a story of a thousand words.");
    limited["max_completion_tokens"] = json!(5);
    let cut = bench.answered(&limited).await;
    assert_eq!(cut.json()["choices"][0]["finish_reason"], "length", "{}", cut.text);
    assert_eq!(lesson(&bench, "default", CHEAP, "prose").await, Value::Null);

    let filtered = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5.4-nano", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "content_filter"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}});
    bench.simulator.script_next(Provider::OpenAi, fixed(&filtered.to_string(), "application/json"));
    bench.answered(&ask(CHEAP, "Say something.")).await;
    assert_eq!(count("refused").await, Some(1.0));

    // The same history once more, past the cache: the answer before did not please. The beginning of a conversation is no second try.
    let history = [("user", "Hello."), ("assistant", "Hello!"), ("user", "Tell me a story.")];
    let messages: Vec<Value> = history.map(|(role, text)| json!({"role": role, "content": text})).into();
    let turn = |messages: &[Value]| json!({"model": "auto", "messages": messages, "aipipe": {"cache": "off"}});
    for body in [turn(&messages[..1]), turn(&messages[..1]), turn(&messages)] {
        sent(auto(&bench, &body)).await;
    }
    assert_eq!(count("asked_again").await, Some(0.0));
    sent(auto(&bench, &turn(&messages))).await;
    assert_eq!(count("asked_again").await, Some(1.0));
}

fn fixed(body: &str, content_type: &str) -> Behaviour {
    Behaviour::Fixed { content_type: content_type.into(), bytes: Bytes::from(body.to_owned()) }
}

/// A request for JSON in a client's dialect.
fn request(bench: &Bench, dialect: &str, model: &str, stream: bool) -> RequestBuilder {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let messages = json!([{"role": "user", "content": "Where is it?"}]);
    match dialect {
        "chat" => {
            let format = json!({"type": "json_schema", "json_schema": {"name": "place", "schema": schema}});
            let body = json!({"model": model, "messages": messages, "response_format": format, "stream": stream});
            bench.chat(&body)
        }
        "messages" => {
            let format = json!({"format": {"type": "json_schema", "schema": schema}});
            let body = json!({"model": model, "messages": messages, "max_tokens": 500, "output_config": format, "stream": stream});
            bench.post("/v1/messages", &body)
        }
        "responses" => {
            let format = json!({"format": {"type": "json_schema", "name": "place", "schema": schema}});
            bench.post("/v1/responses", &json!({"model": model, "input": messages, "text": format, "stream": stream}))
        }
        _ => {
            let call = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            let format = json!({"responseMimeType": "application/json", "responseJsonSchema": schema});
            let contents = json!([{"role": "user", "parts": [{"text": "Where is it?"}]}]);
            let path = format!("/v1beta/models/{}:{call}", model.replace('/', "%2F"));
            bench.post(&path, &json!({"contents": contents, "generationConfig": format}))
        }
    }
    .header("x-aipipe-cache", "off")
}

#[tokio::test]
async fn answers_that_are_not_the_json_that_was_asked_for_are_seen_in_every_dialect_whole_and_streamed() {
    let file = catalogue(2.0)
        + "[[models]]\nprovider = \"gemini\"\nid = \"gemini-3.5-flash\"\ncapabilities = [\"json_schema\", \"tools\"]\n";
    let bench = Bench::with(Setting { file: &file, ..Setting::default() }).await;
    let providers =
        [(Provider::OpenAi, CHEAP), (Provider::Anthropic, DEAR), (Provider::Gemini, "gemini/gemini-3.5-flash")];
    for (provider, model) in providers {
        for (said, name) in [("{\"city\": \"Bergen\"}", "sound"), ("It is in Bergen.", "malformed")] {
            bench.simulator.script(provider, Behaviour::Says(said.into()));
            for dialect in ["chat", "messages", "responses", "gemini"] {
                for stream in [false, true] {
                    let before = lesson(&bench, "default", model, "structured").await["answers"][name].clone();
                    sent(request(&bench, dialect, model, stream)).await;
                    let after = lesson(&bench, "default", model, "structured").await;
                    let more =
                        after["answers"][name].as_f64().unwrap_or_default() - before.as_f64().unwrap_or_default();
                    assert!((more - 1.0).abs() < 1e-3, "{model} {dialect} stream: {stream}, {name}: {after}");
                }
            }
        }
    }
}

#[tokio::test]
async fn arguments_that_are_not_json_are_seen() {
    let bench = bench(2.0).await;
    let tool = json!({"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}});
    let mut body = ask(CHEAP, "Where is it?");
    body["tools"] = json!([tool]);
    body["aipipe"] = json!({"cache": "off"});
    let call = |arguments: &str| json!([{"index": 0, "id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": arguments}}]);
    let choice = |part: &str, arguments: &str| json!({"index": 0, part: {"role": "assistant", "tool_calls": call(arguments)}, "finish_reason": "tool_calls"});
    let frame = |object: &str, choice: Value| json!({"id": "chatcmpl-1", "object": object, "created": 1, "model": "gpt-5.4-nano", "choices": [choice]});
    for (arguments, name) in [("{\"city\": \"Bergen\"}", "sound"), ("{city: Bergen", "malformed")] {
        let whole = frame("chat.completion", choice("message", arguments)).to_string();
        bench.simulator.script_next(Provider::OpenAi, fixed(&whole, "application/json"));
        bench.answered(&body).await;
        let chunk = frame("chat.completion.chunk", choice("delta", arguments));
        let stream = format!("data: {chunk}\n\ndata: [DONE]\n\n");
        bench.simulator.script_next(Provider::OpenAi, fixed(&stream, "text/event-stream"));
        body["stream"] = json!(true);
        assert!(bench.answered(&body).await.is_whole_stream());
        body["stream"] = json!(false);
        let answers = lesson(&bench, "default", CHEAP, "tools").await["answers"].clone();
        assert!((answers[name].as_f64().unwrap() - 2.0).abs() < 1e-3, "{name}: {answers}");
    }
}

#[tokio::test]
async fn the_runner_up_is_tried_now_and_then_where_the_tenant_wants_that_and_it_costs_little_more() {
    const REQUESTS: usize = 300;
    let near = bench(1.2).await;
    let far = bench(1.6).await;
    let body =
        json!({"model": "auto", "messages": [{"role": "user", "content": "Hello."}], "aipipe": {"cache": "off"}});
    let of_each = async |bench: &Bench, body: &Value| {
        let mut tried = 0;
        for _ in 0..REQUESTS {
            tried += usize::from(served(&sent(auto(bench, body)).await) == DEAR);
        }
        tried
    };
    assert_eq!(of_each(&near, &body).await, 0);
    for bench in [&near, &far] {
        bench.put_tenant("default", &json!({"exploration": 0.05})).await;
    }
    // Fifteen are expected; none at all would be one chance in five million.
    let tried = of_each(&near, &body).await;
    assert!((1..60).contains(&tried), "{tried}");
    let rows = crate::support::all_rows(async |path| near.shown(&path).await).await;
    let explored: Vec<&Value> = rows.iter().map(|row| &row["decision"]).filter(|it| it["explored"] == true).collect();
    assert_eq!(explored.len(), tried);
    assert!(explored.iter().all(|decision| decision["chosen"]["provider"] == "anthropic"), "{explored:?}");
    assert!(explored.iter().all(|decision| decision["candidates"][0]["provider"] == "openai"));
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("models.toml");
    crate::support::write_configuration(&file, &catalogue(1.2));
    recompute(&explored.into_iter().cloned().collect::<Vec<_>>(), &[&file]);
    assert_eq!(of_each(&far, &body).await, 0);
    // Never within a conversation that has its model, which is that of its last turn.
    near.put_tenant("default", &json!({"exploration": 0.0})).await;
    assert_eq!(served(&sent(auto(&near, &body)).await), CHEAP);
    near.put_tenant("default", &json!({"exploration": 0.05})).await;
    let call = json!([{"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]);
    let in_loop = json!({"model": "auto", "aipipe": {"cache": "off"}, "messages": [{"role": "user", "content": "Hello."},
        {"role": "assistant", "content": null, "tool_calls": call}, {"role": "tool", "tool_call_id": "call_1", "content": "sun"}]});
    assert_eq!(of_each(&near, &in_loop).await, 0);
}

#[tokio::test]
async fn a_second_policy_is_compared_without_effect() {
    let file = "[[models]]\nprovider = \"openai\"\nid = \"gpt-5.4-nano\"\ninput = 1.0\noutput = 1.0\nquality = 0.1\n\
         [[models]]\nprovider = \"anthropic\"\nid = \"claude-haiku-4-5\"\ninput = 4.0\noutput = 4.0\nquality = 0.9\n";
    let bench = Bench::with(Setting { file, ..Setting::default() }).await;
    assert_eq!(bench.shown("/admin/tenants/default/shadow").await["comparison"], Value::Null);
    let shadow = json!({"sample": 1.0, "quality": "best"});
    bench.put_tenant("default", &json!({"shadow": shadow})).await;
    let asks = ["?!", "?!", "?!", "Hello."];
    for prompt in asks {
        let mut body = ask("auto", prompt);
        body["aipipe"] = json!({"cache": "off"});
        assert_eq!(served(&sent(auto(&bench, &body)).await), CHEAP);
    }
    // Who names a model leaves nothing to compare.
    bench.answered(&ask(CHEAP, "?!")).await;
    let comparison = bench.shown("/admin/tenants/default/shadow").await["comparison"].clone();
    assert_eq!((&comparison["sampled"], &comparison["unserved"]), (&json!(4), &json!(0)), "{comparison}");
    let mut expected = [0.0, 0.0];
    let mut agreed = 0;
    for prompt in asks {
        let mut other = ask("auto:best", prompt);
        for (sum, model) in expected.iter_mut().zip(["auto", "auto:best"]) {
            other["model"] = json!(model);
            let decision = sent(bench.post("/v1/route", &other).header("x-aipipe-models", MODELS)).await.json();
            let chosen = candidate(
                &decision,
                &format!("{}/{}", text(&decision["chosen"]["provider"]), text(&decision["chosen"]["model"])),
            );
            *sum += text(&chosen["raw_cost_usd"]).parse::<f64>().unwrap() / asks.len() as f64;
            agreed += usize::from(model == "auto:best" && decision["chosen"]["provider"] == "openai");
        }
    }
    let usd = |value: &Value| text(value).parse::<f64>().unwrap();
    assert!((usd(&comparison["chosen_cost_usd"]) - expected[0]).abs() < 2e-9, "{comparison} {expected:?}");
    assert!((usd(&comparison["shadow_cost_usd"]) - expected[1]).abs() < 2e-9, "{comparison} {expected:?}");
    assert_eq!(comparison["agreement"]["mean"].as_f64().unwrap(), agreed as f64 / asks.len() as f64, "{comparison}");
    let difference = &comparison["difference_usd"];
    assert!(usd(&difference["low"]) <= usd(&difference["mean"]) && usd(&difference["mean"]) > 0.0, "{comparison}");
    // Another policy begins anew.
    bench.put_tenant("default", &json!({"shadow": {"sample": 1.0, "models": ["nothing"]}})).await;
    sent(auto(&bench, &ask("auto", "?!"))).await;
    let comparison = bench.shown("/admin/tenants/default/shadow").await["comparison"].clone();
    assert_eq!((&comparison["sampled"], &comparison["unserved"]), (&json!(1), &json!(1)), "{comparison}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[tokio::test]
async fn what_was_learned_outlives_the_process() {
    let simulator = Simulator::start(Settings::default()).await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(place.path(), &simulator).await;
    let answer = sent(daemon.chat(&ask("openai/gpt-4o-mini", "Tell me a story."))).await;
    let judgement = json!({"request_id": answer.header("x-request-id"), "score": 0.0}).to_string();
    sent(daemon.client.post(daemon.url("/v1/feedback")).body(judgement)).await;
    let before = daemon.shown("/admin/tenants/default/learning").await;
    assert_eq!(before["lessons"][0]["model"], "gpt-4o-mini", "{before}");
    daemon.stop();
    daemon.ended().await;
    let daemon = Daemon::start(place.path(), &simulator).await;
    let after = daemon.shown("/admin/tenants/default/learning").await;
    let shift = |learning: &Value| learning["lessons"][0]["shift"].as_f64().unwrap();
    assert!((shift(&before) - shift(&after)).abs() < 1e-3 && shift(&after) < -0.05, "{before} {after}");
}
