//! Runs the independent script that recomputes decisions. It needs python3 with tomllib (3.11); without it the test says so and passes,
//! with `CI` set it fails.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Holds decisions against the script, with the built-in catalogue and these files over it.
pub(crate) fn recompute(decisions: &[Value], files: &[&Path]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !Command::new("python3").args(["-c", "import tomllib"]).output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3 with tomllib is missing");
        eprintln!("SKIPPED: recomputing decisions needs python3 with tomllib (3.11 or newer)");
        return;
    }
    let mut script = Command::new("python3")
        .arg(root.join("tests/explain/recompute.py"))
        .arg(root.join("config/catalogue.toml"))
        .args(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    script.stdin.take().unwrap().write_all(Value::from(decisions.to_vec()).to_string().as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
