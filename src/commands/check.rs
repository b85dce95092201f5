//! `aipipe check`: validates the configuration and the catalogue, and prints what would run.

use std::path::Path;
use std::process::ExitCode;

use aipipe_actors::tenant::account::day_of;
use jiff::Timestamp;

use super::INVALID;
use crate::config::{self, Config, Environment};

/// Prints what would run, or every problem.
pub(super) fn run(file: Option<&Path>) -> ExitCode {
    match config::load(file, &Environment::from_process()) {
        Ok(config) => {
            report(&config);
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(INVALID)
        }
    }
}

fn report(config: &Config) {
    println!("listen address  {}", config.server.addr);
    println!("database        {}", config.database.path.display());
    println!(
        "admin API       {}",
        if config.admin_secret.is_some() { "on" } else { "off: AIPIPE_ADMIN_SECRET is not set" }
    );
    for provider in &config.providers {
        let state = match (provider.enabled, &provider.key, &provider.key_variable) {
            (false, _, _) => "disabled".to_owned(),
            (true, Some(_), _) | (true, None, None) => "ready".to_owned(),
            (true, None, Some(variable)) => format!("no operator key: set {variable}"),
        };
        println!("provider        {:<12} {} ({state})", provider.id, provider.base_url);
    }
    let today = day_of(Timestamp::now());
    let models = config.catalogue.models();
    let candidates = models.iter().filter(|model| model.auto && !model.retired(today)).count();
    println!("models          {}, of which {candidates} are candidates for auto", models.len());
    for (model, day) in config.retiring(today) {
        println!("retiring        {}/{} on {day}", model.provider, model.id);
    }
}
