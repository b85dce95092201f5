//! The program's commands, one file each.

mod check;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code of a configuration that cannot be run.
const INVALID: u8 = 2;

/// A gateway between your software and every LLM provider.
#[derive(Debug, Parser)]
#[command(name = "aipipe", version, arg_required_else_help = true)]
struct Arguments {
    /// Configuration file; without it the one that AIPIPE_CONFIG names, or the built-in defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Validate the configuration and the catalogue, and print what would run
    Check,
}

/// Parses the arguments and runs the command they name.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Command::Check => check::run(arguments.config.as_deref()),
    }
}
