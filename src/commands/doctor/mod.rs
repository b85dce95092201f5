//! `aipipe doctor`: looks at everything that must be right for the gateway to serve, and says what to do where it is not.
//!
//! It changes nothing. The only calls that it makes are one listing of models for each provider that is in use, at its configured base
//! URL with the operator's key, and a look at whether a gateway answers at the configured address.

mod host;
mod reach;

use std::path::Path;
use std::process::ExitCode;

use aipipe_actors::tenant::account::day_of;
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::{configuration, print};
use crate::config::Config;
use crate::store::{AdminScope, Reader};

/// Shortest admin secret that nobody guesses.
const GOOD_SECRET: usize = 16;

/// What is to be looked at.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Call no provider
    #[arg(long)]
    offline: bool,
    /// Only ask whether a gateway lives at the configured address, as a container's health check does
    #[arg(long, conflicts_with = "offline")]
    alive: bool,
}

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Works, and may not be what is meant.
    Doubtful,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    verdict: Verdict,
    what: String,
    /// What was found.
    found: String,
    /// What to do.
    remedy: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, what: what.into(), found: found.into(), remedy: None }
    }

    fn doubtful(what: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Doubtful, remedy: Some(remedy.into()), ..Self::good(what, found) }
    }

    fn bad(what: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, ..Self::doubtful(what, found, remedy) }
    }

    fn line(&self) -> String {
        let mark = match self.verdict {
            Verdict::Good => "ok     ",
            Verdict::Doubtful => "doubt  ",
            Verdict::Bad => "WRONG  ",
        };
        let remedy = self.remedy.as_ref().map(|remedy| format!("\n{:26}do: {remedy}", "")).unwrap_or_default();
        format!("{mark} {:<18}{}{remedy}\n", self.what, self.found)
    }
}

/// Prints what was found; 1 where something is wrong, 2 where the configuration is.
pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> ExitCode {
    let (config, source) = match configuration(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("aipipe: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.alive {
        return match runtime.block_on(reach::alive(&config)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("aipipe: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let configured = source.file.map_or_else(|| "built-in defaults".to_owned(), |file| file.display().to_string());
    let mut findings = vec![Finding::good("configuration", configured)];
    findings.extend(keys(&config));
    findings.push(admin(&config));
    findings.push(models(&config));
    findings.extend(host::findings(&config));
    findings.push(runtime.block_on(database(&config)));
    if !arguments.offline {
        findings.extend(runtime.block_on(reach::findings(&config)));
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (wrong, doubtful) = (count(Verdict::Bad), count(Verdict::Doubtful));
    let report: String = findings.iter().map(Finding::line).collect();
    let printed = print(&format!("{report}\n{wrong} wrong, {doubtful} in doubt\n"));
    if wrong > 0 { ExitCode::FAILURE } else { printed }
}

fn keys(config: &Config) -> Vec<Finding> {
    let enabled: Vec<_> = config.providers.iter().filter(|provider| provider.enabled).collect();
    let (usable, without): (Vec<_>, Vec<_>) =
        enabled.into_iter().partition(|provider| provider.key.is_some() || !provider.needs_key());
    let names = |providers: &[&crate::config::ProviderConfig]| {
        providers.iter().map(|provider| provider.id.to_string()).collect::<Vec<_>>().join(", ")
    };
    if usable.is_empty() {
        let variables: Vec<&str> = without.iter().filter_map(|provider| provider.key_variable.as_deref()).collect();
        let remedy = format!("set one of {}, or give tenants keys of their own", variables.join(", "));
        return vec![Finding::doubtful("keys", "the operator has none", remedy)];
    }
    let mut findings = vec![Finding::good("keys", names(&usable))];
    if !without.is_empty() {
        findings.push(Finding::good("no key, not used", names(&without)));
    }
    findings
}

fn admin(config: &Config) -> Finding {
    match &config.admin_secret {
        None => {
            let remedy = "set AIPIPE_ADMIN_SECRET, for instance to what `openssl rand -hex 32` prints";
            Finding::doubtful("admin API", "off: no secret is set", remedy)
        }
        Some(secret) if secret.expose_secret().len() < GOOD_SECRET => {
            let remedy = "take a longer AIPIPE_ADMIN_SECRET, for instance what `openssl rand -hex 32` prints";
            Finding::doubtful("admin API", format!("on, with a secret of less than {GOOD_SECRET} bytes"), remedy)
        }
        Some(_) => Finding::good("admin API", format!("on; the dashboard is at http://{}/admin/", config.server.addr)),
    }
}

fn models(config: &Config) -> Finding {
    let today = day_of(Timestamp::now());
    let models = config.catalogue.models();
    let candidates = models.iter().filter(|model| model.auto && model.rates.is_some() && !model.retired(today)).count();
    let found = format!("{} in the catalogue, {candidates} of them candidates for auto", models.len());
    if candidates > 0 {
        Finding::good("models", found)
    } else {
        Finding::bad(
            "models",
            found,
            "declare [[models]] with price and quality, or set routing.catalogue = \"extend\"",
        )
    }
}

async fn database(config: &Config) -> Finding {
    let path = &config.database.path;
    let tenants = async { Reader::open(path)?.tenants(AdminScope::granted()).await };
    match tenants.await {
        Ok(tenants) if path.exists() => {
            Finding::good("database", format!("{}, tenants: {}", path.display(), tenants.len()))
        }
        Ok(_) => Finding::good("database", format!("{} is made at the first start", path.display())),
        Err(error) => {
            let remedy = "name another file by AIPIPE_DATABASE, or restore this one from a backup";
            Finding::bad("database", format!("{}: {error}", path.display()), remedy)
        }
    }
}
