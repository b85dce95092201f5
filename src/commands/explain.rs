//! `aipipe explain`: the routing decision for a prompt, made as the gateway would make it, without sending anything.
//!
//! It reads the tenant's settings, what its requests have taught and which keys it has from the database beside a gateway that may be
//! running, and knows nothing of the providers' health at this moment: `POST /v1/route` asks the running gateway itself.

use std::collections::HashSet;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aipipe_actors::clock::{Clock, SystemClock};
use aipipe_actors::identity::{RequestId, TenantId};
use aipipe_actors::routing::choice::{Lessons, Situation, Standing};
use aipipe_actors::routing::complexity::assess;
use aipipe_actors::routing::decision::{Basis, Decision, Reason, Side, Weighed, adjusted_cost, exponent};
use aipipe_actors::routing::digest::ClientDialect;
use aipipe_actors::routing::preferences::Preferences;
use aipipe_actors::routing::shown::twelve_digits;
use aipipe_actors::routing::signals::Features;
use aipipe_actors::tenant::account::day_of;
use aipipe_actors::tenant::learning::Learning;
use aipipe_actors::tenant::{DEFAULT_COMPLEXITY, scored};
use anyhow::Context;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::{configuration, print};
use crate::config::{self, Config};
use crate::dialects::client::Addressed;
use crate::dialects::issued::Holdings;
use crate::dialects::openai_chat::scan::scan;
use crate::dialects::scan::PromptHasher;
use crate::dialects::surface;
use crate::gateway::Setup;
use crate::gateway::prepare::{self, Label};
use crate::gateway::sessions::Session;
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
        Ok(explained) if arguments.json => print(&format!("{:#}\n", explained.decision.to_json())),
        Ok(explained) => print(&page(&explained)),
        Err(error) => {
            eprintln!("aipipe explain: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A decision, and what in the prompt moved its score.
struct Explained {
    decision: Decision,
    movers: Vec<Mover>,
}

/// Something counted that moved the score.
struct Mover {
    name: &'static str,
    count: usize,
    /// What it adds to the log-odds.
    adds: f64,
    words: Vec<String>,
}

/// Movers that are shown.
const MOVERS: usize = 8;
/// Words that are shown of each.
const WORDS: usize = 4;
/// Bytes of a word that is shown at most: without spaces a whole sentence is one.
const LONGEST_WORD: usize = 40;
/// What moves the log-odds by less is not told.
const LEAST: f64 = 0.02;

/// What moved the score of a body, the strongest first.
fn movers(body: &str) -> anyhow::Result<Vec<Mover>> {
    let scanned = scan(body.as_bytes())?;
    let ask = scanned.found.ask();
    let features = Features::measure(&ask.view());
    let (weights, text) = (config::shipped_weights(), ask.view().current);
    let shown = |words: Vec<String>| words.into_iter().filter(|word| word.len() <= LONGEST_WORD).take(WORDS).collect();
    let adds = weights.vocabulary(&features);
    let telling = weights.vocabulary_told(text, &features).into_iter().filter(|(_, part)| part * adds > 0.0);
    let vocabulary = Mover {
        name: "vocabulary",
        count: features.bag().buckets().len(),
        adds,
        words: shown(telling.map(|(words, _)| words).collect()),
    };
    let counted = weights.movers(&features).into_iter().map(|(measure, adds)| {
        let words = if measure.is_of_words() { Features::words_of(text, measure) } else { Vec::new() };
        let words = shown(words.into_iter().map(str::to_owned).collect());
        Mover { name: measure.name(), count: features.get(measure) as usize, adds, words }
    });
    let mut movers: Vec<Mover> = counted.chain([vocabulary]).filter(|mover| mover.adds.abs() >= LEAST).collect();
    movers.sort_by(|a, b| b.adds.abs().total_cmp(&a.adds.abs()));
    movers.truncate(MOVERS);
    Ok(movers)
}

fn explain(config: Config, arguments: &Arguments) -> anyhow::Result<Explained> {
    let body = body(arguments)?;
    let tenant = TenantId::parse(&arguments.tenant)?;
    let reader = Reader::open(&config.database.path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let record = runtime.block_on(reader.tenant(&tenant))?;
    let record = record.with_context(|| format!("there is no tenant {tenant}"))?;
    let own: HashSet<_> = runtime.block_on(reader.keys(&tenant))?.into_iter().map(|key| key.provider).collect();
    let learning = Learning::of(runtime.block_on(reader.lessons(&tenant))?);
    let policy = record.policy;
    let lessons = learning.as_of(SystemClock.now()).filter(|_| policy.learning);
    let by_operator = uses_operator_keys(&tenant, &policy);

    let setup = Setup { upstreams: upstreams(&config), config };
    let request = surface(ClientDialect::Chat).scan(body.as_bytes(), &Addressed::default())?;
    let label = Label {
        request_id: RequestId::generate(),
        dialect: ClientDialect::Chat,
        wishes: Preferences::default(),
        along: http::HeaderMap::new(),
        session: Session::default(),
    };
    let digest = prepare::digest(&*request, label, &setup, &PromptHasher::default(), &Holdings::default())
        .map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    let default = policy.default_complexity.unwrap_or(DEFAULT_COMPLEXITY);
    let assessed = assess(&digest.demand.features, &config::shipped_weights(), default);
    let situation = Situation {
        tenant: &tenant,
        digest: &digest,
        scored: scored(&digest, assessed, policy.quality),
        catalogue: &setup.config.catalogue,
        allowed: policy.models.as_deref(),
        min_quality: policy.min_quality,
        learned: lessons.as_ref().map(|lessons| lessons as &dyn Lessons),
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
    Ok(Explained { decision: choice.decision, movers: movers(&body)? })
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
fn page(explained: &Explained) -> String {
    let decision = &explained.decision;
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
    let basis = match decision.basis {
        Basis::Scored => "scored",
        Basis::None => "nothing to score by: the tenant's default",
        Basis::Override => "as the request says",
    };
    line(&mut page, format_args!("{:<19}{basis}", ""));
    if let Some(bias) = decision.bias {
        let quality = bias.quality.unwrap_or_default().as_str();
        let stuck = if bias.stuck.is_some() { ", raised for an agent that is stuck" } else { "" };
        let shift = bias.shift();
        line(&mut page, format_args!("{:<19}{:.3} {shift:+.2} ({quality}{stuck})", "", bias.assessed));
    }
    if decision.basis == Basis::Scored {
        line(&mut page, format_args!("\nwhat moved it (log-odds that a cheap model fails)"));
        for mover in &explained.movers {
            let words = if mover.words.is_empty() { String::new() } else { format!("  {}", mover.words.join(", ")) };
            line(&mut page, format_args!("  {:>+6.2}  {} ×{}{words}", mover.adds, mover.name, mover.count));
        }
    }
    let exponent = exponent(decision.complexity);
    line(&mut page, format_args!("\nexponent    max(0, {:.3} - 0.25) * 6 = {exponent:.3}", decision.complexity));
    line(
        &mut page,
        format_args!("tokens      {} in, {} out expected\n", decision.input_tokens, decision.output_tokens),
    );
    line(&mut page, format_args!("{}", table(decision, exponent)));
    match decision.chosen() {
        None => line(&mut page, format_args!("no model can serve this request")),
        Some(_) => {
            if let Some(text) = break_even(decision) {
                line(&mut page, format_args!("\n{text}"));
            }
        }
    }
    page
}

/// From which complexity on, or up to which, the second would be chosen instead of the first.
fn break_even(decision: &Decision) -> Option<String> {
    let even = decision.break_even()?;
    let name = format!("{}/{}", even.second.provider, even.second.model);
    Some(match even.side {
        Some(Side::From(complexity)) => format!("{name} would be chosen from a complexity of {complexity:.3} on"),
        Some(Side::UpTo(complexity)) => format!("{name} would be chosen up to a complexity of {complexity:.3}"),
        None => format!("{name} would be chosen at no complexity"),
    })
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "{text}");
}

/// The candidates, the eligible by rank and then the others.
fn table(decision: &Decision, exponent: f64) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["rank", "model", "raw cost $", "quality", "adjusted $", "penalty", "effective $", "verdict"]);
    let mut rank = 0;
    for candidate in &decision.candidates {
        let raw = candidate.raw.map(|raw| raw.to_string()).unwrap_or_default();
        let adjusted = candidate.raw.map(|raw| adjusted_cost(raw, candidate.quality, exponent));
        let effective = adjusted.map(|cost| twelve_digits(cost * candidate.penalty));
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
            quality(candidate),
            adjusted.map(twelve_digits).unwrap_or_default(),
            format!("{:.2}", candidate.penalty),
            effective.unwrap_or_default(),
            verdict,
        ]);
    }
    for column in [0, 2, 3, 4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A candidate's quality, with what it was before anything was learned.
fn quality(candidate: &Weighed) -> String {
    let before = candidate.learned.map(|learned| format!(" (was {:.3})", learned.prior)).unwrap_or_default();
    format!("{:.3}{before}", candidate.quality)
}

/// A value in 0..=1 as a bar.
fn bar(value: f64) -> String {
    const WIDTH: f64 = 40.0;
    "█".repeat((value.clamp(0.0, 1.0) * WIDTH).round() as usize)
}
