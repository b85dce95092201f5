//! x
use crate::money::NanoUsd;
use std::time::Duration;
/// Mode.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum CacheMode {
    /// use
    #[default]
    Use,
    /// refresh
    Refresh,
    /// off
    Off,
}
/// Prefs.
#[derive(Debug, Default, Clone)]
pub struct Preferences {
    /// m
    pub models: Vec<String>,
    /// p
    pub providers: Vec<String>,
    /// e
    pub exclude: Vec<String>,
    /// q
    pub min_quality: Option<f64>,
    /// c
    pub max_cost_usd: Option<NanoUsd>,
    /// x
    pub complexity: Option<f64>,
    /// c
    pub cache: CacheMode,
    /// t
    pub timeout: Option<Duration>,
    /// t
    pub tags: Vec<String>,
    /// e
    pub explain: bool,
}
