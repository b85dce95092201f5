//! x
use crate::money::NanoUsd;
/// P
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriod {
    /// d
    Day,
    /// m
    #[default]
    Month,
}
/// P
#[derive(Debug, Default, Clone, serde::Serialize, serde::Deserialize)]
pub struct Policy {
    /// o
    pub operator_keys: bool,
    /// m
    pub models: Option<Vec<String>>,
    /// b
    pub budget_usd: Option<NanoUsd>,
    /// p
    pub budget_period: BudgetPeriod,
    /// r
    pub requests_per_minute: Option<u64>,
    /// t
    pub tokens_per_minute: Option<u64>,
    /// c
    pub max_concurrent: Option<u64>,
    /// d
    pub default_complexity: Option<f64>,
}
