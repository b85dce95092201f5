//! What ractor leaves to us: addresses of roles, bounded mailboxes, restarts that never give up, a tree that can be looked at.
//!
//! - A [`Behaviour`] says what the actors of a role do. Its handlers are plain functions: they cannot await, so no handler ever waits for
//!   a network or a disk.
//! - A [`Leaf`] runs one behaviour under a supervisor and keeps its [`Address`]: the name of the *role*, which outlives every incarnation.
//!   Nobody holds a reference to a dead actor; a caller that meets a death waits for the next incarnation and asks again.
//! - A [`Supervisor`] restarts its children for ever: at once the first time, then with exponential backoff and jitter. Its roster
//!   stands outside it, so that a supervisor that crashes rebuilds its children.
//! - A [`System`] holds one tree. Nothing is global: several gateways live side by side in one process.
//!
//! A mailbox of ractor is unbounded; every message therefore carries a slot taken before it is sent, which is bound and depth at once.

mod address;
mod backoff;
mod gauges;
mod leaf;
mod supervisor;
mod system;

pub use address::{Address, CallError, MailboxFull, Suspension};
pub use backoff::Backoff;
pub use gauges::{Failure, Gauges, Status};
pub use leaf::{Behaviour, Leaf};
pub use supervisor::{Child, Node, Roster, SpawnFuture, Supervisor};
pub use system::{RestartTotals, System};

#[cfg(test)]
mod tests;
