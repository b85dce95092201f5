//! What the operator has settled for a tenant: models, budget and limits, in the shape in which the admin API takes and shows it.

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::money::NanoUsd;
use crate::provider::turns::Weight;
use crate::routing::preferences::Quality;

/// The settings of one tenant. Everything left out means "no such limit", and what is learned counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether the operator's provider keys serve this tenant where it has none of its own. (They always serve the default tenant.)
    pub operator_keys: bool,
    /// The models that it may use, each as `model` or `provider/model`; all where absent.
    pub models: Option<Vec<String>>,
    /// The most that it may spend in a period. Read from a decimal string or a JSON number of USD, shown as a decimal string.
    #[serde(with = "optional_usd")]
    pub budget_usd: Option<NanoUsd>,
    /// The period that `budget_usd` is for.
    pub budget_period: BudgetPeriod,
    /// Most requests in a minute.
    pub requests_per_minute: Option<u64>,
    /// Most tokens, input and output together, in a minute.
    pub tokens_per_minute: Option<u64>,
    /// Most requests at the same time.
    pub max_concurrent: Option<u64>,
    /// Its share of the turns at a busy provider, beside other tenants that wait.
    pub weight: Weight,
    /// The complexity, in 0..=1, of a request that has nothing to be scored by; the gateway's own where absent.
    #[serde(deserialize_with = "optional_fraction")]
    pub default_complexity: Option<f64>,
    /// How good its answers should be where a request says `auto` and no more: a shift of the complexity that is chosen by.
    pub quality: Quality,
    /// Least quality, in 0..=1, of what `auto` chooses.
    #[serde(deserialize_with = "optional_fraction")]
    pub min_quality: Option<f64>,
    /// Whether what becomes of its requests shifts the quality that models are taken to have for it.
    pub learning: bool,
    /// The share of its `auto` requests, up to [`MOST_EXPLORATION`], in which the runner-up is tried to learn of it.
    #[serde(deserialize_with = "exploration")]
    pub exploration: f64,
    /// Another policy that a share of its requests is also weighed under, without effect on their answers.
    #[serde(deserialize_with = "shadow")]
    pub shadow: Option<ShadowPolicy>,
    /// Whether the spans of its requests carry what is said in them, where the gateway's configuration permits it.
    pub telemetry_content: bool,
}

/// The largest share of requests in which the runner-up is tried.
pub const MOST_EXPLORATION: f64 = 0.05;

impl Default for Policy {
    fn default() -> Self {
        Self {
            operator_keys: false,
            models: None,
            budget_usd: None,
            budget_period: BudgetPeriod::default(),
            requests_per_minute: None,
            tokens_per_minute: None,
            max_concurrent: None,
            weight: Weight::default(),
            default_complexity: None,
            quality: Quality::default(),
            min_quality: None,
            learning: true,
            exploration: 0.0,
            shadow: None,
            telemetry_content: false,
        }
    }
}

/// How a tenant's requests would be chosen for by other settings. What is left out is as the tenant has it.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShadowPolicy {
    /// The share of `auto` requests, in 0..=1, that are weighed.
    #[serde(deserialize_with = "fraction")]
    pub sample: f64,
    /// In the place of the tenant's `models`.
    pub models: Option<Vec<String>>,
    /// In the place of its `default_complexity`.
    #[serde(deserialize_with = "optional_fraction")]
    pub default_complexity: Option<f64>,
    /// In the place of its `quality`.
    pub quality: Option<Quality>,
    /// In the place of its `min_quality`.
    #[serde(deserialize_with = "optional_fraction")]
    pub min_quality: Option<f64>,
    /// Whether requests for which it chooses another model are sent to that too, after the client has its answer.
    pub send: bool,
    /// The most that those calls may cost in a day, by UTC.
    #[serde(with = "optional_usd")]
    pub budget_usd: Option<NanoUsd>,
}

/// The settings that a choice depends on.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Names of the models that may be used; `None`: all.
    pub models: Option<&'a [String]>,
    /// The complexity of a request that has nothing to be scored by.
    pub default_complexity: Option<f64>,
    /// How good answers should be.
    pub quality: Quality,
    /// Least quality of what `auto` chooses.
    pub min_quality: Option<f64>,
}

impl Policy {
    /// What this tenant's choices depend on.
    pub fn rules(&self) -> Rules<'_> {
        let Self { default_complexity, quality, min_quality, .. } = *self;
        Rules { models: self.models.as_deref(), default_complexity, quality, min_quality }
    }
}

impl ShadowPolicy {
    /// What choices would depend on under it.
    pub fn rules<'a>(&'a self, tenant: &'a Policy) -> Rules<'a> {
        let own = tenant.rules();
        Rules {
            models: self.models.as_deref().or(own.models),
            default_complexity: self.default_complexity.or(own.default_complexity),
            quality: self.quality.unwrap_or(own.quality),
            min_quality: self.min_quality.or(own.min_quality),
        }
    }
}

/// How long a budget lasts: calendar days or months of UTC.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriod {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    #[default]
    Month,
}

fn shadow<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ShadowPolicy>, D::Error> {
    match Option::<ShadowPolicy>::deserialize(deserializer)? {
        Some(ShadowPolicy { send: true, budget_usd: None, .. }) => Err(D::Error::custom(
            "a shadow policy that sends needs a budget_usd: the most that its calls may cost in a day",
        )),
        policy => Ok(policy),
    }
}

fn optional_fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match Option::<f64>::deserialize(deserializer)? {
        Some(value) if !(0.0..=1.0).contains(&value) => {
            Err(D::Error::custom("complexities and qualities are numbers from 0 to 1"))
        }
        value => Ok(value),
    }
}

fn fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    (0.0..=1.0).contains(&value).then_some(value).ok_or_else(|| D::Error::custom("a share is a number from 0 to 1"))
}

fn exploration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    let fits = (0.0..=MOST_EXPLORATION).contains(&value);
    fits.then_some(value)
        .ok_or_else(|| D::Error::custom(format!("exploration is a number from 0 to {MOST_EXPLORATION}")))
}

/// An amount that stands as a decimal string, and may also be given as a number.
mod optional_usd {
    use super::*;

    pub(super) fn serialize<S: Serializer>(amount: &Option<NanoUsd>, serializer: S) -> Result<S::Ok, S::Error> {
        match amount {
            Some(amount) => serializer.collect_str(amount),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NanoUsd>, D::Error> {
        Ok(Option::<Usd>::deserialize(deserializer)?.map(|Usd(amount)| amount))
    }

    struct Usd(NanoUsd);

    impl<'de> Deserialize<'de> for Usd {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct UsdVisitor;

            impl Visitor<'_> for UsdVisitor {
                type Value = Usd;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an amount in USD, as a decimal string or a number")
                }

                fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Usd, E> {
                    NanoUsd::parse_usd(text).map(Usd).map_err(E::custom)
                }

                fn visit_u64<E: serde::de::Error>(self, whole: u64) -> Result<Usd, E> {
                    self.visit_str(&whole.to_string())
                }

                fn visit_i64<E: serde::de::Error>(self, whole: i64) -> Result<Usd, E> {
                    self.visit_str(&whole.to_string())
                }

                // The shortest decimal that reads back as this number is the one that was written.
                fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Usd, E> {
                    self.visit_str(&number.to_string())
                }
            }

            deserializer.deserialize_any(UsdVisitor)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Policy, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn an_empty_object_limits_nothing() {
        assert_eq!(read("{}").unwrap(), Policy::default());
    }

    #[test]
    fn a_budget_is_read_exactly_from_text_and_number() {
        for (json, nanos) in
            [(r#""12.5""#, 12_500_000_000), ("12.5", 12_500_000_000), ("12", 12_000_000_000), ("0.1", 100_000_000)]
        {
            let policy = read(&format!(r#"{{"budget_usd":{json},"budget_period":"day"}}"#)).unwrap();
            assert_eq!(policy.budget_usd, Some(NanoUsd(nanos)), "{json}");
            assert_eq!(policy.budget_period, BudgetPeriod::Day);
        }
        assert_eq!(read(r#"{"budget_usd":null}"#).unwrap().budget_usd, None);
        for bad in ["-1", r#""1e3""#, "1e300", "true", r#""""#] {
            assert!(read(&format!(r#"{{"budget_usd":{bad}}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back_alike() {
        let policy = Policy {
            operator_keys: true,
            models: Some(vec!["gpt-4o-mini".into()]),
            budget_usd: Some(NanoUsd(1)),
            requests_per_minute: Some(60),
            weight: Weight::try_from(3).unwrap(),
            default_complexity: Some(0.4),
            learning: false,
            exploration: 0.05,
            shadow: Some(ShadowPolicy {
                sample: 0.5,
                min_quality: Some(0.2),
                send: true,
                budget_usd: Some(NanoUsd(2)),
                ..ShadowPolicy::default()
            }),
            ..Policy::default()
        };
        let json = serde_json::to_string(&policy).unwrap();
        assert!(json.contains(r#""budget_usd":"0.000000001""#), "{json}");
        assert_eq!(read(&json).unwrap(), policy);
    }

    #[test]
    fn unknown_names_and_impossible_values_are_refused() {
        for bad in [
            r#"{"budget":1}"#,
            r#"{"default_complexity":1.5}"#,
            r#"{"budget_period":"week"}"#,
            r#"{"exploration":0.06}"#,
            r#"{"weight":0}"#,
            r#"{"shadow":{"sample":2}}"#,
            r#"{"shadow":{"learning":true}}"#,
            r#"{"shadow":{"sample":1,"send":true}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
