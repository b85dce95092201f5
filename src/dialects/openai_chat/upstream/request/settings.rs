//! Sampling, limits, and how much to think.

use aipipe_actors::catalogue::{Capability, Effort, Model, ParameterLimits, ReasoningControl};
use serde::Serialize;

use super::Writing;
use crate::dialects::carry::{cannot_carry, no_logprobs, several_choices, stops};
use crate::dialects::conversation::{Reasoning, ToolChoice};
use crate::dialects::translate::CannotCarry;
use crate::providers::{EffortField, Profile};

#[derive(Debug, Default, Serialize)]
pub(super) struct Sampling<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<Effort>,
    /// OpenRouter's form.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<RouterReasoning>,
    /// The switch of Kimi and MiniMax.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Switch>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum RouterReasoning {
    Effort(Effort),
    MaxTokens(u64),
}

#[derive(Debug, Serialize)]
struct Switch {
    r#type: &'static str,
}

/// Whether the model is going to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinks {
    /// It was told not to, or cannot.
    No,
    /// It may.
    Maybe,
}

impl Sampling<'_> {
    /// Whether the model is going to think, as far as the request decides it.
    pub(super) fn thinks(&self, model: &Model, profile: &Profile) -> Thinks {
        let is_off = |sent: &Switch| profile.thinking_switch.is_some_and(|switch| switch.off == sent.r#type);
        let off = !model.capabilities.contains(Capability::Reasoning)
            || self.thinking.as_ref().is_some_and(is_off)
            || self.reasoning_effort == Some(Effort::None);
        if off { Thinks::No } else { Thinks::Maybe }
    }
}

pub(super) fn write<'a>(writing: &mut Writing<'a>) -> Result<Sampling<'a>, CannotCarry> {
    let settings = &writing.conversation.settings;
    no_logprobs(settings)?;
    let mut sampling = Sampling {
        temperature: settings.temperature,
        top_p: settings.top_p,
        stop: stops(settings, writing.model, writing.profile.max_stop_sequences)?,
        seed: settings.seed,
        presence_penalty: penalty(writing, settings.presence_penalty, "presence_penalty")?,
        frequency_penalty: penalty(writing, settings.frequency_penalty, "frequency_penalty")?,
        n: several_choices(writing.conversation, writing.model)?,
        ..Sampling::default()
    };
    limit(writing, &mut sampling);
    if writing.profile.effort == EffortField::ReasoningObject {
        sampling.top_k = settings.top_k;
    } else if settings.top_k.is_some() {
        writing.dropped.note("top_k");
    }
    leave_out_refused(writing, &mut sampling);
    reasoning(writing, &mut sampling);
    Ok(sampling)
}

fn limit(writing: &mut Writing<'_>, sampling: &mut Sampling<'_>) {
    let Some(asked) = writing.conversation.settings.max_output_tokens else { return };
    let capped = asked.min(writing.model.max_output_tokens);
    if capped < asked {
        writing.dropped.note("max_tokens");
    }
    if writing.model.parameters.max_completion_tokens {
        sampling.max_completion_tokens = Some(capped);
    } else {
        sampling.max_tokens = Some(capped);
    }
}

fn penalty(writing: &mut Writing<'_>, value: Option<f64>, name: &str) -> Result<Option<f64>, CannotCarry> {
    match writing.dropped.penalty(name, value) {
        Some(_) if writing.model.parameters.refuses(name) => cannot_carry(name, "this model takes no penalties"),
        value => Ok(value),
    }
}

/// Takes out what the model refuses and only tunes, and moves the temperature into the provider's range.
fn leave_out_refused(writing: &mut Writing<'_>, sampling: &mut Sampling<'_>) {
    let (model, dropped) = (writing.model, &mut writing.dropped);
    sampling.temperature = dropped.unless_taken(model, "temperature", sampling.temperature);
    sampling.top_p = dropped.unless_taken(model, "top_p", sampling.top_p);
    sampling.top_k = dropped.unless_taken(model, "top_k", sampling.top_k);
    sampling.seed = dropped.unless_taken(model, "seed", sampling.seed);
    let range = writing.profile.temperature;
    if let Some(asked) = sampling.temperature {
        let fitting = asked.clamp(range.min, range.max);
        if fitting != asked {
            writing.dropped.note("temperature");
        }
        sampling.temperature = Some(fitting);
    }
}

/// Whether a model knows nothing but on and off: such a one takes the switch, others a level or nothing.
fn is_switched(limits: &ParameterLimits) -> bool {
    limits.efforts.len() == 2 && limits.efforts.contains(&Effort::None)
}

fn reasoning(writing: &mut Writing<'_>, sampling: &mut Sampling<'_>) {
    let (model, profile) = (writing.model, writing.profile);
    let limits = &model.parameters;
    let asked = writing.conversation.reasoning.as_ref();
    let effort = asked.and_then(Reasoning::level);
    if !model.capabilities.contains(Capability::Reasoning) {
        if effort.is_some_and(|effort| effort != Effort::None) {
            writing.dropped.note("reasoning_effort");
        }
        return;
    }
    let switch = profile.thinking_switch.filter(|_| is_switched(limits));
    let forced = matches!(
        writing.conversation.tool_choice,
        ToolChoice::Required | ToolChoice::Named(_) | ToolChoice::Allowed { required: true, .. }
    );
    if let Some(switch) = switch.filter(|_| forced && profile.thinking_excludes_forced_tool) {
        sampling.thinking = Some(Switch { r#type: switch.off });
        return;
    }
    let (Some(effort), Some(asked)) = (effort, asked) else { return };
    if profile.effort == EffortField::ReasoningObject {
        sampling.reasoning = Some(match (asked.effort, asked.budget_tokens) {
            (None, Some(tokens)) if tokens > 0 => RouterReasoning::MaxTokens(tokens),
            _ => RouterReasoning::Effort(effort),
        });
    } else if let Some(switch) = switch {
        sampling.thinking = Some(Switch { r#type: if effort == Effort::None { switch.off } else { switch.on } });
    } else if limits.reasoning == ReasoningControl::None {
        // It thinks as it does: a request to stop would be refused.
        writing.dropped.note("reasoning_effort");
    } else {
        let nearest = limits.nearest_effort(effort);
        if nearest != effort {
            writing.dropped.note("reasoning_effort");
        }
        sampling.reasoning_effort = Some(nearest);
    }
}
