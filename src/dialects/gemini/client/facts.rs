//! What routing and accounting need to know of a Gemini request.

use std::collections::BTreeMap;
use std::sync::Arc;

use aipipe_actors::catalogue::{Capabilities, Capability, Effort};
use aipipe_actors::routing::ask::AskView;
use aipipe_actors::routing::digest::Demand;
use aipipe_actors::routing::preferences::Preferences;
use aipipe_actors::routing::signals::Features;
use aipipe_actors::routing::tokens::Estimator;
use serde_json::value::RawValue;

use super::wire::{Body, Content, Part, setting};
use crate::dialects::client::{Addressed, Facts};
use crate::dialects::conversation::Reasoning;
use crate::dialects::issued::Stored;
use crate::dialects::scan::Transcript;

/// Where files that were uploaded to Google live.
const STORED_FILES: [&str; 2] = ["https://generativelanguage.googleapis.com/", "files/"];

pub(super) fn facts(body: &Body, preferences: Preferences, addressed: &Addressed<'_>) -> Facts {
    let empty = BTreeMap::new();
    let settings = body.generation_config.as_ref().unwrap_or(&empty);
    let mut gathered = Gathered::default();
    gathered.contents(body);
    gathered.settings(settings);
    gathered.tools(body);
    let ask = gathered.said.last().cloned().unwrap_or_default();
    let earlier = |back: usize| {
        let place = gathered.said.len().checked_sub(back + 1);
        place.and_then(|place| gathered.said.get(place)).map(String::as_str).unwrap_or_default()
    };
    let view = AskView {
        current: &ask,
        earlier: [earlier(1), earlier(2)],
        user_turns: gathered.said.len() as u32,
        assistant_turns: gathered.model_turns,
        tool_results_since_ask: gathered.results_since_ask,
        tools: gathered.tools,
        structured_output: gathered.structured,
        attachments: gathered.attachments,
    };
    Facts {
        model: addressed.model.unwrap_or_default().to_owned(),
        preferences,
        demand: Arc::new(Demand {
            features: Features::measure(&view),
            needs: gathered.needs,
            parameters: gathered.parameters,
            effort: reasoning(settings).and_then(|reasoning| reasoning.effort),
            input_tokens: gathered.estimate.tokens(),
            input_bound: gathered.estimate.upper_bound(),
            output_limit: setting(settings, ["maxOutputTokens", "max_output_tokens"]),
            choices: setting(settings, ["candidateCount", "candidate_count"]).unwrap_or(1),
            stream: addressed.stream,
        }),
        stored: gathered.stored.into_iter().map(Stored::thing).collect(),
        mentioned: Vec::new(),
        trace: gathered.transcript.trace(),
        session: None,
    }
}

/// The thinking that the settings ask for.
pub(super) fn reasoning(settings: &BTreeMap<String, Box<RawValue>>) -> Option<Reasoning> {
    let config: BTreeMap<String, Box<RawValue>> = setting(settings, ["thinkingConfig", "thinking_config"])?;
    let budget: Option<i64> = setting(&config, ["thinkingBudget", "thinking_budget"]);
    let level: Option<String> = setting(&config, ["thinkingLevel", "thinking_level"]);
    let effort = match (level.map(|level| level.to_ascii_uppercase()).as_deref(), budget) {
        (Some("MINIMAL"), _) => Some(Effort::Minimal),
        (Some("LOW"), _) => Some(Effort::Low),
        (Some("MEDIUM"), _) => Some(Effort::Medium),
        (Some("HIGH"), _) => Some(Effort::High),
        (_, Some(0)) => Some(Effort::None),
        _ => None,
    };
    // -1 leaves the amount to the model.
    let budget_tokens = budget.and_then(|tokens| u64::try_from(tokens).ok()).filter(|tokens| *tokens > 0);
    Some(Reasoning { effort, budget_tokens })
}

#[derive(Default)]
struct Gathered {
    estimate: Estimator,
    needs: Capabilities,
    parameters: Vec<&'static str>,
    stored: Vec<String>,
    /// What the user said, turn by turn.
    said: Vec<String>,
    model_turns: u32,
    results_since_ask: u32,
    attachments: u32,
    tools: u32,
    structured: bool,
    transcript: Transcript,
}

impl Gathered {
    fn contents(&mut self, body: &Body) {
        for content in body.system_instruction.iter().chain(&body.contents) {
            self.estimate.message();
            content.parts.iter().for_each(|part| self.part(part));
        }
        let instructions = body.system_instruction.iter().flat_map(|content| &content.parts);
        instructions.filter_map(|part| part.text.as_deref()).for_each(|text| self.transcript.instruct(text));
        for content in &body.contents {
            self.turn(content);
        }
        self.stored.extend(body.cached_content.clone());
    }

    fn turn(&mut self, content: &Content) {
        let texts =
            || content.parts.iter().filter(|part| part.thought != Some(true)).filter_map(|part| part.text.as_deref());
        if content.role.as_deref() == Some("model") {
            self.model_turns += 1;
            self.transcript.answer(texts());
            for call in content.parts.iter().filter_map(|part| part.function_call.as_ref()) {
                self.transcript.call([&*call.name, call.args.as_ref().map_or("", |args| args.get())]);
            }
            return;
        }
        let results = content.parts.iter().filter_map(|part| part.function_response.as_ref());
        let before = self.results_since_ask;
        for result in results {
            self.results_since_ask += 1;
            self.transcript.result(result.response.as_ref().map(|text| text.get()), None);
        }
        let has_results = self.results_since_ask > before;
        let texts: Vec<&str> = texts().collect();
        if !texts.is_empty() {
            self.transcript.ask(texts.iter().copied());
            self.said.push(texts.join("\n"));
            self.results_since_ask = 0;
            self.attachments = 0;
            if has_results {
                self.transcript.reopen_tool_loop();
            }
        }
        let media = content.parts.iter().filter(|part| part.inline_data.is_some() || part.file_data.is_some());
        self.attachments += media.count() as u32;
    }

    fn part(&mut self, part: &Part) {
        if let Some(text) = &part.text {
            self.estimate.text(text);
        }
        if let Some(blob) = &part.inline_data {
            self.media(&blob.mime_type);
        }
        if let Some(file) = &part.file_data {
            if STORED_FILES.iter().any(|start| file.file_uri.starts_with(start)) {
                self.stored.push(file.file_uri.clone());
            }
            self.estimate.attachment();
        }
        if let Some(call) = &part.function_call {
            self.needs.insert(Capability::Tools);
            self.estimate.json(call.args.as_ref().map(|args| args.get()).unwrap_or_default());
        }
        if let Some(response) = &part.function_response {
            self.needs.insert(Capability::Tools);
            self.estimate.json(response.response.as_ref().map(|text| text.get()).unwrap_or_default());
            response.parts.iter().for_each(|part| self.part(part));
        }
    }

    fn media(&mut self, mime_type: &str) {
        self.estimate.attachment();
        match mime_type.split('/').next() {
            Some("image") => self.needs.insert(Capability::Images),
            Some("audio") => self.needs.insert(Capability::Audio),
            _ => self.needs.insert(Capability::Documents),
        }
    }

    fn settings(&mut self, settings: &BTreeMap<String, Box<RawValue>>) {
        let number = |names| setting::<f64>(settings, names).unwrap_or(0.0);
        let flag = |names| setting::<bool>(settings, names).unwrap_or(false);
        if setting::<Vec<String>>(settings, ["stopSequences", "stop_sequences"]).is_some_and(|stops| !stops.is_empty())
        {
            self.parameters.push("stop");
        }
        if number(["presencePenalty", "presence_penalty"]) != 0.0 {
            self.parameters.push("presence_penalty");
        }
        if number(["frequencyPenalty", "frequency_penalty"]) != 0.0 {
            self.parameters.push("frequency_penalty");
        }
        if flag(["responseLogprobs", "response_logprobs"]) {
            self.parameters.push("logprobs");
            self.needs.insert(Capability::Logprobs);
        }
        if setting::<u32>(settings, ["candidateCount", "candidate_count"]).is_some_and(|count| count > 1) {
            self.parameters.push("n");
            self.needs.insert(Capability::N);
        }
        let modalities: Vec<String> =
            setting(settings, ["responseModalities", "response_modalities"]).unwrap_or_default();
        if modalities.iter().any(|modality| !modality.eq_ignore_ascii_case("text")) {
            self.parameters.push("modalities");
        }
        let given = |names: [&str; 2]| names.iter().any(|name| settings.contains_key(*name));
        if given(["responseSchema", "response_schema"]) || given(["responseJsonSchema", "response_json_schema"]) {
            self.needs.insert(Capability::JsonSchema);
        }
        let mime: Option<String> = setting(settings, ["responseMimeType", "response_mime_type"]);
        if let Some(mime) = mime.filter(|mime| mime != "text/plain") {
            self.parameters.push("response_format");
            // `text/x.enum` asks for one word of a list, which is no JSON.
            self.structured = mime == "application/json";
        }
    }

    fn tools(&mut self, body: &Body) {
        for set in &body.tools {
            // What cannot be read here is refused when it is decoded, or judged by Google.
            let declared = set.declarations().unwrap_or_default();
            self.tools += declared.len() as u32;
            set.0.values().for_each(|text| self.estimate.json(text.get()));
        }
        if self.tools > 0 {
            self.needs.insert(Capability::Tools);
        }
        let config = body.tool_config.as_ref().and_then(|config| config.function_calling_config.as_ref());
        if config.and_then(|config| config.mode.as_deref()).is_some_and(|mode| mode.eq_ignore_ascii_case("any")) {
            self.parameters.push("tool_choice");
        }
    }
}
