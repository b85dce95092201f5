//! The gateway's mind: routing, tenants, providers, money and supervision. It knows no HTTP, no SQL and no provider's JSON.

pub mod catalogue;
pub mod clock;
pub mod fault;
pub mod identity;
pub mod ledger;
pub mod metrics;
pub mod money;
pub mod provider;
pub mod routing;
pub mod runtime;
mod sync;
pub mod tenant;
