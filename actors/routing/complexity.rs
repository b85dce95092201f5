//! x
use super::signals::{Features, Signals};
/// W
#[derive(Debug, Default, Clone)]
pub struct Weights {}
/// sig
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// s
    Scored,
    /// n
    None,
    /// o
    Override,
}
/// A
#[derive(Debug, Clone, Copy)]
pub struct Assessment {
    /// c
    pub complexity: Complexity,
    /// s
    pub signals: Signals,
    /// s
    pub signal: Signal,
}
/// C
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Complexity(pub f64);
/// a
pub fn assess(_: &Features, _: &Weights, default: f64) -> Assessment {
    Assessment { complexity: Complexity(default), signals: Signals::default(), signal: Signal::None }
}
