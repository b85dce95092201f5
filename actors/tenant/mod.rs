//! Tenants: whose requests these are, what they may do, spend and see.

pub mod policy;
