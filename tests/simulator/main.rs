//! The simulator keeps its promises: it is independent, its shapes are those of the recordings, and its faults happen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod answers;
mod control;
mod faults;
mod recordings;
mod refusals;
mod responses;
mod support;

use std::path::Path;

#[test]
fn the_simulator_shares_no_code_with_the_gateway() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/simulator");
    let mut read = 0;
    for entry in std::fs::read_dir(room).unwrap() {
        let path = entry.unwrap().path();
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            // The documentation shows how others use the simulator.
            let code = line.split("//").next().unwrap();
            let foreign = ["crate::", "aipipe::", "aipipe_actors"]
                .iter()
                .any(|word| code.replace("pub(crate)", "").contains(word));
            assert!(!foreign, "{}:{}: {line}", path.display(), number + 1);
        }
        read += 1;
    }
    assert!(read > 10, "only {read} files");
}
