//! What the dialect writes and reads, case by case, on small pieces of traffic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod answers;
mod errors;
mod requests;
mod sample;
mod settings;
mod streams;

/// The model that the tests translate for.
const ORIGIN: &str = "anthropic/claude-test";
