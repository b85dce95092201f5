//! What happens beside the requests: providers that fail, actors that crash, reloads, tenants that come and go.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use aipipe::simulator::{Behaviour, Provider};
use fastrand::Rng;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{GUESTS, RESIDENTS, Stage};
use crate::process::Daemon;
use crate::support::{Answer, ask, model};

/// Providers that are well at a time: two for certain, and one that is coming or going.
const WELL: usize = 3;
/// A supervisor restarts at once only what was well for a minute; an actor that crashes again and again is kept down for longer and longer.
const FORGIVEN_AFTER: Duration = Duration::from_secs(61);
/// Crashes of one actor within that time: the last of them is made good within a tenth of a second.
const CRASHES: usize = 3;

/// The ways in which a provider fails at once.
fn failures() -> Vec<Behaviour> {
    vec![
        Behaviour::UsageMissing,
        Behaviour::status(500),
        Behaviour::status(529),
        Behaviour::status(401),
        Behaviour::OutOfMoney,
        Behaviour::rate_limited(1),
        Behaviour::ErrorIn200,
        Behaviour::ResetBeforeHeaders,
        Behaviour::BreaksAfter(0),
        Behaviour::BreaksAfter(2),
        Behaviour::EndsEarly(1),
        Behaviour::ErrorEventAfter(1),
        Behaviour::MalformedEventAfter(3),
        Behaviour::Truncated,
        Behaviour::NotJson { body: "<html>".into(), status: 200 },
        Behaviour::NotJson { body: "<html>".into(), status: 502 },
    ]
}

/// The ways that take their time.
fn slow_failures() -> Vec<Behaviour> {
    vec![Behaviour::StallAfter(2), Behaviour::Silent, Behaviour::SlowHeaders(Duration::from_millis(700))]
}

/// Draws and does what goes wrong.
pub(super) struct Trouble {
    rng: Rng,
    failures: Vec<Behaviour>,
    /// The first of the providers that are well, which follow each other in a circle.
    first: usize,
    crashed: HashMap<String, (usize, Instant)>,
    done: HashMap<&'static str, usize>,
}

impl Trouble {
    /// Without failures that take their time a run is over soon.
    pub(super) fn new(stage: &Stage, takes_time: bool, mut rng: Rng) -> Self {
        let mut failures = failures();
        if takes_time {
            failures.extend(slow_failures());
        }
        let first = rng.usize(..Provider::ALL.len());
        let (crashed, done) = (HashMap::new(), HashMap::new());
        let mut trouble = Self { rng, failures, first, crashed, done };
        for place in WELL..Provider::ALL.len() {
            trouble.spoil(stage, place);
        }
        trouble
    }

    /// Does one thing, and leaves things as they are for a moment.
    pub(super) async fn strike(&mut self, stage: &Stage, daemon: &Daemon) {
        match self.rng.u8(..16) {
            0..=6 => {
                let place = self.rng.usize(WELL..Provider::ALL.len());
                self.spoil(stage, place);
            }
            7..=9 => self.crash(stage).await,
            10 => {
                stage.configure(&mut self.rng);
                daemon.signal(Signal::HUP);
                self.count("reloads by SIGHUP");
            }
            11 => {
                stage.configure(&mut self.rng);
                let answer = stage.admin(Method::POST, "/admin/reload").send().await.unwrap();
                assert_eq!(answer.status(), 200);
                self.count("reloads by the admin API");
            }
            _ => self.change_a_guest(stage).await,
        }
        sleep(Duration::from_millis(self.rng.u64(10..200))).await;
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn provider(&self, place: usize) -> Provider {
        Provider::ALL[(self.first + place) % Provider::ALL.len()]
    }

    /// The provider in this place fails in some way from now on, or in another than before.
    fn spoil(&mut self, stage: &Stage, place: usize) {
        let failure = Box::new(self.failures[self.rng.usize(..self.failures.len())].clone());
        let rate = [0.2, 0.5, 1.0][self.rng.usize(..3)];
        stage.simulator.script(self.provider(place), Behaviour::FailureRate { rate, failure });
        self.count("faults of providers");
    }

    /// Between two rounds the next provider becomes well in place of the first, if the program has noticed that the two others are. Within a
    /// round the same ones are well: else a request that takes long could meet each provider while it fails.
    pub(super) async fn pass_on(&mut self, stage: &Stage) {
        let staying = [1, 2].map(|place| model(self.provider(place)));
        for tenant in RESIDENTS {
            let route = stage.client.post(stage.url("/v1/route")).header("x-tenant-id", tenant);
            let route =
                route.header("x-aipipe-models", staying.join(",")).body(ask("auto", "Who is well?").to_string());
            let decision = Answer::read(route.send().await.unwrap()).await.ok().json();
            let candidates = decision["candidates"].as_array().map(Vec::as_slice).unwrap_or_default();
            let is_well = |name: &&str| {
                let of = |candidate: &Value| {
                    format!("{}/{}", candidate["provider"].as_str().unwrap(), candidate["model"].as_str().unwrap())
                };
                candidates.iter().any(|candidate| of(candidate) == **name && candidate["eligible"] == true)
            };
            if !staying.iter().all(is_well) {
                return;
            }
        }
        stage.simulator.script(self.provider(WELL), Behaviour::Normal);
        self.first = (self.first + 1) % Provider::ALL.len();
        self.spoil(stage, Provider::ALL.len() - 1);
        self.count("changes of who is well");
    }

    async fn crash(&mut self, stage: &Stage) {
        let mut names: Vec<String> = ["root", "tenants", "providers", "metrics"].map(str::to_owned).into();
        names.extend(Provider::ALL.map(|provider| format!("provider:{}", provider.as_str())));
        names.extend(RESIDENTS.map(|tenant| format!("tenant:{tenant}")));
        let name = names.swap_remove(self.rng.usize(..names.len()));
        let (crashes, last) = self.crashed.entry(name.clone()).or_insert((0, Instant::now()));
        if last.elapsed() >= FORGIVEN_AFTER {
            *crashes = 0;
        }
        if *crashes == CRASHES {
            return;
        }
        let path = format!("/admin/actors/{}/restart", name.replace(':', "%3A"));
        // One that is not live, or is being restarted, cannot crash.
        if stage.admin(Method::POST, &path).send().await.unwrap().status() == 202 {
            (*crashes, *last) = (*crashes + 1, Instant::now());
            self.count("crashes of actors");
        }
    }

    async fn change_a_guest(&mut self, stage: &Stage) {
        let path = format!("/admin/tenants/{}", GUESTS[self.rng.usize(..GUESTS.len())]);
        if self.rng.u8(..4) == 0 {
            let status = stage.admin(Method::DELETE, &path).send().await.unwrap().status().as_u16();
            assert!(matches!(status, 200..300 | 404), "{status}");
            return self.count("tenants deleted");
        }
        let policy = match self.rng.u8(..4) {
            0 => json!({"operator_keys": true, "max_concurrent": 2}),
            1 => json!({"operator_keys": true, "requests_per_minute": 20}),
            2 => json!({"operator_keys": true, "budget_usd": "0.001", "budget_period": "day"}),
            _ => json!({"operator_keys": true}),
        };
        let status = stage.admin(Method::PUT, &path).body(policy.to_string()).send().await.unwrap().status().as_u16();
        assert!((200..300).contains(&status), "{status}");
        self.count("tenants made or changed");
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut done: Vec<_> = self.done.iter().collect();
        done.sort();
        let done: Vec<String> = done.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
        f.write_str(&done.join(", "))
    }
}

impl Stage {
    /// Restarts of actors since the start, as the metrics count them.
    pub(super) async fn restarts(&self) -> u64 {
        self.metric_sum("aipipe_actor_restarts_total").await as u64
    }

    /// The sum of a metric over all its labels.
    pub(super) async fn metric_sum(&self, name: &str) -> f64 {
        let text = self.client.get(self.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let of = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
        of.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Actors that failed for another reason than that they were told to.
    pub(super) async fn unexplained_failures(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut nodes = vec![self.shown("/admin/actors").await];
        while let Some(node) = nodes.pop() {
            let reason = node["last_failure"]["reason"].as_str();
            if node["name"] != "root" && reason.is_some_and(|reason| !reason.contains("operator")) {
                found.push(format!("{} failed: {}", node["name"], node["last_failure"]));
            }
            nodes.extend(node["children"].as_array().cloned().unwrap_or_default());
        }
        found
    }
}
