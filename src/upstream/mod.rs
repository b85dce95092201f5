//! HTTP to the providers: one pooled client, keys put on at the last moment, failures named by their class.

pub mod classify;
pub mod client;
pub mod sse;
