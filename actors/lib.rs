//! The gateway's mind: routing, tenants, providers, money and supervision. It knows no HTTP, no SQL and no provider's JSON.

pub mod catalogue;
pub mod identity;
pub mod ledger;
pub mod money;
pub mod routing;
pub mod tenant;
