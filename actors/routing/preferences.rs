//! What a client asks of the choice itself, in the body's `aipipe` object or in headers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::money::NanoUsd;

/// What a request may do with the cache.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum CacheMode {
    /// Answer from it and keep the answer.
    #[default]
    Use,
    /// Keep the answer without reading.
    Refresh,
    /// Neither.
    Off,
}

/// What becomes of a stream that breaks after its first content.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum OnBreak {
    /// It ends in an error event.
    #[default]
    Error,
    /// Another model continues it, where one can.
    Continue,
}

impl OnBreak {
    /// The value of this word in a header, a body or the configuration.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "error" => Some(Self::Error),
            "continue" => Some(Self::Continue),
            _ => None,
        }
    }
}

/// How good an answer should be against what it costs: shifts the complexity that `auto` chooses by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// Cheaper: requests count as less complex than they are.
    Economy,
    /// As scored.
    #[default]
    Balanced,
    /// Better: requests count as more complex.
    Best,
}

impl Quality {
    /// All of them, in the order in which they are named to people.
    pub const ALL: [Self; 3] = [Self::Economy, Self::Balanced, Self::Best];

    /// The word in every interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Economy => "economy",
            Self::Balanced => "balanced",
            Self::Best => "best",
        }
    }

    /// What is added to the complexity, which stays within 0..=1. A judgement: at the formula's slope of 6 it multiplies the cost of a
    /// model of quality 0.1 against one of quality 1 by 16.
    pub fn shift(self) -> f64 {
        match self {
            Self::Economy => -0.2,
            Self::Balanced => 0.0,
            Self::Best => 0.2,
        }
    }
}

/// The client's wishes; empty and `None` mean that it said nothing.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Preferences {
    /// Models to choose from (with `auto`), or to fall back to in this order (with a named model): `model` or `provider/model`.
    pub models: Vec<String>,
    /// Providers to choose from.
    pub providers: Vec<String>,
    /// Models, `provider/model` or providers that must not be used.
    pub exclude: Vec<String>,
    /// Least quality of a candidate, in 0..=1.
    pub min_quality: Option<f64>,
    /// Most that the request may cost.
    pub max_cost: Option<NanoUsd>,
    /// Takes the place of the scored complexity, in 0..=1.
    pub complexity: Option<f64>,
    /// What to do with the cache.
    pub cache: Option<CacheMode>,
    /// What becomes of a stream that breaks.
    pub on_break: Option<OnBreak>,
    /// How long the client waits for the answer.
    pub timeout: Option<Duration>,
    /// Labels kept in the ledger.
    pub tags: Vec<String>,
    /// Whether the decision joins the answer.
    pub explain: bool,
}

impl Preferences {
    /// Most labels of one request.
    pub const MAX_TAGS: usize = 8;
    /// Longest label in bytes.
    pub const MAX_TAG_BYTES: usize = 64;
    /// Most names in one list: more than any catalogue needs, less than would make matching dear.
    pub const MAX_NAMES: usize = 64;
}
