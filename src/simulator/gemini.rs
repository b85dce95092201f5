//! Gemini's generateContent, streamed and not, with token counts and embeddings.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Delivery, Event, Place};
use super::embeddings::vector;
use super::errors::{Failure, Kind};
use super::gemini_checks;
use super::json::Json;
use super::models;
use super::provider::Provider;
use super::server::Request;
use super::text::{Ask, Finish, Form, Reasoning, Reply, Tool, ToolChoice, hash, pieces, reply};
use super::usage::{Caching, PER_MESSAGE, PromptItem, Usage, tokens, tokens_of};

const JSON: &str = "application/json; charset=UTF-8";

/// Answers `generateContent` and `streamGenerateContent`.
pub(crate) fn answer(request: &Request<'_>) -> Result<Answer, Failure> {
    gemini_checks::check(request)?;
    let items: Vec<PromptItem> = prompt(request.body).into_iter().map(PromptItem::new).collect();
    let input = request.site.cache.input(request.model, &items, Caching::Automatic);
    let reply = reply(&read(request), input);
    let writer = Writer { request, reply: &reply };
    let mut answer = match request.delivery {
        Delivery::Whole => Answer::whole(JSON, format!("{:#}\n", writer.whole())),
        Delivery::Stream if request.query.split('&').any(|pair| pair == "alt=sse") => {
            Answer::stream("text/event-stream", writer.events())
        }
        Delivery::Stream => Answer::stream(JSON, writer.array()),
    };
    answer.usage = Some(reply.usage);
    Ok(answer)
}

/// Answers `countTokens`.
pub(crate) fn count_tokens(request: &Request<'_>) -> Result<Answer, Failure> {
    check_model(request)?;
    let wrapped = &request.body["generateContentRequest"];
    let body = if wrapped.is_null() { request.body } else { wrapped };
    let input: u64 = prompt(body).into_iter().map(|part| tokens_of(part) + PER_MESSAGE).sum();
    let details = json!([{"modality": "TEXT", "tokenCount": input}]);
    let mut answer = Answer::json(&json!({"totalTokens": input, "promptTokensDetails": details}));
    answer.usage = Some(Usage { input, ..Usage::default() });
    Ok(answer)
}

/// Answers `batchEmbedContents` and `embedContent`.
pub(crate) fn embed(request: &Request<'_>) -> Result<Answer, Failure> {
    check_model(request)?;
    let embedding = |one: &Value| {
        let text = text_of(&one["content"]);
        let dimensions = one["outputDimensionality"].as_u64().unwrap_or(3072).clamp(1, 3072) as usize;
        (tokens(&text), json!({"values": vector(&text, dimensions)}))
    };
    let (input, body) = match request.body["requests"].as_array() {
        Some(requests) => {
            let (counts, values): (Vec<u64>, Vec<Value>) = requests.iter().map(embedding).unzip();
            (counts.iter().sum(), json!({"embeddings": values}))
        }
        None => {
            let (input, value) = embedding(request.body);
            (input, json!({"embedding": value}))
        }
    };
    let mut answer = Answer::json(&body);
    answer.usage = Some(Usage { input, ..Usage::default() });
    Ok(answer)
}

fn check_model(request: &Request<'_>) -> Result<(), Failure> {
    if models::exists(Provider::Gemini, &request.site.settings, request.model) {
        return Ok(());
    }
    Err(Failure::usual(Provider::Gemini, Kind::NoSuchModel, request.model))
}

/// A field under either of the names that proto JSON accepts.
pub(crate) fn field<'a>(object: &'a Value, camel: &str, snake: &str) -> &'a Value {
    if object[camel].is_null() { &object[snake] } else { &object[camel] }
}

/// The contents of a request; a single one may stand without a list.
pub(crate) fn contents(body: &Value) -> &[Value] {
    match &body["contents"] {
        Value::Array(contents) => contents,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

/// The parts of a content.
pub(crate) fn parts(content: &Value) -> &[Value] {
    match &content["parts"] {
        Value::Array(parts) => parts,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

fn prompt(body: &Value) -> Vec<&Value> {
    let system = field(body, "systemInstruction", "system_instruction");
    let tools = body["tools"].as_array().into_iter().flatten();
    tools.chain(Some(system).filter(|system| !system.is_null())).chain(contents(body)).collect()
}

fn text_of(content: &Value) -> String {
    parts(content).iter().filter(|part| part["thought"] != true).filter_map(|part| part["text"].as_str()).collect()
}

/// What the model sees.
fn read(request: &Request<'_>) -> Ask {
    let body = request.body;
    let contents = contents(body);
    let users = || contents.iter().enumerate().filter(|(_, content)| content["role"] != "model");
    let user = users().map(|(at, content)| (at, text_of(content))).rfind(|(_, text)| !text.is_empty());
    let from = user.as_ref().map_or(0, |(at, _)| *at);
    let results = users().filter(|(at, _)| *at >= from).flat_map(|(_, content)| parts(content));
    let config = field(body, "generationConfig", "generation_config");
    let calling = field(field(body, "toolConfig", "tool_config"), "functionCallingConfig", "function_calling_config");
    let allowed: Vec<&str> = field(calling, "allowedFunctionNames", "allowed_function_names")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let tools = body["tools"].as_array().into_iter().flatten();
    let declared =
        tools.filter_map(|tool| field(tool, "functionDeclarations", "function_declarations").as_array()).flatten();
    let schema = match field(config, "responseJsonSchema", "response_json_schema") {
        Value::Null => field(config, "responseSchema", "response_schema"),
        schema => schema,
    };
    Ask {
        user: user.map(|(_, text)| text).unwrap_or_default(),
        results: results.filter_map(result).collect(),
        tools: declared
            .filter_map(tool)
            .filter(|tool| allowed.is_empty() || allowed.contains(&tool.name.as_str()))
            .collect(),
        choice: match calling["mode"].as_str() {
            Some("ANY") => ToolChoice::Any,
            Some("NONE") => ToolChoice::Never,
            _ => ToolChoice::Auto,
        },
        form: match field(config, "responseMimeType", "response_mime_type").as_str() {
            Some("application/json") if schema.is_object() => Form::Schema(schema.clone()),
            Some("application/json") => Form::Json,
            _ => Form::Prose,
        },
        limit: field(config, "maxOutputTokens", "max_output_tokens").as_u64(),
        stop: field(config, "stopSequences", "stop_sequences")
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        reasoning: if thinks(request.model, config) { Reasoning::WithinLimit } else { Reasoning::No },
        says: request.says(),
        seed: request.site.settings.seed,
        ..Ask::default()
    }
}

fn result(part: &Value) -> Option<String> {
    let response = &field(part, "functionResponse", "function_response")["response"];
    let told = response.get("result").or(response.get("output")).or(response.get("error")).unwrap_or(response);
    match told {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn tool(declared: &Value) -> Option<Tool> {
    let parameters = match field(declared, "parametersJsonSchema", "parameters_json_schema") {
        Value::Null => &declared["parameters"],
        schema => schema,
    };
    Some(Tool { name: declared["name"].as_str()?.to_owned(), parameters: parameters.clone() })
}

/// Gemini 2.5 and later think; a budget of 0 stops 2.5 Flash.
fn thinks(model: &str, config: &Value) -> bool {
    let thinking = field(config, "thinkingConfig", "thinking_config");
    let stopped = field(thinking, "thinkingBudget", "thinking_budget") == 0;
    let family = ["gemini-2.5", "gemini-3", "gemini-4"].iter().any(|start| model.starts_with(start));
    family && !stopped && !model.starts_with("gemini-2.5-flash-lite")
}

/// Whether the model signs its function calls and refuses history without the signatures.
pub(crate) fn signs(model: &str) -> bool {
    model.starts_with("gemini-3") || model.starts_with("gemini-4")
}

struct Writer<'a> {
    request: &'a Request<'a>,
    reply: &'a Reply,
}

impl Writer<'_> {
    fn usage(&self, candidates: u64) -> Value {
        let Usage { input, cached, reasoning, .. } = self.reply.usage;
        let mut usage = json!({
            "promptTokenCount": input,
            "candidatesTokenCount": candidates,
            "totalTokenCount": input + candidates + reasoning,
        });
        if cached > 0 {
            usage.set("cachedContentTokenCount", json!(cached));
        }
        usage.set("promptTokensDetails", json!([{"modality": "TEXT", "tokenCount": input}]));
        if cached > 0 {
            usage.set("cacheTokensDetails", json!([{"modality": "TEXT", "tokenCount": cached}]));
        }
        if reasoning > 0 {
            usage.set("thoughtsTokenCount", json!(reasoning));
        }
        usage.set("serviceTier", json!("standard"));
        usage
    }

    /// Sixty letters and digits: base64 without padding, which SDKs decode.
    fn signature(&self, salt: &str) -> String {
        format!("Eo{:016x}{}", hash(format!("{salt}{}", self.request.model).as_bytes()), self.request.id(salt, 42))
    }

    fn shows_thoughts(&self) -> bool {
        let config = field(self.request.body, "generationConfig", "generation_config");
        let thinking = field(config, "thinkingConfig", "thinking_config");
        *field(thinking, "includeThoughts", "include_thoughts") == true
    }

    /// The answer's calls, the first of them signed where the model signs.
    fn call_parts(&self) -> Vec<Value> {
        let mut called = Vec::new();
        for call in &self.reply.calls {
            let Some(arguments) = call.object() else { continue };
            let mut part = json!({"functionCall": {"name": call.name, "args": arguments}});
            if called.is_empty() && signs(self.request.model) {
                part.set("thoughtSignature", json!(self.signature(&call.name)));
            }
            called.push(part);
        }
        called
    }

    fn finish(&self) -> &'static str {
        if self.reply.finish == Finish::Limit { "MAX_TOKENS" } else { "STOP" }
    }

    /// A chunk, or the whole answer, around these parts.
    fn chunk(&self, parts: Vec<Value>, finish: Option<&str>, candidates: u64) -> Value {
        let mut content = Map::new();
        if !parts.is_empty() {
            content.insert("parts".to_owned(), json!(parts));
        }
        content.insert("role".to_owned(), json!("model"));
        let mut candidate = json!({"content": content});
        if let Some(finish) = finish {
            candidate.set("finishReason", json!(finish));
        }
        candidate.set("index", json!(0));
        if finish.is_some() && self.reply.finish == Finish::Calls {
            candidate.set("finishMessage", json!("Model generated function call(s)."));
        }
        let mut chunk = json!({"candidates": [candidate]});
        if self.request.tells_usage() {
            chunk.set("usageMetadata", self.usage(candidates));
        }
        chunk.set("modelVersion", json!(self.request.model));
        chunk.set("responseId", json!(self.request.id("response", 23)));
        chunk
    }

    fn whole(&self) -> Value {
        let mut parts = Vec::new();
        if self.shows_thoughts() && !self.reply.reasoning.is_empty() {
            parts.push(json!({"text": self.reply.reasoning, "thought": true}));
        }
        if !self.reply.text.is_empty() {
            parts.push(json!({"text": self.reply.text}));
        }
        parts.extend(self.call_parts());
        self.chunk(parts, Some(self.finish()), self.reply.usage.output - self.reply.usage.reasoning)
    }

    fn chunks(&self) -> Vec<(Place, Value)> {
        let total = self.reply.usage.output - self.reply.usage.reasoning;
        let mut chunks = Vec::new();
        if self.shows_thoughts() {
            for piece in pieces(&self.reply.reasoning, 8) {
                chunks.push((Place::Delta, self.chunk(vec![json!({"text": piece, "thought": true})], None, 0)));
            }
        }
        let called = self.call_parts();
        let texts = pieces(&self.reply.text, 8);
        let mut sent = String::new();
        for (position, piece) in texts.iter().enumerate() {
            sent.push_str(piece);
            // The last piece comes with the finish, unless a signature in an empty part follows.
            let last = position + 1 == texts.len() && called.is_empty() && !signs(self.request.model);
            let finish = last.then(|| self.finish());
            let count = if last { total } else { tokens(&sent).min(total) };
            chunks.push((Place::Delta, self.chunk(vec![json!({"text": piece})], finish, count)));
        }
        if !called.is_empty() {
            chunks.push((Place::Delta, self.chunk(called, None, total)));
        }
        if signs(self.request.model) || !self.reply.calls.is_empty() || texts.is_empty() {
            let mut end = json!({"text": ""});
            if signs(self.request.model) && self.reply.calls.is_empty() {
                end.set("thoughtSignature", json!(self.signature("text")));
            }
            chunks.push((Place::Closing, self.chunk(vec![end], Some(self.finish()), total)));
        }
        chunks
    }

    /// Events with CRLF ends and nothing that marks the end.
    fn events(&self) -> Vec<Event> {
        let event =
            |(place, chunk): (Place, Value)| Event { place, bytes: format!("data: {}\r\n\r\n", spaced(&chunk)).into() };
        self.chunks().into_iter().map(event).collect()
    }

    /// One JSON array, element by element: what a client gets that does not ask for events.
    fn array(&self) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        for (place, chunk) in self.chunks() {
            let start = if events.is_empty() { "[" } else { ",\r\n" };
            events.push(Event { place, bytes: format!("{start}{chunk:#}").into() });
        }
        events.push(Event { place: Place::Closing, bytes: "]".into() });
        events
    }
}

/// JSON as Google writes it on one line: a space after the colon, none after the comma.
fn spaced(value: &Value) -> String {
    struct Google;
    impl Formatter for Google {
        fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
            writer.write_all(b": ")
        }
    }
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Google);
    // Writing a value into memory cannot fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(bytes).unwrap_or_default()
}
