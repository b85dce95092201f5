//! From a request's features to a choice among models: pure functions of their inputs.
//!
//! The request's task measures [`signals`] on text that it borrows from the body ([`ask`]) and estimates [`tokens`]; what the tenant
//! actor is told is a [`digest`]. The actor turns features into a [`complexity`], weighs the candidates ([`choice`]) by
//! the catalogue's qualities and the [`evidence`] of the tenant's own requests, lets a [`conversation`] keep its model, and keeps the
//! explained [`decision`]. A sixth signal is a field in `signals` and a weight in the data file.

pub mod ask;
pub mod choice;
pub mod complexity;
pub mod conversation;
pub mod decision;
pub mod digest;
pub mod evidence;
mod kept;
pub mod lineup;
pub mod preferences;
pub mod shown;
pub mod signals;
pub mod tokens;
