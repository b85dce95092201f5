//! What the demonstration sends, read from the data file beside this one.

use std::collections::BTreeMap;

use aipipe_actors::routing::preferences::Preferences;
use anyhow::Context;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::gateway::prepare::AUTO;

const REQUESTS: &str = include_str!("requests.toml");

/// A day of several tenants, in three acts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    /// Who asks.
    pub(super) tenants: Vec<Tenant>,
    tools: BTreeMap<String, Tool>,
    before: Vec<Request>,
    outage: Vec<Request>,
    after: Vec<Request>,
}

/// One who asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tenant {
    /// Its name.
    pub(super) id: String,
    /// What the admin API is told of it.
    pub(super) policy: Value,
    /// Providers that it has keys of its own for.
    #[serde(default)]
    pub(super) own_keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    description: String,
    parameters: Value,
}

/// One request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// What sort of work it is.
    pub(super) kind: String,
    /// Who asks.
    pub(super) tenant: String,
    system: Option<String>,
    prompt: String,
    #[serde(default)]
    then: Vec<Turn>,
    #[serde(default)]
    stream: bool,
    schema: Option<Value>,
    #[serde(default)]
    tools: Vec<String>,
    #[serde(default)]
    wishes: Map<String, Value>,
    model: Option<String>,
}

/// A further turn of a conversation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Turn {
    User(String),
    Assistant(String),
    Call { tool: String, arguments: Value },
    Result(String),
}

/// A part of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Everything works.
    Before,
    /// The provider that has answered most is down.
    Outage,
    /// It is back.
    After,
}

impl Act {
    /// All of them, in order.
    pub(super) const ALL: [Self; 3] = [Self::Before, Self::Outage, Self::After];
}

impl Script {
    /// The script that the program carries.
    pub(super) fn load() -> anyhow::Result<Self> {
        toml::from_str(REQUESTS).context("the demonstration's requests cannot be read")
    }

    /// The requests of one act.
    pub(super) fn requests(&self, act: Act) -> &[Request] {
        match act {
            Act::Before => &self.before,
            Act::Outage => &self.outage,
            Act::After => &self.after,
        }
    }

    /// Requests of all acts.
    pub(super) fn len(&self) -> usize {
        Act::ALL.iter().map(|&act| self.requests(act).len()).sum()
    }

    /// The Chat Completions body of a request, which asks for the decision to be shown.
    pub(super) fn body(&self, request: &Request) -> Value {
        let mut messages = Vec::new();
        messages.extend(request.system.as_ref().map(|text| json!({"role": "system", "content": text})));
        messages.push(json!({"role": "user", "content": request.prompt}));
        messages.extend(request.then.iter().enumerate().map(|(number, turn)| message(number, turn)));
        let mut wishes = request.wishes.clone();
        wishes.insert("explain".into(), true.into());
        wishes.insert("tags".into(), json!([label(&request.kind)]));
        let mut body = json!({
            "model": request.model.as_deref().unwrap_or(AUTO), "messages": messages, "aipipe": wishes, "max_tokens": 2000,
        });
        if request.stream {
            body["stream"] = true.into();
            body["stream_options"] = json!({"include_usage": true});
        }
        if let Some(schema) = &request.schema {
            body["response_format"] =
                json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": schema}});
        }
        if !request.tools.is_empty() {
            body["tools"] = request.tools.iter().filter_map(|name| self.tool(name)).collect();
        }
        body
    }

    fn tool(&self, name: &str) -> Option<Value> {
        let Tool { description, parameters } = self.tools.get(name)?;
        let function = json!({"name": name, "description": description, "parameters": parameters});
        Some(json!({"type": "function", "function": function}))
    }
}

/// A kind as a tag of the ledger, which is short.
fn label(kind: &str) -> &str {
    kind.get(..Preferences::MAX_TAG_BYTES).unwrap_or(kind)
}

fn message(number: usize, turn: &Turn) -> Value {
    match turn {
        Turn::User(text) => json!({"role": "user", "content": text}),
        Turn::Assistant(text) => json!({"role": "assistant", "content": text}),
        Turn::Call { tool, arguments } => {
            let call = json!({
                "id": format!("call_{number}"), "type": "function",
                "function": {"name": tool, "arguments": arguments.to_string()},
            });
            json!({"role": "assistant", "content": null, "tool_calls": [call]})
        }
        // A result follows its call.
        Turn::Result(text) => {
            json!({"role": "tool", "tool_call_id": format!("call_{}", number.saturating_sub(1)), "content": text})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_belongs_to_a_tenant_and_names_tools_that_exist() {
        let script = Script::load().unwrap();
        assert!(script.len() >= 60);
        for request in Act::ALL.iter().flat_map(|&act| script.requests(act)) {
            assert!(script.tenants.iter().any(|tenant| tenant.id == request.tenant), "{request:?}");
            assert!(request.tools.iter().all(|tool| script.tools.contains_key(tool)), "{request:?}");
            let body = script.body(request).to_string();
            crate::dialects::openai_chat::scan::scan(body.as_bytes()).unwrap();
        }
    }
}
