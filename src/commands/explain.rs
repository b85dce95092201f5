//! `aipipe explain`: the routing decision for a prompt, made as the gateway would make it, without sending anything.
//!
//! It reads the tenant's settings and which keys it has from the database beside a gateway that may be running, and knows nothing of the
//! providers' health at this moment: `POST /v1/route` asks the running gateway itself.

use std::collections::HashSet;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aipipe_actors::clock::{Clock, SystemClock};
use aipipe_actors::identity::{RequestId, TenantId};
use aipipe_actors::routing::choice::{Situation, Standing};
use aipipe_actors::routing::complexity::assess;
use aipipe_actors::routing::decision::{Decision, Reason, adjusted_cost, exponent, twelve_digits};
use aipipe_actors::routing::digest::ClientDialect;
use aipipe_actors::routing::preferences::Preferences;
use aipipe_actors::tenant::account::day_of;
use aipipe_actors::tenant::{DEFAULT_COMPLEXITY, scored};
use anyhow::Context;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::{configuration, print};
use crate::config::{self, Config};
use crate::dialects::client::Addressed;
use crate::dialects::issued::Holdings;
use crate::dialects::scan::PromptHasher;
use crate::dialects::surface;
use crate::gateway::Setup;
use crate::gateway::prepare::{self, Label};
use crate::gateway::tenants::uses_operator_keys;
use crate::gateway::upstreams::upstreams;
use crate::store::Reader;

/// What is to be explained.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Tenant whose settings and keys count
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: String,
    /// File with a Chat Completions body (JSON) or a prompt; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    file: Option<PathBuf>,
    /// Print the decision as JSON
    #[arg(long)]
    json: bool,
    /// The prompt
    #[arg(value_name = "PROMPT", required_unless_present = "file")]
    prompt: Option<String>,
}

/// Prints the decision.
pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> ExitCode {
    let config = match configuration(file) {
        Ok((config, _)) => config,
        Err(code) => return code,
    };
    match explain(config, arguments) {
        Ok(decision) if arguments.json => print(&format!("{:#}\n", decision.to_json())),
        Ok(decision) => print(&page(&decision)),
        Err(error) => {
            eprintln!("aipipe explain: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn explain(config: Config, arguments: &Arguments) -> anyhow::Result<Decision> {
    let body = body(arguments)?;
    let tenant = TenantId::parse(&arguments.tenant)?;
    let reader = Reader::open(&config.database.path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let record = runtime.block_on(reader.tenant(&tenant))?;
    let record = record.with_context(|| format!("there is no tenant {tenant}"))?;
    let own: HashSet<_> = runtime.block_on(reader.keys(&tenant))?.into_iter().map(|key| key.provider).collect();
    let policy = record.policy;
    let by_operator = uses_operator_keys(&tenant, &policy);

    let setup = Setup { upstreams: upstreams(&config), config };
    let request = surface(ClientDialect::Chat).scan(body.as_bytes(), &Addressed::default())?;
    let label = Label {
        request_id: RequestId::generate(),
        dialect: ClientDialect::Chat,
        wishes: Preferences::default(),
        along: http::HeaderMap::new(),
    };
    let digest = prepare::digest(&*request, label, &setup, &PromptHasher::default(), &Holdings::default())
        .map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    let default = policy.default_complexity.unwrap_or(DEFAULT_COMPLEXITY);
    let assessed = assess(&digest.features, &config::shipped_weights(), default);
    let situation = Situation {
        tenant: &tenant,
        digest: &digest,
        scored: scored(&digest, assessed),
        catalogue: &setup.config.catalogue,
        allowed: policy.models.as_deref(),
        today: day_of(SystemClock.now()),
    };
    let choice = situation.choose(|model| {
        let Some(provider) = setup.config.providers.iter().find(|p| p.enabled && p.id == model.provider) else {
            return Standing::Barred(Reason::Disabled);
        };
        let operators = by_operator && (provider.key.is_some() || !provider.needs_key());
        if own.contains(&provider.id) || operators {
            Standing::Ready { penalty: 1.0 }
        } else {
            Standing::Barred(Reason::NoKey)
        }
    });
    Ok(choice.decision)
}

/// The chat body to be explained: as given, or made of a prompt.
fn body(arguments: &Arguments) -> anyhow::Result<String> {
    let text = match (&arguments.file, &arguments.prompt) {
        (Some(file), _) if file == Path::new("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
            text
        }
        (Some(file), _) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        (None, Some(prompt)) => prompt.clone(),
        (None, None) => String::new(),
    };
    if arguments.file.is_some() && text.trim_start().starts_with('{') {
        return Ok(text);
    }
    Ok(serde_json::json!({"model": prepare::AUTO, "messages": [{"role": "user", "content": text}]}).to_string())
}

/// The decision as a person reads it.
fn page(decision: &Decision) -> String {
    let signals = decision.signals;
    let mut page = String::new();
    for (name, value) in [
        ("length", signals.length),
        ("code", signals.code),
        ("keywords", signals.keywords),
        ("structure", signals.structure),
        ("depth", signals.depth),
        ("complexity", decision.complexity),
    ] {
        line(&mut page, format_args!("{name:<11} {value:>5.3}  {}", bar(value)));
    }
    let exponent = exponent(decision.complexity);
    line(&mut page, format_args!("\nexponent    max(0, {:.3} - 0.25) * 6 = {exponent:.3}", decision.complexity));
    line(
        &mut page,
        format_args!("tokens      {} in, {} out expected\n", decision.input_tokens, decision.output_tokens),
    );
    line(&mut page, format_args!("{}", table(decision, exponent)));
    if decision.chosen().is_none() {
        line(&mut page, format_args!("no model can serve this request"));
    }
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{text}");
}

/// The candidates, the eligible by rank and then the others.
fn table(decision: &Decision, exponent: f64) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["rank", "model", "raw cost $", "quality", "adjusted $", "penalty", "verdict"]);
    let mut rank = 0;
    for candidate in &decision.candidates {
        let raw = candidate.raw.map(|raw| raw.to_string()).unwrap_or_default();
        let adjusted = candidate.raw.map(|raw| twelve_digits(adjusted_cost(raw, candidate.quality, exponent)));
        let verdict = match (&candidate.reason, rank) {
            (Some(reason), _) => reason.name(),
            (None, 0) => "chosen".to_owned(),
            (None, _) => String::new(),
        };
        rank += u32::from(candidate.reason.is_none());
        table.add_row([
            if candidate.reason.is_none() { rank.to_string() } else { String::new() },
            format!("{}/{}", candidate.provider, candidate.model),
            raw,
            format!("{:.3}", candidate.quality),
            adjusted.unwrap_or_default(),
            format!("{:.2}", candidate.penalty),
            verdict,
        ]);
    }
    for column in [0, 2, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A value in 0..=1 as a bar.
fn bar(value: f64) -> String {
    const WIDTH: f64 = 40.0;
    "█".repeat((value.clamp(0.0, 1.0) * WIDTH).round() as usize)
}
