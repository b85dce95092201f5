//! The tools of a request: how the canonical form declares them, and how the client is told of a call.
//!
//! A custom tool takes a text; elsewhere it is a function with one parameter. Functions in a group (`namespace`) are declared beside the
//! others under a name made of both.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::scan::Scan;
use crate::dialects::conversation::{Tool, ToolChoice};
use crate::dialects::custom_tools::{self, Grammar};
use crate::dialects::scan::invalid;
use crate::dialects::translate::InvalidRequest;

/// A tool as the client declares it.
#[derive(Debug, Deserialize)]
struct ToolIn {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
    format: Option<Value>,
    tools: Option<Vec<ToolIn>>,
}

/// How the client knows a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    /// Whether it takes a text.
    pub(super) is_custom: bool,
}

/// The functions that are declared otherwise than the client knows them, by their name in the canonical form.
#[derive(Debug, Default, Clone)]
pub(super) struct Names(HashMap<String, Told>);

impl Names {
    /// How the client knows a function.
    pub(super) fn told(&self, name: &str) -> Told {
        let plain = || Told { name: name.to_owned(), namespace: None, is_custom: false };
        self.0.get(name).cloned().unwrap_or_else(plain)
    }

    /// The name of a function in the canonical form.
    pub(super) fn canonical(&self, name: &str, namespace: Option<&str>) -> String {
        let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) else { return name.to_owned() };
        let is_this = |told: &Told| told.name == name && told.namespace.as_deref() == Some(namespace);
        let known = self.0.iter().find(|(_, told)| is_this(told));
        known.map_or_else(|| joined(namespace, name), |(canonical, _)| canonical.clone())
    }
}

/// What a request declares.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// In the client's order.
    pub(super) functions: Vec<Tool>,
    pub(super) names: Names,
    /// Types of the tools that a provider would run itself, or that only its models know.
    pub(super) left_out: Vec<String>,
}

impl Declared {
    /// Reads the tools of a request.
    pub(super) fn read(scan: &Scan<'_>) -> Result<Self, InvalidRequest> {
        let mut declared = Self::default();
        let text = scan.found.text();
        let raw = scan.found.members.get("tools").and_then(|member| text.get(member.value.clone()));
        let Some(raw) = raw.filter(|raw| *raw != "null") else { return Ok(declared) };
        // serde's own message may quote the prompt.
        let tools: Vec<ToolIn> = serde_json::from_str(raw).map_err(|error| {
            let place = format!("at line {}, column {} of `tools`", error.line(), error.column());
            invalid(Some("tools"), format!("a field is missing or has a wrong type {place}"))
        })?;
        for tool in tools {
            declared.add(tool, None)?;
        }
        Ok(declared)
    }

    fn add(&mut self, tool: ToolIn, namespace: Option<&str>) -> Result<(), InvalidRequest> {
        let is_custom = tool.kind == "custom";
        match tool.kind.as_str() {
            "function" | "custom" => {}
            "namespace" => {
                let name = required_name(tool.name)?;
                return tool.tools.unwrap_or_default().into_iter().try_for_each(|tool| self.add(tool, Some(&name)));
            }
            _ => {
                self.left_out.push(tool.kind);
                return Ok(());
            }
        }
        let own = required_name(tool.name)?;
        let mut name = namespace.map_or_else(|| own.clone(), |namespace| joined(namespace, &own));
        while self.functions.iter().any(|other| other.name == name) {
            name.push('_');
        }
        if is_custom || namespace.is_some() || name != own {
            let told = Told { name: own, namespace: namespace.map(str::to_owned), is_custom };
            self.names.0.insert(name.clone(), told);
        }
        self.functions.push(if is_custom {
            custom_tools::function(name, tool.description, tool.format.as_ref().and_then(grammar))
        } else {
            Tool { name, description: tool.description, schema: tool.parameters, strict: tool.strict }
        });
        Ok(())
    }
}

fn joined(namespace: &str, name: &str) -> String {
    format!("{namespace}__{name}")
}

fn required_name(name: Option<String>) -> Result<String, InvalidRequest> {
    name.ok_or_else(|| invalid(Some("tools"), "`tools` must hold functions with a `name`"))
}

fn grammar(format: &Value) -> Option<Grammar<'_>> {
    let text = |name: &str| format.get(name).and_then(Value::as_str);
    Some(Grammar { syntax: text("syntax").unwrap_or("a"), definition: text("definition")? })
}

/// Reads the choice of tools.
pub(super) fn choice(choice: Option<&Value>, declared: &Declared) -> Result<ToolChoice, InvalidRequest> {
    let error = || {
        let rule = "`tool_choice` must be `auto`, `none`, `required`, a function or a list of allowed functions";
        invalid(Some("tool_choice"), rule)
    };
    let function = |choice: &Value| {
        let text = |name: &str| choice.get(name).and_then(Value::as_str);
        let own = matches!(text("type"), Some("function" | "custom"));
        own.then(|| text("name").map(|name| declared.names.canonical(name, text("namespace")))).flatten()
    };
    let Some(choice) = choice else { return Ok(ToolChoice::Auto) };
    if let Some(word) = choice.as_str() {
        return match word {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(error()),
        };
    }
    match choice.get("type").and_then(Value::as_str) {
        Some("function" | "custom") => function(choice).map(ToolChoice::Named).ok_or_else(error),
        Some("allowed_tools") => {
            let tools = choice.get("tools").and_then(Value::as_array).ok_or_else(error)?;
            // Tools that the provider would run are left out wherever they stand.
            let names: Vec<String> = tools.iter().filter_map(function).collect();
            let required = choice.get("mode").and_then(Value::as_str) == Some("required");
            Ok(if names.is_empty() && !required { ToolChoice::None } else { ToolChoice::Allowed { names, required } })
        }
        Some(_) => Err(invalid(Some("tool_choice"), "`tool_choice` forces a tool that only its own provider runs")),
        None => Err(error()),
    }
}
