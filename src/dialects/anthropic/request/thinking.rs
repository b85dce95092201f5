//! How much Claude is asked to think.
//!
//! Models before Claude 4.6 take a budget of tokens, later ones think adaptively with an effort beside it; the catalogue says which. The
//! table between efforts and budgets is AiPipe's own and works both ways: up to 2,048 tokens are `low`, up to 8,192 `medium`, more `high`.

use aipipe_actors::catalogue::{Effort, ParameterLimits, ReasoningControl};
use serde::Serialize;

use crate::dialects::conversation::Reasoning;

/// The least budget that Anthropic takes; it must also stay below `max_tokens`.
const LEAST_BUDGET: u64 = 1024;

/// The `thinking` object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::dialects::anthropic) enum Config {
    /// Up to so many tokens.
    Enabled {
        /// The tokens.
        budget_tokens: u64,
    },
    /// As much as the request needs.
    Adaptive {
        /// `summarized`: models from Claude Opus 4.7 on otherwise leave the thoughts out.
        display: &'static str,
    },
    /// Not at all.
    Disabled,
}

/// What else in the request bears on thinking.
#[derive(Debug, Clone, Copy)]
pub(in crate::dialects::anthropic) struct Circumstances {
    /// The output limit.
    pub(in crate::dialects::anthropic) max_tokens: u64,
    /// A function must be called: not possible while thinking with a budget.
    pub(in crate::dialects::anthropic) forced_call: bool,
    /// The model is to continue its last message: not possible while thinking.
    pub(in crate::dialects::anthropic) prefill: bool,
    /// The conversation ends in a tool loop that this model did not begin thinking: refused while thinking with a budget.
    pub(in crate::dialects::anthropic) thought_is_missing: bool,
}

/// What the request says about thinking.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::dialects::anthropic) struct Thinking {
    /// The `thinking` object.
    pub(in crate::dialects::anthropic) config: Option<Config>,
    /// `output_config.effort`.
    pub(in crate::dialects::anthropic) effort: Option<&'static str>,
    /// Whether reasoning was asked for and cannot be had here.
    pub(in crate::dialects::anthropic) ignored: bool,
}

impl Thinking {
    /// Chooses for a model that takes `limits`.
    pub(in crate::dialects::anthropic) fn choose(
        asked: Option<&Reasoning>,
        limits: &ParameterLimits,
        circumstances: &Circumstances,
    ) -> Self {
        let Some(asked) = asked else { return Self::default() };
        let off = asked.effort == Some(Effort::None) || asked.budget_tokens == Some(0);
        match limits.reasoning {
            ReasoningControl::None => Self { ignored: !off, ..Self::default() },
            ReasoningControl::Budget if off => Self::default(),
            ReasoningControl::Budget => Self::by_budget(asked, circumstances),
            ReasoningControl::Level => Self { effort: Self::level(asked, limits, off), ..Self::default() },
            ReasoningControl::Adaptive if circumstances.prefill => Self { ignored: !off, ..Self::default() },
            ReasoningControl::Adaptive => Self::adaptive(asked, limits, off),
        }
    }

    /// Whether the model thinks by this request.
    pub(in crate::dialects::anthropic) fn is_on(&self) -> bool {
        matches!(self.config, Some(Config::Enabled { .. } | Config::Adaptive { .. }))
    }

    fn by_budget(asked: &Reasoning, circumstances: &Circumstances) -> Self {
        let &Circumstances { max_tokens, forced_call, prefill, thought_is_missing } = circumstances;
        if forced_call || prefill || thought_is_missing || max_tokens <= LEAST_BUDGET {
            return Self { ignored: true, ..Self::default() };
        }
        // A budget of the client's is kept; one that is made up here leaves half of the output for the answer.
        let budget = match asked.budget_tokens {
            Some(budget) => budget.min(max_tokens - 1),
            None => budget_of(asked.effort.unwrap_or(Effort::Medium)).min(max_tokens / 2),
        };
        let config = Config::Enabled { budget_tokens: budget.max(LEAST_BUDGET) };
        Self { config: Some(config), ..Self::default() }
    }

    fn adaptive(asked: &Reasoning, limits: &ParameterLimits, off: bool) -> Self {
        // A model that cannot stop thinking does not list `none` among its efforts and gets its least.
        if off && limits.nearest_effort(Effort::None) == Effort::None {
            return Self { config: Some(Config::Disabled), ..Self::default() };
        }
        let config = Some(Config::Adaptive { display: "summarized" });
        Self { config, effort: Self::level(asked, limits, off), ignored: false }
    }

    /// The nearest level of effort that the model knows.
    fn level(asked: &Reasoning, limits: &ParameterLimits, off: bool) -> Option<&'static str> {
        let effort = if off { Some(Effort::None) } else { asked.level() };
        effort.map(|effort| match limits.nearest_effort(effort) {
            Effort::None | Effort::Minimal | Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::Xhigh => "xhigh",
            Effort::Max => "max",
        })
    }
}

fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None | Effort::Minimal => LEAST_BUDGET,
        Effort::Low => 2048,
        Effort::Medium => 8192,
        Effort::High => 16_384,
        Effort::Xhigh => 32_768,
        Effort::Max => 65_536,
    }
}
