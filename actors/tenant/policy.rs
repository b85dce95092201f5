//! What the operator has settled for a tenant: models, budget and limits, in the shape in which the admin API takes and shows it.

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::money::NanoUsd;
use crate::routing::preferences::Quality;

/// The settings of one tenant. Everything left out means "no such limit".
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The complexity, in 0..=1, of a request that has nothing to be scored by; the gateway's own where absent.
    #[serde(deserialize_with = "optional_fraction")]
    pub default_complexity: Option<f64>,
    /// How good its answers should be where a request says `auto` and no more: a shift of the complexity that is chosen by.
    pub quality: Quality,
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

fn optional_fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    match Option::<f64>::deserialize(deserializer)? {
        Some(value) if !(0.0..=1.0).contains(&value) => Err(D::Error::custom("a complexity is a number from 0 to 1")),
        value => Ok(value),
    }
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
            default_complexity: Some(0.4),
            ..Policy::default()
        };
        let json = serde_json::to_string(&policy).unwrap();
        assert!(json.contains(r#""budget_usd":"0.000000001""#), "{json}");
        assert_eq!(read(&json).unwrap(), policy);
    }

    #[test]
    fn unknown_names_and_impossible_values_are_refused() {
        for bad in [r#"{"budget":1}"#, r#"{"default_complexity":1.5}"#, r#"{"budget_period":"week"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
