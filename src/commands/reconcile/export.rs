//! Usage exports as the providers write them.
//!
//! | source | JSON | CSV |
//! |---|---|---|
//! | OpenAI | `GET /v1/organization/usage/completions` grouped by model | the usage page's export, the same names as columns |
//! | Anthropic | `GET /v1/organizations/usage_report/messages` grouped by model | the console's export, `usage_…` columns |
//! | OpenRouter | `GET /api/v1/activity` | the activity page's export, a line a generation or a line a day |

use std::collections::{BTreeMap, HashMap};

use aipipe_actors::money::NanoUsd;
use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

/// Whose export it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    OpenAi,
    Anthropic,
    OpenRouter,
}

impl Source {
    /// The provider's name in the ledger.
    pub(super) fn provider(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::OpenRouter => "openrouter",
        }
    }
}

/// What a provider says of one model in one day; what it does not tell is absent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) calls: Option<u64>,
    /// All input and all output.
    pub(super) tokens: Option<(u64, u64)>,
    pub(super) cached_input: Option<u64>,
    pub(super) cost: Option<NanoUsd>,
}

impl Told {
    pub(super) fn add(&mut self, other: &Self) {
        fn sum<T: Copy>(one: Option<T>, other: Option<T>, add: impl Fn(T, T) -> T) -> Option<T> {
            match (one, other) {
                (Some(one), Some(other)) => Some(add(one, other)),
                (one, other) => one.or(other),
            }
        }
        self.calls = sum(self.calls, other.calls, u64::saturating_add);
        self.tokens = sum(self.tokens, other.tokens, |a, b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)));
        self.cached_input = sum(self.cached_input, other.cached_input, u64::saturating_add);
        self.cost = sum(self.cost, other.cost, |a, b| a + b);
    }
}

/// A whole export.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) source: Source,
    pub(super) days: BTreeMap<(Date, String), Told>,
}

/// Reads an export, telling by its contents whose it is.
pub(super) fn read(bytes: &[u8]) -> anyhow::Result<Export> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let rows = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => json_rows(bytes)?,
        _ => csv_rows(bytes)?,
    };
    let Some(first) = rows.first() else { bail!("it has no usage") };
    let source = first
        .source()
        .context("it is no usage export of OpenAI, Anthropic or OpenRouter that tells the model: export it by model")?;
    let mut days: BTreeMap<(Date, String), Told> = BTreeMap::new();
    for (number, row) in rows.iter().enumerate() {
        let (day, model, told) = row.read(source).with_context(|| format!("entry {}", number + 1))?;
        if told.calls != Some(0) && told.tokens != Some((0, 0)) {
            days.entry((day, model)).or_default().add(&told);
        }
    }
    Ok(Export { source, days })
}

/// An entry by the names of its figures, objects in it flattened: `cache_creation.ephemeral_5m_input_tokens`.
struct Entry(HashMap<String, String>);

fn csv_rows(bytes: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
    let names = reader.headers().context("it is no CSV")?.clone();
    let entry = |record: csv::StringRecord| {
        Entry(names.iter().zip(record.iter()).map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect())
    };
    reader.records().map(|record| Ok(entry(record.context("it is no CSV")?))).collect()
}

fn json_rows(bytes: &[u8]) -> anyhow::Result<Vec<Entry>> {
    // Several pages in one file are several documents.
    let pages = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let mut rows = Vec::new();
    for page in pages {
        let page = page.context("it is no JSON")?;
        let data = page.get("data").unwrap_or(&page);
        for item in data.as_array().context("it has no list of usage under `data`")? {
            let whole = item.as_object().context("its entries are no objects")?;
            let Some(results) = whole.get("results").and_then(Value::as_array) else {
                rows.push(Entry::flatten(&[whole]));
                continue;
            };
            // A bucket of time with a result for each model.
            rows.extend(results.iter().filter_map(Value::as_object).map(|result| Entry::flatten(&[whole, result])));
        }
    }
    Ok(rows)
}

impl Entry {
    fn flatten(objects: &[&Map<String, Value>]) -> Self {
        fn add(prefix: &str, object: &Map<String, Value>, entry: &mut HashMap<String, String>) {
            for (name, value) in object {
                let name = format!("{prefix}{}", name.to_lowercase());
                match value {
                    Value::String(text) => drop(entry.insert(name, text.clone())),
                    Value::Number(number) => drop(entry.insert(name, number.to_string())),
                    Value::Object(inner) => add(&format!("{name}."), inner, entry),
                    Value::Null | Value::Bool(_) | Value::Array(_) => {}
                }
            }
        }
        let mut entry = HashMap::new();
        objects.iter().for_each(|object| add("", object, &mut entry));
        Self(entry)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whose entry it is, by names that only one of them uses.
    fn source(&self) -> Option<Source> {
        if self.has("model_permaslug") || self.has("generation_id") {
            Some(Source::OpenRouter)
        } else if (self.has("usage_output_tokens") && self.has("model_version"))
            || (self.has("uncached_input_tokens") && self.has("model"))
        {
            Some(Source::Anthropic)
        } else if self.has("num_model_requests") && self.has("model") {
            Some(Source::OpenAi)
        } else {
            None
        }
    }

    /// The first of these that is there and not empty.
    fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.0.get(*name).map(String::as_str).filter(|text| !text.is_empty()))
    }

    fn count(&self, names: &[&str]) -> anyhow::Result<Option<u64>> {
        let Some(text) = self.text(names) else { return Ok(None) };
        let text = text.replace(',', "");
        let whole = text.strip_suffix(".0").unwrap_or(&text);
        Ok(Some(whole.parse().with_context(|| format!("{} is no count: {text:?}", names.join(" or ")))?))
    }

    fn sum(&self, names: &[&str]) -> anyhow::Result<u64> {
        names.iter().try_fold(0_u64, |sum, name| Ok(sum.saturating_add(self.count(&[name])?.unwrap_or(0))))
    }

    fn cost(&self, names: &[&str]) -> anyhow::Result<Option<NanoUsd>> {
        let Some(text) = self.text(names) else { return Ok(None) };
        // Providers write more digits than a nano-dollar has, and exponents.
        let usd: f64 = text.trim_start_matches('$').parse().with_context(|| format!("{text:?} is no amount"))?;
        let nanos = (usd * 1e9).round();
        anyhow::ensure!((0.0..9e18).contains(&nanos), "{text:?} is no amount");
        Ok(Some(NanoUsd(nanos as i64)))
    }

    fn read(&self, source: Source) -> anyhow::Result<(Date, String, Told)> {
        let day = self.text(&["usage_date_utc", "starting_at", "start_time_iso", "start_time", "created_at", "date"]);
        let day = day.and_then(day_of).context("it tells no day")?;
        let model = match source {
            Source::OpenRouter => self.text(&["model", "model_permaslug"]),
            Source::Anthropic => self.text(&["model_version", "model"]),
            Source::OpenAi => self.text(&["model"]),
        };
        let model = model.context("it tells no model: export the usage grouped by model")?.to_owned();
        let told = match source {
            Source::OpenAi => Told {
                calls: self.count(&["num_model_requests"])?,
                tokens: Some((self.sum(&["input_tokens"])?, self.sum(&["output_tokens"])?)),
                cached_input: self.count(&["input_cached_tokens"])?,
                cost: None,
            },
            Source::Anthropic => {
                let cached = self.sum(&["usage_input_tokens_cache_read", "cache_read_input_tokens"])?;
                let input = self.sum(&[
                    "usage_input_tokens_no_cache",
                    "usage_input_tokens_cache_write_5m",
                    "usage_input_tokens_cache_write_1h",
                    "uncached_input_tokens",
                    "cache_creation.ephemeral_5m_input_tokens",
                    "cache_creation.ephemeral_1h_input_tokens",
                ])?;
                let output = self.sum(&["usage_output_tokens", "output_tokens"])?;
                let tokens = Some((input.saturating_add(cached), output));
                Told { calls: None, tokens, cached_input: Some(cached), cost: None }
            }
            Source::OpenRouter => Told {
                // A line a generation has no count of them.
                calls: self.count(&["requests"])?.or_else(|| self.has("generation_id").then_some(1)),
                tokens: Some((
                    self.sum(&["tokens_prompt", "prompt_tokens"])?,
                    self.sum(&["tokens_completion", "completion_tokens"])?,
                )),
                cached_input: self.count(&["tokens_cached"])?,
                cost: self.cost(&["cost_total", "usage"])?,
            },
        };
        Ok((day, model, told))
    }
}

/// The UTC day of a date, an instant or seconds since 1970.
fn day_of(text: &str) -> Option<Date> {
    let of = |at: Timestamp| at.to_zoned_datetime(TimeZone::UTC).date();
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok().map(of);
    }
    let instant = text.parse::<Timestamp>().or_else(|_| text.replace(" UTC", "Z").parse());
    instant.map(of).or_else(|_| text.get(..10).unwrap_or(text).parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> (Source, Date, String, Told) {
        let export = read(text.as_bytes()).unwrap();
        assert_eq!(export.days.len(), 1, "{:?}", export.days);
        let ((day, model), told) = export.days.into_iter().next().unwrap();
        (export.source, day, model, told)
    }

    fn told(calls: Option<u64>, tokens: (u64, u64), cached: Option<u64>, cost: Option<i64>) -> Told {
        Told { calls, tokens: Some(tokens), cached_input: cached, cost: cost.map(NanoUsd) }
    }

    const DAY: Date = jiff::civil::date(2026, 3, 31);

    #[test]
    fn openai_tells_by_api_and_by_page() {
        let json = r#"{"object":"page","data":[{"object":"bucket","start_time":1774915200,"end_time":1775001600,"results":[
            {"object":"organization.usage.completions.result","input_tokens":1000,"output_tokens":50,"input_cached_tokens":800,
             "num_model_requests":5,"model":"gpt-4o-mini-2024-07-18","project_id":null}]}],"has_more":false}"#;
        let csv = "start_time,end_time,start_time_iso,end_time_iso,num_model_requests,model,input_tokens,output_tokens,input_cached_tokens\n\
             1774915200,1775001600,2026-03-31T00:00:00+00:00,2026-04-01T00:00:00+00:00,5,gpt-4o-mini-2024-07-18,1000,50,800\n";
        let expected =
            (Source::OpenAi, DAY, "gpt-4o-mini-2024-07-18".to_owned(), told(Some(5), (1000, 50), Some(800), None));
        assert_eq!(only(json), expected);
        assert_eq!(only(csv), expected);
    }

    #[test]
    fn anthropic_counts_cached_input_beside_the_other() {
        let json = r#"{"data":[{"starting_at":"2026-03-31T00:00:00Z","ending_at":"2026-04-01T00:00:00Z","results":[
            {"uncached_input_tokens":100,"cache_creation":{"ephemeral_1h_input_tokens":10,"ephemeral_5m_input_tokens":20},
             "cache_read_input_tokens":70,"output_tokens":9,"model":"claude-haiku-4-5-20251001"}]}],"has_more":false}"#;
        let csv = "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,\
             usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens\n\
             2026-03-31,claude-haiku-4-5-20251001,key,Default,standard,≤ 200k,60,20,10,70,4\n\
             2026-03-31,claude-haiku-4-5-20251001,other,Default,standard,≤ 200k,40,0,0,0,5\n";
        let expected =
            (Source::Anthropic, DAY, "claude-haiku-4-5-20251001".to_owned(), told(None, (200, 9), Some(70), None));
        assert_eq!(only(json), expected);
        assert_eq!(only(csv), expected);
    }

    #[test]
    fn openrouter_tells_what_it_charged() {
        let json = r#"{"data":[{"date":"2026-03-31","model":"openai/gpt-4o-mini","model_permaslug":"openai/gpt-4o-mini-2024-07-18",
            "endpoint_id":"e","provider_name":"OpenAI","usage":0.0125,"byok_usage_inference":0,"requests":2,"prompt_tokens":50,
            "completion_tokens":125,"reasoning_tokens":25}]}"#;
        let model = "openai/gpt-4o-mini".to_owned();
        assert_eq!(
            only(json),
            (Source::OpenRouter, DAY, model.clone(), told(Some(2), (50, 125), None, Some(12_500_000)))
        );
        let csv = "generation_id,created_at,cost_total,tokens_prompt,tokens_completion,tokens_cached,model_permaslug\n\
             gen-1,2026-03-31 10:00:00.123,0.0100000001,20,100,5,openai/gpt-4o-mini\n\
             gen-2,2026-03-31T23:59:59.999Z,2.5e-3,30,25,0,openai/gpt-4o-mini\n";
        assert_eq!(only(csv), (Source::OpenRouter, DAY, model, told(Some(2), (50, 125), Some(5), Some(12_500_000))));
    }

    #[test]
    fn what_is_no_export_is_said() {
        for text in
            ["", "{}", "[]", "a,b\n1,2\n", r#"{"data":[{"results":[{"input_tokens":1}]}]}"#, "{\"data\":[", "\u{0}"]
        {
            assert!(read(text.as_bytes()).is_err(), "{text:?}");
        }
        let late = "start_time,num_model_requests,model,input_tokens,output_tokens\nsoon,1,gpt-4o,1,1\n";
        let error = format!("{:#}", read(late.as_bytes()).unwrap_err());
        assert!(error.contains("entry 1") && error.contains("day"), "{error}");
    }
}
