//! Configuration: built-in defaults, overlaid by a file, overlaid by the environment.
//!
//! What was *written* (`written.rs`: every key optional, with its place) is told apart from what it *means* ([`Config`]: complete and
//! checked). [`load`] reads, overlays and checks, and reports every problem at once; [`reload`](reload()) does the same for a running
//! gateway and says what changed. The environment comes in as a value ([`Environment`]), so that nothing here depends on the process.
//!
//! Models follow the same way: `config/catalogue.toml` is a list of `[[models]]` compiled into the program, over which those of the file
//! are laid field by field.

mod catalogue;
mod check;
mod document;
mod environment;
mod errors;
mod meaning;
mod open_telemetry;
mod reload;
mod scorer;
mod values;
mod written;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use catalogue::{DEFAULT_CONTEXT_TOKENS, DEFAULT_MAX_OUTPUT_TOKENS, DEFAULT_QUALITY, benchmark_catalogue};
pub use environment::Environment;
pub use errors::{ConfigError, ConfigErrors, Place};
pub use meaning::{
    Cache, Config, Database, Hedge, Limits, Metrics, ProviderConfig, Reliability, Routing, Server, TenantAuth, Tenants,
};
pub use open_telemetry::{Sampler, Traces};
pub use reload::{Change, Effect, reload};
pub use scorer::shipped_weights;

use document::Document;
use written::Written;

/// The configuration that holds with this file (`--config`) and environment. Without `file` the file that `AIPIPE_CONFIG` names is read,
/// without that none.
pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Config, ConfigErrors> {
    load_revision(file, environment, 1)
}

/// [`load`], with the number that the catalogue bears.
fn load_revision(file: Option<&Path>, environment: &Environment, revision: u64) -> Result<Config, ConfigErrors> {
    let named = environment.get("AIPIPE_CONFIG").map(PathBuf::from);
    let (mut written, mut problems) = match file.or(named.as_deref()) {
        Some(file) => read(file)?,
        None => (Written::default(), Vec::new()),
    };
    environment.overlay(&mut written, &mut problems);
    check::check(written, environment, revision, problems)
}

/// Reads a file without deciding anything.
fn read(file: &Path) -> Result<(Written, Vec<ConfigError>), ConfigErrors> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let place = Place::File { file: Arc::from(file), line: None, key: String::new() };
        ConfigError::new(place, format!("cannot be read: {error}"))
    })?;
    let document = Document::new(file, &text);
    let written = Written::read(document.root());
    Ok((written, document.into_problems()))
}
