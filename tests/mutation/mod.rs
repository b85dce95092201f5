//! Spoils requests, answers and streams at random, for the test programs that send or read them.
//!
//! `AIPIPE_MUTATIONS` sets how many each test tries.

pub(crate) mod json;
pub(crate) mod samples;
pub(crate) mod stream;

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Runs a test on so many spoilt things as the environment asks for, or on `few` of them; the test says whether a thing could be read all
/// the same.
///
/// # Panics
/// At the first failure, with the smallest input that was found to fail; and where nothing could be read, since then nothing was tested.
pub(crate) fn run<S: Strategy>(few: u32, strategy: &S, test: impl Fn(S::Value) -> Result<bool, TestCaseError>) {
    let cases = std::env::var("AIPIPE_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(few);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let read = Cell::new(0_u32);
    let tried = runner.run(strategy, |spoilt| {
        read.set(read.get() + u32::from(test(spoilt)?));
        Ok(())
    });
    if let Err(error) = tried {
        panic!("{error}");
    }
    println!("{} of {cases} could be read", read.get());
    assert!(read.get() > 0);
}
