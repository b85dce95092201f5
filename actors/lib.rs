//! The mind of the gateway.
