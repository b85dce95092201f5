//! AiPipe: the gateway between a team's software and every LLM provider.
//!
//! This crate holds the edges: HTTP, dialects, upstream calls, store, configuration, commands. The mind (routing, tenants, providers,
//! money, supervision) is the crate `aipipe_actors`, which knows none of them.

pub mod commands;
pub mod config;
pub mod dashboard;
pub mod dialects;
pub mod gateway;
pub mod http;
pub mod providers;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod upstream;

/// The commit that the program was built from, or `unknown`.
pub const COMMIT: &str = env!("AIPIPE_COMMIT");
