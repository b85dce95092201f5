//! The providers, as data: how each is addressed and what is peculiar to it.
//!
//! A provider is one row of [`BUILT_IN`] in `table.rs`. Everything that distinguishes it from others of its dialect is a field of its
//! [`Profile`]; code that speaks to providers asks the field and never the name. An eighth provider is an eighth row there, its models
//! in `config/catalogue.toml`, and nothing else. Providers declared in configuration start from [`Profile::of`] their dialect.

mod profile;
mod table;

pub use profile::{Auth, Dialect, EffortField, Paths, Profile, StreamUsage, Temperature, ThinkingSwitch};
pub use table::{BUILT_IN, BuiltIn, built_in};
