//! From a tenant's name to its live actor. The pipeline of a request will stand here beside it.

pub mod tenants;
