//! A client's body made ready for a provider of the same dialect: a few splices, every other byte as it came.

use aipipe_actors::catalogue::{Capability, Model};

use super::scan::{DetailsSpan, Scan, is_odd};
use crate::dialects::client::{Chosen, Prepared};
use crate::dialects::edits::Edits;
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

/// What a provider takes as the name of who speaks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum NameUse {
    /// What it calls itself, whatever that is.
    Own,
    /// A name without the letters that OpenAI refuses.
    #[default]
    Fitted,
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
    /// `name` of earlier answers.
    pub names: NameUse,
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
            names: NameUse::Fitted,
        }
    }
}

/// Members that ask for reasoning.
const REASONING: [&str; 3] = ["reasoning_effort", "reasoning", "thinking"];

/// The edits that fit one body to its target.
struct Fitting<'e> {
    scan: &'e Scan<'e>,
    target: &'e Passthrough<'e>,
    edits: Edits<'e>,
}

/// Makes a scanned body ready for a provider of the same dialect.
pub fn prepare_passthrough(scan: &Scan<'_>, target: &Passthrough<'_>) -> Prepared {
    let edits = Edits::with_model(&scan.found, target.model);
    let mut fitting = Fitting { scan, target, edits };
    if scan.found.stream && target.usage == StreamUsage::OnRequest {
        fitting.ask_for_usage();
    }
    if target.developer == DeveloperRole::AsSystem {
        for role in &scan.spans.developer_roles {
            fitting.edits.splice.replace(role.clone(), "\"system\"");
        }
    }
    fitting.remove_foreign_details();
    if target.names == NameUse::Fitted {
        fitting.fit_names();
    }
    if target.chosen == Chosen::Auto {
        fitting.fit_to_model();
    }
    for (name, value) in target.preset {
        if !fitting.edits.has(name) {
            fitting.edits.insert(name, value);
        }
    }
    fitting.edits.finish()
}

impl Fitting<'_> {
    /// Streams are metered whether or not the client wants to see the figures.
    fn ask_for_usage(&mut self) {
        let text = self.scan.found.text();
        match (&self.scan.spans.include_usage, self.edits.value("stream_options")) {
            (Some(flag), Some(_)) if text.get(flag.clone()) == Some("true") => {}
            (Some(flag), Some(_)) => self.edits.splice.replace(flag.clone(), "true"),
            (None, Some(options)) => {
                let inside = text.get(options.start + 1..options.end.saturating_sub(1)).unwrap_or_default();
                let comma = if inside.trim().is_empty() { "" } else { "," };
                self.edits.splice.insert(options.start + 1, format!("\"include_usage\":true{comma}"));
            }
            (_, None) => self.edits.insert("stream_options", "{\"include_usage\":true}"),
        }
    }

    /// What only the model that made it can read goes back to that model alone.
    fn remove_foreign_details(&mut self) {
        let model = self.target.model;
        let own = |details: &DetailsSpan<'_>| match &details.origin {
            Some(origin) => *origin.decode() == model.address(),
            None => self.target.details == DetailsUse::Own,
        };
        for details in self.scan.spans.reasoning_details.iter().filter(|details| !own(details)) {
            self.edits.splice.remove(details.range.clone());
        }
    }

    /// MiniMax names itself in its answers, with a space that OpenAI refuses in a history.
    fn fit_names(&mut self) {
        for name in &self.scan.spans.odd_names {
            let written = self.scan.found.text().get(name.clone()).unwrap_or_default();
            let fitted = written.replace(is_odd, "_");
            self.edits.splice.replace(name.clone(), fitted);
        }
    }

    /// Leaves out or lowers what only tunes and the model cannot take.
    fn fit_to_model(&mut self) {
        let model = self.target.model;
        self.fit_output_limit();
        if model.capabilities.contains(Capability::Reasoning) {
            self.fit_effort();
        } else {
            REASONING.iter().for_each(|name| self.edits.drop_member(name));
        }
        let refused = model.parameters.refuses.iter().map(String::as_str).chain(self.target.foreign.iter().copied());
        for name in refused {
            // What changes the meaning has made the model no candidate; should it come here all the same, the provider shall say no.
            if !self.scan.found.means(name) && name != "model" && name != "messages" {
                self.edits.drop_member(name);
            }
        }
    }

    fn fit_output_limit(&mut self) {
        let model = self.target.model;
        let Some(asked) = self.scan.found.output_limit else { return };
        let capped = asked.min(model.max_output_tokens);
        let name = if self.edits.has("max_completion_tokens") { "max_completion_tokens" } else { "max_tokens" };
        if asked > capped {
            self.edits.tell(name);
        }
        let rename = model.parameters.max_completion_tokens && self.edits.has("max_tokens");
        if rename {
            self.edits.remove("max_tokens");
            if name == "max_tokens" {
                self.edits.insert("max_completion_tokens", &capped.to_string());
                return;
            }
        }
        if asked > capped {
            self.edits.replace(name, capped.to_string());
        }
    }

    fn fit_effort(&mut self) {
        let Some(asked) = self.scan.reasoning.as_ref().and_then(|reasoning| reasoning.effort) else { return };
        let nearest = self.target.model.parameters.nearest_effort(asked);
        if nearest != asked && self.edits.has("reasoning_effort") {
            self.edits.tell("reasoning_effort");
            if let Ok(level) = serde_json::to_string(&nearest) {
                self.edits.replace("reasoning_effort", level);
            }
        }
    }
}
