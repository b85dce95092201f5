//! The dialects held against recorded traffic of the providers that speak them.
//!
//! What the JSON of an exchange plainly says is worked out here apart from the code under test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod chat_client;
mod chat_upstream;
mod continuing;
mod endings;
mod estimates;
mod framing;
mod gemini_upstream;
mod messages_client;
mod messages_upstream;
mod mutated;
#[path = "../mutation/mod.rs"]
mod mutation;
mod recordings;
mod responses_client;
