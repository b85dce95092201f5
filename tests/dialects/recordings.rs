//! Recorded exchanges with the providers.
//!
//! They are no part of the repository: they are read from `$AIPIPE_TEST_DATA/traffic`, or from `../shared/traffic` beside it. Where there
//! are none, one line says so and nothing is checked.

use std::path::PathBuf;

use aipipe::upstream::sse::{RawEvent, SseDecoder};
use aipipe_actors::catalogue::{Capability, Model, ParameterLimits};
use aipipe_actors::identity::{ModelId, ProviderId};
use bytes::Bytes;
use serde_json::Value;

/// One exchange.
pub(crate) struct Exchange {
    pub(crate) name: String,
    pub(crate) provider: String,
    pub(crate) request: Option<Value>,
    pub(crate) status: u16,
    /// The answer; null where it was streamed.
    pub(crate) body: Value,
    pub(crate) stream: Option<String>,
}

impl Exchange {
    /// Whether it is a whole answer and no error.
    pub(crate) fn is_whole(&self) -> bool {
        self.stream.is_none() && self.status == 200
    }
}

/// Every recorded exchange in this dialect; none, said aloud, where there are no recordings.
pub(crate) fn exchanges(dialect: &str) -> Option<Vec<Exchange>> {
    let root = std::env::var_os("AIPIPE_TEST_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
        .join("traffic");
    let Ok(providers) = std::fs::read_dir(&root) else {
        println!("no recordings at {}: nothing was checked", root.display());
        return None;
    };
    let folders = providers.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let mut found = Vec::new();
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        let mut recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if recorded["dialect"] == dialect {
            found.push(Exchange {
                name: path.strip_prefix(&root).unwrap().with_extension("").display().to_string(),
                provider: recorded["provider"].as_str().unwrap().to_owned(),
                request: recorded.pointer("/request/body").filter(|body| body.is_object()).cloned(),
                status: recorded["response"]["status"].as_u64().unwrap().try_into().unwrap(),
                stream: recorded["response"]["sse"].as_str().map(str::to_owned),
                body: recorded["response"]["body"].take(),
            });
        }
    }
    assert!(!found.is_empty(), "no exchange in the dialect {dialect} at {}", root.display());
    println!("{} recorded exchanges in the dialect {dialect}", found.len());
    Some(found)
}

/// A model that can do everything.
pub(crate) fn model(provider: &str) -> Model {
    Model {
        provider: ProviderId::parse(provider).unwrap(),
        id: ModelId::parse("target").unwrap(),
        aliases: Vec::new(),
        rates: None,
        quality: 0.5,
        auto: true,
        context_tokens: 1_000_000,
        max_output_tokens: 1_000_000,
        capabilities: Capability::ALL.into_iter().collect(),
        parameters: ParameterLimits::default(),
        token_ratio: 1.0,
        added: aipipe_actors::catalogue::AddedTokens::default(),
        retires_on: None,
    }
}

/// The events of a stream whose bytes come in these pieces.
pub(crate) fn events<'s>(pieces: impl IntoIterator<Item = &'s [u8]>) -> Vec<RawEvent> {
    let mut decoder = SseDecoder::default();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.feed(Bytes::copy_from_slice(piece), &mut events).unwrap();
    }
    events.extend(decoder.finish().unwrap());
    events
}
