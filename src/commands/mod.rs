//! The program's commands, one file each.

mod benchmark;
mod catalogue;
mod check;
mod demo;
mod doctor;
mod explain;
mod import;
mod litellm;
mod manual;
mod reconcile;
mod rekey;
mod reprice;
mod serve;
mod service;
mod top;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aipipe_actors::money::NanoUsd;
use clap::{Parser, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::{self, Config, Environment};
use crate::gateway::Source;
use crate::store::StoreError;

/// Exit code of a configuration that cannot be run, and of a database that another process serves.
const INVALID: u8 = 2;

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("AIPIPE_COMMIT"), ")");

/// A gateway between your software and every LLM provider.
#[derive(Debug, Parser)]
#[command(name = "aipipe", version = VERSION)]
struct Arguments {
    /// Configuration file; without it the one that AIPIPE_CONFIG names, or the built-in defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway in the foreground (the default)
    Serve,
    /// Show everything on simulated providers, without a key or a network
    Demo(demo::Arguments),
    /// Validate configuration, catalogue and database, and print what would run
    Check,
    /// Show the routing decision for a prompt, without sending it
    Explain(explain::Arguments),
    /// Look at keys, providers, database, disk, permissions, limits and clock, and say what to do
    Doctor(doctor::Arguments),
    /// Watch a running gateway in the terminal: providers, actors, requests, money
    Top(top::Arguments),
    /// Print a script that a shell completes arguments with
    Completions(manual::Completions),
    /// Print the manual's page, in roff: `aipipe man | man -l -`
    Man(manual::Man),
    /// Show what past requests come to at the current catalogue's prices, and with --apply charge them so
    Reprice(reprice::Arguments),
    /// Take over new prices from a price file
    Catalogue(catalogue::Arguments),
    /// Write a configuration from another gateway's
    Import(import::Arguments),
    /// Compare a provider's usage export with the ledger, by day and model
    Reconcile(reconcile::Arguments),
    /// Seal the stored provider keys with a new master key: AIPIPE_NEW_MASTER_KEY, or one that is made
    Rekey,
    /// Reproduce the published routing benchmark and its cost tables, offline
    Benchmark(benchmark::Arguments),
}

/// Parses the arguments and runs the command they name.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let file = arguments.config.as_deref();
    match arguments.command {
        None | Some(Command::Serve) => serve::run(file),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Check) => check::run(file),
        Some(Command::Explain(arguments)) => explain::run(file, &arguments),
        Some(Command::Doctor(arguments)) => doctor::run(file, &arguments),
        Some(Command::Top(arguments)) => top::run(file, &arguments),
        Some(Command::Completions(arguments)) => manual::completions(&arguments),
        Some(Command::Man(arguments)) => manual::man(&arguments),
        Some(Command::Reprice(arguments)) => reprice::run(file, &arguments),
        Some(Command::Catalogue(arguments)) => catalogue::run(file, &arguments),
        Some(Command::Import(arguments)) => import::run(&arguments),
        Some(Command::Reconcile(arguments)) => reconcile::run(file, &arguments),
        Some(Command::Rekey) => rekey::run(file),
        Some(Command::Benchmark(arguments)) => benchmark::run(&arguments),
    }
}

/// Writes a command's result to stdout. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("aipipe: the result cannot be written: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Reads a day (its midnight, UTC) or an instant.
fn instant(text: &str) -> Result<Timestamp, String> {
    let midnight = || text.parse::<Date>()?.to_zoned_datetime(TimeZone::UTC).map(|midnight| midnight.timestamp());
    let instant = text.parse::<Timestamp>().or_else(|_| midnight());
    instant.map_err(|_| "a day (2026-01-31) or an instant (2026-01-31T12:00:00Z)".to_owned())
}

/// A difference with its sign.
fn signed(difference: NanoUsd) -> String {
    if difference.0 > 0 { format!("+{difference}") } else { difference.to_string() }
}

/// For a command that reads or changes the store and ends.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().build()
}

/// Tells why a command failed; the exit code is [`INVALID`] where something must be set right first.
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("aipipe: {error:#}");
    match error.downcast_ref::<StoreError>() {
        Some(StoreError::Locked { .. } | StoreError::MasterKey(_) | StoreError::Format { .. }) => {
            ExitCode::from(INVALID)
        }
        _ => ExitCode::FAILURE,
    }
}

/// The configuration that holds for this process, or every problem on stderr.
fn configuration(file: Option<&Path>) -> Result<(Config, Source), ExitCode> {
    let environment = Environment::from_process();
    match config::load(file, &environment) {
        Ok(config) => Ok((config, Source { file: file.map(Path::to_owned), environment })),
        Err(problems) => {
            eprintln!("{problems}");
            Err(ExitCode::from(INVALID))
        }
    }
}
