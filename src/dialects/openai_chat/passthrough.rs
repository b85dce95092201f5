//! A client's body made ready for a provider of the same dialect: a few splices, every other byte as it came.

use std::ops::Range;

use aipipe_actors::catalogue::{Capability, Model};

use crate::dialects::client::{Chosen, Prepared};
use crate::dialects::scan::{DetailsSpan, Scan};
use crate::dialects::splice::{Cutter, Splice};
use crate::providers::StreamUsage;

/// How a provider takes the messages' role `developer`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum DeveloperRole {
    /// It knows it.
    #[default]
    Known,
    /// It knows only `system`, which means the same.
    AsSystem,
}

/// Whether a provider reads the `reasoning_details` of earlier answers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum DetailsUse {
    /// It wants back what it sent.
    Own,
    /// It does not know them.
    #[default]
    Unknown,
}

/// Where a body goes, and what that provider is peculiar in.
#[derive(Debug, Clone, Copy)]
pub struct Passthrough<'a> {
    /// The model.
    pub model: &'a Model,
    /// Who chose it.
    pub chosen: Chosen,
    /// Members set where the client did not set them, as JSON (`reasoning_split`: `true`).
    pub preset: &'a [(&'a str, &'a str)],
    /// Members that this provider refuses though they are only another's extension (`provider`, `transforms`).
    pub foreign: &'a [&'a str],
    /// Whether usage within a stream must be asked for.
    pub usage: StreamUsage,
    /// The role `developer`.
    pub developer: DeveloperRole,
    /// `reasoning_details` in the history.
    pub details: DetailsUse,
}

impl<'a> Passthrough<'a> {
    /// A provider without peculiarities.
    pub fn plain(model: &'a Model, chosen: Chosen) -> Self {
        Self {
            model,
            chosen,
            preset: &[],
            foreign: &[],
            usage: StreamUsage::OnRequest,
            developer: DeveloperRole::Known,
            details: DetailsUse::Unknown,
        }
    }
}

/// Members that ask for reasoning.
const REASONING: [&str; 3] = ["reasoning_effort", "reasoning", "thinking"];

/// The edits to one body while they are gathered.
struct Edits<'e> {
    scan: &'e Scan<'e>,
    target: &'e Passthrough<'e>,
    splice: Splice<'e>,
    gone: Vec<usize>,
    dropped: Vec<String>,
}

/// Makes a scanned body ready for a provider of the same dialect.
pub fn prepare_passthrough(scan: &Scan<'_>, target: &Passthrough<'_>) -> Prepared {
    let mut edits = Edits { scan, target, splice: Splice::new(scan.text()), gone: Vec::new(), dropped: Vec::new() };
    edits.remove("aipipe");
    edits.replace("model", serde_json::Value::from(target.model.id.as_str()).to_string());
    if scan.stream && target.usage == StreamUsage::OnRequest {
        edits.ask_for_usage();
    }
    if target.developer == DeveloperRole::AsSystem {
        for role in &scan.spans.developer_roles {
            edits.splice.replace(role.clone(), "\"system\"");
        }
    }
    edits.remove_foreign_details();
    if target.chosen == Chosen::Auto {
        edits.fit_to_model();
    }
    for (name, value) in target.preset {
        if !edits.has(name) {
            edits.insert(name, value);
        }
    }
    edits.finish()
}

impl Edits<'_> {
    /// The value of a member that is there and not null.
    fn value(&self, name: &str) -> Option<Range<usize>> {
        let member = self.scan.spans.member(name)?;
        (self.scan.text().get(member.value.clone()) != Some("null")).then(|| member.value.clone())
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn remove(&mut self, name: &str) {
        self.gone.extend(self.scan.spans.position(name));
    }

    fn drop_named(&mut self, name: &str) {
        if self.has(name) {
            self.dropped.push(name.to_owned());
        }
        self.remove(name);
    }

    fn replace(&mut self, name: &str, value: String) {
        if let Some(member) = self.scan.spans.member(name) {
            self.splice.replace(member.value.clone(), value);
        }
    }

    /// Sets a member that is absent or null.
    fn insert(&mut self, name: &str, value: &str) {
        match self.scan.spans.member(name) {
            Some(null) => self.splice.replace(null.value.clone(), value.to_owned()),
            // `model` always stays, so that a member follows.
            None => self.splice.insert(self.scan.spans.body_open, format!("\"{name}\":{value},")),
        }
    }

    /// Streams are metered whether or not the client wants to see the figures.
    fn ask_for_usage(&mut self) {
        let text = self.scan.text();
        match (&self.scan.spans.include_usage, self.value("stream_options")) {
            (Some(flag), Some(_)) if text.get(flag.clone()) == Some("true") => {}
            (Some(flag), Some(_)) => self.splice.replace(flag.clone(), "true"),
            (None, Some(options)) => {
                let inside = text.get(options.start + 1..options.end.saturating_sub(1)).unwrap_or_default();
                let comma = if inside.trim().is_empty() { "" } else { "," };
                self.splice.insert(options.start + 1, format!("\"include_usage\":true{comma}"));
            }
            (_, None) => self.insert("stream_options", "{\"include_usage\":true}"),
        }
    }

    /// What only the model that made it can read goes back to that model alone.
    fn remove_foreign_details(&mut self) {
        let model = self.target.model;
        let own = |details: &DetailsSpan<'_>| match &details.origin {
            Some(origin) => *origin.decode() == format!("{}/{}", model.provider, model.id),
            None => self.target.details == DetailsUse::Own,
        };
        for details in self.scan.spans.reasoning_details.iter().filter(|details| !own(details)) {
            self.splice.remove(details.range.clone());
        }
    }

    /// Leaves out or lowers what only tunes and the model cannot take.
    fn fit_to_model(&mut self) {
        let model = self.target.model;
        self.fit_output_limit();
        if model.capabilities.contains(Capability::Reasoning) {
            self.fit_effort();
        } else {
            REASONING.iter().for_each(|name| self.drop_named(name));
        }
        let refused = model.parameters.refuses.iter().map(String::as_str).chain(self.target.foreign.iter().copied());
        for name in refused {
            // What changes the meaning has made the model no candidate; should it come here all the same, the provider shall say no.
            if !self.scan.means(name) && name != "model" && name != "messages" {
                self.drop_named(name);
            }
        }
    }

    fn fit_output_limit(&mut self) {
        let model = self.target.model;
        let Some(asked) = self.scan.output_limit else { return };
        let capped = asked.min(model.max_output_tokens);
        let name = if self.has("max_completion_tokens") { "max_completion_tokens" } else { "max_tokens" };
        if asked > capped {
            self.dropped.push(name.to_owned());
        }
        let rename = model.parameters.max_completion_tokens && self.has("max_tokens");
        if rename {
            self.remove("max_tokens");
            if name == "max_tokens" {
                self.insert("max_completion_tokens", &capped.to_string());
                return;
            }
        }
        if asked > capped {
            self.replace(name, capped.to_string());
        }
    }

    fn fit_effort(&mut self) {
        let Some(asked) = self.scan.reasoning.as_ref().and_then(|reasoning| reasoning.effort) else { return };
        let nearest = self.target.model.parameters.nearest_effort(asked);
        if nearest != asked && self.has("reasoning_effort") {
            self.dropped.push("reasoning_effort".to_owned());
            if let Ok(level) = serde_json::to_string(&nearest) {
                self.replace("reasoning_effort", level);
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
        self.dropped.dedup();
        Prepared { body: self.splice.finish(), dropped: self.dropped }
    }
}
