//! How long the project takes to build and to test, from nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

use super::report::Figure;

/// Builds and tests in a target directory of its own; the downloaded sources of the dependencies are there already.
pub(crate) fn figures() -> anyhow::Result<Vec<Figure>> {
    let target = tempfile::tempdir()?;
    let steps: [(&str, &[&str], &str); 4] = [
        ("debug build", &["build", "--locked"], "into an empty target directory"),
        ("tests compiled", &["test", "--workspace", "--locked", "--no-run"], "after the debug build"),
        ("tests run", &["test", "--workspace", "--locked"], "already compiled, documentation tests included"),
        ("release build", &["build", "--release", "--locked"], "no earlier release build"),
    ];
    let mut figures = Vec::new();
    for (name, arguments, condition) in steps {
        eprintln!("bench: cargo {}", arguments.join(" "));
        let seconds = seconds_of(arguments, target.path())?;
        let how = format!("cargo {}, {condition}; all CPUs", arguments.join(" "));
        figures.push(Figure::once(name, seconds, "s", how));
    }
    Ok(figures)
}

fn seconds_of(arguments: &[&str], target: &Path) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .arg("--quiet")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot start cargo")?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(status.success(), "cargo {} failed: {status}", arguments.join(" "));
    Ok(seconds)
}
