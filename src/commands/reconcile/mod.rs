//! `aipipe reconcile`: compares what a provider says was used with the ledger, by day and model.

mod export;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aipipe_actors::catalogue::Catalogue;
use aipipe_actors::identity::{ModelId, ProviderId};
use aipipe_actors::money::{NanoUsd, Tokens};
use anyhow::Context;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{INVALID, configuration, failed, print, runtime, signed};
use crate::config::Config;
use crate::store::{AdminScope, DayUsage, Reader};
use export::{Export, Told};

/// Exit code where the two differ.
const DIFFERENT: u8 = 1;

/// What `reconcile` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A usage export of OpenAI, Anthropic or OpenRouter: CSV from its console or JSON from its API
    file: PathBuf,
}

/// Lists what differs; exits with 1 where anything does, and with 2 where they could not be compared.
pub(super) fn run(file: Option<&Path>, arguments: &Arguments) -> ExitCode {
    let (config, _) = match configuration(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match reconcile(&config, &arguments.file) {
        Ok(comparison) => match (print(&comparison.report()), comparison.lines.is_empty()) {
            (ExitCode::SUCCESS, false) => ExitCode::from(DIFFERENT),
            (code, _) => code,
        },
        Err(error) => {
            failed(&error);
            ExitCode::from(INVALID)
        }
    }
}

fn reconcile(config: &Config, file: &Path) -> anyhow::Result<Comparison> {
    let bytes = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let export = export::read(&bytes).with_context(|| file.display().to_string())?;
    let days: BTreeSet<Date> = export.days.keys().map(|(day, _)| *day).collect();
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        anyhow::bail!("{} has no usage", file.display())
    };
    let midnight = |day: Date| -> anyhow::Result<Timestamp> { Ok(day.to_zoned_datetime(TimeZone::UTC)?.timestamp()) };
    let stretch = midnight(*first)?..midnight(last.tomorrow()?)?;
    let provider = ProviderId::parse(export.source.provider())?;
    let reader = Reader::open(&config.database.path)?;
    let ledger = runtime()?.block_on(reader.usage_by_day(AdminScope::granted(), &provider, stretch))?;
    Ok(compare(&export, &ledger, &provider, &config.catalogue))
}

/// One day of one model, on both sides.
struct Line {
    day: Date,
    model: String,
    told: Told,
    counted: DayUsage,
}

struct Comparison {
    provider: ProviderId,
    /// What was compared and agrees.
    agreeing: usize,
    lines: Vec<Line>,
}

fn compare(
    export: &Export,
    ledger: &BTreeMap<(Date, ModelId), DayUsage>,
    provider: &ProviderId,
    catalogue: &Catalogue,
) -> Comparison {
    let mut both: BTreeMap<(Date, String), (Told, DayUsage)> = BTreeMap::new();
    for ((day, model), told) in &export.days {
        both.entry((*day, name_of(model, provider, catalogue))).or_default().0.add(told);
    }
    for ((day, model), usage) in ledger {
        both.entry((*day, name_of(model.as_str(), provider, catalogue))).or_default().1 = *usage;
    }
    let total = both.len();
    let lines: Vec<Line> = both
        .into_iter()
        .map(|((day, model), (told, counted))| Line { day, model, told, counted })
        .filter(|line| !line.agrees())
        .collect();
    Comparison { provider: provider.clone(), agreeing: total - lines.len(), lines }
}

/// The catalogue's name of a model that a provider names by a dated snapshot (`gpt-4o-mini-2024-07-18`, `claude-haiku-4-5-20251001`).
fn name_of(model: &str, provider: &ProviderId, catalogue: &Catalogue) -> String {
    let known = |name: &str| catalogue.at_provider(provider.as_str(), name).map(|model| model.id.to_string());
    known(model).or_else(|| known(without_date(model)?)).unwrap_or_else(|| model.to_owned())
}

fn without_date(model: &str) -> Option<&str> {
    let date = model.rfind(|c: char| !c.is_ascii_digit() && c != '-').and_then(|at| model.get(at + 1..))?;
    let start = date.find("-20").filter(|_| date.bytes().filter(u8::is_ascii_digit).count() >= 8)?;
    model.get(..model.len() - date.len() + start)
}

impl Line {
    /// Whether all that the provider tells is what the ledger has. A cost is compared to the hundredth of a cent, as exports round it.
    fn agrees(&self) -> bool {
        let Told { calls, tokens, cached_input, cost } = self.told;
        let Tokens { input, output, cached_input: cached, .. } = self.counted.tokens;
        calls.is_none_or(|calls| calls == self.counted.calls)
            && tokens.is_none_or(|told| told == (input, output))
            && cached_input.is_none_or(|told| told == cached)
            && cost.is_none_or(|told| told.minus(self.counted.cost).0.unsigned_abs() <= 100_000)
    }

    /// Provider's figure, the ledger's, and the difference where there is one.
    fn cell(told: Option<u64>, counted: u64) -> String {
        match told {
            None => format!("({counted})"),
            Some(told) if told == counted => counted.to_string(),
            Some(told) => format!("{told} / {counted} ({:+})", i128::from(told) - i128::from(counted)),
        }
    }

    fn cost_cell(told: Option<NanoUsd>, counted: NanoUsd) -> String {
        match told {
            None => format!("({counted})"),
            Some(told) => format!("{told} / {counted} ({})", signed(told.minus(counted))),
        }
    }
}

impl Comparison {
    fn report(&self) -> String {
        let provider = &self.provider;
        if self.lines.is_empty() {
            return format!("{provider}: all {} days of models agree with the ledger\n", self.agreeing);
        }
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["day (UTC)", "model", "calls", "input", "of it cached", "output", "USD", "estimated"]);
        for Line { day, model, told, counted } in &self.lines {
            table.add_row([
                day.to_string(),
                model.clone(),
                Line::cell(told.calls, counted.calls),
                Line::cell(told.tokens.map(|(input, _)| input), counted.tokens.input),
                Line::cell(told.cached_input, counted.tokens.cached_input),
                Line::cell(told.tokens.map(|(_, output)| output), counted.tokens.output),
                Line::cost_cell(told.cost, counted.cost),
                counted.estimated.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let legend = format!(
            "{provider} / ledger (difference); in brackets alone where the export does not tell it; `estimated` calls had no figures"
        );
        format!("{table}\n\n{legend}\n{} days of models differ, {} agree\n", self.lines.len(), self.agreeing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshots_date_is_told_from_a_version() {
        for (name, without) in [
            ("gpt-4o-mini-2024-07-18", Some("gpt-4o-mini")),
            ("claude-haiku-4-5-20251001", Some("claude-haiku-4-5")),
            ("claude-haiku-4-5", None),
            ("gpt-4o", None),
            ("", None),
        ] {
            assert_eq!(without_date(name), without, "{name}");
        }
    }
}
