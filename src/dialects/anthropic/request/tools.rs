//! Functions: their names, their declarations, which of them may or must be called.

use std::collections::HashSet;

use aipipe_actors::catalogue::{Capability, Model};
use serde::Serialize;

use super::schema::{InputSchema, describes_object};
use super::{Form, cannot};
use crate::dialects::conversation::{Conversation, Part, Tool as Declared, ToolChoice};
use crate::dialects::translate::{CannotCarry, Renamed};

/// Longest name of a function.
const MAX_NAME: usize = 128;
/// Most strict functions in one request; Anthropic refuses more.
const MAX_STRICT: usize = 20;
/// What the answer tool is called.
const ANSWER_TOOL: &str = "answer";
const ANSWER_DESCRIPTION: &str = "Gives the answer to the user. The arguments are the answer.";

/// The functions' names as Anthropic takes them (`^[a-zA-Z0-9_-]{1,128}$`), each of them reversible: two functions never share one.
pub(super) struct Names {
    renamed: Vec<Renamed>,
    /// What the answer tool is called, where the form needs one.
    answer_tool: Option<String>,
}

impl Names {
    /// Looks at every name in the conversation, declarations first, so that a name is changed the same way in every later turn.
    pub(super) fn of(conversation: &Conversation, form: Form<'_>) -> Self {
        let all = || declared_names(conversation).chain(called_names(conversation));
        let needs_answer_tool = matches!(form, Form::AnswerTool(..));
        if !needs_answer_tool && all().all(is_valid) {
            return Self { renamed: Vec::new(), answer_tool: None };
        }
        let mut taken: HashSet<String> = all().filter(|name| is_valid(name)).map(str::to_owned).collect();
        let mut renamed: Vec<Renamed> = Vec::new();
        for name in all().filter(|name| !is_valid(name)) {
            if renamed.iter().all(|known| known.original != name) {
                renamed.push(Renamed { sent: unique(&sanitised(name), &mut taken), original: name.to_owned() });
            }
        }
        Self { renamed, answer_tool: needs_answer_tool.then(|| unique(ANSWER_TOOL, &mut taken)) }
    }

    /// The name to send.
    pub(super) fn sent<'a>(&'a self, original: &'a str) -> &'a str {
        self.renamed.iter().find(|name| name.original == original).map_or(original, |name| &name.sent)
    }

    /// The changed names, for the reading of the answer.
    pub(super) fn into_renamed(self) -> Vec<Renamed> {
        self.renamed
    }
}

fn declared_names(conversation: &Conversation) -> impl Iterator<Item = &str> {
    conversation.tools.iter().map(|tool| tool.name.as_str())
}

fn called_names(conversation: &Conversation) -> impl Iterator<Item = &str> {
    conversation.turns.iter().flat_map(|turn| &turn.parts).filter_map(|part| match part {
        Part::ToolCall(call) => Some(call.name.as_str()),
        _ => None,
    })
}

fn is_valid(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_name_byte)
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')
}

fn sanitised(name: &str) -> String {
    let allowed = |c: char| if u8::try_from(c).is_ok_and(is_name_byte) { c } else { '_' };
    let clean: String = name.chars().take(MAX_NAME).map(allowed).collect();
    if clean.is_empty() { "_".to_owned() } else { clean }
}

/// `name`, or the first of `name_2`, `name_3`, … that nobody has taken.
fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let mut candidate = name.to_owned();
    let mut number = 2;
    while taken.contains(&candidate) {
        let suffix = format!("_{number}");
        let stem: String = name.chars().take(MAX_NAME - suffix.len()).collect();
        candidate = stem + &suffix;
        number += 1;
    }
    taken.insert(candidate.clone());
    candidate
}

/// A declaration.
#[derive(Debug, Serialize)]
pub(super) struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    input_schema: InputSchema<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// The `tool_choice` object.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Choice<'a> {
    /// The model decides.
    Auto {
        #[serde(flatten)]
        calls: ParallelCalls,
    },
    /// At least one must be called.
    Any {
        #[serde(flatten)]
        calls: ParallelCalls,
    },
    /// This one must be called.
    Tool {
        name: &'a str,
        #[serde(flatten)]
        calls: ParallelCalls,
    },
    /// None may be called.
    None,
}

/// Whether one answer may hold several calls.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct ParallelCalls {
    #[serde(rename = "disable_parallel_tool_use", skip_serializing_if = "std::ops::Not::not")]
    disabled: bool,
}

/// Everything that the request says about functions.
pub(super) struct Toolbox<'a> {
    pub(super) tools: Vec<Tool<'a>>,
    pub(super) choice: Option<Choice<'a>>,
    /// The function whose arguments are the answer.
    pub(super) answer_tool: Option<&'a str>,
}

impl<'a> Toolbox<'a> {
    /// Declares the client's functions, those alone where it allows only some, and the answer tool where the form asks for it.
    pub(super) fn new(
        conversation: &'a Conversation,
        model: &Model,
        names: &'a Names,
        form: Form<'a>,
    ) -> Result<Self, CannotCarry> {
        let allowed = |tool: &&Declared| match &conversation.tool_choice {
            ToolChoice::Allowed { names, .. } => names.contains(&tool.name),
            _ => true,
        };
        let declared: Vec<&Declared> = conversation.tools.iter().filter(allowed).collect();
        check_strict(&declared, model)?;
        let demand = Demand::of(&conversation.tool_choice, &declared)?;
        let mut tools: Vec<Tool<'a>> = declared.iter().map(|tool| declaration(tool, names)).collect();

        let answer_tool = match (form, names.answer_tool.as_deref()) {
            // Where a function of the client's must be called, the answer is that call and has no form of its own.
            (Form::AnswerTool(schema, description), Some(name)) if !demand.is_forced() => {
                if !describes_object(schema) {
                    return Err(cannot("response_format", "this model's answers follow schemas of objects only"));
                }
                tools.push(Tool {
                    name,
                    description: Some(description.unwrap_or(ANSWER_DESCRIPTION)),
                    input_schema: InputSchema::new(Some(schema), None),
                    strict: None,
                });
                Some(name)
            }
            _ => None,
        };
        let calls = ParallelCalls { disabled: conversation.parallel_tool_calls == Some(false) };
        let choice = match (demand, answer_tool) {
            (Demand::None, Some(name)) => Some(Choice::Tool { name, calls: ParallelCalls { disabled: true } }),
            (Demand::Auto, Some(_)) | (Demand::Any, _) => Some(Choice::Any { calls }),
            (Demand::One(name), _) => Some(Choice::Tool { name: names.sent(name), calls }),
            (Demand::Auto, None) if calls.disabled => Some(Choice::Auto { calls }),
            (Demand::Auto, None) => None,
            (Demand::None, None) => {
                // Anthropic refuses a history of calls without declarations, even where none may be called any more.
                if tools.is_empty() {
                    tools = declarations_of_history(conversation, names);
                }
                (!tools.is_empty()).then_some(Choice::None)
            }
        };
        Ok(Self { tools, choice, answer_tool })
    }

    /// Whether a function must be called.
    pub(super) fn forces_call(&self) -> bool {
        matches!(self.choice, Some(Choice::Any { .. } | Choice::Tool { .. }))
    }
}

/// What the client's choice comes to with the functions that are there.
#[derive(Clone, Copy)]
enum Demand<'a> {
    None,
    Auto,
    Any,
    One(&'a str),
}

impl<'a> Demand<'a> {
    fn of(choice: &'a ToolChoice, declared: &[&Declared]) -> Result<Self, CannotCarry> {
        let demand = match choice {
            ToolChoice::None => Self::None,
            ToolChoice::Auto | ToolChoice::Allowed { required: false, .. } => Self::Auto,
            ToolChoice::Required | ToolChoice::Allowed { required: true, .. } => Self::Any,
            ToolChoice::Named(name) => Self::One(name),
        };
        let is_declared = |name: &str| declared.iter().any(|tool| tool.name == name);
        match demand {
            Self::Any if declared.is_empty() => {
                Err(cannot("tool_choice", "asks for a call, but no function is declared"))
            }
            Self::One(name) if !is_declared(name) => {
                Err(cannot("tool_choice", format!("names {name:?}, which is not declared")))
            }
            Self::Auto if declared.is_empty() => Ok(Self::None),
            demand => Ok(demand),
        }
    }

    fn is_forced(self) -> bool {
        matches!(self, Self::Any | Self::One(_))
    }
}

/// Strict functions are a guarantee that the client relies on: they are never quietly made lax.
fn check_strict(declared: &[&Declared], model: &Model) -> Result<(), CannotCarry> {
    let strict = declared.iter().filter(|tool| tool.strict == Some(true)).count();
    if strict > 0 && !model.capabilities.contains(Capability::JsonSchema) {
        return Err(cannot("tools", "this model cannot promise that arguments follow their schema (strict)"));
    }
    if strict > MAX_STRICT {
        return Err(cannot(
            "tools",
            format!("this provider takes at most {MAX_STRICT} strict functions, not {strict}"),
        ));
    }
    Ok(())
}

fn declaration<'a>(tool: &'a Declared, names: &'a Names) -> Tool<'a> {
    Tool {
        name: names.sent(&tool.name),
        description: tool.description.as_deref(),
        input_schema: InputSchema::new(tool.schema.as_deref(), tool.strict),
        strict: tool.strict.filter(|&strict| strict),
    }
}

fn declarations_of_history<'a>(conversation: &'a Conversation, names: &'a Names) -> Vec<Tool<'a>> {
    let mut seen = HashSet::new();
    called_names(conversation)
        .filter(|name| seen.insert(*name))
        .map(|name| Tool {
            name: names.sent(name),
            description: None,
            input_schema: InputSchema::new(None, None),
            strict: None,
        })
        .collect()
}
