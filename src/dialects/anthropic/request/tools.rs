//! Functions: their names, their declarations, which of them may or must be called.

use std::borrow::Cow;
use std::collections::HashSet;

use aipipe_actors::catalogue::{Capability, Model};
use serde::Serialize;

use super::Form;
use super::schema::{Complexity, InputSchema, describes_object};
use crate::dialects::carry::cannot;
use crate::dialects::conversation::{Conversation, Tool as Declared, ToolChoice};
use crate::dialects::function_names::{self, FunctionNames, NameRule};
use crate::dialects::translate::CannotCarry;

/// Most strict functions in one request; Anthropic refuses more.
const MAX_STRICT: usize = 20;
/// What the answer tool is called.
const ANSWER_TOOL: &str = "answer";
const ANSWER_DESCRIPTION: &str = "Gives the answer to the user. The arguments are the answer.";

/// What Anthropic asks of a function's name. Source: <https://docs.claude.com/en/api/messages#body-tools>.
pub(super) const NAMES: NameRule = NameRule { longest: 128, punctuation: &['_', '-'], letter_first: false };

/// What the answer tool is called beside the client's functions: `answer`, or the first of `answer_2`, `answer_3`, … that is free.
fn answer_tool_name(conversation: &Conversation, names: &FunctionNames) -> String {
    let taken = |candidate: &str| function_names::all(conversation).any(|name| names.sent(name) == candidate);
    let mut candidate = ANSWER_TOOL.to_owned();
    let mut number = 2;
    while taken(&candidate) {
        candidate = format!("{ANSWER_TOOL}_{number}");
        number += 1;
    }
    candidate
}

/// A declaration.
#[derive(Debug, Serialize)]
pub(super) struct Tool<'a> {
    name: Cow<'a, str>,
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
        name: Cow<'a, str>,
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
    pub(super) answer_tool: Option<String>,
}

impl<'a> Toolbox<'a> {
    /// Declares the client's functions, those alone where it allows only some, and the answer tool where the form asks for it.
    pub(super) fn new(
        conversation: &'a Conversation,
        model: &Model,
        names: &'a FunctionNames,
        form: Form<'a>,
    ) -> Result<Self, CannotCarry> {
        let allowed = |tool: &&Declared| match &conversation.tool_choice {
            ToolChoice::Allowed { names, .. } => names.contains(&tool.name),
            _ => true,
        };
        let declared: Vec<&Declared> = conversation.tools.iter().filter(allowed).collect();
        check_strict(&declared, model, form)?;
        let demand = Demand::of(&conversation.tool_choice, &declared)?;
        let mut tools: Vec<Tool<'a>> = declared.iter().map(|tool| declaration(tool, names)).collect();

        let answer_tool = match form {
            // Where a function of the client's must be called, the answer is that call and has no form of its own.
            Form::AnswerTool(schema, description) if !demand.is_forced() => {
                if !describes_object(schema) {
                    return Err(cannot("response_format", "this model's answers follow schemas of objects only"));
                }
                let name = answer_tool_name(conversation, names);
                tools.push(Tool {
                    name: name.clone().into(),
                    description: Some(description.unwrap_or(ANSWER_DESCRIPTION)),
                    input_schema: InputSchema::new(Some(schema), None),
                    strict: None,
                });
                Some(name)
            }
            _ => None,
        };
        let calls = ParallelCalls { disabled: conversation.parallel_tool_calls == Some(false) };
        let choice = match (demand, &answer_tool) {
            (Demand::None, Some(name)) => {
                Some(Choice::Tool { name: name.clone().into(), calls: ParallelCalls { disabled: true } })
            }
            (Demand::Auto, Some(_)) | (Demand::Any, _) => Some(Choice::Any { calls }),
            (Demand::One(name), _) => Some(Choice::Tool { name: names.sent(name).into(), calls }),
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
fn check_strict(declared: &[&Declared], model: &Model, form: Form<'_>) -> Result<(), CannotCarry> {
    let guaranteed = || declared.iter().filter(|tool| tool.strict == Some(true));
    let strict = guaranteed().count();
    if strict > 0 && !model.capabilities.contains(Capability::JsonSchema) {
        return Err(cannot("tools", "this model cannot promise that arguments follow their schema (strict)"));
    }
    if strict > MAX_STRICT {
        return Err(cannot(
            "tools",
            format!("this provider takes at most {MAX_STRICT} strict functions, not {strict}"),
        ));
    }
    let mut complexity = Complexity::default();
    guaranteed().filter_map(|tool| tool.schema.as_deref()).for_each(|schema| complexity.add(schema));
    let field = if let Form::Native(schema) = form {
        complexity.add(schema);
        "response_format"
    } else {
        "tools"
    };
    match complexity.excess() {
        Some(excess) => Err(cannot(field, format!("this provider takes {excess}"))),
        None => Ok(()),
    }
}

fn declaration<'a>(tool: &'a Declared, names: &'a FunctionNames) -> Tool<'a> {
    Tool {
        name: names.sent(&tool.name).into(),
        description: tool.description.as_deref(),
        input_schema: InputSchema::new(tool.schema.as_deref(), tool.strict),
        strict: tool.strict.filter(|&strict| strict),
    }
}

fn declarations_of_history<'a>(conversation: &'a Conversation, names: &'a FunctionNames) -> Vec<Tool<'a>> {
    let mut seen = HashSet::new();
    function_names::called(conversation)
        .filter(|name| seen.insert(*name))
        .map(|name| Tool {
            name: names.sent(name).into(),
            description: None,
            input_schema: InputSchema::new(None, None),
            strict: None,
        })
        .collect()
}
