//! Embeddings as OpenAI and OpenRouter answer them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answer::Answer;
use super::errors::{Failure, Kind};
use super::json::Json;
use super::models;
use super::provider::Provider;
use super::quirks::Quirks;
use super::server::{Request, request_id_header};
use super::text::hash;
use super::usage::{Usage, tokens};

/// Answers a call of `/embeddings`.
pub(crate) fn answer(request: &Request<'_>) -> Result<Answer, Failure> {
    let (provider, body) = (request.site.provider, request.body);
    let known = ["model", "input", "encoding_format", "dimensions", "user", "provider", "input_type"];
    if let Some((name, _)) = body.as_object().into_iter().flatten().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(Failure::bad(format!("Unrecognized request argument supplied: {name}")));
    }
    if !models::exists(provider, &request.site.settings, request.model) {
        let failure = match provider {
            Provider::OpenRouter => Failure::bad(format!("Model {} does not exist", request.model)),
            _ => Failure::usual(provider, Kind::NoSuchModel, request.model),
        };
        return Err(failure);
    }
    let inputs = inputs(&body["input"]);
    if inputs.is_empty() {
        let text =
            "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.";
        return Err(Failure::bad(text));
    }
    let usual = if request.model.contains("3-large") { 3072 } else { 1536 };
    let dimensions = body["dimensions"].as_u64().unwrap_or(usual).clamp(1, usual) as usize;
    let data = inputs.iter().enumerate().map(|(index, input)| {
        let vector = vector(&input.text, dimensions);
        let embedding = match body["encoding_format"].as_str() {
            Some("base64") => {
                json!(STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()))
            }
            _ => json!(vector),
        };
        json!({"object": "embedding", "index": index, "embedding": embedding})
    });
    let data: Vec<Value> = data.collect();
    let usage = Usage { input: inputs.iter().map(|input| input.tokens).sum(), ..Usage::default() };
    let mut told = json!({"prompt_tokens": usage.input, "total_tokens": usage.input});
    let quirks = Quirks::of(provider, body);
    let cost_ticks = quirks.cost_ticks(request.model, &usage);
    if let Some(ticks) = cost_ticks {
        told.set("cost", json!(ticks as f64 / 1e10));
    }
    let mut answer = Answer::json(&json!({"object": "list", "data": data, "model": request.model, "usage": told}));
    answer.usage = Some(usage);
    answer.cost_ticks = cost_ticks;
    answer.headers.extend(request_id_header(provider, format!("req_{}", request.hex("request", 32))));
    Ok(answer)
}

struct Input {
    text: String,
    tokens: u64,
}

/// A string, strings, token ids, or lists of token ids.
fn inputs(input: &Value) -> Vec<Input> {
    let one = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Some(Input { text: text.clone(), tokens: tokens(text) }),
        Value::Array(ids) if !ids.is_empty() => Some(Input { text: value.to_string(), tokens: ids.len() as u64 }),
        _ => None,
    };
    match input {
        Value::Array(items) if !items.first().is_some_and(Value::is_number) => items.iter().filter_map(one).collect(),
        other => one(other).into_iter().collect(),
    }
}

/// A unit vector that the text decides.
pub(crate) fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state = hash(text.as_bytes());
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1_u32 << 24) as f32) - 0.5
    };
    let raw: Vec<f32> = (0..dimensions).map(|_| next()).collect();
    let length = raw.iter().map(|number| number * number).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.into_iter().map(|number| number / length).collect()
}
