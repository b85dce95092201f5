//! The noisy neighbour: what a tenant's requests take at a slow provider that another tenant keeps busy, beside what they take alone.

use std::sync::Arc;
use std::time::Duration;

use aipipe::simulator::{Behaviour, LatencyProfile, Provider};
use anyhow::ensure;

use super::{Bench, KB, microseconds, progress};
use crate::connection::Target;
use crate::gateway::Gateway;
use crate::load::{self, Met};
use crate::prompt::{Prompt, Wish};
use crate::report::Figure;

const ROUNDS: u32 = 3;
const ROUND: Duration = Duration::from_secs(4);
/// Requests per second of the tenant that is measured.
const QUIET_RATE: u32 = 10;
/// How many times as many the other sends: a quarter more than the provider takes, so that a queue grows.
const TIMES: u32 = 50;
/// 40 places of 100 ms each: the provider takes 400 requests a second, far fewer than the gateway. Some answers take longer than others,
/// or the places would come free in step, as they were first taken.
const PACE: LatencyProfile = LatencyProfile {
    first_token: Duration::from_millis(80),
    per_token: Duration::ZERO,
    jitter: Duration::from_millis(40),
};
const PLACES: &str = "[providers.openai]\nmax_in_flight = 40\nmax_queue = 100000\n";
const NAME: &str = "noisy neighbour";

impl Bench<'_> {
    /// The quiet tenant's percentiles beside the noisy one, as multiples of those alone.
    pub(crate) fn measure_neighbour(&mut self) -> anyhow::Result<()> {
        progress(NAME);
        let mut gateway = Gateway::start(self.plan.binary, &self.simulator.environment(), self.plan.split, PLACES)?;
        for tenant in ["quiet", "noisy"] {
            gateway.put_tenant(tenant)?;
        }
        self.simulator.script(Provider::OpenAi, Behaviour::Latency(PACE));
        let of = |tenant| Target { tenant: Some(tenant), ..gateway.target() };
        let (quiet, noisy) = (of("quiet"), of("noisy"));
        let prompt = Arc::new(Prompt::new(KB, Wish::Whole)?);
        let (mut alone, mut beside, mut others) = (Met::nothing()?, Met::nothing()?, Met::nothing()?);
        for _ in 0..ROUNDS {
            alone.add(self.load.block_on(load::open(&quiet, &prompt, QUIET_RATE, ROUND))?)?;
            let (quiet, noisy) = self.load.block_on(async {
                tokio::join!(
                    load::open(&quiet, &prompt, QUIET_RATE, ROUND),
                    load::open(&noisy, &prompt, QUIET_RATE * TIMES, ROUND)
                )
            });
            beside.add(quiet?)?;
            others.add(noisy?)?;
        }
        for met in [&alone, &beside, &others] {
            self.account(NAME, met)?;
        }
        gateway.stop()?;
        let milliseconds = |met: &Met, quantile| microseconds(&met.whole, quantile) / 1e3;
        let waited = milliseconds(&others, 0.5);
        ensure!(waited > 2e-3 * PACE.first_token.as_micros() as f64, "the provider was never busy: nothing is shown");
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let (alone_ms, beside_ms) = (milliseconds(&alone, quantile), milliseconds(&beside, quantile));
            let how = format!(
                "{beside_ms:.1} ms while another tenant sends {TIMES} times as much and waits {waited:.0} ms (p50), by {alone_ms:.1} ms alone; \
                 open loop, {QUIET_RATE} a second, {} requests; a provider of 40 places, {} to {} ms an answer",
                beside.good,
                PACE.first_token.as_millis(),
                (PACE.first_token + PACE.jitter).as_millis()
            );
            let name = format!("latency beside a {NAME}, {label}");
            self.figures.push(Figure::once(name, beside_ms / alone_ms, "times", how));
        }
        Ok(())
    }
}
