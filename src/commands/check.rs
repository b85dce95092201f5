//! `aipipe check`: validates the configuration, the catalogue and the database, and prints what would run.

use std::path::Path;
use std::process::ExitCode;

use aipipe_actors::tenant::account::day_of;
use jiff::Timestamp;

use super::{INVALID, configuration, print};
use crate::config::Config;
use crate::providers::built_in;
use crate::store::{AdminScope, Reader};

/// Prints what would run, or every problem.
pub(super) fn run(file: Option<&Path>) -> ExitCode {
    let (config, _) = match configuration(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match tenants(&config) {
        Ok(tenants) => print(&report(&config, tenants)),
        Err(error) => {
            eprintln!("{}: {error}", config.database.path.display());
            ExitCode::from(INVALID)
        }
    }
}

/// Tenants in the database, which is read as it is: whoever serves it goes on.
fn tenants(config: &Config) -> anyhow::Result<usize> {
    let reader = Reader::open(&config.database.path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(reader.tenants(AdminScope::granted()))?.len())
}

fn report(config: &Config, tenants: usize) -> String {
    let mut lines = vec![
        format!("listen address  {}", config.server.addr),
        format!("database        {} (tenants: {tenants})", config.database.path.display()),
        format!(
            "admin API       {}",
            if config.admin_secret.is_some() { "on" } else { "off: AIPIPE_ADMIN_SECRET is not set" }
        ),
    ];
    if let Some(traces) = &config.traces {
        // Without what may be a secret in it.
        lines.push(format!("traces          to {}", traces.endpoint.host_str().unwrap_or_default()));
    }
    for provider in &config.providers {
        let state = match (provider.enabled, &provider.key, &provider.key_variable) {
            (false, _, _) => "disabled".to_owned(),
            (true, Some(_), _) | (true, None, None) => "ready".to_owned(),
            (true, None, Some(variable)) => format!("no operator key: set {variable}"),
        };
        lines.push(format!("provider        {:<12} {} ({state})", provider.id.as_str(), provider.base_url));
        if let (true, true, Some(region)) = (provider.enabled, provider.key.is_some(), provider.profile.key_region)
            && built_in(provider.id.as_str()).is_some_and(|row| provider.base_url.as_str().starts_with(row.base_url))
        {
            lines.push(format!("{:<29}{region}", ""));
        }
    }
    let today = day_of(Timestamp::now());
    let models = config.catalogue.models();
    let candidates = models.iter().filter(|model| model.auto && model.rates.is_some() && !model.retired(today)).count();
    lines.push(format!("models          {}, of which {candidates} are candidates for auto", models.len()));
    for (model, day) in config.retiring(today) {
        lines.push(format!("retiring        {}/{} on {day}", model.provider, model.id));
    }
    lines.join("\n") + "\n"
}
