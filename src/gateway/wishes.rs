//! What a client asks of the choice in headers, for those that cannot add members to a body. The body's `aipipe` object counts more.

use std::time::Duration;

use aipipe_actors::money::NanoUsd;
use aipipe_actors::routing::preferences::{CacheMode, OnBreak, Preferences};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName};

use super::refusal::Refusal;

/// Reads the `X-AiPipe-*` headers and `Cache-Control`.
///
/// # Errors
/// [`Refusal`] naming the header with a value that is not allowed.
pub fn from_headers(headers: &HeaderMap) -> Result<Preferences, Refusal> {
    let mut wishes = Preferences::default();
    if !headers.keys().any(|name| name.as_str().starts_with("x-aipipe-") || name == CACHE_CONTROL) {
        return Ok(wishes);
    }
    wishes.models = names(headers, "x-aipipe-models")?;
    wishes.providers = names(headers, "x-aipipe-providers")?;
    wishes.min_quality = single(headers, "x-aipipe-min-quality", "a number from 0 to 1", |text| {
        text.parse().ok().filter(|value| (0.0..=1.0).contains(value))
    })?;
    wishes.max_cost = single(headers, "x-aipipe-max-cost-usd", "USD as a plain decimal, 0 or more", |text| {
        NanoUsd::parse_usd(text).ok()
    })?;
    wishes.cache = single(headers, "x-aipipe-cache", "`use`, `refresh` or `off`", |text| match text {
        "use" => Some(CacheMode::Use),
        "refresh" => Some(CacheMode::Refresh),
        "off" => Some(CacheMode::Off),
        _ => None,
    })?;
    wishes.on_break = single(headers, "x-aipipe-on-break", "`error` or `continue`", OnBreak::parse)?;
    wishes.timeout = single(headers, "x-aipipe-timeout-ms", "a whole number of milliseconds, 1 or more", |text| {
        text.parse().ok().filter(|&ms| ms > 0).map(Duration::from_millis)
    })?;
    wishes.tags = list(headers, "x-aipipe-tags")?;
    if wishes.tags.len() > Preferences::MAX_TAGS || wishes.tags.iter().any(|tag| tag.len() > Preferences::MAX_TAG_BYTES)
    {
        let (count, bytes) = (Preferences::MAX_TAGS, Preferences::MAX_TAG_BYTES);
        return Err(not_allowed(
            "x-aipipe-tags",
            &format!("up to {count} tags of up to {bytes} bytes, comma separated"),
        ));
    }
    if wishes.cache.is_none() {
        wishes.cache = cache_control(headers);
    }
    Ok(wishes)
}

/// Headers in which SDKs tell how many seconds they wait for an answer's first byte: OpenAI's and Anthropic's for JavaScript and for
/// Python, Google's.
static SDK_TIMEOUTS: [HeaderName; 3] = [
    HeaderName::from_static("x-stainless-timeout"),
    HeaderName::from_static("x-stainless-read-timeout"),
    HeaderName::from_static("x-server-timeout"),
];

/// How long the client's SDK waits for an answer to begin; the shortest where several headers tell. What is no number of seconds is an
/// SDK's matter and not worth a refusal.
pub fn sdk_timeout(headers: &HeaderMap) -> Option<Duration> {
    let told = SDK_TIMEOUTS.iter().filter_map(|name| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok());
    let told = told.filter_map(|seconds| Duration::try_from_secs_f64(seconds).ok());
    told.filter(|wait| !wait.is_zero()).min()
}

/// Lays what a body says over what the headers say.
pub fn overlay(body: Preferences, headers: Preferences) -> Preferences {
    let first = |body: Vec<String>, headers: Vec<String>| if body.is_empty() { headers } else { body };
    Preferences {
        models: first(body.models, headers.models),
        providers: first(body.providers, headers.providers),
        exclude: body.exclude,
        min_quality: body.min_quality.or(headers.min_quality),
        max_cost: body.max_cost.or(headers.max_cost),
        complexity: body.complexity,
        cache: body.cache.or(headers.cache),
        on_break: body.on_break.or(headers.on_break),
        timeout: body.timeout.or(headers.timeout),
        tags: first(body.tags, headers.tags),
        explain: body.explain,
    }
}

fn not_allowed(name: &'static str, allowed: &str) -> Refusal {
    Refusal::invalid(Some(name), format!("the header {name} takes {allowed}"))
}

/// All values of a header, cut at commas.
fn list(headers: &HeaderMap, name: &'static str) -> Result<Vec<String>, Refusal> {
    let mut items = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| not_allowed(name, "printable ASCII"))?;
        items.extend(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned));
    }
    Ok(items)
}

fn names(headers: &HeaderMap, name: &'static str) -> Result<Vec<String>, Refusal> {
    let names = list(headers, name)?;
    if names.len() > Preferences::MAX_NAMES {
        return Err(not_allowed(name, &format!("up to {} names", Preferences::MAX_NAMES)));
    }
    Ok(names)
}

fn single<T>(
    headers: &HeaderMap,
    name: &'static str,
    allowed: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Refusal> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let read = value.to_str().ok().and_then(|text| read(text.trim()));
    read.map(Some).ok_or_else(|| not_allowed(name, allowed))
}

/// `no-store` keeps nothing and reads nothing, `no-cache` reads nothing.
fn cache_control(headers: &HeaderMap) -> Option<CacheMode> {
    let mut mode = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if directive.eq_ignore_ascii_case("no-store") {
                return Some(CacheMode::Off);
            }
            if directive.eq_ignore_ascii_case("no-cache") {
                mode = Some(CacheMode::Refresh);
            }
        }
    }
    mode
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn headers_say_what_a_body_could() {
        let wishes = from_headers(&headers(&[
            ("x-aipipe-models", "gpt-4o-mini, xai/grok-4"),
            ("x-aipipe-min-quality", "0.5"),
            ("x-aipipe-max-cost-usd", "0.01"),
            ("x-aipipe-on-break", "continue"),
            ("x-aipipe-timeout-ms", "1500"),
            ("x-aipipe-tags", "a,b"),
            ("cache-control", "max-age=0, no-cache"),
        ]))
        .unwrap();
        assert_eq!(wishes.models, ["gpt-4o-mini", "xai/grok-4"]);
        assert_eq!(wishes.min_quality, Some(0.5));
        assert_eq!(wishes.max_cost, Some(NanoUsd(10_000_000)));
        assert_eq!(wishes.on_break, Some(OnBreak::Continue));
        assert_eq!(wishes.timeout, Some(Duration::from_millis(1_500)));
        assert_eq!(wishes.cache, Some(CacheMode::Refresh));
        let body = Preferences { cache: Some(CacheMode::Off), ..Preferences::default() };
        let both = overlay(body, wishes);
        assert_eq!((both.cache, both.tags.len()), (Some(CacheMode::Off), 2));
    }

    #[test]
    fn an_sdk_tells_how_long_it_waits() {
        for (pairs, seconds) in [
            (&[("x-stainless-timeout", "600")][..], Some(600.0)),
            (&[("x-stainless-read-timeout", "2.5"), ("x-stainless-timeout", "60")], Some(2.5)),
            (&[("x-server-timeout", "30")], Some(30.0)),
            (&[("x-server-timeout", "0")], None),
            (&[("x-stainless-timeout", "NaN"), ("x-server-timeout", "-1")], None),
            (&[], None),
        ] {
            assert_eq!(sdk_timeout(&headers(pairs)), seconds.map(Duration::from_secs_f64), "{pairs:?}");
        }
    }

    #[test]
    fn what_is_not_allowed_names_the_header() {
        for (name, value) in [
            ("x-aipipe-min-quality", "2"),
            ("x-aipipe-max-cost-usd", "-1"),
            ("x-aipipe-cache", "maybe"),
            ("x-aipipe-on-break", "mend"),
            ("x-aipipe-timeout-ms", "0"),
            ("x-aipipe-tags", "1,2,3,4,5,6,7,8,9"),
        ] {
            let refusal = from_headers(&headers(&[(name, value)])).unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some(name));
        }
    }
}
