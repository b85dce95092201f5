//! `aipipe completions` and `aipipe man`: what the shell and `man` know of the program, made from the definition of its arguments.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::print;

/// For which shell.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Which page.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// A command, for its own page
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// Prints a script that the shell completes arguments with.
pub(super) fn completions(arguments: &Completions) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "aipipe", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints a page in roff.
pub(super) fn man(arguments: &Man) -> ExitCode {
    let mut program = super::Arguments::command();
    program.build();
    let page = match &arguments.command {
        None => program,
        Some(name) => match program.find_subcommand(name) {
            Some(command) => command.clone(),
            None => {
                let names: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
                eprintln!("aipipe: there is no command {name:?}, but {}", names.join(", "));
                return ExitCode::from(super::INVALID);
            }
        },
    };
    let mut text = Vec::new();
    match clap_mangen::Man::new(page).render(&mut text) {
        Ok(()) => print(&String::from_utf8_lossy(&text)),
        Err(error) => {
            eprintln!("aipipe: the page cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}
