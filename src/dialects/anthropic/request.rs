//! Writes a conversation as the body of `POST /v1/messages`.
//!
//! Everything is borrowed from the conversation and written once; JSON of the client (schemas, arguments) is copied as it stands. What
//! only tunes and has no counterpart is listed as dropped under its Chat Completions name; what changes the answer is refused.

mod media;
mod schema;
pub(super) mod thinking;
mod tools;
pub(super) mod turns;

use std::borrow::Cow;

use aipipe_actors::catalogue::{Capability, Model};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::value::RawValue;

use self::thinking::{Circumstances, Thinking};
use self::tools::{NAMES, Toolbox};
use self::turns::{Block, Message, Transcript};
use crate::dialects::carry::{Dropped, JSON_INSTRUCTION, cannot, cannot_carry, no_logprobs, stops};
use crate::dialects::conversation::{Conversation, ResponseFormat, Settings};
use crate::dialects::function_names::FunctionNames;
use crate::dialects::translate::{CannotCarry, EncodedRequest, Undo};

/// The version of the dialect; Anthropic requires the header.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Output tokens asked for where neither the client nor the catalogue knows a limit; Anthropic requires one.
const MAX_TOKENS_OF_UNKNOWN_MODEL: u64 = 8192;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tools: &'a [tools::Tool<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'a tools::Choice<'a>>,
    #[serde(skip_serializing_if = "OutputConfig::is_empty")]
    output_config: OutputConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<thinking::Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<OutputFormat<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum OutputFormat<'a> {
    JsonSchema { schema: &'a RawValue },
}

impl OutputConfig<'_> {
    fn is_empty(&self) -> bool {
        self.effort.is_none() && self.format.is_none()
    }
}

/// How the answer gets its form.
#[derive(Clone, Copy)]
enum Form<'a> {
    /// As the model likes.
    Free,
    /// By an instruction.
    Instructed,
    /// By the model's own structured output.
    Native(&'a RawValue),
    /// As the arguments of a function with this schema and description.
    AnswerTool(&'a RawValue, Option<&'a str>),
}

/// Writes the request for `model`.
pub(super) fn encode(conversation: &Conversation, model: &Model) -> Result<EncodedRequest, CannotCarry> {
    let mut dropped = Dropped::hints(conversation);
    let form = form(&conversation.format, model, &mut dropped);
    let names = FunctionNames::of(conversation, &NAMES);
    let toolbox = Toolbox::new(conversation, model, &names, form)?;
    let origin = model.address();
    let Transcript { messages, ends_in_prefill, thought_is_missing } =
        turns::transcript(conversation, model, &names, &origin)?;

    let max_tokens = max_tokens(&conversation.settings, model, &mut dropped);
    let circumstances =
        Circumstances { max_tokens, forced_call: toolbox.forces_call(), prefill: ends_in_prefill, thought_is_missing };
    let thinking = Thinking::choose(conversation.reasoning.as_ref(), &model.parameters, &circumstances);
    if thinking.ignored {
        dropped.note("reasoning_effort");
    }
    let sampling = Sampling::choose(&conversation.settings, model, thinking.is_on(), &mut dropped)?;

    let body = Body {
        model: model.id.as_str(),
        max_tokens,
        system: system(&conversation.instructions, form),
        messages,
        tools: &toolbox.tools,
        tool_choice: toolbox.choice.as_ref(),
        output_config: OutputConfig { effort: thinking.effort, format: native_format(form) },
        thinking: thinking.config,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        stop_sequences: stop_sequences(&conversation.settings, model)?,
        stream: conversation.stream,
    };
    let body = serde_json::to_vec(&body).map_err(|_| cannot("messages", "cannot be written as JSON"))?;
    let answer_tool = toolbox.answer_tool;
    Ok(EncodedRequest {
        path: "/v1/messages".to_owned(),
        body: body.into(),
        headers: HeaderMap::from_iter([(http::HeaderName::from_static("anthropic-version"), VERSION)]),
        dropped: dropped.into_names(),
        undo: Undo { answer_tool, ..names.into_undo() },
    })
}

/// Chooses the way to the form that the client asks for. Anthropic's structured output is always strict and refuses schemas that are
/// not; where the client did not ask for strictness such a schema goes the way of the answer tool.
fn form<'a>(format: &'a ResponseFormat, model: &Model, dropped: &mut Dropped) -> Form<'a> {
    match format {
        ResponseFormat::Text => Form::Free,
        ResponseFormat::JsonObject => Form::Instructed,
        ResponseFormat::JsonSchema { description, schema, strict, .. } => {
            let native = model.capabilities.contains(Capability::JsonSchema);
            if native && (*strict == Some(true) || schema::is_taken_strictly(schema)) {
                if description.is_some() {
                    dropped.note("response_format.json_schema.description");
                }
                Form::Native(schema)
            } else {
                Form::AnswerTool(schema, description.as_deref())
            }
        }
    }
}

fn native_format(form: Form<'_>) -> Option<OutputFormat<'_>> {
    match form {
        Form::Native(schema) => Some(OutputFormat::JsonSchema { schema }),
        Form::Free | Form::Instructed | Form::AnswerTool(..) => None,
    }
}

fn system<'a>(instructions: &'a [String], form: Form<'_>) -> Vec<Block<'a>> {
    // Anthropic has no mode for free JSON.
    let json = matches!(form, Form::Instructed).then_some(JSON_INSTRUCTION);
    let texts = instructions.iter().map(String::as_str).chain(json);
    texts.filter(|text| !text.trim().is_empty()).map(|text| Block::Text { text: Cow::Borrowed(text) }).collect()
}

/// The client's limit, at most the model's; without one the model's, so that no answer is cut short that need not be.
fn max_tokens(settings: &Settings, model: &Model, dropped: &mut Dropped) -> u64 {
    match (settings.max_output_tokens, model.max_output_tokens) {
        (Some(asked), 0) => asked,
        (None, 0) => MAX_TOKENS_OF_UNKNOWN_MODEL,
        (Some(asked), most) if asked > most => {
            dropped.note("max_tokens");
            most
        }
        (Some(asked), _) => asked,
        (None, most) => most,
    }
}

/// The sampling parameters that the model takes.
struct Sampling {
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u64>,
}

impl Sampling {
    /// Keeps what the model takes. While it thinks, Anthropic takes no temperature but 1, no `top_k`, and `top_p` from 0.95 on; and
    /// Claude from 4.5 on refuses `temperature` and `top_p` together, so that the temperature alone goes.
    fn choose(settings: &Settings, model: &Model, thinks: bool, dropped: &mut Dropped) -> Result<Self, CannotCarry> {
        if settings.choices.is_some_and(|choices| choices > 1) {
            return cannot_carry("n", "this provider gives one choice");
        }
        no_logprobs(settings)?;
        let penalties =
            [("presence_penalty", settings.presence_penalty), ("frequency_penalty", settings.frequency_penalty)];
        for (name, penalty) in penalties {
            if dropped.penalty(name, penalty).is_some() {
                return cannot_carry(name, "this provider has no penalties");
            }
        }
        if settings.seed.is_some() {
            dropped.note("seed");
        }
        // Anthropic's scale ends at 1.
        let temperature = settings.temperature.map(|asked| asked.clamp(0.0, 1.0));
        if temperature != settings.temperature {
            dropped.note("temperature");
        }
        let mut keep = |name: &str, fits: bool| {
            let kept = fits && !model.parameters.refuses(name);
            if !kept {
                dropped.note(name);
            }
            kept
        };
        let temperature = temperature.filter(|&t| keep("temperature", !thinks || t == 1.0));
        let top_p = settings.top_p.filter(|&p| keep("top_p", temperature.is_none() && (!thinks || p >= 0.95)));
        let top_k = settings.top_k.filter(|_| keep("top_k", !thinks));
        Ok(Self { temperature, top_p, top_k })
    }
}

fn stop_sequences<'a>(settings: &'a Settings, model: &Model) -> Result<Vec<&'a str>, CannotCarry> {
    let stops = stops(settings, model, None)?;
    if stops.iter().any(|text| text.trim().is_empty()) {
        return cannot_carry("stop", "this provider takes no stop sequence of white space alone");
    }
    Ok(stops)
}
