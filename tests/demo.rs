//! `aipipe demo`, run as a person runs it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::process::Command;

#[test]
fn it_ends_in_the_table_of_cost_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aipipe"));
    command.env_clear().env("TMPDIR", place.path()).args(["demo", "--once", "--fast"]);
    // A proxy that nobody runs: providers on this machine are reached without it.
    command.env("HTTP_PROXY", "http://127.0.0.1:9");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));

    let numbered = |line: &&str| line.split_whitespace().next().is_some_and(|word| word.parse::<u32>().is_ok());
    let lines: Vec<&str> = text.lines().filter(numbered).collect();
    assert_eq!(lines.len(), 62, "{text}");
    assert!(!text.contains("refused"), "{text}");
    for sign in ["asked before", "named by the client", "simple: the cheapest", "adjusted ", "(overloaded)"] {
        assert!(lines.iter().any(|line| line.contains(sign)), "{sign:?} is missing in\n{text}");
    }

    let (_, table) = text.split_once("tokens out").unwrap();
    let cost = |line: &str| -> f64 {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns[columns.len() - 2].parse().unwrap()
    };
    let rows: Vec<&str> = table.lines().skip(1).take_while(|line| !line.trim().is_empty()).collect();
    let (total, models) = rows.split_last().unwrap();
    let sum: f64 = models.iter().map(|line| cost(line)).sum();
    assert!(total.contains("all 62 requests"), "{table}");
    assert!((cost(total) - sum).abs() < 1e-9, "{table}");
    assert!(text.contains("saved "), "{text}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "the database of the run is removed");
}
