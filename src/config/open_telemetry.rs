//! Where traces go, by OpenTelemetry's own environment variables
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>,
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).
//!
//! Nothing is sent unless an endpoint is named. Of the variables those that concern traces are read; a value that cannot be honoured is
//! a problem of the configuration like any other, since traces that go nowhere would be missed only when they are needed.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use super::environment::Environment;
use super::errors::{ConfigError, Place};

/// How spans are made and where they are sent.
#[derive(Debug, Clone)]
pub struct Traces {
    /// The full address for traces.
    pub endpoint: Url,
    /// Sent along; they may hold a key, and are marked as sensitive.
    pub headers: HeaderMap,
    /// How long the collector may take for a batch.
    pub timeout: Duration,
    /// Which traces are kept.
    pub sampler: Sampler,
    /// What is said of this process with each batch.
    pub resource: Vec<(String, String)>,
    /// Most spans that wait to be sent; beyond it they are dropped and counted.
    pub max_queue: usize,
    /// Most spans sent at a time.
    pub max_batch: usize,
    /// How long spans gather before they are sent.
    pub delay: Duration,
}

/// Which traces are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// The share of traces, from 0 to 1.
    pub ratio: f64,
    /// Whether a caller that has decided is followed.
    pub is_parent_based: bool,
}

impl Sampler {
    /// Whether the spans of a trace are kept; `parent` is what its caller decided.
    pub fn keeps(&self, parent: Option<bool>, trace: [u8; 16]) -> bool {
        match parent {
            Some(decided) if self.is_parent_based => decided,
            // The last eight bytes of the id are random wherever it was made, so that all processes that see a trace decide alike.
            _ => (u128::from_be_bytes(trace) as u64 >> 1) < (self.ratio * (1_u64 << 63) as f64) as u64,
        }
    }
}

/// Reads the variables; `None` where no endpoint is named or traces are switched off.
pub(super) fn traces(environment: &Environment, problems: &mut Vec<ConfigError>) -> Option<Traces> {
    let is_off = environment.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || environment.get("OTEL_TRACES_EXPORTER") == Some("none");
    let own = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").is_some();
    let named = own || environment.get("OTEL_EXPORTER_OTLP_ENDPOINT").is_some();
    if is_off || !named {
        return None;
    }
    let mut reader = Reader { environment, problems };
    reader.must_be("OTEL_TRACES_EXPORTER", "otlp");
    for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
        // The one for traces counts more.
        if name.contains("TRACES") || environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").is_none() {
            reader.must_be(name, "http/protobuf");
        }
    }
    Some(Traces {
        endpoint: reader.endpoint(own)?,
        headers: reader.headers(),
        timeout: reader.milliseconds(reader.of_traces("TIMEOUT"), 10_000),
        sampler: reader.sampler(),
        resource: reader.resource(),
        max_queue: reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 2_048, 1..=1 << 20),
        max_batch: reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1..=1 << 16),
        delay: reader.milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5_000),
    })
}

struct Reader<'a> {
    environment: &'a Environment,
    problems: &'a mut Vec<ConfigError>,
}

impl Reader<'_> {
    fn report(&mut self, name: &str, allowed: impl Into<String>) {
        let message = format!("must be {}", allowed.into());
        self.problems.push(ConfigError::new(Place::Variable(name.to_owned()), message));
    }

    fn must_be(&mut self, name: &str, only: &str) {
        if self.environment.get(name).is_some_and(|value| value != only) {
            self.report(name, format!("{only}: AiPipe exports traces in no other way"));
        }
    }

    /// The variable of the exporter that is set: the one for traces alone counts more.
    fn of_traces(&self, what: &str) -> &'static str {
        let (own, common) = match what {
            "HEADERS" => ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
            _ => ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"),
        };
        if self.environment.get(own).is_some() { own } else { common }
    }

    /// The address for traces, which is used as it stands, or the common one, below which traces have a path.
    fn endpoint(&mut self, own: bool) -> Option<Url> {
        let name = if own { "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" } else { "OTEL_EXPORTER_OTLP_ENDPOINT" };
        let text = self.environment.get(name)?;
        let full = if own { text.to_owned() } else { format!("{}/v1/traces", text.trim_end_matches('/')) };
        let url = Url::parse(&full).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            self.report(name, "an http or https address, such as http://127.0.0.1:4318");
        }
        url
    }

    /// `name=value` pairs, escaped as in a URL; what cannot be read is reported without being shown.
    fn pairs(&mut self, name: &str) -> Vec<(String, String)> {
        let Some(text) = self.environment.get(name) else { return Vec::new() };
        let decoded = |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
        let pair = |pair: &str| pair.split_once('=').and_then(|(key, value)| Some((decoded(key)?, decoded(value)?)));
        let pairs = text.split(',').filter(|pair| !pair.trim().is_empty()).map(pair).collect::<Option<Vec<_>>>();
        pairs.unwrap_or_else(|| {
            self.report(name, "a list of name=value, separated by commas and escaped as in a URL");
            Vec::new()
        })
    }

    fn headers(&mut self) -> HeaderMap {
        let name = self.of_traces("HEADERS");
        let mut headers = HeaderMap::new();
        for (key, value) in self.pairs(name) {
            let header = HeaderName::from_str(&key).ok().zip(HeaderValue::from_str(&value).ok());
            match header {
                Some((key, mut value)) => {
                    value.set_sensitive(true);
                    headers.append(key, value);
                }
                None => self.report(name, "a list of headers that HTTP allows"),
            }
        }
        headers
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let mut resource = self.pairs("OTEL_RESOURCE_ATTRIBUTES");
        let named = self.environment.get("OTEL_SERVICE_NAME").map(str::to_owned);
        let in_list = resource.iter().find(|(key, _)| key == "service.name").map(|(_, value)| value.clone());
        resource.retain(|(key, _)| key != "service.name");
        let name = named.or(in_list).unwrap_or_else(|| "aipipe".to_owned());
        resource.insert(0, ("service.name".to_owned(), name));
        if resource.iter().all(|(key, _)| key != "service.version") {
            resource.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        }
        resource
    }

    fn sampler(&mut self) -> Sampler {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        let sampler = self.environment.get(NAME).unwrap_or("parentbased_always_on");
        let (is_parent_based, base) =
            sampler.strip_prefix("parentbased_").map_or((false, sampler), |base| (true, base));
        let ratio = match base {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.ratio(),
            _ => {
                self.report(NAME, "always_on, always_off, traceidratio, or one of them after parentbased_");
                1.0
            }
        };
        Sampler { ratio, is_parent_based }
    }

    fn ratio(&mut self) -> f64 {
        const NAME: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.environment.get(NAME) else { return 1.0 };
        let ratio = text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.unwrap_or_else(|| {
            self.report(NAME, "a share of traces from 0 to 1");
            1.0
        })
    }

    fn number(&mut self, name: &str, default: usize, range: std::ops::RangeInclusive<usize>) -> usize {
        let Some(text) = self.environment.get(name) else { return default };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.unwrap_or_else(|| {
            self.report(name, format!("a whole number from {} to {}", range.start(), range.end()));
            default
        })
    }

    fn milliseconds(&mut self, name: &str, default: usize) -> Duration {
        Duration::from_millis(self.number(name, default, 1..=3_600_000) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Option<Traces>, Vec<String>) {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut problems = Vec::new();
        let traces = traces(&pairs.collect(), &mut problems);
        (traces, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_variables_mean_what_the_specification_says() {
        let (traces, problems) = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x-more=1"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%2Cb"),
            ("OTEL_SERVICE_NAME", "gateway"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        let traces = traces.unwrap();
        assert_eq!(traces.endpoint.as_str(), "http://collector:4318/v1/traces");
        assert_eq!(
            (&traces.headers["api-key"], &traces.headers["x-more"]),
            (&HeaderValue::from_static("a b"), &HeaderValue::from_static("1"))
        );
        assert!(traces.headers["api-key"].is_sensitive());
        assert_eq!(traces.resource[0], ("service.name".to_owned(), "gateway".to_owned()));
        assert_eq!(traces.resource[1].1, "a,b");
        assert_eq!(traces.sampler, Sampler { ratio: 0.25, is_parent_based: true });
        let (own, _) = read(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://host/custom")]);
        assert_eq!(own.unwrap().endpoint.as_str(), "https://host/custom");
    }

    #[test]
    fn nothing_is_sent_unless_an_endpoint_is_named_and_what_cannot_be_honoured_is_reported() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for off in [&[][..], &[endpoint, ("OTEL_SDK_DISABLED", "true")], &[endpoint, ("OTEL_TRACES_EXPORTER", "none")]]
        {
            assert!(read(off).0.is_none(), "{off:?}");
        }
        for wrong in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a secret"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ] {
            let (_, problems) = read(&[endpoint, wrong]);
            assert!(problems.len() == 1 && problems[0].starts_with(wrong.0), "{problems:?}");
            assert!(!problems[0].contains("secret"));
        }
    }

    #[test]
    fn a_share_of_traces_is_kept_and_a_callers_decision_followed() {
        let sampler = Sampler { ratio: 0.5, is_parent_based: true };
        let (low, high) = ([0; 16], [0xff; 16]);
        assert!(sampler.keeps(None, low) && !sampler.keeps(None, high));
        assert!(sampler.keeps(Some(true), high) && !sampler.keeps(Some(false), low));
        let all = Sampler { ratio: 1.0, is_parent_based: false };
        assert!(all.keeps(Some(false), high));
        assert!(!Sampler { ratio: 0.0, ..all }.keeps(Some(true), low));
    }
}
