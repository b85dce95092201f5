//! A conversation keeps its model: through a tool loop whatever others cost, between turns while the prompt cache makes it worth that.

use aipipe::simulator::{Behaviour, Provider};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, ask};

const CHEAP: &str = "openai/gpt-5.4-nano";
const OTHER: &str = "anthropic/claude-haiku-4-5";
const MODELS: &str = "openai/gpt-5.4-nano,anthropic/claude-haiku-4-5";

/// Two models as good as each other, of which the first is always a tenth cheaper, its prompt cache apart.
const ALIKE: &str = r#"
    [[models]]
    provider = "openai"
    id = "gpt-5.4-nano"
    input = 1.0
    cached_input = 0.1
    output = 1.0
    quality = 0.5
    capabilities = ["tools", "parallel_tools"]
    [[models]]
    provider = "anthropic"
    id = "claude-haiku-4-5"
    input = 1.1
    cached_input = 0.11
    output = 1.1
    quality = 0.5
    capabilities = ["tools", "parallel_tools"]
"#;

/// A cheap one and one that is worth four times its price from a complexity of some 0.36 on.
const UNLIKE: &str = r#"
    [[models]]
    provider = "openai"
    id = "gpt-5.4-nano"
    input = 1.0
    cached_input = 1.0
    output = 1.0
    quality = 0.1
    capabilities = ["tools", "parallel_tools"]
    [[models]]
    provider = "anthropic"
    id = "claude-haiku-4-5"
    input = 4.0
    cached_input = 4.0
    output = 4.0
    quality = 0.9
    capabilities = ["tools", "parallel_tools"]
"#;

/// What an agent's history holds.
#[derive(Clone, Copy)]
enum Step<'a> {
    Ask(&'a str),
    Say(&'a str),
    /// A call about this city.
    Call(&'a str),
    Result(&'a str),
}

use Step::{Ask, Call, Result, Say};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Dialect {
    Chat,
    Messages,
    Responses,
    Gemini,
}

impl Dialect {
    const ALL: [Self; 4] = [Self::Chat, Self::Messages, Self::Responses, Self::Gemini];

    fn request(self, bench: &Bench, model: &str, steps: &[Step<'_>]) -> RequestBuilder {
        let history: Vec<Value> = steps.iter().enumerate().map(|(place, step)| self.item(place, *step)).collect();
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let request = match self {
            Self::Chat => {
                let tool = json!({"type": "function", "function": {"name": "look_up", "parameters": schema}});
                let body = json!({"model": model, "messages": history, "tools": [tool]});
                bench.post("/v1/chat/completions", &body)
            }
            Self::Messages => {
                let tool = json!({"name": "look_up", "input_schema": schema});
                let body = json!({"model": model, "messages": history, "tools": [tool], "max_tokens": 500});
                bench.post("/v1/messages", &body)
            }
            Self::Responses => {
                let tool = json!({"type": "function", "name": "look_up", "parameters": schema});
                bench.post("/v1/responses", &json!({"model": model, "input": history, "tools": [tool]}))
            }
            Self::Gemini => {
                let tool = json!({"functionDeclarations": [{"name": "look_up", "parametersJsonSchema": schema}]});
                let path = format!("/v1beta/models/{model}:generateContent");
                bench.post(&path, &json!({"contents": history, "tools": [tool]}))
            }
        };
        request.header("x-aipipe-models", MODELS)
    }

    fn item(self, place: usize, step: Step<'_>) -> Value {
        // A call and its result stand side by side.
        let id = |call: usize| format!("call_{call}");
        match (self, step) {
            (Self::Chat | Self::Messages, Ask(text)) => json!({"role": "user", "content": text}),
            (Self::Chat | Self::Messages, Say(text)) => json!({"role": "assistant", "content": text}),
            (Self::Chat, Call(city)) => {
                let arguments = json!({"city": city}).to_string();
                let function = json!({"name": "look_up", "arguments": arguments});
                json!({"role": "assistant", "tool_calls": [{"id": id(place), "type": "function", "function": function}]})
            }
            (Self::Chat, Result(text)) => json!({"role": "tool", "tool_call_id": id(place - 1), "content": text}),
            (Self::Messages, Call(city)) => {
                let call = json!({"type": "tool_use", "id": id(place), "name": "look_up", "input": {"city": city}});
                json!({"role": "assistant", "content": [call]})
            }
            (Self::Messages, Result(text)) => {
                let result = json!({"type": "tool_result", "tool_use_id": id(place - 1), "content": text});
                json!({"role": "user", "content": [result]})
            }
            (Self::Responses, Ask(text)) => json!({"role": "user", "content": text}),
            (Self::Responses, Say(text)) => json!({"role": "assistant", "content": text}),
            (Self::Responses, Call(city)) => {
                let arguments = json!({"city": city}).to_string();
                json!({"type": "function_call", "call_id": id(place), "name": "look_up", "arguments": arguments})
            }
            (Self::Responses, Result(text)) => {
                json!({"type": "function_call_output", "call_id": id(place - 1), "output": text})
            }
            (Self::Gemini, Ask(text)) => json!({"role": "user", "parts": [{"text": text}]}),
            (Self::Gemini, Say(text)) => json!({"role": "model", "parts": [{"text": text}]}),
            (Self::Gemini, Call(city)) => {
                json!({"role": "model", "parts": [{"functionCall": {"name": "look_up", "args": {"city": city}}}]})
            }
            (Self::Gemini, Result(text)) => {
                let response = json!({"name": "look_up", "response": {"result": text}});
                json!({"role": "user", "parts": [{"functionResponse": response}]})
            }
        }
    }
}

async fn sent(request: RequestBuilder) -> Answer {
    Answer::read(request.send().await.unwrap()).await.ok()
}

fn served(answer: &Answer) -> String {
    format!("{}/{}", answer.header("x-aipipe-provider"), answer.header("x-aipipe-model"))
}

async fn bench(file: &str) -> Bench {
    Bench::with(Setting { file, ..Setting::default() }).await
}

/// What became of the conversation in the latest request.
async fn latest(bench: &Bench) -> Value {
    bench.rows().await[0]["decision"].clone()
}

/// An agent's steps: an ask, then calls about these cities with their results.
fn agent<'a>(cities: &[&'a str]) -> Vec<Step<'a>> {
    let mut steps = vec![Ask("Compare the weather of these cities.")];
    for city in cities {
        steps.extend([Call(city), Result("rain")]);
    }
    steps
}

#[tokio::test]
async fn through_a_tool_loop_the_model_that_made_the_calls_serves_on() {
    for dialect in Dialect::ALL {
        let bench = bench(ALIKE).await;
        let cities = ["Bergen", "Rome", "Lima", "Oslo"];
        // Once the first turn is over nothing speaks for the dearer model any more.
        let first = dialect.request(&bench, "auto", &agent(&[])).header("x-aipipe-providers", "anthropic");
        assert_eq!(served(&sent(first).await), OTHER, "{dialect:?}");
        let mut since = None;
        for calls in 1..=cities.len() {
            let answer = sent(dialect.request(&bench, "auto", &agent(&cities[..calls]))).await;
            assert_eq!(served(&answer), OTHER, "{dialect:?} {calls}");
            let decision = latest(&bench).await;
            let conversation = &decision["conversation"];
            assert_eq!(
                (&conversation["kept"], &conversation["why"]),
                (&json!(true), &json!("tool_loop")),
                "{decision}"
            );
            assert_eq!(decision["chosen"]["provider"], "anthropic");
            // The ranks stay what the costs make them.
            let best = &decision["candidates"][0];
            assert_eq!((&best["provider"], &best["rank"]), (&json!("openai"), &json!(1)), "{decision}");
            assert_eq!(*since.get_or_insert(conversation["since"].clone()), conversation["since"]);
        }
        // Without a history in common nothing is kept.
        let other = [Ask("Another question."), Call("Rome"), Result("sun")];
        assert_eq!(served(&sent(dialect.request(&bench, "auto", &other)).await), CHEAP, "{dialect:?}");
        assert_eq!(latest(&bench).await["conversation"], Value::Null);
        bench.idle().await;
    }
}

#[tokio::test]
async fn streams_keep_their_model_too() {
    let bench = bench(ALIKE).await;
    let mut body = json!({"model": "auto", "stream": true, "messages": [{"role": "user", "content": "Hello"}]});
    let stream = bench.chat(&body).header("x-aipipe-models", MODELS).header("x-aipipe-providers", "anthropic");
    assert!(sent(stream).await.is_whole_stream());
    let steps = [Ask("Hello"), Call("Rome"), Result("sun")];
    let history = steps.iter().enumerate().map(|(place, step)| Dialect::Chat.item(place, *step));
    body["messages"] = history.collect();
    assert_eq!(served(&sent(bench.chat(&body).header("x-aipipe-models", MODELS)).await), OTHER);
}

#[tokio::test]
async fn where_the_model_fails_another_takes_the_conversation_over() {
    let bench = bench(ALIKE).await;
    let request = |cities: &[&str]| Dialect::Chat.request(&bench, "auto", &agent(cities));
    assert_eq!(served(&sent(request(&[])).await), CHEAP);
    bench.simulator.script(Provider::OpenAi, Behaviour::status(500));
    let answer = sent(request(&["Bergen"])).await;
    assert_eq!((served(&answer).as_str(), answer.header("x-aipipe-attempts")), (OTHER, "2"));
    // It serves on now, also when the first is well again.
    bench.simulator.script(Provider::OpenAi, Behaviour::Normal);
    assert_eq!(served(&sent(request(&["Bergen", "Rome"])).await), OTHER);
    // A model that the client no longer wants is not kept for the conversation's sake.
    let without = request(&["Bergen", "Rome", "Lima"]).header("x-aipipe-providers", "openai");
    assert_eq!(served(&sent(without).await), CHEAP);
    let decision = latest(&bench).await;
    let conversation = &decision["conversation"];
    assert_eq!((&conversation["kept"], &conversation["why"]), (&json!(false), &json!("unavailable")), "{decision}");
    assert_eq!(conversation["provider"], "anthropic");
    bench.idle().await;
}

#[tokio::test]
async fn between_turns_the_prompt_cache_is_weighed_against_the_gain() {
    let story = "It was a dark and stormy night. ".repeat(200);
    let turn = [Ask(&story), Say("Go on."), Ask("And then?")];
    // A tenth cheaper is less than the cache is worth.
    let bench_alike = bench(ALIKE).await;
    let first = Dialect::Chat.request(&bench_alike, "auto", &turn[..1]).header("x-aipipe-providers", "anthropic");
    assert_eq!(served(&sent(first).await), OTHER);
    assert_eq!(served(&sent(Dialect::Chat.request(&bench_alike, "auto", &turn)).await), OTHER);
    let decision = latest(&bench_alike).await;
    let conversation = &decision["conversation"];
    assert_eq!(conversation["why"], "prompt_cache", "{decision}");
    // Recomputed from what is shown: $1.10, cached $0.11, a million tokens.
    let kept = &decision["candidates"][1];
    let number = |value: &Value| value.as_u64().unwrap();
    let (input, cached) = (number(&kept["input_tokens"]), number(&conversation["cached_input_tokens"]));
    let nanos = (input - cached) * 1_100 + cached * 110 + number(&kept["output_tokens"]) * 1_100;
    assert_eq!(conversation["cached_cost_usd"], format!("0.{nanos:09}"), "{decision}");
    let cost = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    assert!(cost(&conversation["cached_effective_cost_usd"]) < cost(&decision["candidates"][0]["effective_cost_usd"]));

    // Where the cache is no cheaper than anything else, the gain decides.
    let bench_unlike = bench(UNLIKE).await;
    let of = |steps| Dialect::Chat.request(&bench_unlike, "auto", steps);
    assert_eq!(served(&sent(of(&turn[..1]).header("x-aipipe-providers", "anthropic")).await), OTHER);
    let mut body = ask("auto", "");
    body["messages"] = turn.iter().enumerate().map(|(place, step)| Dialect::Chat.item(place, *step)).collect();
    body["aipipe"] = json!({"complexity": 0.0});
    assert_eq!(served(&sent(bench_unlike.chat(&body).header("x-aipipe-models", MODELS)).await), CHEAP);
    assert_eq!(latest(&bench_unlike).await["conversation"]["why"], "gain");
}

#[tokio::test]
async fn a_session_names_a_conversation_within_its_tenant() {
    let bench = bench(ALIKE).await;
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    let loop_of = |text| [Ask(text), Call("Rome"), Result("sun")];
    let named = |request: RequestBuilder| request.header("x-aipipe-session", "the one");
    let first = Dialect::Chat.request(&bench, "auto", &[Ask("Hello")]).header("x-aipipe-providers", "anthropic");
    sent(named(first)).await;
    // The harness has rewritten the whole history.
    let rewritten = loop_of("A summary of what was said.");
    assert_eq!(served(&sent(named(Dialect::Chat.request(&bench, "auto", &rewritten))).await), OTHER);
    assert_eq!(served(&sent(Dialect::Chat.request(&bench, "auto", &rewritten)).await), CHEAP);
    let foreign = named(Dialect::Chat.request(&bench, "auto", &rewritten)).header("x-tenant-id", "acme");
    assert_eq!(served(&sent(foreign).await), CHEAP);

    for bad in ["".to_owned(), "x".repeat(257)] {
        let request = bench.chat(&ask("auto", "Hello")).header("x-aipipe-session", bad);
        let refused = Answer::read(request.send().await.unwrap()).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_request"));
        assert_eq!(refused.json()["error"]["param"], "x-aipipe-session");
    }
}

#[tokio::test]
async fn a_harness_tells_its_conversations_apart() {
    let bench = bench(ALIKE).await;
    let body = |session: &str, steps: &[Step<'_>]| {
        let messages: Vec<Value> =
            steps.iter().enumerate().map(|(place, step)| Dialect::Messages.item(place, *step)).collect();
        let tools = json!([{"name": "look_up", "input_schema": {"type": "object"}}]);
        let metadata = json!({"user_id": session});
        json!({"model": "auto", "max_tokens": 100, "messages": messages, "tools": tools, "metadata": metadata})
    };
    let post = |session: &str, steps: &[Step<'_>], providers: &str| {
        let request = bench.post("/v1/messages", &body(session, steps));
        request.header("x-aipipe-models", MODELS).header("x-aipipe-providers", providers)
    };
    let steps = [Ask("Hello"), Call("Rome"), Result("sun")];
    sent(post("user_1_session_a", &steps[..1], "anthropic")).await;
    sent(post("user_1_session_b", &steps[..1], "openai")).await;
    assert_eq!(served(&sent(post("user_1_session_a", &steps, "openai,anthropic")).await), OTHER);
    assert_eq!(served(&sent(post("user_1_session_b", &steps, "openai,anthropic")).await), CHEAP);
    // A helper within the session is a conversation of its own.
    let helper = [Ask("Find a title."), Call("Rome"), Result("sun")];
    assert_eq!(served(&sent(post("user_1_session_a", &helper, "openai,anthropic")).await), CHEAP);
}

#[tokio::test]
async fn a_stuck_agent_is_released_and_gets_a_stronger_model() {
    for dialect in Dialect::ALL {
        let bench = bench(UNLIKE).await;
        // Nothing to score by: the default complexity, at which quality does not count yet.
        let steps = |cities: &[&'static str], result: &'static str| {
            let mut steps = vec![Ask("?!")];
            cities.iter().for_each(|city| steps.extend([Call(city), Result(result)]));
            steps
        };
        for calls in 0..3 {
            let request = dialect.request(&bench, "auto", &steps(&["Rome", "Rome", "Rome"][..calls], "rain"));
            assert_eq!(served(&sent(request).await), CHEAP, "{dialect:?} {calls}");
        }
        let stuck = steps(&["Rome", "Rome", "Rome"], "rain");
        let answer = sent(dialect.request(&bench, "auto", &stuck)).await;
        assert_eq!((served(&answer).as_str(), answer.header("x-aipipe-complexity")), (OTHER, "0.500"), "{dialect:?}");
        let decision = latest(&bench).await;
        let bias = json!({"assessed": 0.25, "quality": null, "stuck": "repeated_calls", "shift": 0.25});
        assert_eq!((&decision["bias"], &decision["exponent"]), (&bias, &json!(1.5)), "{decision}");
        assert_eq!(decision["conversation"]["why"], "stuck");
        // The stronger model got on: it serves on, although the others are cheaper again.
        let unstuck = [&stuck[..], &[Call("Lima"), Result("sun")]].concat();
        assert_eq!(served(&sent(dialect.request(&bench, "auto", &unstuck)).await), OTHER, "{dialect:?}");
        assert_eq!(latest(&bench).await["bias"], Value::Null);

        let failing = steps(&["Bergen", "Oslo", "Lima"], "Error: no such city");
        if dialect != Dialect::Gemini {
            assert_eq!(served(&sent(dialect.request(&bench, "auto", &failing)).await), OTHER, "{dialect:?}");
            assert_eq!(latest(&bench).await["bias"]["stuck"], "failed_calls", "{dialect:?}");
        }
    }
}

#[tokio::test]
async fn auto_says_how_good_the_answer_should_be() {
    let bench = bench(UNLIKE).await;
    for dialect in Dialect::ALL {
        for (model, expected, complexity) in [
            ("auto", CHEAP, "0.250"),
            ("auto:economy", CHEAP, "0.050"),
            ("auto:balanced", CHEAP, "0.250"),
            ("auto:best", OTHER, "0.450"),
        ] {
            let answer = sent(dialect.request(&bench, model, &[Ask("?!")])).await;
            let shown = answer.header("x-aipipe-complexity");
            assert_eq!((served(&answer).as_str(), shown), (expected, complexity), "{dialect:?} {model}");
        }
    }
    let routed = bench.post("/v1/route", &ask("auto:best", "?!")).header("x-aipipe-models", MODELS);
    let decision = sent(routed).await.json();
    assert_eq!(decision["bias"], json!({"assessed": 0.25, "quality": "best", "stuck": null, "shift": 0.2}));
    let number = |name: &str| decision[name].as_f64().unwrap();
    assert!((number("exponent") - (number("complexity") - 0.25).max(0.0) * 6.0).abs() < 1e-12);

    // The client's own complexity is not shifted.
    let mut body = ask("auto:best", "?!");
    body["aipipe"] = json!({"complexity": 0.1});
    assert_eq!(bench.answered(&body).await.header("x-aipipe-complexity"), "0.100");
    let unknown = bench.refused(&ask("auto:excellent", "?!")).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "model_not_found"));
}

#[tokio::test]
async fn a_tenants_quality_holds_where_a_request_says_no_more_than_auto() {
    let bench = bench(UNLIKE).await;
    bench.put_tenant("acme", &json!({"operator_keys": true, "quality": "best"})).await;
    for (model, complexity) in [("auto", "0.450"), ("auto:balanced", "0.250"), ("auto:economy", "0.050")] {
        let request = Dialect::Chat.request(&bench, model, &[Ask("?!")]).header("x-tenant-id", "acme");
        assert_eq!(sent(request).await.header("x-aipipe-complexity"), complexity, "{model}");
    }
    assert_eq!(bench.shown("/admin/tenants/acme").await["quality"], "best");
    let request = bench.admin(reqwest::Method::PUT, "/admin/tenants/acme").body(r#"{"quality": "excellent"}"#);
    assert_eq!(Answer::read(request.send().await.unwrap()).await.status, 400);
}

#[tokio::test]
async fn the_names_of_auto_are_listed_first_for_every_sdk() {
    let bench = Bench::start().await;
    let names = ["auto", "auto:economy", "auto:balanced", "auto:best"];
    let listed = async |path: &str, header: &'static str, list: &str, name: &str| {
        let request = bench.client.get(bench.url(path)).header(header, "1");
        let answer = sent(request).await.json();
        answer[list].as_array().unwrap().iter().take(4).map(|one| one[name].as_str().unwrap().to_owned()).collect()
    };
    let openai: Vec<String> = listed("/v1/models", "x-none", "data", "id").await;
    let anthropic: Vec<String> = listed("/v1/models", "anthropic-version", "data", "id").await;
    let gemini: Vec<String> = listed("/v1beta/models", "x-none", "models", "name").await;
    assert_eq!((&openai[..], &anthropic[..]), (&names.map(String::from)[..], &names.map(String::from)[..]));
    assert_eq!(gemini, names.map(|name| format!("models/{name}")));
    for name in names {
        let one = sent(bench.client.get(bench.url(&format!("/v1/models/{name}")))).await.json();
        assert_eq!(one["id"], name);
    }
}
