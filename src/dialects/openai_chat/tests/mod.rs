#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod answers;
mod passing;
mod requests;
mod streams;

use aipipe_actors::catalogue::{Capabilities, Capability, Model, ParameterLimits};
use aipipe_actors::identity::{ModelId, ProviderId};

/// A model that can reason and has no peculiarities.
fn model() -> Model {
    Model {
        provider: ProviderId::parse("openai").unwrap(),
        id: ModelId::parse("gpt-x").unwrap(),
        aliases: Vec::new(),
        rates: None,
        quality: 0.5,
        auto: true,
        context_tokens: 1_000,
        max_output_tokens: 100,
        capabilities: Capabilities::NONE.with(Capability::Reasoning),
        parameters: ParameterLimits::default(),
        token_ratio: 1.0,
        added: aipipe_actors::catalogue::AddedTokens::default(),
        retires_on: None,
    }
}
