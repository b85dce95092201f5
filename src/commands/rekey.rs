//! `aipipe rekey`: seals the stored provider keys with a new master key.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::{configuration, failed, print};
use crate::config::{Config, Environment};
use crate::gateway::start::store_settings;
use crate::store::{MasterKey, NewMasterKey, Rekeyed, Store};

/// The variable that holds the new master key.
const NEW_KEY: &str = "AIPIPE_NEW_MASTER_KEY";

/// Seals anew, and says what the next start needs.
pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let (config, source) = match configuration(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match rekey(&config, &source.environment) {
        Ok(rekeyed) => print(&report(&rekeyed, config.master_key.is_some())),
        Err(error) => failed(&error),
    }
}

fn rekey(config: &Config, environment: &Environment) -> anyhow::Result<Rekeyed> {
    let new = match environment.get(NEW_KEY) {
        Some(text) => {
            let key = MasterKey::parse(text).with_context(|| {
                format!("{NEW_KEY} must be 32 bytes, written as base64 or as 64 hexadecimal digits")
            })?;
            NewMasterKey::Given(key)
        }
        None => NewMasterKey::Generated,
    };
    Ok(Store::rekey(store_settings(config), new)?)
}

fn report(rekeyed: &Rekeyed, was_given: bool) -> String {
    let Rekeyed { keys, file } = rekeyed;
    let next = match file {
        Some(file) if was_given => format!("the new master key is in {}; unset AIPIPE_MASTER_KEY", file.display()),
        Some(file) => format!("the new master key is in {}", file.display()),
        None if was_given => format!("set AIPIPE_MASTER_KEY to what {NEW_KEY} holds before the next start"),
        None => format!(
            "set AIPIPE_MASTER_KEY to what {NEW_KEY} holds before the next start, and remove the key file beside the database"
        ),
    };
    format!("{keys} provider keys are sealed with the new master key; {next}\n")
}
