//! x
/// F
#[derive(Debug, Default, Clone, Copy)]
pub struct Features {}
/// S
#[derive(Debug, Default, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub struct Signals {
    /// l
    pub length: f64,
    /// c
    pub code: f64,
    /// k
    pub keywords: f64,
    /// s
    pub structure: f64,
    /// d
    pub depth: f64,
}
