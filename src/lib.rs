//! AiPipe: the gateway between a team's software and every LLM provider.
//!
//! This crate holds the edges: HTTP, dialects, upstream calls, store, configuration, commands. The mind (routing, tenants, providers,
//! money, supervision) is the crate `aipipe_actors`, which knows none of them.

pub mod commands;
pub mod config;
pub mod dialects;
pub mod gateway;
pub mod providers;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod upstream;
