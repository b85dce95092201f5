//! `aipipe import litellm FILE`: another gateway's configuration in AiPipe's terms, with a report of what has no counterpart.

mod litellm;
mod proxy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{INVALID, failed, print};
use litellm::Imported;

/// What `import` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// The config.yaml of a LiteLLM proxy: models, groups, addresses, names of keys, limits and retries
    Litellm(LiteLlm),
}

#[derive(Debug, clap::Args)]
struct LiteLlm {
    /// The config.yaml
    file: PathBuf,
    /// Where to write the configuration; without it it goes to stdout. A file that exists is not overwritten
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the configuration, and to stderr what was decided and what is missing in it.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let From::Litellm(arguments) = &arguments.from;
    let Imported { toml, notes } = match imported(arguments) {
        Ok(imported) => imported,
        Err(error) => {
            failed(&error);
            return ExitCode::from(INVALID);
        }
    };
    for note in &notes {
        eprintln!("{note}");
    }
    match &arguments.output {
        Some(output) => {
            eprintln!("written: {0}; check it with: aipipe --config {0} check", output.display());
            ExitCode::SUCCESS
        }
        None => print(&toml),
    }
}

fn imported(arguments: &LiteLlm) -> anyhow::Result<Imported> {
    let name = arguments.file.display();
    let text = std::fs::read_to_string(&arguments.file).with_context(|| format!("{name} cannot be read"))?;
    let imported = litellm::import(&text).with_context(|| name.to_string())?;
    if let Some(output) = &arguments.output {
        let mut file =
            std::fs::File::create_new(output).with_context(|| format!("{} cannot be made", output.display()))?;
        std::io::Write::write_all(&mut file, imported.toml.as_bytes())?;
    }
    Ok(imported)
}
