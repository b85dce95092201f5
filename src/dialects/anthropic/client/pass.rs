//! A client's body made ready for a provider of the same dialect: a few splices, every other byte as it came.

use std::ops::Range;

use aipipe_actors::catalogue::{Capability, Effort, ReasoningControl};

use super::scan::{BlockSpan, Scan, Thinks};
use crate::dialects::anthropic::request::thinking::{Circumstances, Thinking};
use crate::dialects::client::{Chosen, Prepared, Target};
use crate::dialects::edits::Edits;
use crate::dialects::mark;
use crate::dialects::splice::Cutter;

/// Sampling parameters that only tune.
const TUNING: [&str; 3] = ["temperature", "top_p", "top_k"];

/// The edits that fit one body to its target.
struct Fitting<'e> {
    scan: &'e Scan<'e>,
    target: &'e Target<'e>,
    edits: Edits<'e>,
}

/// Makes a scanned body ready.
pub(super) fn prepare(scan: &Scan<'_>, target: &Target<'_>) -> Prepared {
    let edits = Edits::with_model(&scan.found, target.model);
    let mut fitting = Fitting { scan, target, edits };
    let thought_is_missing = fitting.take_out_foreign_thoughts();
    if target.chosen == Chosen::Auto {
        fitting.fit_output_limit();
        fitting.fit_thinking(thought_is_missing);
        fitting.fit_sampling();
    } else if thought_is_missing && scan.thinks == Some(Thinks::Enabled) {
        fitting.edits.drop_member("thinking");
    }
    fitting.edits.finish()
}

impl Fitting<'_> {
    /// What AiPipe marked goes back to the model that made it, without the mark, and to no other. Says whether a thought is missing now in
    /// the tool loop that the conversation ends in.
    fn take_out_foreign_thoughts(&mut self) -> bool {
        let scan = self.scan;
        let origin = self.target.model.address();
        let mut emptied = Vec::new();
        let mut missing = false;
        for message in &scan.spans.marked {
            let mut cutter = Cutter::default();
            let mut stays = false;
            for block in &message.blocks {
                cutter.key(block.range.start);
                match self.fate(block, &origin) {
                    Fate::Foreign => {
                        missing |= message.index > scan.last_ask;
                        cutter.cut(block.range.end);
                        continue;
                    }
                    Fate::Own(value, data) => {
                        self.edits.splice.replace(value, serde_json::Value::from(data).to_string());
                    }
                    Fate::Unmarked => {}
                }
                stays = true;
                cutter.keep(block.range.end);
            }
            if stays {
                cutter.close().into_iter().for_each(|range| self.edits.splice.remove(range));
            } else {
                emptied.push(message.index);
            }
        }
        if !emptied.is_empty() {
            self.remove_messages(&emptied);
        }
        missing
    }

    fn fate(&self, block: &BlockSpan, origin: &str) -> Fate {
        let Some(value) = block.mark.clone() else { return Fate::Unmarked };
        let text = self.scan.found.text().get(value.clone()).unwrap_or_default();
        let marked = serde_json::from_str::<String>(text).ok().and_then(|text| mark::read(&text));
        match marked.and_then(|marked| marked.own(origin)) {
            Some(data) => Fate::Own(value, data),
            None => Fate::Foreign,
        }
    }

    /// Anthropic refuses messages without content.
    fn remove_messages(&mut self, emptied: &[usize]) {
        let mut cutter = Cutter::default();
        for (index, message) in self.scan.spans.messages.iter().enumerate() {
            cutter.key(message.start);
            if emptied.contains(&index) {
                cutter.cut(message.end);
            } else {
                cutter.keep(message.end);
            }
        }
        cutter.close().into_iter().for_each(|range| self.edits.splice.remove(range));
    }

    fn fit_output_limit(&mut self) {
        let most = self.target.model.max_output_tokens;
        if most > 0 && self.scan.found.output_limit.is_some_and(|asked| asked > most) {
            self.edits.tell("max_tokens");
            self.edits.replace("max_tokens", most.to_string());
        }
    }

    /// Claude's models differ in how they are asked to think; a client that left the choice to AiPipe cannot know.
    fn fit_thinking(&mut self, thought_is_missing: bool) {
        let Some(asked) = self.scan.reasoning() else { return };
        let model = self.target.model;
        let most = if model.max_output_tokens > 0 { model.max_output_tokens } else { u64::MAX };
        let circumstances = Circumstances {
            max_tokens: self.scan.found.output_limit.unwrap_or(most).min(most),
            forced_call: self.scan.forces_call,
            prefill: self.scan.found.needs.contains(Capability::Prefill),
            thought_is_missing,
        };
        if self.thinking_fits(thought_is_missing) {
            return;
        }
        let fitted = Thinking::choose(Some(&asked), &model.parameters, &circumstances);
        match fitted.config.and_then(|config| serde_json::to_string(&config).ok()) {
            Some(config) if self.edits.value("thinking").is_some() => self.edits.replace("thinking", config),
            _ => self.edits.drop_member("thinking"),
        }
        match (fitted.effort, self.scan.spans.effort.clone()) {
            (Some(effort), Some(value)) => self.edits.splice.replace(value, format!("\"{effort}\"")),
            (None, Some(_)) => {
                self.edits.tell("output_config.effort");
                for range in self.scan.spans.effort_member.clone() {
                    self.edits.splice.remove(range);
                }
            }
            (_, None) => {}
        }
    }

    /// Whether the model takes the request for reasoning as it is written.
    fn thinking_fits(&self, thought_is_missing: bool) -> bool {
        let limits = &self.target.model.parameters;
        let effort_fits = self.scan.effort.is_none_or(|effort| limits.nearest_effort(effort) == effort);
        match (limits.reasoning, self.scan.thinks) {
            (ReasoningControl::None, thinks) => thinks.is_none() && self.scan.spans.effort.is_none(),
            (ReasoningControl::Budget, Some(Thinks::Enabled)) => {
                let fits = self.scan.budget_tokens < self.scan.found.output_limit;
                !thought_is_missing && fits && self.scan.spans.effort.is_none()
            }
            (ReasoningControl::Budget, None | Some(Thinks::Disabled)) => self.scan.spans.effort.is_none(),
            // Whether a model knows this way no catalogue says; all take its plain form.
            (_, Some(Thinks::BetweenTools)) => false,
            (ReasoningControl::Budget, Some(Thinks::Adaptive)) => false,
            (ReasoningControl::Adaptive, Some(Thinks::Enabled)) => false,
            (ReasoningControl::Adaptive, Some(Thinks::Disabled)) => {
                limits.nearest_effort(Effort::None) == Effort::None && effort_fits
            }
            (ReasoningControl::Adaptive | ReasoningControl::Level, _) => effort_fits,
        }
    }

    fn fit_sampling(&mut self) {
        for name in TUNING {
            if self.target.model.parameters.refuses(name) {
                self.edits.drop_member(name);
            }
        }
    }
}

/// What becomes of a block.
enum Fate {
    /// A client's or Anthropic's own: it stays.
    Unmarked,
    /// The target's own: it stays, with this data as the value there.
    Own(Range<usize>, String),
    /// Another model's: it goes.
    Foreign,
}
