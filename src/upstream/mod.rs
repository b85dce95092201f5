//! upstream

pub mod sse;
