//! OpenAI Responses as OpenAI, xAI and OpenRouter speak it: reads the request, has it answered, and keeps the answer where the provider
//! does.
//!
//! [`responses_checks`](super::responses_checks) refuses what the real API refuses, [`responses_writer`](super::responses_writer) writes
//! documents and streams.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Method;
use serde_json::{Value, json};

use super::answer::{Answer, Delivery};
use super::errors::{Failure, Kind};
use super::json::Json;
use super::models;
use super::openai_chat::text_of;
use super::provider::Provider;
use super::quirks::Quirks;
use super::responses_checks;
use super::responses_writer::Writer;
use super::server::{Request, request_id_header};
use super::text::{Ask, Calls, Form, Reasoning, Tool, ToolChoice, reply};
use super::usage::{Caching, PER_MESSAGE, PromptItem, Usage, tokens_of};

/// Answers that are kept at one provider; the oldest are forgotten.
const KEPT: usize = 4_096;

/// An answer that a provider keeps.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The key that it was made with: another account does not see it.
    key: String,
    pub(crate) response: Value,
    /// All that the model had seen, in order.
    pub(crate) input: Vec<Value>,
}

/// What one provider keeps, by the answers' ids.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    by_id: HashMap<String, Kept>,
    order: VecDeque<String>,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, id: &str, kept: Kept) {
        let mut answers = self.lock();
        answers.by_id.insert(id.to_owned(), kept);
        answers.order.push_back(id.to_owned());
        if answers.order.len() > KEPT
            && let Some(oldest) = answers.order.pop_front()
        {
            answers.by_id.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, id: &str, key: &str) -> Option<Kept> {
        self.lock().by_id.get(id).filter(|kept| kept.key == key).cloned()
    }

    /// An item of a kept answer.
    pub(crate) fn item(&self, id: &str, key: &str) -> Option<Value> {
        let answers = self.lock();
        let kept = answers.by_id.values().filter(|kept| kept.key == key);
        let mut items = kept.flat_map(|kept| kept.response.at("/output").as_array().into_iter().flatten());
        items.find(|item| item["id"] == id).cloned()
    }

    fn remove(&self, id: &str, key: &str) -> bool {
        let mut answers = self.lock();
        let is_there = answers.by_id.get(id).is_some_and(|kept| kept.key == key);
        is_there && answers.by_id.remove(id).is_some()
    }
}

/// The key of a call.
pub(crate) fn key_of<'a>(request: &'a Request<'_>) -> &'a str {
    let header = request.headers.get("authorization").and_then(|value| value.to_str().ok());
    header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
}

/// Answers a call of `/responses`.
pub(crate) fn answer(request: &Request<'_>) -> Result<Answer, Failure> {
    let body = request.body;
    let items = conversation(request)?;
    let prompt: Vec<PromptItem> = prompt(body, &items).map(PromptItem::new).collect();
    let input = request.site.cache.input(request.model, &prompt, Caching::Automatic);
    let reply = reply(&read(request, &items), input);
    let usage = reply.usage;
    let writer = Writer::new(request, usage);
    let whole = writer.response(&reply);
    let keeps = request.site.provider != Provider::OpenRouter && body["store"] != false;
    if keeps {
        let kept = Kept { key: key_of(request).to_owned(), response: whole.clone(), input: items };
        request.site.shelf.keep(writer.id(), kept);
    }
    let mut answer = match request.delivery {
        Delivery::Whole => Answer::json(&whole),
        Delivery::Stream => Answer::stream("text/event-stream; charset=utf-8", writer.stream(&reply, &whole)),
    };
    answer.error_event = Some(writer.error_event());
    answer.usage = Some(usage);
    answer.cost_ticks = Quirks::of(request.site.provider, body).cost_ticks(request.model, &usage);
    answer.headers.extend(request_id_header(request.site.provider, format!("req_{}", request.hex("request", 32))));
    Ok(answer)
}

/// Answers a call of `/responses/input_tokens`.
pub(crate) fn count_tokens(request: &Request<'_>) -> Result<Answer, Failure> {
    let items = conversation(request)?;
    let input: u64 = prompt(request.body, &items).map(|part| tokens_of(part) + PER_MESSAGE).sum();
    let mut answer = Answer::json(&json!({"object": "response.input_tokens", "input_tokens": input}));
    answer.usage = Some(Usage { input, ..Usage::default() });
    Ok(answer)
}

/// What the model sees of a request, in the order in which it is cached.
fn prompt<'a>(body: &'a Value, items: &'a [Value]) -> impl Iterator<Item = &'a Value> {
    body["tools"].as_array().into_iter().flatten().chain([&body["instructions"]]).chain(items)
}

/// The items of a request, those of the answer that it goes on from before its own.
fn conversation(request: &Request<'_>) -> Result<Vec<Value>, Failure> {
    responses_checks::check(request)?;
    let body = request.body;
    let mut items: Vec<Value> = Vec::new();
    if let Some(id) = body["previous_response_id"].as_str() {
        let kept = request.site.shelf.get(id, key_of(request)).ok_or_else(|| {
            let text = format!("Previous response with id '{id}' not found.");
            Failure::at("previous_response_id", Some("previous_response_not_found"), text)
        })?;
        items.extend(kept.input);
        items.extend(kept.response.at("/output").as_array().cloned().unwrap_or_default());
    }
    match &body["input"] {
        Value::String(text) => items.push(json!({"type": "message", "role": "user", "content": text})),
        input => items.extend(input.as_array().cloned().unwrap_or_default()),
    }
    responses_checks::check_history(request, &mut items)?;
    Ok(items)
}

/// Answers a call about a kept answer: the address below `/responses/`.
pub(crate) fn kept(request: &Request<'_>, method: &Method, address: &str) -> Result<Answer, Failure> {
    let (id, detail) = address.split_once('/').unwrap_or((address, ""));
    let key = key_of(request);
    let not_found = || Failure {
        status: Some(404),
        ..Failure::new(Kind::BadRequest, format!("Response with id '{id}' not found."))
    };
    let found = request.site.shelf.get(id, key).ok_or_else(not_found)?;
    match (method, detail) {
        (&Method::DELETE, "") => {
            request.site.shelf.remove(id, key);
            Ok(Answer::json(&json!({"id": id, "object": "response", "deleted": true})))
        }
        (&Method::GET, "") => Ok(Answer::json(&found.response)),
        (&Method::GET, "input_items") => {
            let data: Vec<Value> = found.input.into_iter().rev().collect();
            Ok(Answer::json(&json!({"object": "list", "data": data, "has_more": false})))
        }
        (&Method::POST, "cancel") => Err(Failure::bad("Cannot cancel a synchronous response.")),
        _ => Err(Failure::usual(request.site.provider, Kind::NoSuchPath, "")),
    }
}

/// What the model sees.
fn read(request: &Request<'_>, items: &[Value]) -> Ask {
    let body = request.body;
    let last_user = items.iter().rposition(|item| item["role"] == "user");
    let after = items.get(last_user.unwrap_or(0)..).unwrap_or_default();
    let is_result = |item: &&Value| item["type"].as_str().is_some_and(|kind| kind.ends_with("call_output"));
    let format = body.at("/text/format");
    let reasons = models::reasons(request.site.provider, request.model, body);
    Ask {
        user: last_user.and_then(|at| items.get(at)).map(|item| text_of(&item["content"])).unwrap_or_default(),
        results: after.iter().filter(is_result).map(|item| text_of(&item["output"])).collect(),
        tools: body["tools"].as_array().into_iter().flatten().filter_map(tool).collect(),
        choice: tool_choice(&body["tool_choice"]),
        calls: if body["parallel_tool_calls"] == false { Calls::Single } else { Calls::Parallel },
        form: match format["type"].as_str() {
            Some("json_schema") => Form::Schema(format["schema"].clone()),
            Some("json_object") => Form::Json,
            _ => Form::Prose,
        },
        limit: body["max_output_tokens"].as_u64(),
        stop: Vec::new(),
        reasoning: if reasons { Reasoning::WithinLimit } else { Reasoning::No },
        begun: String::new(),
        says: request.says(),
        seed: request.site.settings.seed,
    }
}

fn tool(tool: &Value) -> Option<Tool> {
    let name = tool["name"].as_str()?.to_owned();
    match tool["type"].as_str()? {
        "function" => Some(Tool { name, parameters: tool["parameters"].clone() }),
        "custom" => {
            let parameters =
                json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]});
            Some(Tool { name, parameters })
        }
        _ => None,
    }
}

fn tool_choice(choice: &Value) -> ToolChoice {
    match (choice.as_str(), choice["name"].as_str()) {
        (Some("none"), _) => ToolChoice::Never,
        (Some("required"), _) => ToolChoice::Any,
        (None, Some(name)) => ToolChoice::Named(name.to_owned()),
        (None, None) if choice["mode"] == "required" => ToolChoice::Any,
        _ => ToolChoice::Auto,
    }
}
