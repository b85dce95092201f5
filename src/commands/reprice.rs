//! `aipipe reprice`: what past requests come to at the prices of the current catalogue.

use std::path::Path;
use std::process::ExitCode;

use aipipe_actors::money::NanoUsd;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use jiff::Timestamp;

use super::{configuration, failed, instant, print, runtime, signed};
use crate::config::Config;
use crate::gateway::start::store_settings;
use crate::store::{AdminScope, Reader, Repricing, Store};

/// What `reprice` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Requests admitted from here on: a day (UTC) or an instant (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Timestamp,
    /// And before this; now where it is left out
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Timestamp>,
    /// Charge them so from now on; the daemon must not be running
    #[arg(long)]
    apply: bool,
}

/// Shows the difference by model, and makes it hold where that is asked.
pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> ExitCode {
    let (config, _) = match configuration(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match reprice(&config, arguments) {
        Ok(repricing) => print(&report(&repricing, arguments.apply)),
        Err(error) => failed(&error),
    }
}

fn reprice(config: &Config, arguments: &Arguments) -> anyhow::Result<Repricing> {
    let stretch = arguments.since..arguments.until.unwrap_or_else(Timestamp::now);
    let catalogue = config.catalogue.clone();
    let runtime = runtime()?;
    if arguments.apply {
        let (store, _) = Store::open(store_settings(config))?;
        let repricing = runtime.block_on(store.reprice(AdminScope::granted(), stretch, catalogue))?;
        store.close();
        return Ok(repricing);
    }
    let reader = Reader::open(&config.database.path)?;
    Ok(runtime.block_on(reader.compare_prices(AdminScope::granted(), stretch, catalogue))?)
}

fn report(repricing: &Repricing, applied: bool) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["provider", "model", "calls", "USD charged", "USD now", "difference"]);
    let (mut old, mut new) = (NanoUsd::ZERO, NanoUsd::ZERO);
    for ((provider, model), difference) in &repricing.models {
        old += difference.old;
        new += difference.new;
        table.add_row([
            provider.to_string(),
            model.to_string(),
            difference.calls.to_string(),
            difference.old.to_string(),
            difference.new.to_string(),
            signed(difference.new.minus(difference.old)),
        ]);
    }
    table.add_row([
        String::new(),
        "all".into(),
        String::new(),
        old.to_string(),
        new.to_string(),
        signed(new.minus(old)),
    ]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n\n");
    for (provider, model) in &repricing.unpriced {
        text += &format!("{provider}/{model} has no price in the catalogue: its calls keep their cost\n");
    }
    let Repricing { rows, changed, .. } = repricing;
    text += &match applied {
        true => format!("{changed} of {rows} requests changed; what they were charged before is kept beside them\n"),
        false => format!("{changed} of {rows} requests would change; --apply makes it so\n"),
    };
    text
}
