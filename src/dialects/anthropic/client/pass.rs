//! A client's body made ready for a provider of the same dialect: a few splices, every other byte as it came.

use std::ops::Range;

use aipipe_actors::catalogue::{Capability, Effort, ReasoningControl};

use super::mark;
use super::scan::{BlockSpan, Scan, Thinks};
use crate::dialects::anthropic::request::thinking::{Circumstances, Thinking};
use crate::dialects::client::{Chosen, Prepared, Target};
use crate::dialects::splice::{Cutter, Splice};

/// Sampling parameters that only tune.
const TUNING: [&str; 3] = ["temperature", "top_p", "top_k"];

/// The edits to one body while they are gathered.
struct Edits<'e> {
    scan: &'e Scan<'e>,
    target: &'e Target<'e>,
    splice: Splice<'e>,
    gone: Vec<usize>,
    dropped: Vec<String>,
}

/// Makes a scanned body ready.
pub(super) fn prepare(scan: &Scan<'_>, target: &Target<'_>) -> Prepared {
    let mut edits = Edits { scan, target, splice: Splice::new(scan.text()), gone: Vec::new(), dropped: Vec::new() };
    edits.remove("aipipe");
    edits.replace("model", serde_json::Value::from(target.model.id.as_str()).to_string());
    let thought_is_missing = edits.take_out_foreign_thoughts();
    if target.chosen == Chosen::Auto {
        edits.fit_output_limit();
        edits.fit_thinking(thought_is_missing);
        edits.fit_sampling();
    } else if thought_is_missing && scan.thinks == Some(Thinks::Enabled) {
        edits.drop_named("thinking");
    }
    edits.finish()
}

impl Edits<'_> {
    /// The value of a member that is there and not null.
    fn value(&self, name: &str) -> Option<Range<usize>> {
        let member = self.scan.spans.member(name)?;
        (self.scan.text().get(member.value.clone()) != Some("null")).then(|| member.value.clone())
    }

    fn remove(&mut self, name: &str) {
        self.gone.extend(self.scan.spans.position(name));
    }

    fn drop_named(&mut self, name: &str) {
        if self.value(name).is_some() {
            self.dropped.push(name.to_owned());
            self.remove(name);
        }
    }

    fn replace(&mut self, name: &str, value: String) {
        if let Some(member) = self.scan.spans.member(name) {
            self.splice.replace(member.value.clone(), value);
        }
    }

    /// What AiPipe marked goes back to the model that made it, without the mark, and to no other. Says whether a thought is missing now in
    /// the tool loop that the conversation ends in.
    fn take_out_foreign_thoughts(&mut self) -> bool {
        let scan = self.scan;
        let origin = format!("{}/{}", self.target.model.provider, self.target.model.id);
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
                        self.splice.replace(value, serde_json::Value::from(data).to_string());
                    }
                    Fate::Unmarked => {}
                }
                stays = true;
                cutter.keep(block.range.end);
            }
            if stays {
                cutter.close().into_iter().for_each(|range| self.splice.remove(range));
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
        let text = self.scan.text().get(value.clone()).unwrap_or_default();
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
        cutter.close().into_iter().for_each(|range| self.splice.remove(range));
    }

    fn fit_output_limit(&mut self) {
        let most = self.target.model.max_output_tokens;
        if most > 0 && self.scan.output_limit.is_some_and(|asked| asked > most) {
            self.dropped.push("max_tokens".to_owned());
            self.replace("max_tokens", most.to_string());
        }
    }

    /// Claude's models differ in how they are asked to think; a client that left the choice to AiPipe cannot know.
    fn fit_thinking(&mut self, thought_is_missing: bool) {
        let Some(asked) = self.scan.reasoning() else { return };
        let model = self.target.model;
        let most = if model.max_output_tokens > 0 { model.max_output_tokens } else { u64::MAX };
        let circumstances = Circumstances {
            max_tokens: self.scan.output_limit.unwrap_or(most).min(most),
            forced_call: self.scan.forces_call,
            prefill: self.scan.needs.contains(Capability::Prefill),
            thought_is_missing,
        };
        if self.thinking_fits(thought_is_missing) {
            return;
        }
        let fitted = Thinking::choose(Some(&asked), &model.parameters, &circumstances);
        match fitted.config.and_then(|config| serde_json::to_string(&config).ok()) {
            Some(config) if self.value("thinking").is_some() => self.replace("thinking", config),
            _ => self.drop_named("thinking"),
        }
        match (fitted.effort, self.scan.spans.effort.clone()) {
            (Some(effort), Some(value)) => self.splice.replace(value, format!("\"{effort}\"")),
            (None, Some(_)) => {
                self.dropped.push("output_config.effort".to_owned());
                for range in self.scan.spans.effort_member.clone() {
                    self.splice.remove(range);
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
                let fits = self.scan.budget_tokens < self.scan.output_limit;
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
                self.drop_named(name);
            }
        }
    }

    fn finish(mut self) -> Prepared {
        let mut cutter = Cutter::default();
        for (position, member) in self.scan.spans.members.iter().enumerate() {
            cutter.key(member.start);
            if self.gone.contains(&position) {
                cutter.cut(member.value.end);
            } else {
                cutter.keep(member.value.end);
            }
        }
        for range in cutter.close() {
            self.splice.remove(range);
        }
        Prepared { body: self.splice.finish(), dropped: self.dropped }
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
