//! What a pass over a body finds in every dialect, and the pass itself.

use std::borrow::Cow;
use std::sync::Arc;

use aipipe_actors::catalogue::{Capabilities, Capability, Effort};
use aipipe_actors::routing::digest::{Demand, PromptKey};
use aipipe_actors::routing::preferences::Preferences;
use aipipe_actors::routing::signals::Features;
use aipipe_actors::routing::tokens::Estimator;

use super::preferences::preferences;
use super::{Ask, Members, PromptHasher, Thread, invalid, string};
use crate::dialects::client::Facts;
use crate::dialects::issued::Stored;
use crate::dialects::json::{Cursor, Kind};
use crate::dialects::translate::InvalidRequest;

/// What one pass over a body found.
#[derive(Debug, Default)]
pub struct Findings<'a> {
    /// The model that the client asked for.
    pub model: Cow<'a, str>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Most output tokens.
    pub output_limit: Option<u64>,
    /// What the model must be able to do.
    pub needs: Capabilities,
    /// Names of parameters, as Chat Completions has them, with a value that changes what the client gets and that some model or dialect
    /// refuses: a model that refuses one of them is no candidate.
    pub meaningful: Vec<&'static str>,
    /// Whether the answer must follow a schema or be JSON.
    pub structured_output: bool,
    /// Functions declared.
    pub tools: u32,
    /// Types of tools that a provider would run itself (`web_search`, …).
    pub hosted_tools: Vec<Cow<'a, str>>,
    /// Ids of things stored at a provider (files, earlier audio): accepted only from the tenant to which they were issued.
    pub stored: Vec<Cow<'a, str>>,
    /// What the request's size comes to.
    pub estimate: Estimator,
    /// The members of the body.
    pub members: Members<'a>,
    pub(in crate::dialects) thread: Thread<'a>,
    /// The `aipipe` object as written.
    preferences: Option<&'a str>,
    text: &'a str,
}

impl<'a> Findings<'a> {
    /// The body.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Whether this is one of `meaningful`.
    pub fn means(&self, parameter: &str) -> bool {
        self.meaningful.contains(&parameter)
    }

    /// What the scorer is shown of this request.
    pub fn ask(&self) -> Ask<'a> {
        Ask::of(&self.thread, self.tools, self.structured_output)
    }

    /// The key of all that decides the answer, the model apart, which is part of the cache key by itself. `surface` is what decides it
    /// beside the body: the client's dialect and the version that it asks for.
    pub fn prompt_key(&self, hasher: &PromptHasher, surface: &[&str]) -> PromptKey {
        hasher.key(self.text, &self.members, surface)
    }

    /// What the client asks of the choice.
    pub(in crate::dialects) fn preferences(&self) -> Result<Preferences, InvalidRequest> {
        Ok(self.preferences.map(preferences).transpose()?.unwrap_or_default())
    }

    /// What routing and accounting are told.
    pub(in crate::dialects) fn facts(&self, effort: Option<Effort>, choices: u32) -> Result<Facts, InvalidRequest> {
        Ok(Facts {
            model: self.model.clone().into_owned(),
            preferences: self.preferences()?,
            demand: Arc::new(Demand {
                features: Features::measure(&self.ask().view()),
                needs: self.needs,
                parameters: self.meaningful.clone(),
                effort,
                input_tokens: self.estimate.tokens(),
                input_bound: self.estimate.upper_bound(),
                output_limit: self.output_limit,
                choices,
                stream: self.stream,
            }),
            stored: self.stored.iter().map(|id| Stored::thing(id.as_ref())).collect(),
            mentioned: Vec::new(),
            trace: self.thread.transcript.trace(),
            session: self.session()?,
        })
    }

    /// What the client's harness calls its session: the key under which OpenAI and Moonshot keep a prompt's cache, which Codex fills with
    /// its session; else the user of the metadata, in which Claude Code writes its session.
    fn session(&self) -> Result<Option<String>, InvalidRequest> {
        let value = |name| self.members.get(name).and_then(|member| self.text.get(member.value.clone()));
        if let Some(key) = value("prompt_cache_key").filter(|key| key.starts_with('"')) {
            return Ok(Some(key.to_owned()));
        }
        let Some(metadata) = value("metadata").filter(|metadata| metadata.starts_with('{')) else { return Ok(None) };
        let mut cursor = Cursor::new(metadata);
        let mut members = cursor.object()?;
        while let Some(key) = cursor.key(&mut members)? {
            let user = cursor.skip()?;
            if key.name == *"user_id" {
                return Ok(Some(cursor.slice(user).to_owned()));
            }
        }
        Ok(None)
    }

    /// The model must be able to do this.
    pub(in crate::dialects) fn need(&mut self, capability: Capability) {
        self.needs = self.needs.with(capability);
    }

    /// This parameter is in use.
    pub(in crate::dialects) fn mean(&mut self, parameter: &'static str) {
        if !self.meaningful.contains(&parameter) {
            self.meaningful.push(parameter);
        }
    }

    /// Reads OpenAI's choice of tools: `auto` and `none` hold anywhere; forcing a call is refused by some models while they think.
    pub(in crate::dialects) fn tool_choice(
        &mut self,
        cursor: &mut Cursor<'a>,
        kind: Kind,
        name: &'static str,
    ) -> Result<(), InvalidRequest> {
        let forced = match kind {
            Kind::String => {
                let choice = cursor.string()?;
                !(choice == *"auto" || choice == *"none")
            }
            Kind::Object => {
                cursor.pass()?;
                true
            }
            _ => return Err(invalid(Some(name), format!("`{name}` must be a string or an object"))),
        };
        if forced {
            self.mean(name);
        }
        Ok(())
    }

    /// The client must have named a model.
    pub(in crate::dialects) fn require_model(&self) -> Result<(), InvalidRequest> {
        if self.model.is_empty() {
            let rule = "`model` is required: the name of a model, `provider/model`, or `auto`";
            return Err(invalid(Some("model"), rule));
        }
        Ok(())
    }

    /// What only the whole conversation tells; `history` is the member that holds it.
    pub(in crate::dialects) fn conclude_thread(&mut self, history: &str) -> Result<(), InvalidRequest> {
        if self.thread.messages == 0 {
            let rule = format!("`{history}` is required: an array of at least one message");
            return Err(invalid(Some(history), rule));
        }
        // A history with calls needs a model that knows tools, also where none is declared any more.
        if self.tools > 0 || self.thread.has_tool_history {
            self.need(Capability::Tools);
        }
        Ok(())
    }
}

/// A dialect's own part of the pass.
pub(in crate::dialects) trait BodyScan<'a> {
    /// What all dialects have in common.
    fn findings(&mut self) -> &mut Findings<'a>;

    /// Reads the value of a member that is neither null nor the same in all dialects.
    fn member(&mut self, cursor: &mut Cursor<'a>, kind: Kind, name: &str) -> Result<(), InvalidRequest>;
}

/// Reads a body.
///
/// # Errors
/// [`InvalidRequest`] where the body is not JSON in UTF-8 or breaks a rule that AiPipe relies on; `param` names the field.
pub(in crate::dialects) fn read<'a>(body: &'a [u8], scan: &mut impl BodyScan<'a>) -> Result<(), InvalidRequest> {
    let text = std::str::from_utf8(body)
        .map_err(|error| invalid(None, format!("the body is not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut cursor = Cursor::new(text);
    if cursor.kind()? != Kind::Object {
        return Err(invalid(None, "the body must be a JSON object"));
    }
    let mut items = cursor.object()?;
    scan.findings().text = text;
    scan.findings().members = Members::of(cursor.position());
    while let Some(key) = cursor.key(&mut items)? {
        let name = key.name.decode();
        scan.findings().members.admit(&name)?;
        let kind = cursor.kind()?;
        let start = cursor.position();
        match &*name {
            "model" => scan.findings().model = string(&mut cursor, kind, "model")?.decode(),
            "aipipe" => {
                let range = cursor.skip()?;
                scan.findings().preferences = (kind != Kind::Null).then(|| cursor.slice(range));
            }
            // A null is an absent member, whatever its name.
            _ if kind == Kind::Null => cursor.pass()?,
            name => scan.member(&mut cursor, kind, name)?,
        }
        scan.findings().members.push(&key, start..cursor.position());
    }
    Ok(cursor.end()?)
}
