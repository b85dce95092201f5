//! What all decisions of one catalogue have in common: its models, with the figures by which they are weighed.
//!
//! A decision names each candidate by its place here, so that what is kept of a request is short. A lineup is written down before the
//! first decision that refers to it, and its id is made of what it says.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip128::SipHasher13;

use crate::catalogue::Model;
use crate::identity::{ModelId, ProviderId};
use crate::money::Rates;

/// The name of a lineup: the same wherever the same models have the same figures.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LineupId(u128);

impl fmt::Display for LineupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for LineupId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for LineupId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LineupId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A model with the figures by which it is weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Who serves it.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// The catalogue's quality.
    pub quality: f64,
    /// Its prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
}

/// The models of a catalogue, in its order.
#[derive(Debug, Default, Clone)]
pub struct Lineup {
    id: LineupId,
    entries: Vec<Entry>,
    text: Arc<str>,
}

impl Lineup {
    /// The lineup of these models.
    pub fn of(models: &[Arc<Model>]) -> Self {
        let entry = |model: &Arc<Model>| Entry {
            provider: model.provider.clone(),
            model: model.id.clone(),
            quality: model.quality,
            rates: model.rates,
        };
        let entries: Vec<Entry> = models.iter().map(entry).collect();
        let text = serde_json::to_string(&entries).unwrap_or_default();
        Self { id: Self::id_of(&text), entries, text: text.into() }
    }

    /// Reads what [`text`](Self::text) wrote.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        Ok(Self { id: Self::id_of(text), entries: serde_json::from_str(text)?, text: text.into() })
    }

    fn id_of(text: &str) -> LineupId {
        LineupId(SipHasher13::new().hash(text.as_bytes()).as_u128())
    }

    /// Its name.
    pub fn id(&self) -> LineupId {
        self.id
    }

    /// What is kept of it: JSON.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The model in a place.
    pub fn get(&self, place: u32) -> Option<&Entry> {
        self.entries.get(place as usize)
    }
}
