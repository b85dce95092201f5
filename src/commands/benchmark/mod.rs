//! `aipipe benchmark`: the published routing benchmark and its cost tables, offline; with data, how the score does on outcomes of real
//! prompts; with two configurations, what would change between them. Nothing is sent anywhere.

mod compare;
mod curve;
mod measured;
mod outcomes;
mod plot;
mod policy;
mod published;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::compare::Comparison;
use self::policy::Policy;
use self::published::{Prompt, Published};
use super::print;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Judge the complexity score on prompts with outcomes: JSON lines with `messages`, `outcomes` and optionally `source` and `pair`
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Compare two configuration files over the benchmark's prompts, or those of --data
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    compare: Vec<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write a plot to this file
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    svg: Option<PathBuf>,
}

/// What came out.
struct Report {
    page: String,
    json: serde_json::Value,
    plot: Option<plot::Plot>,
    holds: bool,
}

/// Runs it. It fails where the published claims do not come out.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match report(arguments) {
        Ok(report) => {
            let text = if arguments.json { format!("{:#}\n", report.json) } else { report.page };
            let printed = print(&text);
            if report.holds { printed } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("aipipe benchmark: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report(arguments: &Arguments) -> anyhow::Result<Report> {
    let report = match (arguments.compare.as_slice(), &arguments.data) {
        ([first, second], data) => compared([first, second], data.as_deref())?,
        (_, Some(data)) => judged(data)?,
        (_, None) => reproduced()?,
    };
    if let (Some(file), Some(plot)) = (&arguments.svg, &report.plot) {
        std::fs::write(file, plot.to_svg()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(report)
}

fn reproduced() -> anyhow::Result<Report> {
    let published = Published::run(&Policy::frozen()?, || {})?;
    Ok(Report {
        page: published.page(),
        json: published.to_json(),
        plot: Some(published.plot()),
        holds: published.holds(),
    })
}

fn judged(data: &Path) -> anyhow::Result<Report> {
    let rows = outcomes::read(data)?;
    let progress = Progress::new("prompts scored", rows.len());
    let scored = outcomes::score(&Policy::frozen()?, &rows, || progress.tick())?;
    progress.close();
    let progress = Progress::new("resamples drawn", curve::RESAMPLES);
    let measured = curve::measure(scored, || progress.tick());
    progress.close();
    let measured = measured.context("no prompt of the data has outcomes of two tiers of which one is better")?;
    Ok(Report {
        page: measured::page(&measured),
        json: measured::to_json(&measured),
        plot: Some(measured::plot(&measured)),
        holds: true,
    })
}

fn compared(files: [&PathBuf; 2], data: Option<&Path>) -> anyhow::Result<Report> {
    let bodies: Vec<_> = match data {
        Some(data) => outcomes::read(data)?.iter().map(outcomes::Row::body).collect(),
        None => Prompt::all()?.iter().map(Prompt::body).collect(),
    };
    let progress = Progress::new("prompts decided", bodies.len());
    let comparison = Comparison::run(files.map(PathBuf::as_path), &bodies, || progress.tick())?;
    progress.close();
    Ok(Report { page: comparison.page(), json: comparison.to_json(), plot: None, holds: true })
}

/// An empty table with these columns, those named aligned to the right.
fn table<const N: usize>(header: [&str; N], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header);
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// How far long work is: a bar on a terminal, a line at each quarter elsewhere.
struct Progress {
    bar: ProgressBar,
    what: &'static str,
    lines: bool,
}

impl Progress {
    fn new(what: &'static str, length: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
            bar.set_style(style.clone());
        }
        bar.set_message(what);
        Self { bar, what, lines: !std::io::stderr().is_terminal() && length >= 400 }
    }

    fn tick(&self) {
        self.bar.inc(1);
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
        if self.lines && done.is_multiple_of((all / 4).max(1)) {
            eprintln!("{done} of {all} {}", self.what);
        }
    }

    fn close(&self) {
        self.bar.finish_and_clear();
    }
}
