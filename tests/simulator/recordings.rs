//! The simulator's answers have no field that the real provider was not recorded to send.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aipipe::simulator::Provider;
use serde_json::Value;

use crate::support::*;

/// Where recorded exchanges are, if they are.
pub(crate) fn recordings() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = std::env::var_os("AIPIPE_TEST_DATA").map_or_else(beside, PathBuf::from);
    Some(root.join("traffic")).filter(|traffic| traffic.is_dir())
}

/// Every path of keys in a value; positions in lists are not told apart.
pub(crate) fn shape(value: &Value, at: &str, paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let path = format!("{at}/{name}");
                paths.insert(path.clone());
                shape(field, &path, paths);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| shape(item, at, paths)),
        _ => {}
    }
}

/// Everything that a provider was recorded to send in chat answers, streamed and whole.
pub(crate) fn recorded_shape(folder: &Path, dialect: &str) -> (usize, BTreeSet<String>) {
    let mut paths = BTreeSet::new();
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let exchange: Value = serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let response = &exchange["response"];
        if exchange["dialect"] != dialect {
            continue;
        }
        read += 1;
        shape(&response["body"], "", &mut paths);
        for line in response["sse"].as_str().unwrap_or_default().lines() {
            let data = line.strip_prefix("data:").unwrap_or_default().trim();
            shape(&serde_json::from_str(data).unwrap_or_default(), "", &mut paths);
        }
    }
    (read, paths)
}

#[tokio::test]
async fn every_field_that_is_sent_was_recorded_of_the_real_provider() {
    let Some(traffic) = recordings() else {
        println!("no recordings found (AIPIPE_TEST_DATA is unset and ../shared absent): skipped");
        return;
    };
    let simulator = simulator().await;
    let mut read_in_all = 0;
    for provider in Provider::ALL {
        let dialect = match provider {
            Provider::Anthropic => "anthropic-messages",
            Provider::Gemini => "gemini",
            _ => "openai-chat",
        };
        let (read, recorded) = recorded_shape(&traffic.join(provider.as_str()), dialect);
        println!("{provider}: {read} exchanges read");
        read_in_all += read;
        let mut sent = BTreeSet::new();
        for user in ["Hello", "How is the weather in Rome?"] {
            for _ in 0..2 {
                let body = body(provider, Wanted::Weather, user);
                shape(&answered(&simulator, provider, &body).await, "", &mut sent);
                events(&streamed(&simulator, provider, &body).await)
                    .iter()
                    .for_each(|event| shape(event, "", &mut sent));
            }
        }
        // The arguments are the client's own; no recording of Moonshot or MiniMax holds a tool call.
        let own = |path: &String| {
            let calls = matches!(provider, Provider::Moonshot | Provider::MiniMax) && path.contains("/tool_calls");
            path.ends_with("/city") || calls
        };
        let unknown: Vec<&String> = sent.difference(&recorded).filter(|path| !own(path)).collect();
        assert!(unknown.is_empty(), "{provider} never sent {unknown:?}");
    }
    println!("{read_in_all} exchanges read");
    assert!(read_in_all > 150);
}
