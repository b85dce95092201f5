//! What is measured, in the order in which it is measured.

mod ledger;
mod neighbour;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aipipe::simulator::{Behaviour, LatencyProfile, Provider, Record, Settings, Simulator};
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use tokio::runtime::{Builder, Runtime};

use super::connection::Target;
use super::gateway::{Gateway, tick};
use super::load::{self, Met, Until};
use super::machine::Split;
use super::prompt::{DELTAS, Prompt, Wish, streamed_answer, whole_answer};
use super::report::{Figure, median};

const ROUNDS: usize = 3;
const STARTS: usize = 5;
const KB: usize = 1024;
/// After so many requests memory is looked at.
const MEMORY_REQUESTS: usize = 10_000;
/// Requests per second at which added latency is measured.
const RATE: u32 = 200;
/// Streams per second at which the added time to the first token is measured.
const STREAM_RATE: u32 = 50;
/// Streams open at a time where their deltas come one by one.
const PACED_STREAMS: usize = 200;
/// Streams of each of these clients in a round, of about a second each.
const STREAMS_EACH: usize = 2;
const PACE: LatencyProfile = LatencyProfile {
    first_token: Duration::from_millis(100),
    per_token: Duration::from_millis(20),
    jitter: Duration::ZERO,
};

/// What is to be measured, and how.
pub(crate) struct Plan<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) split: &'a Split,
    pub(crate) round: Duration,
}

/// One kind of closed loop.
struct Loop {
    name: &'static str,
    bytes: usize,
    wish: Wish,
    clients: usize,
}

/// The provider, the load, and what has been found so far.
pub(crate) struct Bench<'a> {
    plan: Plan<'a>,
    simulator: Simulator,
    direct: Target,
    load: Runtime,
    /// Requests sent so far, to the gateway or past it.
    sent: u64,
    figures: Vec<Figure>,
    failures: Vec<String>,
    /// Serves the simulator; dropped after it.
    _provider: Runtime,
}

impl<'a> Bench<'a> {
    /// Starts the simulated provider.
    pub(crate) fn prepare(plan: Plan<'a>) -> anyhow::Result<Self> {
        let provider = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let settings = Settings { record: Record::CountOnly, ..Settings::default() };
        let simulator = provider.block_on(Simulator::start(settings))?;
        let base_url = simulator.base_url(Provider::OpenAi);
        let base_url = base_url.strip_prefix("http://").context("the simulator speaks plain HTTP")?;
        let (address, base_path) = base_url.split_once('/').context("OpenAI's base URL has a path")?;
        let direct = Target {
            address: address.parse::<SocketAddr>()?,
            path: format!("/{base_path}/chat/completions"),
            authorization: Some(format!("Bearer {}", simulator.api_key(Provider::OpenAi))),
            tenant: None,
        };
        let load = Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            plan,
            simulator,
            direct,
            load,
            sent: 0,
            figures: Vec::new(),
            failures: Vec::new(),
            _provider: provider,
        })
    }

    /// Every figure of the gateway.
    pub(crate) fn measure_gateway(&mut self) -> anyhow::Result<()> {
        let mut gateway = self.start_up()?;
        let target = gateway.target();
        self.simulator.script(Provider::OpenAi, whole_answer());
        self.memory(&gateway, &target)?;
        self.added_latency(&target)?;
        self.alone("requests per second of the simulator alone, c=64, 1 kB", 64, KB)?;
        for shape in [
            Loop { name: "c=1, 1 kB", bytes: KB, wish: Wish::Whole, clients: 1 },
            Loop { name: "c=8, 1 kB", bytes: KB, wish: Wish::Whole, clients: 8 },
            Loop { name: "c=64, 1 kB", bytes: KB, wish: Wish::Whole, clients: 64 },
            Loop { name: "c=64, 1 kB, cache off", bytes: KB, wish: Wish::Uncached, clients: 64 },
            Loop { name: "c=8, 32 kB", bytes: 32 * KB, wish: Wish::Whole, clients: 8 },
            Loop { name: "c=8, 1 MB", bytes: 1024 * KB, wish: Wish::Whole, clients: 8 },
        ] {
            self.closed_loop(&gateway, &target, &shape)?;
        }
        self.added_time_to_first_token(&target)?;
        self.deltas_in_one_piece(&gateway, &target)?;
        self.deltas_one_by_one(&gateway, &target)?;
        let after = gateway.memory()?;
        let how = "VmRSS of /proc/<pid>/status after everything above, the 1 MB bodies and the streams included";
        self.figures.push(Figure::once("memory at the end", mebibytes(after.resident), "MiB", how));
        let how = "VmHWM of /proc/<pid>/status at the same moment";
        self.figures.push(Figure::once("memory at its peak", mebibytes(after.peak), "MiB", how));
        gateway.stop()
    }

    /// What the load generator and the simulated provider can do by themselves.
    pub(crate) fn measure_simulator(&mut self) -> anyhow::Result<()> {
        self.simulator.script(Provider::OpenAi, whole_answer());
        for (name, clients, bytes) in [
            ("c=1, 1 kB", 1, KB),
            ("c=8, 1 kB", 8, KB),
            ("c=64, 1 kB", 64, KB),
            ("c=8, 32 kB", 8, 32 * KB),
            ("c=8, 1 MB", 8, 1024 * KB),
        ] {
            self.alone(&format!("requests per second, {name}"), clients, bytes)?;
        }
        self.paced_by_itself()?;
        self.simulator.script(Provider::OpenAi, whole_answer());
        let prompt = Arc::new(Prompt::new(KB, Wish::Whole)?);
        let target = self.direct.clone();
        let met = self.open_round("latency", &target, &prompt, RATE)?;
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let how = format!("open loop at {RATE} a second, from the intended send time");
            let value = microseconds(&met.whole, quantile);
            ensure!(value > 0.0, "an answer took no time");
            self.figures.push(Figure::once(format!("latency {label}"), value, "µs", how));
        }
        Ok(())
    }

    fn paced_by_itself(&mut self) -> anyhow::Result<()> {
        self.simulator.script(Provider::OpenAi, Behaviour::Latency(PACE));
        let shape = Loop { name: "streams delta by delta", bytes: KB, wish: Wish::Stream, clients: PACED_STREAMS };
        progress(shape.name);
        let rate = self.paced_alone(&shape)?;
        let how = format!(
            "{PACED_STREAMS} streams at a time, the next delta of each after {} ms",
            PACE.per_token.as_millis()
        );
        self.figures.push(Figure::once("events per second, delta by delta", rate, "1/s", how));
        Ok(())
    }

    /// What was found, after a look at the provider: what it got must be what was sent.
    pub(crate) fn finish(mut self) -> anyhow::Result<(Vec<Figure>, Vec<String>)> {
        let arrived = self.simulator.counts(Provider::OpenAi).arrived;
        if arrived as u64 != self.sent {
            self.failures.push(format!("{} requests were sent and {arrived} reached the provider", self.sent));
        }
        Ok((self.figures, self.failures))
    }

    fn start_up(&mut self) -> anyhow::Result<Gateway> {
        progress("start");
        let environment = self.simulator.environment();
        let mut times = Vec::new();
        let mut last = None;
        for _ in 0..STARTS {
            // The one before is killed first.
            drop(last.take());
            let gateway = Gateway::start(self.plan.binary, &environment, self.plan.split, "")?;
            times.push(gateway.started_in.as_secs_f64() * 1e3);
            last = Some(gateway);
        }
        let how =
            format!("from fork to status 200 of /readyz, asked every 0.1 ms; empty data directory; {STARTS} starts");
        self.figures.push(Figure::median("start to ready", times, "ms", how));
        last.context("no gateway was started")
    }

    fn memory(&mut self, gateway: &Gateway, target: &Target) -> anyhow::Result<()> {
        let idle = gateway.memory()?;
        let how = "VmRSS of /proc/<pid>/status when ready, no request yet";
        self.figures.push(Figure::once("memory idle", mebibytes(idle.resident), "MiB", how));
        let clients = 8;
        let shape = Loop { name: "10,000 requests", bytes: KB, wish: Wish::Whole, clients };
        self.closed_round(target, &shape, Until::Requests(MEMORY_REQUESTS / clients))?;
        let loaded = gateway.memory()?;
        let how =
            format!("VmRSS after {MEMORY_REQUESTS} requests of 1 kB, c={clients}; their answers are in the cache");
        self.figures.push(Figure::once("memory after 10,000 requests", mebibytes(loaded.resident), "MiB", how));
        let how = "VmHWM at the same moment";
        self.figures.push(Figure::once("memory peak of 10,000 requests", mebibytes(loaded.peak), "MiB", how));
        Ok(())
    }

    fn added_latency(&mut self, target: &Target) -> anyhow::Result<()> {
        let prompt = Arc::new(Prompt::new(KB, Wish::Whole)?);
        let pairs = self.in_turns("added latency", target, &prompt, RATE)?;
        let condition =
            format!("open loop at {RATE} a second, 1 kB, from the intended send time to the end of the answer");
        self.added("added latency", &condition, &pairs, |met| &met.whole)
    }

    fn added_time_to_first_token(&mut self, target: &Target) -> anyhow::Result<()> {
        self.simulator.script(Provider::OpenAi, streamed_answer());
        let prompt = Arc::new(Prompt::new(KB, Wish::Stream)?);
        let pairs = self.in_turns("added time to first token", target, &prompt, STREAM_RATE)?;
        let condition = format!(
            "open loop at {STREAM_RATE} streams a second, 1 kB, from the intended send time to the first bytes of the body"
        );
        self.added("added time to first token", &condition, &pairs, |met| &met.first)
    }

    /// Percentiles through the gateway less those of the simulator alone in the same round.
    fn added(
        &mut self,
        name: &str,
        condition: &str,
        pairs: &[Pair],
        histogram: impl Fn(&Met) -> &Histogram<u64>,
    ) -> anyhow::Result<()> {
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let of = |met: &Met| microseconds(histogram(met), quantile);
            let through: Vec<f64> = pairs.iter().map(|pair| of(&pair.through)).collect();
            let alone: Vec<f64> = pairs.iter().map(|pair| of(&pair.alone)).collect();
            ensure!(through.iter().chain(&alone).all(|latency| *latency > 0.0), "{name}: an answer took no time");
            let added: Vec<f64> = through.iter().zip(&alone).map(|(through, alone)| through - alone).collect();
            // A gateway cannot save time: such a difference is another's work on this machine.
            let lost =
                if added.iter().any(|added| *added <= 0.0) { "LOST IN NOISE, not to be published: " } else { "" };
            let answered = pairs.iter().map(|pair| pair.through.good).min().unwrap_or_default();
            let how = format!(
                "{lost}{condition}; gateway {:.0} less simulator alone {:.0} (medians), in turns, {ROUNDS} rounds of {answered} each",
                median(through),
                median(alone)
            );
            self.figures.push(Figure::median(format!("{name} {label}"), added, "µs", how));
        }
        Ok(())
    }

    fn closed_loop(&mut self, gateway: &Gateway, target: &Target, shape: &Loop) -> anyhow::Result<()> {
        let rounds = self.observed_rounds(gateway, target, shape, Until::Elapsed(self.plan.round))?;
        let busy = rounds.iter().map(|round| round.cpu.as_secs_f64()).sum::<f64>()
            / rounds.iter().map(|round| round.met.elapsed.as_secs_f64()).sum::<f64>();
        let how = format!(
            "closed loop, c={} kept alive, model named; {ROUNDS} rounds of {:?}; the gateway used {busy:.2} CPUs",
            shape.clients, self.plan.round
        );
        let name = shape.name;
        let values = rounds.iter().map(Round::rate).collect();
        self.figures.push(Figure::median(format!("requests per second, {name}"), values, "1/s", how));
        let requests: Vec<u64> = rounds.iter().map(|round| round.met.good).collect();
        let how = format!("{}; the same rounds", cpu_source(&requests, "request"));
        let values = rounds.iter().map(|round| round.cpu_each(round.met.good)).collect();
        self.figures.push(Figure::median(format!("CPU per request, {name}"), values, "µs", how));
        Ok(())
    }

    fn deltas_in_one_piece(&mut self, gateway: &Gateway, target: &Target) -> anyhow::Result<()> {
        let shape = Loop { name: "streams in one piece", bytes: KB, wish: Wish::Stream, clients: 8 };
        let rounds = self.observed_rounds(gateway, target, &shape, Until::Elapsed(self.plan.round))?;
        let how =
            format!("{DELTAS} deltas an answer, sent by the provider in one piece; closed loop, c={}", shape.clients);
        self.cpu_per_delta("CPU per delta, in one piece", &how, &rounds);
        Ok(())
    }

    fn deltas_one_by_one(&mut self, gateway: &Gateway, target: &Target) -> anyhow::Result<()> {
        self.simulator.script(Provider::OpenAi, Behaviour::Latency(PACE));
        let shape = Loop { name: "streams delta by delta", bytes: KB, wish: Wish::Stream, clients: PACED_STREAMS };
        let alone = self.paced_alone(&shape)?;
        let rounds = self.observed_rounds(gateway, target, &shape, Until::Requests(STREAMS_EACH))?;
        let how = format!(
            "{PACED_STREAMS} streams at a time, the next delta of each after {} ms, {ROUNDS} rounds of {STREAMS_EACH} streams a client \
             (past the gateway {alone:.0} events a second)",
            PACE.per_token.as_millis()
        );
        self.cpu_per_delta("CPU per delta, one by one", &how, &rounds);
        Ok(())
    }

    /// Events per second of the same streams past the gateway: how fast the simulated provider sends them.
    ///
    /// By number, not by time: a client that begins another stream just before the end would go on alone.
    fn paced_alone(&mut self, shape: &Loop) -> anyhow::Result<f64> {
        let direct = self.direct.clone();
        let met = self.closed_round(&direct, shape, Until::Requests(STREAMS_EACH))?;
        Ok(met.events as f64 / met.elapsed.as_secs_f64())
    }

    fn cpu_per_delta(&mut self, name: &str, condition: &str, rounds: &[Round]) {
        let events: Vec<u64> = rounds.iter().map(|round| round.met.events).collect();
        let per_second =
            events.iter().sum::<u64>() as f64 / rounds.iter().map(|round| round.met.elapsed.as_secs_f64()).sum::<f64>();
        let per_stream = events.iter().sum::<u64>() / rounds.iter().map(|round| round.met.good).sum::<u64>().max(1);
        let how = format!(
            "{condition}; {}; {per_second:.0} events a second, {per_stream} a stream; the whole request is in it",
            cpu_source(&events, "delta")
        );
        let values = rounds.iter().map(|round| round.cpu_each(round.met.events)).collect();
        self.figures.push(Figure::median(name, values, "µs", how));
    }

    /// The throughput of the simulated provider by itself: where the gateway comes near it, the load was the bottleneck.
    fn alone(&mut self, name: &str, clients: usize, bytes: usize) -> anyhow::Result<()> {
        progress(name);
        let target = self.direct.clone();
        let shape = Loop { name: "simulator alone", bytes, wish: Wish::Whole, clients };
        let met = self.closed_round(&target, &shape, Until::Elapsed(self.plan.round))?;
        let how = format!("closed loop, c={clients}, past the gateway; the limit of the load generator");
        let rate = met.good as f64 / met.elapsed.as_secs_f64();
        self.figures.push(Figure::once(name, rate, "1/s", how));
        Ok(())
    }

    fn observed_rounds(
        &mut self,
        gateway: &Gateway,
        target: &Target,
        shape: &Loop,
        until: Until,
    ) -> anyhow::Result<Vec<Round>> {
        progress(shape.name);
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let before = gateway.cpu_time()?;
            let met = self.closed_round(target, shape, until)?;
            rounds.push(Round { met, cpu: gateway.cpu_time()?.saturating_sub(before) });
        }
        Ok(rounds)
    }

    fn closed_round(&mut self, target: &Target, shape: &Loop, until: Until) -> anyhow::Result<Met> {
        let prompt = Arc::new(Prompt::new(shape.bytes, shape.wish)?);
        let met = self.load.block_on(load::closed(target, &prompt, shape.clients, until))?;
        self.account(shape.name, &met)?;
        Ok(met)
    }

    fn open_round(&mut self, name: &str, target: &Target, prompt: &Arc<Prompt>, rate: u32) -> anyhow::Result<Met> {
        // Twice a round: slow rates need time to have a percentile.
        let met = self.load.block_on(load::open(target, prompt, rate, self.plan.round * 2))?;
        self.account(name, &met)?;
        Ok(met)
    }

    /// Open loops past the gateway and through it, in turns.
    fn in_turns(&mut self, name: &str, target: &Target, prompt: &Arc<Prompt>, rate: u32) -> anyhow::Result<Vec<Pair>> {
        progress(name);
        let direct = self.direct.clone();
        let mut pairs = Vec::new();
        for _ in 0..ROUNDS {
            let alone = self.open_round(name, &direct, prompt, rate)?;
            pairs.push(Pair { alone, through: self.open_round(name, target, prompt, rate)? });
        }
        Ok(pairs)
    }

    /// Counts what was sent and keeps what went wrong. A phase in which nothing went well has no figures.
    fn account(&mut self, name: &str, met: &Met) -> anyhow::Result<()> {
        self.sent += met.good + met.bad;
        let complaint = met.complaint.as_deref().unwrap_or("no request was answered");
        ensure!(met.good > 0, "{name}: {complaint}");
        if met.bad > 0 {
            self.failures.push(format!("{name}: {} of {} requests: {complaint}", met.bad, met.good + met.bad));
        }
        Ok(())
    }
}

/// The same load past the gateway and through it, one after the other.
struct Pair {
    alone: Met,
    through: Met,
}

/// One round of a closed loop and the CPU time that the gateway spent in it.
struct Round {
    met: Met,
    cpu: Duration,
}

impl Round {
    /// Requests per second.
    fn rate(&self) -> f64 {
        self.met.good as f64 / self.met.elapsed.as_secs_f64()
    }

    /// Microseconds of CPU for each of so many.
    fn cpu_each(&self, count: u64) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count.max(1) as f64
    }
}

/// Where CPU time comes from, and how exact it is where so many were counted in each round.
fn cpu_source(counts: &[u64], of: &str) -> String {
    let fewest = counts.iter().copied().min().unwrap_or_default().max(1);
    let resolution = tick().as_secs_f64() * 1e6 / fewest as f64;
    format!("utime + stime of /proc/<pid>/stat by {of}, to {resolution:.2} µs")
}

fn microseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

fn progress(phase: &str) {
    eprintln!("bench: {phase}");
}
