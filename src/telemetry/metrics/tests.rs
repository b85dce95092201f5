//! What a scraper reads after known events, through a reader of the text format stricter than Prometheus' own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;

use aipipe_actors::provider::circuit::State;
use aipipe_actors::runtime::{Node, Status};

use super::*;
use crate::telemetry::live::{Build, LiveProvider};

fn provider(name: &str) -> ProviderId {
    ProviderId::parse(name).unwrap()
}

fn model(name: &str) -> ModelId {
    ModelId::parse(name).unwrap()
}

fn bounds(tenant: TenantLabel) -> LabelBounds {
    LabelBounds::new([(provider("openai"), model("gpt-4o-mini")), (provider("local"), model(r#"odd"na\me"#))], tenant)
}

/// Counts a request of `tenant` that used 123 input and 400 output tokens and cost $0.00025845.
fn count(meters: &Meters, tenant: &str, target: (&str, &str), ending: Ending) {
    meters.ended(&Ended {
        tenant: &TenantId::parse(tenant).unwrap(),
        provider: &provider(target.0),
        model: &model(target.1),
        ending,
        latency: Duration::from_millis(1500),
        ttft: Some(Duration::from_millis(200)),
        tokens: Tokens { input: 123, cached_input: 23, output: 400, ..Tokens::default() },
        cost: NanoUsd(258_450),
        saved: NanoUsd(4_049_050),
    });
}

fn node(name: &str, kind: &'static str, mailbox: usize, children: Vec<Node>) -> Node {
    Node {
        name: name.into(),
        kind,
        status: Status::Running,
        since: jiff::Timestamp::UNIX_EPOCH,
        restarts: 0,
        messages: 0,
        mailbox,
        in_flight: 0,
        last_failure: None,
        children,
    }
}

fn render(meters: &Meters) -> Exposition {
    let tenants = ["tenant:a", "tenant:b"].map(|name| node(name, "tenant", 2, Vec::new()));
    let tree = node("root", "supervisor", 0, vec![node("tenants", "supervisor", 1, tenants.into())]);
    let text = meters.render(&Live {
        providers: vec![LiveProvider { id: &provider("openai"), queued: 3, in_flight: 7, circuit: State::HalfOpen }],
        actors: &tree,
        restarts: &[("tenant".into(), 5), ("provider:openai".into(), 0)],
        unsettled: 4,
        build: Build { version: "0.1.0", commit: "abc123" },
    });
    Exposition::read(&text)
}

/// A text as Prometheus reads it. Reading checks the format.
struct Exposition {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, String>,
}

impl Exposition {
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line must end");
        let mut read = Self { types: BTreeMap::new(), samples: BTreeMap::new() };
        let mut family = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').expect("help has a text");
                assert!(!text.is_empty(), "{line}");
                assert!(is_name(name), "{line}");
                let kind = lines
                    .next()
                    .and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")))
                    .expect("TYPE after HELP");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
                assert!(read.types.insert(name.into(), kind.into()).is_none(), "{name} is described twice");
                assert!(kind != "counter" || name.ends_with("_total"), "{name}");
                assert!(lines.peek().is_some_and(|next| !next.starts_with('#')), "{name} has no sample");
                family = name.into();
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
                value.parse::<f64>().unwrap_or_else(|_| panic!("{line:?}"));
                let (name, labels) = series.split_once('{').map_or((series, ""), |(name, rest)| {
                    (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("{line:?}")))
                });
                let suffixes: &[&str] =
                    if read.types[&family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                let suffix = name.strip_prefix(&*family).unwrap_or_else(|| panic!("{line:?} stands in {family}"));
                assert!(suffixes.contains(&suffix), "{line:?} stands in {family}");
                check_labels(labels);
                assert!(read.samples.insert(series.into(), value.into()).is_none(), "{series} stands twice");
            }
        }
        read.check_histograms();
        read
    }

    /// Buckets rise with their bounds, and the last is the count.
    fn check_histograms(&self) {
        let mut buckets: BTreeMap<String, Vec<(f64, u64)>> = BTreeMap::new();
        for (series, value) in &self.samples {
            let Some((name, labels)) = series.split_once("_bucket{") else { continue };
            let (before, after) = labels.split_once("le=\"").expect("a bucket has a bound");
            let (bound, _) = after.split_once('"').unwrap();
            let others = before.trim_end_matches(',');
            let of = if others.is_empty() { format!("{name}_count") } else { format!("{name}_count{{{others}}}") };
            buckets.entry(of).or_default().push((bound.parse().unwrap(), value.parse().unwrap()));
        }
        let histograms = self.types.values().filter(|kind| *kind == "histogram").count();
        assert!(buckets.len() >= histograms);
        for (count, mut buckets) in buckets {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by_key(|bucket| bucket.1), "{count}: {buckets:?}");
            let (bound, total) = *buckets.last().unwrap();
            assert_eq!((bound, total.to_string()), (f64::INFINITY, self.samples[&count].clone()), "{count}");
        }
    }

    fn value(&self, series: &str) -> &str {
        self.samples.get(series).unwrap_or_else(|| panic!("no {series} among {:#?}", self.samples.keys()))
    }

    fn check(&self, expected: &[(&str, &str)]) {
        for (series, value) in expected {
            assert_eq!(self.value(series), *value, "{series}");
        }
    }
}

fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// `name="value",…` with `\\`, `\"` and `\n` as the only escapes, each name once.
fn check_labels(mut text: &str) {
    let mut names = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("a label has a value");
        assert!(is_name(name) && !names.contains(&name), "{text}");
        names.push(name);
        let mut escaped = false;
        let end = rest.find(|c| match (escaped, c) {
            (true, _) => {
                assert!(matches!(c, '\\' | '"' | 'n'), "{text}");
                escaped = false;
                false
            }
            (false, '\\') => {
                escaped = true;
                false
            }
            (false, _) => c == '"',
        });
        text = &rest[end.expect("a value ends") + 1..];
        text = if text.is_empty() { text } else { text.strip_prefix(',').expect("a comma between labels") };
    }
}

#[test]
fn every_metric_is_there_with_its_type_and_nothing_else() {
    let meters = Meters::new(bounds(TenantLabel::Absent));
    count(&meters, "default", ("openai", "gpt-4o-mini"), Ending::Ok);
    meters.overhead(Duration::from_micros(90));
    let types = render(&meters).types;
    let types: Vec<_> = types.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    assert_eq!(
        types,
        [
            ("aipipe_actor_mailbox_depth", "gauge"),
            ("aipipe_actor_restarts_total", "counter"),
            ("aipipe_attempts_total", "counter"),
            ("aipipe_build_info", "gauge"),
            ("aipipe_cache_requests_total", "counter"),
            ("aipipe_cost_usd_total", "counter"),
            ("aipipe_hedges_total", "counter"),
            ("aipipe_ledger_unsettled", "gauge"),
            ("aipipe_overhead_seconds", "histogram"),
            ("aipipe_provider_circuit_state", "gauge"),
            ("aipipe_provider_in_flight", "gauge"),
            ("aipipe_provider_queue_depth", "gauge"),
            ("aipipe_request_duration_seconds", "histogram"),
            ("aipipe_requests_total", "counter"),
            ("aipipe_rescues_total", "counter"),
            ("aipipe_saved_usd_total", "counter"),
            ("aipipe_shadow_calls_total", "counter"),
            // Beside those of the contract.
            ("aipipe_spans_total", "counter"),
            ("aipipe_time_to_first_token_seconds", "histogram"),
            ("aipipe_tokens_total", "counter"),
        ]
    );
}

#[test]
fn a_request_counts_where_it_was_answered() {
    let meters = Meters::new(bounds(TenantLabel::Absent));
    count(&meters, "a", ("openai", "gpt-4o-mini"), Ending::Ok);
    count(&meters, "b", ("openai", "gpt-4o-mini"), Ending::Truncated);
    render(&meters).check(&[
        (r#"aipipe_requests_total{provider="openai",model="gpt-4o-mini",outcome="ok"}"#, "1"),
        (r#"aipipe_requests_total{provider="openai",model="gpt-4o-mini",outcome="truncated"}"#, "1"),
        (r#"aipipe_requests_total{provider="openai",model="gpt-4o-mini",outcome="failed"}"#, "0"),
        (r#"aipipe_request_duration_seconds_count{provider="openai",model="gpt-4o-mini"}"#, "2"),
        (r#"aipipe_request_duration_seconds_sum{provider="openai",model="gpt-4o-mini"}"#, "3.0"),
        (r#"aipipe_request_duration_seconds_bucket{provider="openai",model="gpt-4o-mini",le="1"}"#, "0"),
        (r#"aipipe_request_duration_seconds_bucket{provider="openai",model="gpt-4o-mini",le="2.5"}"#, "2"),
        (r#"aipipe_time_to_first_token_seconds_bucket{provider="openai",model="gpt-4o-mini",le="0.25"}"#, "2"),
        (r#"aipipe_tokens_total{provider="openai",model="gpt-4o-mini",kind="input"}"#, "246"),
        (r#"aipipe_tokens_total{provider="openai",model="gpt-4o-mini",kind="cached_input"}"#, "46"),
        (r#"aipipe_tokens_total{provider="openai",model="gpt-4o-mini",kind="cache_write"}"#, "0"),
        (r#"aipipe_tokens_total{provider="openai",model="gpt-4o-mini",kind="output"}"#, "800"),
        (r#"aipipe_tokens_total{provider="openai",model="gpt-4o-mini",kind="reasoning"}"#, "0"),
        (r#"aipipe_cost_usd_total{provider="openai",model="gpt-4o-mini"}"#, "0.000516900"),
        ("aipipe_saved_usd_total", "0.008098100"),
    ]);
}

#[test]
fn what_is_rejected_before_a_choice_has_no_provider_and_no_duration() {
    let meters = Meters::new(bounds(TenantLabel::Absent));
    let none = r#"aipipe_requests_total{provider="none",model="none",outcome="rejected"}"#;
    assert_eq!(render(&meters).value(none), "0");
    meters.rejected(Some(&TenantId::default_tenant()));
    meters.rejected(None);
    let read = render(&meters);
    assert_eq!(read.value(none), "2");
    assert!(!read.types.contains_key("aipipe_request_duration_seconds"));
    count(&meters, "a", ("openai", "gpt-4o-mini"), Ending::Failed);
    let read = render(&meters);
    let rejected = read.samples.keys().filter(|series| series.contains("rejected"));
    assert_eq!(rejected.collect::<Vec<_>>(), [none]);
}

#[test]
fn what_the_catalogue_does_not_know_is_other() {
    let meters = Meters::new(bounds(TenantLabel::Absent));
    for name in ["x", "y", "z"] {
        count(&meters, name, ("openai", name), Ending::Ok);
        count(&meters, name, (name, "gpt-4o-mini"), Ending::Ok);
    }
    let read = render(&meters);
    read.check(&[
        (r#"aipipe_requests_total{provider="openai",model="other",outcome="ok"}"#, "3"),
        (r#"aipipe_requests_total{provider="other",model="other",outcome="ok"}"#, "3"),
    ]);
    let of_requests = read.samples.keys().filter(|series| series.starts_with("aipipe_requests_total"));
    let answered = of_requests.filter(|series| series.contains(r#"outcome="ok""#));
    assert_eq!(answered.count(), 2);
    assert!(read.samples.keys().all(|series| !series.contains("tenant=")));
}

#[test]
fn a_reload_changes_the_bounds_and_keeps_the_counts() {
    let meters = Meters::new(bounds(TenantLabel::Absent));
    count(&meters, "a", ("openai", "gpt-4o-mini"), Ending::Ok);
    count(&meters, "a", ("openai", "o9"), Ending::Ok);
    let models = ["gpt-4o-mini", "o9"].map(|name| (provider("openai"), model(name)));
    meters.rebind(LabelBounds::new(models, TenantLabel::Absent));
    count(&meters, "a", ("openai", "gpt-4o-mini"), Ending::Ok);
    count(&meters, "a", ("openai", "o9"), Ending::Ok);
    render(&meters).check(&[
        (r#"aipipe_requests_total{provider="openai",model="gpt-4o-mini",outcome="ok"}"#, "2"),
        (r#"aipipe_requests_total{provider="openai",model="other",outcome="ok"}"#, "1"),
        (r#"aipipe_requests_total{provider="openai",model="o9",outcome="ok"}"#, "1"),
    ]);
}

#[test]
fn tenants_are_a_label_where_the_operator_says_so() {
    let meters = Meters::new(bounds(TenantLabel::Present));
    count(&meters, "acme", ("openai", "gpt-4o-mini"), Ending::Ok);
    count(&meters, "acme", ("openai", "unknown"), Ending::Ok);
    meters.rejected(Some(&TenantId::parse("acme").unwrap()));
    meters.rejected(None);
    render(&meters).check(&[
        (r#"aipipe_requests_total{tenant="acme",provider="openai",model="gpt-4o-mini",outcome="ok"}"#, "1"),
        (r#"aipipe_requests_total{tenant="acme",provider="none",model="none",outcome="rejected"}"#, "1"),
        (r#"aipipe_requests_total{tenant="none",provider="none",model="none",outcome="rejected"}"#, "1"),
        (r#"aipipe_cost_usd_total{tenant="acme",provider="openai",model="gpt-4o-mini"}"#, "0.000258450"),
        (r#"aipipe_saved_usd_total{tenant="acme"}"#, "0.008098100"),
    ]);
}

#[test]
fn odd_names_of_models_are_escaped() {
    let meters = Meters::new(bounds(TenantLabel::Absent));
    count(&meters, "a", ("local", r#"odd"na\me"#), Ending::Ok);
    render(&meters).check(&[
        (r#"aipipe_requests_total{provider="local",model="odd\"na\\me",outcome="ok"}"#, "1"),
        (r#"aipipe_cost_usd_total{provider="local",model="odd\"na\\me"}"#, "0.000258450"),
    ]);
}

#[test]
fn the_gateway_itself_is_seen_as_it_is_at_the_scrape() {
    let meters = Meters::new(bounds(TenantLabel::Absent));
    meters.overhead(Duration::from_micros(90));
    meters.cache(CacheUse::Hit);
    meters.cache(CacheUse::Off);
    meters.cache(CacheUse::Off);
    render(&meters).check(&[
        (r#"aipipe_overhead_seconds_bucket{le="5e-05"}"#, "0"),
        (r#"aipipe_overhead_seconds_bucket{le="0.0001"}"#, "1"),
        ("aipipe_overhead_seconds_count", "1"),
        (r#"aipipe_cache_requests_total{result="hit"}"#, "1"),
        (r#"aipipe_cache_requests_total{result="miss"}"#, "0"),
        (r#"aipipe_cache_requests_total{result="off"}"#, "2"),
        (r#"aipipe_provider_queue_depth{provider="openai"}"#, "3"),
        (r#"aipipe_provider_in_flight{provider="openai"}"#, "7"),
        (r#"aipipe_provider_circuit_state{provider="openai"}"#, "1"),
        (r#"aipipe_actor_restarts_total{actor="tenant"}"#, "5"),
        (r#"aipipe_actor_restarts_total{actor="provider:openai"}"#, "0"),
        (r#"aipipe_actor_mailbox_depth{actor="root"}"#, "0"),
        (r#"aipipe_actor_mailbox_depth{actor="tenants"}"#, "1"),
        (r#"aipipe_actor_mailbox_depth{actor="tenant"}"#, "4"),
        ("aipipe_ledger_unsettled", "4"),
        (r#"aipipe_build_info{version="0.1.0",commit="abc123"}"#, "1"),
    ]);
}
