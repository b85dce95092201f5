//! A tenant: what it may do, what it has spent, what it has asked already.
//!
//! The [`actor`](Tenant) decides and forgets; what must outlive its crash is its [`Estate`]: the [`account`], the cached [`answers`] with
//! the requests in flight, the models of its conversations ([`pins`]), what its requests have taught ([`learning`]), how a second policy
//! compares ([`shadow`]), what its hedges may cost ([`hedging`]), and the waits that providers imposed on its keys. Only the tenant actor
//! reserves money; whoever holds the guard settles.

pub mod account;
pub mod answers;
pub mod cooling;
pub mod flight;
pub mod hedging;
pub mod learning;
pub mod limits;
pub mod pins;
pub mod policy;
pub mod shadow;

mod actor;
mod estate;
mod trials;

pub use actor::{
    DEFAULT_COMPLEXITY, Denial, Dispatch, Message, Passed, Providers, Question, Reply, Shown, Stage, Tenant, World,
    scored,
};
pub use estate::Estate;
