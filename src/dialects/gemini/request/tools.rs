//! Function declarations and the rule for calling them.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Writing;
use crate::dialects::carry::cannot_carry;
use crate::dialects::conversation::{ResponseFormat, Tool, ToolChoice};
use crate::dialects::gemini::schema::{self, Fidelity};
use crate::dialects::translate::CannotCarry;

/// All declarations stand in one tool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolSet<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolConfig<'a> {
    function_calling_config: CallingConfig<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CallingConfig<'a> {
    mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_function_names: Vec<&'a str>,
}

type Tools<'a> = (Vec<ToolSet<'a>>, Option<ToolConfig<'a>>);

pub(super) fn write<'a>(writing: &mut Writing<'a>) -> Result<Tools<'a>, CannotCarry> {
    let conversation = writing.conversation;
    let forbidden = conversation.tool_choice == ToolChoice::None;
    let json_only = !matches!(conversation.format, ResponseFormat::Text) && !writing.generation.is_three_or_later();
    // Gemini before 3 refuses functions beside JSON output, and none may be called here anyway.
    if conversation.tools.is_empty() || (forbidden && json_only) {
        return Ok((Vec::new(), None));
    }
    if conversation.parallel_tool_calls == Some(false) && !forbidden {
        return cannot_carry("parallel_tool_calls", "Gemini cannot be held to one function call an answer");
    }
    let function_declarations =
        conversation.tools.iter().map(|tool| declare(tool, writing)).collect::<Result<Vec<_>, _>>()?;
    Ok((vec![ToolSet { function_declarations }], calling_config(writing)?))
}

fn declare<'a>(tool: &'a Tool, writing: &Writing<'a>) -> Result<Declaration<'a>, CannotCarry> {
    let mut declaration = Declaration {
        name: writing.names.sent(&tool.name),
        description: tool.description.as_deref(),
        parameters: None,
        parameters_json_schema: None,
    };
    match tool.schema.as_deref() {
        // A function without arguments goes without a schema.
        None => {}
        Some(schema) if matches!(schema.get(), "null" | "{}") => {}
        Some(schema) if writing.generation.takes_json_schema() => declaration.parameters_json_schema = Some(schema),
        Some(schema) => {
            let fidelity = if tool.strict == Some(true) { Fidelity::Strict } else { Fidelity::Loose };
            declaration.parameters = schema::convert(schema, fidelity).map_err(|unfit| CannotCarry {
                field: "tools".to_owned(),
                reason: format!("the parameters of `{}`: {unfit}", tool.name),
            })?;
        }
    }
    Ok(declaration)
}

fn calling_config<'a>(writing: &Writing<'a>) -> Result<Option<ToolConfig<'a>>, CannotCarry> {
    let conversation = writing.conversation;
    let names = writing.names;
    let validated = writing.generation.takes_json_schema();
    let strict = conversation.tools.iter().any(|tool| tool.strict == Some(true));
    let (mode, allowed_function_names) = match &conversation.tool_choice {
        // Only `VALIDATED` and `ANY` hold the model to the schemas.
        ToolChoice::Auto if strict && validated => ("VALIDATED", Vec::new()),
        ToolChoice::Auto if strict => {
            return cannot_carry(
                "tools",
                "this model follows no schema to the letter while it may also answer in text",
            );
        }
        ToolChoice::Auto => return Ok(None),
        ToolChoice::None => ("NONE", Vec::new()),
        ToolChoice::Required => ("ANY", Vec::new()),
        ToolChoice::Named(name) => ("ANY", vec![names.sent(name)]),
        ToolChoice::Allowed { names: allowed, required } => {
            let mode = match required {
                true => "ANY",
                false if validated => "VALIDATED",
                false => {
                    return cannot_carry("tool_choice", "this model takes a list of functions only with a forced call");
                }
            };
            (mode, allowed.iter().map(|name| names.sent(name)).collect())
        }
    };
    Ok(Some(ToolConfig { function_calling_config: CallingConfig { mode, allowed_function_names } }))
}
