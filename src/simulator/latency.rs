//! How long a simulated model takes.

use std::time::Duration;

use super::provider::Provider;

/// How long the models take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Latency {
    /// As fast as the machine can.
    #[default]
    None,
    /// A time to first token and a token rate for each model family that look believable side by side. They are invented for demonstration
    /// and say nothing of the real providers.
    Realistic,
}

/// The pace of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LatencyProfile {
    /// From the request to the first delta.
    pub first_token: Duration,
    /// For each further token.
    pub per_token: Duration,
    /// The first delta comes by chance up to so much later.
    pub jitter: Duration,
}

impl LatencyProfile {
    const fn milliseconds(first_token: u64, per_token: u64) -> Self {
        Self {
            first_token: Duration::from_millis(first_token),
            per_token: Duration::from_millis(per_token),
            jitter: Duration::ZERO,
        }
    }
}

/// Words in a model's name that tell its size, with its pace in milliseconds; the first that occurs decides.
const PACES: [(&str, LatencyProfile); 14] = [
    ("embedding", LatencyProfile::milliseconds(60, 0)),
    ("nano", LatencyProfile::milliseconds(180, 5)),
    ("lite", LatencyProfile::milliseconds(190, 4)),
    ("highspeed", LatencyProfile::milliseconds(300, 7)),
    ("mini", LatencyProfile::milliseconds(260, 9)),
    ("flash", LatencyProfile::milliseconds(240, 5)),
    ("luna", LatencyProfile::milliseconds(280, 8)),
    ("haiku", LatencyProfile::milliseconds(320, 9)),
    ("fast", LatencyProfile::milliseconds(250, 6)),
    ("opus", LatencyProfile::milliseconds(900, 22)),
    ("fable", LatencyProfile::milliseconds(1100, 26)),
    ("pro", LatencyProfile::milliseconds(1000, 20)),
    ("sonnet", LatencyProfile::milliseconds(600, 15)),
    ("grok", LatencyProfile::milliseconds(450, 12)),
];

/// The invented pace of a model, see [`Latency::Realistic`].
pub(crate) fn realistic(provider: Provider, model: &str) -> LatencyProfile {
    // "gemini" and "minimax" hold the word "mini".
    let model = model.to_ascii_lowercase().replace("gemini", "").replace("minimax", "");
    let paced = PACES.iter().find(|(word, _)| model.contains(word));
    let mut profile = paced.map_or(LatencyProfile::milliseconds(500, 14), |(_, profile)| *profile);
    if provider == Provider::OpenRouter {
        // One more hop.
        profile.first_token += Duration::from_millis(80);
    }
    profile
}
