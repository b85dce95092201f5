//! The program's commands, one file each.

mod check;
mod demo;
mod explain;
mod serve;
mod service;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config, Environment};
use crate::gateway::Source;

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
