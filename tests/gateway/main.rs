//! The gateway from outside: the real router on a real socket, over HTTP, against seven simulated providers with faults.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod accounts;
mod admin;
mod answers;
mod base_urls;
mod books;
mod bounds;
mod browser;
mod cache;
mod chaos;
mod clients;
mod conversations;
mod counting;
mod crashes;
mod dashboard;
mod dialects;
mod embeddings;
mod errors;
mod failover;
mod faults;
mod gemini_client;
mod headers;
mod hedge;
mod hostile;
mod killed;
mod learning;
mod lifecycle;
mod models;
mod monitoring;
mod mutated;
#[path = "../mutation/mod.rs"]
mod mutation;
mod process;
#[path = "../explain/recompute.rs"]
mod recompute;
mod refusals;
mod rescue;
mod responses;
mod sdks;
mod sent;
mod shadow;
mod support;
mod tenants;
mod top;
mod traces;
mod walls;
mod wire;
