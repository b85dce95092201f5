//! `aipipe catalogue update FILE`: new prices from a price file that others keep, shown as a difference and written as overrides.
//!
//! The built-in catalogue is part of the program; what changes is the configuration file, in which a model's override holds the new
//! price. The file keeps its comments and its order, and is replaced only by one that passes the checks of `aipipe check`.

mod overrides;
mod price_file;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aipipe_actors::catalogue::{Catalogue, Model};
use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::money::{LongContext, Rate};
use anyhow::Context;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::{INVALID, configuration, failed, print};
use crate::config::{self, Config};
use crate::gateway::Source;
use price_file::Listing;

/// Exit code where prices differ and nothing was written.
const DIFFERENT: u8 = 1;
/// A price that changes by this factor or more is more likely a mistake of the file than a new price.
const IMPLAUSIBLE: i64 = 10;

/// What `catalogue` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Compare the catalogue with a price file and take over what differs, as [[models]] of the configuration file
    Update(Update),
}

#[derive(Debug, clap::Args)]
struct Update {
    /// api.json of models.dev, or LiteLLM's model_prices_and_context_window.json
    file: PathBuf,
    /// Write without asking
    #[arg(long)]
    yes: bool,
    /// Add models that the catalogue does not have; `auto` does not choose them
    #[arg(long)]
    add: bool,
    /// Take over prices that differ tenfold or more, too; otherwise they are shown and left as they are
    #[arg(long)]
    implausible: bool,
}

/// Shows what differs and writes it where that is confirmed; exits with 1 where it is not, and with 2 where it cannot be done.
pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> ExitCode {
    let Action::Update(arguments) = &arguments.action;
    let (config, source) = match configuration(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    update(&config, &source, arguments).unwrap_or_else(|error| {
        failed(&error);
        ExitCode::from(INVALID)
    })
}

fn update(config: &Config, source: &Source, arguments: &Update) -> anyhow::Result<ExitCode> {
    let name = arguments.file.display();
    let bytes = std::fs::read(&arguments.file).with_context(|| format!("{name} cannot be read"))?;
    let is_known = |provider: &str| config.provider(provider).is_some();
    let listings = price_file::read(&bytes, is_known).with_context(|| name.to_string())?;
    let difference = Difference::between(&config.catalogue, &listings);
    print(&difference.report(arguments));
    let changes = difference.taken(arguments);
    if changes.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let named = source.file.clone().or_else(|| source.environment.get("AIPIPE_CONFIG").map(PathBuf::from));
    let target = named.context(
        "the built-in catalogue is part of the program: name the configuration file that is to hold the new prices with --config or \
         AIPIPE_CONFIG (an empty file will do)",
    )?;
    if !arguments.yes && !is_confirmed(&target, changes.len())? {
        eprintln!("aipipe: nothing was written");
        return Ok(ExitCode::from(DIFFERENT));
    }
    let origin = arguments.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let file = std::fs::canonicalize(&target).with_context(|| format!("{} cannot be found", target.display()))?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let text = overrides::write(&text, &changes, &origin).with_context(|| file.display().to_string())?;
    replace(&file, &text, source)?;
    let written =
        format!("{} models in {}; SIGHUP or POST /admin/reload takes them over\n", changes.len(), target.display());
    Ok(print(&written))
}

/// Puts a configuration in the place of the file's, if it is one that can be run.
fn replace(file: &Path, text: &str, source: &Source) -> anyhow::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let beside = directory.join(format!(".{}.new", file.file_name().unwrap_or_default().to_string_lossy()));
    let written = || -> anyhow::Result<()> {
        let whose = std::fs::metadata(file)?;
        let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        new.write_all(text.as_bytes())?;
        // Whoever could read the file can read the new one: the daemon may be another user than who changes it.
        fchown(&new, Some(whose.uid()), Some(whose.gid()))?;
        new.set_permissions(whose.permissions())?;
        new.sync_all()?;
        config::load(Some(&beside), &source.environment).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        Ok(std::fs::rename(&beside, file)?)
    };
    written().with_context(|| format!("{} stays as it is", file.display())).inspect_err(|_| {
        // What is left of the attempt; that it may not be there is no matter.
        let _ = std::fs::remove_file(&beside);
    })
}

/// Asks a person; nobody is there to ask where stdin is no terminal.
fn is_confirmed(target: &Path, models: usize) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        eprintln!("aipipe: --yes writes this without asking");
        return Ok(false);
    }
    eprint!("Write {models} models to {}? [y/N] ", target.display());
    std::io::stderr().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// One price of a model that differs.
struct Change {
    field: &'static str,
    /// The price in the catalogue, where it has one.
    old: Option<String>,
    new: New,
    is_implausible: bool,
}

/// A price as it is written.
enum New {
    Rate(Rate),
    LongContext(LongContext),
}

impl std::fmt::Display for New {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rate(rate) => f.write_str(&plain(*rate)),
            Self::LongContext(long) => f.write_str(&above(long)),
        }
    }
}

/// A model for the configuration file: prices that change, or one that is new.
enum Override<'a> {
    Prices { provider: &'a ProviderId, id: &'a ModelId, prices: Vec<&'a Change> },
    Added { provider: &'a ProviderId, id: &'a ModelId, listing: &'a Listing },
}

struct Difference<'a> {
    changes: BTreeMap<(&'a ProviderId, &'a ModelId), Vec<Change>>,
    unknown: Vec<(&'a ProviderId, &'a ModelId, &'a Listing)>,
    compared: usize,
}

impl<'a> Difference<'a> {
    fn between(catalogue: &'a Catalogue, listings: &'a BTreeMap<(ProviderId, ModelId), Listing>) -> Self {
        let mut difference = Self { changes: BTreeMap::new(), unknown: Vec::new(), compared: 0 };
        let mut own: BTreeSet<(&ProviderId, &ModelId)> = BTreeSet::new();
        let mut aliased = Vec::new();
        for ((provider, id), listing) in listings {
            match catalogue.at_provider(provider.as_str(), id.as_str()) {
                Some(model) if model.id == *id => {
                    own.insert((&model.provider, &model.id));
                    difference.compare(model, listing);
                }
                Some(model) => aliased.push((model, listing)),
                None => difference.unknown.push((provider, id, listing)),
            }
        }
        // Another name of a model says something only where the file does not have the model's own.
        for (model, listing) in aliased {
            if own.insert((&model.provider, &model.id)) {
                difference.compare(model, listing);
            }
        }
        difference
    }

    fn compare(&mut self, model: &'a Model, listing: &Listing) {
        self.compared += 1;
        let rates = model.rates;
        let mut changes = Vec::new();
        let prices = [
            ("input", rates.map(|rates| rates.input), listing.input),
            ("cached_input", rates.map(|rates| rates.cached_input), listing.cached_input),
            ("cache_write", rates.map(|rates| rates.cache_write), listing.cache_write),
            ("output", rates.map(|rates| rates.output), listing.output),
        ];
        for (field, old, new) in prices {
            let Some(new) = new.filter(|&new| old != Some(new)) else { continue };
            let is_implausible = old.is_some_and(|old| differs_wildly(old, new));
            changes.push(Change { field, old: old.map(plain), new: New::Rate(new), is_implausible });
        }
        let old = rates.and_then(|rates| rates.long_context);
        if let Some(new) = listing.long_context.filter(|&new| old != Some(new)) {
            let is_implausible =
                old.is_some_and(|old| differs_wildly(old.input, new.input) || differs_wildly(old.output, new.output));
            let old = old.as_ref().map(above);
            changes.push(Change { field: "long_context", old, new: New::LongContext(new), is_implausible });
        }
        if !changes.is_empty() {
            self.changes.insert((&model.provider, &model.id), changes);
        }
    }

    /// What is to be written.
    fn taken(&self, arguments: &Update) -> Vec<Override<'_>> {
        let changed = self.changes.iter().filter_map(|(&(provider, id), changes)| {
            let prices: Vec<&Change> =
                changes.iter().filter(|change| arguments.implausible || !change.is_implausible).collect();
            (!prices.is_empty()).then_some(Override::Prices { provider, id, prices })
        });
        let added = self.unknown.iter().filter(|_| arguments.add);
        changed.chain(added.map(|&(provider, id, listing)| Override::Added { provider, id, listing })).collect()
    }

    fn report(&self, arguments: &Update) -> String {
        let mut text =
            format!("{} models of the catalogue are in the file, {} differ.\n", self.compared, self.changes.len());
        if !self.changes.is_empty() {
            let mut table = Table::new();
            table.load_style(NOTHING);
            table.set_header(["model", "price", "old", "new", ""]);
            for (&(provider, id), changes) in &self.changes {
                for change in changes {
                    let note = match (change.is_implausible, arguments.implausible) {
                        (false, _) => "",
                        (true, true) => "implausible",
                        (true, false) => "implausible: left as it is (--implausible)",
                    };
                    let old = change.old.clone().unwrap_or_else(|| "none".to_owned());
                    table.add_row([
                        format!("{provider}/{id}"),
                        change.field.into(),
                        old,
                        change.new.to_string(),
                        note.into(),
                    ]);
                }
            }
            for column in [2, 3] {
                if let Some(column) = table.column_mut(column) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
            text.push_str(&format!("\n{table}\n"));
        }
        if !self.unknown.is_empty() {
            let what = if arguments.add { "added" } else { "left out (--add)" };
            text.push_str(&format!("\n{} models are not in the catalogue: {what}\n", self.unknown.len()));
            for (provider, id, _) in &self.unknown {
                text.push_str(&format!("  {provider}/{id}\n"));
            }
        }
        text
    }
}

/// Whether one of two prices is ten times the other, or nothing.
fn differs_wildly(old: Rate, new: Rate) -> bool {
    let (low, high) = (old.0.min(new.0), old.0.max(new.0));
    low.saturating_mul(IMPLAUSIBLE) <= high
}

/// A price as people write it.
fn plain(rate: Rate) -> String {
    let text = rate.to_string();
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn above(long: &LongContext) -> String {
    format!("{}/{} above {}", plain(long.input), plain(long.output), long.threshold_tokens)
}
