//! From a request's features to a choice among models: pure functions of their inputs.

pub mod ask;
pub mod preferences;
pub mod tokens;
