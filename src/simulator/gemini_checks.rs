//! What Gemini refuses in a request to generate content.

use serde_json::Value;

use super::errors::{Failure, Kind};
use super::gemini::{contents, field, parts, signs};
use super::models;
use super::provider::Provider;
use super::server::Request;

const FIELDS: &[&str] = &[
    "contents",
    "tools",
    "toolConfig",
    "safetySettings",
    "systemInstruction",
    "generationConfig",
    "cachedContent",
    "serviceTier",
    "model",
    "store",
];

const GENERATION_FIELDS: &[&str] = &[
    "stopSequences",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "responseModalities",
    "candidateCount",
    "maxOutputTokens",
    "temperature",
    "topP",
    "topK",
    "seed",
    "presencePenalty",
    "frequencyPenalty",
    "responseLogprobs",
    "logprobs",
    "enableEnhancedCivicAnswers",
    "speechConfig",
    "thinkingConfig",
    "imageConfig",
    "mediaResolution",
    "routingConfig",
    "audioTimestamp",
];

/// The part of OpenAPI's schema that Gemini reads.
const SCHEMA_FIELDS: &[&str] = &[
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "anyOf",
    "propertyOrdering",
    "items",
    "minimum",
    "maximum",
    "default",
];

/// Refuses what Gemini would refuse.
pub(crate) fn check(request: &Request<'_>) -> Result<(), Failure> {
    let body = request.body;
    if !models::exists(Provider::Gemini, &request.site.settings, request.model) {
        return Err(Failure::usual(Provider::Gemini, Kind::NoSuchModel, request.model));
    }
    check_names(body, FIELDS, "")?;
    let config = field(body, "generationConfig", "generation_config");
    check_names(config, GENERATION_FIELDS, "generation_config")?;
    check_schema(field(config, "responseSchema", "response_schema"), "generation_config.response_schema")?;
    if contents(body).is_empty() {
        return Err(Failure::bad("* GenerateContentRequest.contents: contents is not specified\n"));
    }
    check_contents(contents(body))?;
    check_calls_are_answered(contents(body))?;
    check_tools(body)?;
    if signs(request.model) {
        check_signatures(contents(body))?;
    }
    check_config(config)
}

/// Proto JSON takes each name in camel case and in snake case.
fn check_names(object: &Value, known: &[&str], at: &str) -> Result<(), Failure> {
    for (name, _) in object.as_object().into_iter().flatten() {
        if !known.contains(&name.as_str()) && !known.contains(&camel(name).as_str()) {
            return Err(unknown_name(name, at));
        }
    }
    Ok(())
}

fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        name + &head.to_uppercase() + tail
    })
}

fn unknown_name(name: &str, at: &str) -> Failure {
    let place = if at.is_empty() { String::new() } else { format!(" at '{at}'") };
    Failure::bad(format!("Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."))
}

/// Walks by position: a property that is called like a keyword is data.
fn check_schema(schema: &Value, at: &str) -> Result<(), Failure> {
    if schema.is_null() {
        return Ok(());
    }
    check_names(schema, SCHEMA_FIELDS, at)?;
    if schema["type"].is_array() {
        return Err(Failure::bad(format!(
            "Invalid JSON payload received. Unknown name \"type\" at '{at}': Proto field is not repeating, cannot start list."
        )));
    }
    if schema["enum"].as_array().into_iter().flatten().any(|value| !value.is_string()) {
        return Err(Failure::bad(format!("Invalid value at '{at}.enum[0]' (TYPE_STRING)")));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{at}.properties[0].value");
        if property["type"].is_null() && field(property, "anyOf", "any_of").is_null() {
            return Err(Failure::bad(format!("* {at}.properties[{name}].type: must be specified\n")));
        }
        check_schema(property, &place)?;
    }
    check_schema(&schema["items"], &format!("{at}.items"))?;
    for (position, branch) in field(schema, "anyOf", "any_of").as_array().into_iter().flatten().enumerate() {
        check_schema(branch, &format!("{at}.any_of[{position}]"))?;
    }
    Ok(())
}

fn check_contents(contents: &[Value]) -> Result<(), Failure> {
    let known = [
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "thought",
        "thoughtSignature",
        "videoMetadata",
        "executableCode",
        "codeExecutionResult",
        "mediaResolution",
        "toolCall",
        "toolResponse",
        "partMetadata",
    ];
    for (position, content) in contents.iter().enumerate() {
        check_names(content, &["role", "parts"], &format!("contents[{position}]"))?;
        if content["role"].as_str().is_some_and(|role| !["user", "model", "function"].contains(&role)) {
            return Err(Failure::bad("Please use a valid role: user, model."));
        }
        if parts(content).is_empty() {
            return Err(Failure::bad(format!(
                "* GenerateContentRequest.contents[{position}].parts: contents.parts must not be empty.\n"
            )));
        }
        for (at, part) in parts(content).iter().enumerate() {
            check_names(part, &known, &format!("contents[{position}].parts[{at}]"))?;
            let response = field(part, "functionResponse", "function_response");
            if !response.is_null()
                && (!response["response"].is_object() || response["name"].as_str().is_none_or(str::is_empty))
            {
                return Err(Failure::bad(format!(
                    "* GenerateContentRequest.contents[{position}].parts[{at}].function_response: name and response (a struct) are required\n"
                )));
            }
        }
    }
    Ok(())
}

/// The results of a turn's calls stand in the next content, one for each.
fn check_calls_are_answered(contents: &[Value]) -> Result<(), Failure> {
    let count = |content: Option<&Value>, camel: &str, snake: &str| {
        content.map_or(0, |content| parts(content).iter().filter(|part| !field(part, camel, snake).is_null()).count())
    };
    for (position, content) in contents.iter().enumerate() {
        let called = count(Some(content), "functionCall", "function_call");
        let answered = count(contents.get(position + 1), "functionResponse", "function_response");
        if called != answered {
            return Err(Failure::bad(
                "Please ensure that the number of function response parts is equal to the number of function call parts of the function \
                 call turn.",
            ));
        }
    }
    if count(contents.first(), "functionResponse", "function_response") > 0 {
        return Err(Failure::bad(
            "Please ensure that function response turn comes immediately after a function call turn.",
        ));
    }
    Ok(())
}

fn check_tools(body: &Value) -> Result<(), Failure> {
    for (position, tool) in body["tools"].as_array().into_iter().flatten().enumerate() {
        let declared = field(tool, "functionDeclarations", "function_declarations").as_array();
        for (at, function) in declared.into_iter().flatten().enumerate() {
            let place = format!("tools[{position}].function_declarations[{at}]");
            let known = [
                "name",
                "description",
                "parameters",
                "parametersJsonSchema",
                "response",
                "responseJsonSchema",
                "behavior",
            ];
            check_names(function, &known, &place)?;
            let name = function["name"].as_str().unwrap_or_default();
            let begins = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
            let good = |letter: char| letter.is_ascii_alphanumeric() || "_.:-".contains(letter);
            if !begins || name.len() > 128 || !name.chars().all(good) {
                return Err(Failure::bad(format!(
                    "* GenerateContentRequest.{place}.name: Invalid function name. Must start with a letter or an underscore.\n"
                )));
            }
            let parameters = &function["parameters"];
            check_schema(parameters, &format!("{place}.parameters"))?;
            let is_object = parameters["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("object"));
            if !parameters.is_null() && !is_object {
                return Err(Failure::bad(format!(
                    "* GenerateContentRequest.{place}.parameters: schema type should be OBJECT\n"
                )));
            }
        }
    }
    Ok(())
}

/// In the current turn the first call of each step must carry its thought signature.
fn check_signatures(contents: &[Value]) -> Result<(), Failure> {
    let has = |content: &Value, camel: &str, snake: &str| {
        parts(content).iter().any(|part| !field(part, camel, snake).is_null())
    };
    let is_question =
        |content: &Value| content["role"] != "model" && !has(content, "functionResponse", "function_response");
    let current = contents.iter().rposition(is_question).unwrap_or(0);
    for (position, content) in contents.iter().enumerate().skip(current) {
        let first = parts(content).iter().find(|part| !field(part, "functionCall", "function_call").is_null());
        let Some(call) = first else { continue };
        let signature = field(call, "thoughtSignature", "thought_signature");
        if signature.as_str().is_none_or(str::is_empty) {
            let name = field(call, "functionCall", "function_call")["name"].as_str().unwrap_or_default();
            return Err(Failure::bad(format!(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and \
                 missing thought_signature may lead to degraded model performance. Additional data, function call `default_api:{name}` , \
                 position {}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.",
                position + 1
            )));
        }
    }
    Ok(())
}

fn check_config(config: &Value) -> Result<(), Failure> {
    if config["temperature"].as_f64().is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
        return Err(Failure::bad(
            "* GenerateContentRequest.generation_config.temperature: must be in the range [0.0, 2.0]\n",
        ));
    }
    let stops = field(config, "stopSequences", "stop_sequences").as_array();
    if stops.is_some_and(|stops| stops.len() > 5) {
        return Err(Failure::bad(
            "* GenerateContentRequest.generation_config.stop_sequences: at most 5 stop sequences\n",
        ));
    }
    if field(config, "maxOutputTokens", "max_output_tokens").as_i64().is_some_and(|limit| limit < 1) {
        return Err(Failure::bad("* GenerateContentRequest.generation_config.max_output_tokens: must be positive\n"));
    }
    let thinking = field(config, "thinkingConfig", "thinking_config");
    if !field(thinking, "thinkingBudget", "thinking_budget").is_null()
        && !field(thinking, "thinkingLevel", "thinking_level").is_null()
    {
        return Err(Failure::bad("You can only set only one of thinking budget and thinking level."));
    }
    Ok(())
}
