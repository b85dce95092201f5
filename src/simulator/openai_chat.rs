//! Chat Completions as OpenAI, xAI, OpenRouter, MiniMax and Moonshot speak it: reads the request and has it answered.
//!
//! [`openai_writer`](super::openai_writer) writes documents, [`openai_stream`](super::openai_stream) streams, and
//! [`quirks`](super::quirks) has what tells the five apart.

use serde_json::Value;

use super::answer::{Answer, Delivery};
use super::errors::Failure;
use super::json::Json;
use super::models;
use super::openai_checks;
use super::openai_writer::Writer;
use super::provider::Provider;
use super::server::{Request, request_id_header};
use super::text::{Ask, Calls, Form, Reasoning, Tool, ToolChoice, reply};
use super::usage::{Caching, PromptItem};

/// Answers a call of `/chat/completions`.
pub(crate) fn answer(request: &Request<'_>) -> Result<Answer, Failure> {
    openai_checks::check(request)?;
    let items: Vec<PromptItem> = prompt(request.body).map(PromptItem::new).collect();
    let input = request.site.cache.input(request.model, &items, Caching::Automatic);
    let mut ask = read(request);
    let mut replies = Vec::new();
    let mut usage = input;
    for choice in 0..request.body["n"].as_u64().unwrap_or(1).clamp(1, 16) {
        ask.seed = request.site.settings.seed.wrapping_add(choice);
        let reply = reply(&ask, input);
        usage.output += reply.usage.output;
        usage.reasoning += reply.usage.reasoning;
        replies.push(reply);
    }
    let writer = Writer::new(request, usage);
    let mut answer = match request.delivery {
        Delivery::Whole => Answer::json(&writer.whole(&replies)),
        Delivery::Stream => Answer::stream(writer.stream_type(), writer.stream(&replies)),
    };
    answer.usage = Some(usage);
    answer.cost_ticks = writer.quirks.cost_ticks(request.model, &usage);
    answer.headers.extend(request_id_header(request.site.provider, format!("req_{}", request.hex("request", 32))));
    if request.site.provider == Provider::OpenRouter {
        answer.headers.push(("x-generation-id", writer.id));
    }
    Ok(answer)
}

/// The parts of a prompt in the order in which they are cached: tools, then messages.
fn prompt(body: &Value) -> impl Iterator<Item = &Value> {
    let parts = |name: &str| body[name].as_array().map(Vec::as_slice).unwrap_or_default();
    parts("tools").iter().chain(parts("messages"))
}

/// What the model sees.
fn read(request: &Request<'_>) -> Ask {
    let body = request.body;
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let last_user = messages.iter().rposition(|message| message["role"] == "user");
    let after = messages.get(last_user.unwrap_or(0)..).unwrap_or_default();
    let results = after.iter().filter(|message| message["role"] == "tool").map(|message| text_of(&message["content"]));
    let format = &body["response_format"];
    let reasoning = match request.site.provider {
        provider if !models::reasons(provider, request.model, body) => Reasoning::No,
        Provider::Xai => Reasoning::BesideLimit,
        _ => Reasoning::WithinLimit,
    };
    Ask {
        user: last_user.and_then(|at| messages.get(at)).map(|message| text_of(&message["content"])).unwrap_or_default(),
        results: results.collect(),
        tools: body["tools"].as_array().into_iter().flatten().filter_map(tool).collect(),
        choice: tool_choice(&body["tool_choice"]),
        calls: if body["parallel_tool_calls"] == false { Calls::Single } else { Calls::Parallel },
        form: match format["type"].as_str() {
            Some("json_schema") => Form::Schema(format.at("/json_schema/schema").clone()),
            Some("json_object") => Form::Json,
            _ => Form::Prose,
        },
        limit: body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()),
        stop: match &body["stop"] {
            Value::String(stop) => vec![stop.clone()],
            stops => stops.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
        },
        reasoning,
        begun: begun(request),
        says: request.says(),
        seed: 0,
    }
}

/// The text of a message's content: a string, or its text parts.
pub(crate) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        parts => parts.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect(),
    }
}

fn tool(tool: &Value) -> Option<Tool> {
    let function = &tool["function"];
    Some(Tool { name: function["name"].as_str()?.to_owned(), parameters: function["parameters"].clone() })
}

fn tool_choice(choice: &Value) -> ToolChoice {
    match choice.as_str() {
        Some("none") => ToolChoice::Never,
        Some("required") => ToolChoice::Any,
        Some(_) => ToolChoice::Auto,
        None => match choice.at("/function/name").as_str() {
            Some(name) => ToolChoice::Named(name.to_owned()),
            None if choice.at("/allowed_tools/mode") == "required" => ToolChoice::Any,
            None => ToolChoice::Auto,
        },
    }
}

/// How the answer begins already: OpenRouter hands a last message of the assistant to Anthropic's models, which go on with it.
fn begun(request: &Request<'_>) -> String {
    let last = request.body["messages"].as_array().and_then(|messages| messages.last());
    let continues = request.site.provider == Provider::OpenRouter && request.model.starts_with("anthropic/");
    let last = last.filter(|last| continues && last["role"] == "assistant");
    last.and_then(|last| last["content"].as_str()).unwrap_or_default().to_owned()
}
