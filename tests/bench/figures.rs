//! Takes the figures that the project publishes about itself: start, memory, CPU, latency, throughput, size, build times.
//!
//! `scripts/bench` builds the program as it is shipped and runs this with its path. The simulated provider and the load generator live in
//! this process, each on a runtime of its own; the gateway is a child process, on a CPU of its own where there is more than one, with an
//! empty data directory and everything on that a user gets: tenant, ledger row before dispatch, cache look-up, metrics, one log line a request.
//!
//! Every request has a prompt that never occurred before, so no cache answers; an answer that is not 200, or that a cache gave, fails the
//! run. Figures that others can disturb are medians of interleaved rounds, given with their range.

mod builds;
mod connection;
mod gateway;
mod load;
mod machine;
mod phases;
mod prompt;
mod report;
mod translation;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use machine::{Machine, Split};
use phases::{Bench, Plan};
use report::{Figure, Report};

/// Takes AiPipe's figures on this machine, in about two minutes.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench")]
struct Arguments {
    /// The program to measure
    #[arg(long, value_name = "FILE")]
    binary: PathBuf,
    /// Write the figures to a file as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure clean builds and the test run too, which takes many minutes
    #[arg(long)]
    build: bool,
    /// What the load is sent to: the simulator alone shows what the load generator can do
    #[arg(long, value_enum, default_value_t = Subject::Gateway)]
    target: Subject,
    /// CPUs for the gateway alone; 0: it shares all of them with the load
    #[arg(long, default_value_t = 1, value_name = "N")]
    gateway_cpus: usize,
    /// Seconds of one round; most figures are the median of three rounds
    #[arg(long, default_value_t = 1.0, value_name = "S", value_parser = seconds)]
    round: f64,
    /// Cargo adds this
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the load is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    Gateway,
    /// The gateway, as far as one tenant suffers from another that keeps a provider busy
    Neighbour,
    /// The ledger alone, in this process, with the records of one request
    Ledger,
    Simulator,
    /// Nothing: what dialects cost is measured in this process
    Translation,
}

/// A round long enough to send something, short enough to end.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=60.0).contains(&seconds) { Ok(seconds) } else { Err("must be from 0.1 to 60".to_owned()) }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every request was answered as it should be.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let split = Split::of_this_machine(arguments.gateway_cpus)?;
    let machine = Machine::observe(split.all);
    let mut figures = vec![size(&arguments.binary)?];
    if arguments.build {
        figures.extend(builds::figures()?);
    }
    split.confine_load()?;
    if matches!(arguments.target, Subject::Gateway | Subject::Translation) {
        figures.extend(translation::figures()?);
    }
    let plan = Plan { binary: &arguments.binary, split: &split, round: Duration::from_secs_f64(arguments.round) };
    let mut bench = Bench::prepare(plan)?;
    match arguments.target {
        Subject::Gateway => {
            bench.measure_gateway()?;
            bench.measure_neighbour()?;
            bench.measure_ledger()?;
        }
        Subject::Ledger => bench.measure_ledger()?,
        Subject::Neighbour => bench.measure_neighbour()?,
        Subject::Simulator => bench.measure_simulator()?,
        Subject::Translation => {}
    }
    let (taken, failures) = bench.finish()?;
    figures.extend(taken);
    let report = Report { machine, version: version(&arguments.binary)?, split: split.describe(), figures, failures };
    std::io::stdout().write_all(report.table().as_bytes())?;
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(report.failures.is_empty())
}

fn size(binary: &Path) -> anyhow::Result<Figure> {
    let bytes = fs::metadata(binary).with_context(|| format!("cannot read {}", binary.display()))?.len();
    let how = format!("bytes of {} / 1024²", binary.display());
    Ok(Figure::once("size of the program", bytes as f64 / (1024.0 * 1024.0), "MiB", how))
}

fn version(binary: &Path) -> anyhow::Result<String> {
    let output = Command::new(binary).arg("--version").output().context("cannot start the program")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
