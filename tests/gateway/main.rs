//! The gateway from outside: the real router on a real socket, over HTTP, against seven simulated providers with faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod answers;
mod base_urls;
mod cache;
mod clients;
mod counting;
mod crashes;
mod dialects;
mod embeddings;
mod errors;
mod failover;
mod gemini_client;
mod headers;
mod models;
mod process;
mod refusals;
mod sdks;
mod sent;
mod support;
mod tenants;
