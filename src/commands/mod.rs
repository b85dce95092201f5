//! The program's commands, one file each.

use std::process::ExitCode;

/// Parses the arguments and runs the command they name.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
