//! Custom tools, which take a text, as functions with one parameter: the form in which providers that know only functions get them.
//!
//! OpenAI alone holds its models to a tool's grammar; elsewhere the grammar stands in the description and binds nobody.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::conversation::Tool;

/// The grammar that a custom tool's input must follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grammar<'a> {
    /// `lark` or `regex`.
    pub(super) syntax: &'a str,
    /// The grammar itself.
    pub(super) definition: &'a str,
}

/// The function that stands for a custom tool.
pub(super) fn function(name: String, description: Option<String>, grammar: Option<Grammar<'_>>) -> Tool {
    let mut text = description.unwrap_or_default();
    if let Some(Grammar { syntax, definition }) = grammar {
        text.push_str(&format!("\n\nThe input must follow this {syntax} grammar:\n{definition}"));
    }
    let schema = json!({
        "type": "object",
        "properties": {"input": {"type": "string", "description": "The whole input, as plain text."}},
        "required": ["input"],
    });
    Tool { name, description: Some(text), schema: serde_json::value::to_raw_value(&schema).ok(), strict: None }
}

/// The arguments with which a custom tool was called, from its input.
pub(super) fn arguments(input: &str) -> String {
    json!({ "input": input }).to_string()
}

/// The input of a custom tool, from the arguments of the function that stands for it; what is no such object stands as it came.
pub(super) fn input(arguments: &str) -> String {
    #[derive(Deserialize)]
    struct Arguments {
        input: Box<RawValue>,
    }
    let Ok(Arguments { input }) = serde_json::from_str(arguments) else { return arguments.to_owned() };
    serde_json::from_str::<String>(input.get()).unwrap_or_else(|_| input.get().to_owned())
}
