//! A provider: who may call it now, how well it is, what it has cost.
//!
//! The actor decides in microseconds and owns the circuits; the [`gate`] with the places stands outside it. Every upstream call needs a
//! [`Ticket`], and only the provider actor's grant makes one.

pub mod circuit;
pub mod gate;
pub mod health;
pub mod pace;
pub mod turns;
pub mod window;

mod actor;

pub use actor::{Grant, Message, Offer, Provider, Refusal, Ticket, Wait};
