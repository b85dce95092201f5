//! Functions, and the tools that Anthropic defines.
//!
//! Those that it runs itself (`web_search_20250305`) are left out for other providers, unless the client forces one. All others the client
//! runs, by a schema that only Claude was taught (`bash_20250124`, `browser_toolset_20260801`): they cannot be said elsewhere, nor left
//! out, and the request is for Anthropic alone.

use super::wire::{ChoiceIn, ToolIn};
use crate::dialects::conversation::{Tool, ToolChoice};
use crate::dialects::scan::invalid;
use crate::dialects::translate::InvalidRequest;

/// What the types of tools begin with that Anthropic runs.
const RUN_BY_PROVIDER: [&str; 6] =
    ["web_search_", "web_fetch_", "code_execution_", "tool_search_", "advisor_", "mcp_toolset"];

/// What is declared.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) functions: Vec<Tool>,
    /// Names of the tools left out.
    hosted: Vec<String>,
}

/// Reads the declarations; what is left out is appended to `dropped`.
pub(super) fn declared(tools: Vec<ToolIn>, dropped: &mut Vec<String>) -> Result<Declared, InvalidRequest> {
    let mut declared = Declared::default();
    for (index, tool) in tools.into_iter().enumerate() {
        let param = format!("tools[{index}]");
        match tool.kind.as_deref().filter(|kind| *kind != "custom") {
            Some(kind) if RUN_BY_PROVIDER.iter().any(|known| kind.starts_with(known)) => {
                dropped.push(format!("tools.{kind}"));
                declared.hosted.extend(tool.name);
            }
            Some(kind) => {
                let message = format!("`{param}` is of the type `{kind}`, which only Anthropic's models know");
                return Err(invalid(Some(&param), message));
            }
            None => {
                let name = tool.name.filter(|name| !name.is_empty());
                let name = name.ok_or_else(|| invalid(Some(&param), format!("`{param}` must have a `name`")))?;
                declared.functions.push(Tool {
                    name,
                    description: tool.description,
                    schema: tool.input_schema,
                    strict: tool.strict,
                });
            }
        }
    }
    Ok(declared)
}

/// Reads the choice.
pub(super) fn choice(choice: Option<&ChoiceIn>, declared: &Declared) -> Result<ToolChoice, InvalidRequest> {
    let Some(choice) = choice else { return Ok(ToolChoice::Auto) };
    let error = |message: &str| Err(invalid(Some("tool_choice"), format!("`tool_choice` {message}")));
    match (choice.kind.as_str(), choice.name.as_ref()) {
        ("auto", _) => Ok(ToolChoice::Auto),
        ("none", _) => Ok(ToolChoice::None),
        ("any", _) if declared.functions.is_empty() && !declared.hosted.is_empty() => {
            error("asks for a call of a tool that only Anthropic runs")
        }
        ("any", _) => Ok(ToolChoice::Required),
        ("tool", Some(name)) if declared.hosted.contains(name) => error("names a tool that only Anthropic runs"),
        ("tool", Some(name)) => Ok(ToolChoice::Named(name.clone())),
        _ => error("must be of the type `auto`, `any`, `tool` with a name, or `none`"),
    }
}
