//! `generationConfig`: sampling, limits, the form of the answer, and how much to think.

use aipipe_actors::catalogue::{Effort, Model, ReasoningControl};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Writing;
use crate::dialects::carry::{cannot_carry, no_logprobs, several_choices, stops};
use crate::dialects::conversation::{Reasoning, ResponseFormat, ToolChoice};
use crate::dialects::gemini::schema::{self, Fidelity};
use crate::dialects::translate::CannotCarry;

/// Most stop sequences in one request. Source: `GenerationConfig.stopSequences`.
const MOST_STOPS: usize = 5;

#[derive(Debug, Default, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerationConfig<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Raw<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

impl GenerationConfig<'_> {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// JSON text of the client's, compared by its text.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Raw<'a>(&'a RawValue);

impl PartialEq for Raw<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    include_thoughts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u64>,
}

pub(super) fn write<'a>(writing: &mut Writing<'a>) -> Result<GenerationConfig<'a>, CannotCarry> {
    let settings = &writing.conversation.settings;
    let model = writing.model;
    no_logprobs(settings)?;
    let mut config = GenerationConfig {
        stop_sequences: stops(settings, model, Some(MOST_STOPS))?,
        candidate_count: several_choices(writing.conversation, model)?,
        max_output_tokens: settings.max_output_tokens.map(|limit| limit.min(model.max_output_tokens)),
        temperature: settings.temperature.map(|temperature| temperature.clamp(0.0, 2.0)),
        top_p: settings.top_p,
        top_k: settings.top_k,
        seed: settings.seed.and_then(|seed| i32::try_from(seed).ok()),
        presence_penalty: writing.dropped.penalty("presence_penalty", settings.presence_penalty),
        frequency_penalty: writing.dropped.penalty("frequency_penalty", settings.frequency_penalty),
        ..GenerationConfig::default()
    };
    if config.max_output_tokens != settings.max_output_tokens {
        writing.dropped.note("max_tokens");
    }
    if config.temperature != settings.temperature {
        writing.dropped.note("temperature");
    }
    if config.seed.is_none() && settings.seed.is_some() {
        writing.dropped.note("seed");
    }
    leave_out_refused(writing, &mut config);
    write_format(writing, &mut config)?;
    if let Some(reasoning) = &writing.conversation.reasoning {
        config.thinking_config = thinking(reasoning, model);
        if config.thinking_config.is_none() && reasoning.effort != Some(Effort::None) {
            writing.dropped.note("reasoning_effort");
        }
    }
    Ok(config)
}

/// Takes out the sampling parameters that the model refuses: they only tune.
fn leave_out_refused(writing: &mut Writing<'_>, config: &mut GenerationConfig<'_>) {
    let (model, dropped) = (writing.model, &mut writing.dropped);
    config.temperature = dropped.unless_taken(model, "temperature", config.temperature);
    config.top_p = dropped.unless_taken(model, "top_p", config.top_p);
    config.top_k = dropped.unless_taken(model, "top_k", config.top_k);
    config.seed = dropped.unless_taken(model, "seed", config.seed);
    config.presence_penalty = dropped.unless_taken(model, "presence_penalty", config.presence_penalty);
    config.frequency_penalty = dropped.unless_taken(model, "frequency_penalty", config.frequency_penalty);
}

fn write_format<'a>(writing: &mut Writing<'a>, config: &mut GenerationConfig<'a>) -> Result<(), CannotCarry> {
    let conversation = writing.conversation;
    let calls = !conversation.tools.is_empty() && conversation.tool_choice != ToolChoice::None;
    if !matches!(conversation.format, ResponseFormat::Text) && calls && !writing.generation.is_three_or_later() {
        return cannot_carry("response_format", "Gemini before 3 takes no functions beside JSON output");
    }
    match &conversation.format {
        ResponseFormat::Text => {}
        ResponseFormat::JsonObject => config.response_mime_type = Some("application/json"),
        ResponseFormat::JsonSchema { description, schema, strict, .. } => {
            config.response_mime_type = Some("application/json");
            if writing.generation.takes_json_schema() {
                config.response_json_schema = Some(Raw(schema));
            } else {
                let fidelity = if *strict == Some(true) { Fidelity::Strict } else { Fidelity::Loose };
                config.response_schema = schema::convert(schema, fidelity)
                    .map_err(|unfit| CannotCarry { field: "response_format".to_owned(), reason: unfit.to_string() })?;
            }
            if description.is_some() {
                writing.dropped.note("response_format.json_schema.description");
            }
        }
    }
    Ok(())
}

/// How the model is asked to think; `None` where it takes no such setting.
fn thinking(reasoning: &Reasoning, model: &Model) -> Option<ThinkingConfig> {
    let off = reasoning.effort == Some(Effort::None) || reasoning.budget_tokens == Some(0);
    let (thinking_level, thinking_budget) = match model.parameters.reasoning {
        ReasoningControl::None | ReasoningControl::Adaptive => return None,
        ReasoningControl::Level => {
            let effort = reasoning.level();
            (effort.map(|asked| level(model.parameters.nearest_effort(asked))), None)
        }
        ReasoningControl::Budget => {
            let asked = if off { Some(0) } else { reasoning.budget_tokens.or(reasoning.effort.map(budget_of_effort)) };
            (None, asked.map(|tokens| BudgetRange::of(model).fit(tokens)))
        }
    };
    Some(ThinkingConfig { include_thoughts: !off, thinking_level, thinking_budget })
}

/// Gemini 3 cannot be told not to think; its least is `MINIMAL`. Source: <https://ai.google.dev/gemini-api/docs/thinking>.
fn level(effort: Effort) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal => "MINIMAL",
        Effort::Low => "LOW",
        Effort::Medium => "MEDIUM",
        Effort::High | Effort::Xhigh | Effort::Max => "HIGH",
    }
}

/// Google's own table for `reasoning_effort`. Source: <https://ai.google.dev/gemini-api/docs/openai#thinking>.
fn budget_of_effort(effort: Effort) -> u64 {
    match effort {
        Effort::None => 0,
        Effort::Minimal | Effort::Low => 1_024,
        Effort::Medium => 8_192,
        Effort::High | Effort::Xhigh | Effort::Max => 24_576,
    }
}

/// What `thinkingBudget` may be, in tokens. Source: <https://ai.google.dev/gemini-api/docs/thinking#set-budget>.
struct BudgetRange {
    /// The least that is not 0.
    least: u64,
    most: u64,
    /// Whether 0 turns thinking off.
    can_stop: bool,
}

impl BudgetRange {
    fn of(model: &Model) -> Self {
        let id = model.id.as_str();
        if id.contains("pro") {
            Self { least: 128, most: 32_768, can_stop: false }
        } else if id.contains("lite") {
            Self { least: 512, most: 24_576, can_stop: true }
        } else {
            Self { least: 1, most: 24_576, can_stop: true }
        }
    }

    fn fit(&self, tokens: u64) -> u64 {
        if tokens == 0 && self.can_stop { 0 } else { tokens.clamp(self.least, self.most) }
    }
}
