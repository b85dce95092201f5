//! The machine that the figures come from, and which of its CPUs each side may use.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// What a reader has to know about the machine to judge a figure.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's model name.
    pub(crate) processor: String,
    /// CPUs that the benchmark may use.
    pub(crate) cpus: usize,
    /// Kernel release.
    pub(crate) kernel: String,
    /// The part of all CPU time that others used in the second before the benchmark began, from 0 to 1.
    pub(crate) used_by_others: f64,
}

/// From this part of the CPU time on others change the figures.
const BUSY: f64 = 0.1;
/// How long is watched what others do. A load average would still hold the build that came before.
const WATCH: Duration = Duration::from_secs(1);

impl Machine {
    /// Whether others were working when the benchmark began, so that its figures only hold for comparison within the run, if at all.
    pub(crate) fn is_busy(&self) -> bool {
        self.used_by_others > BUSY
    }

    /// Reads `/proc`, for a second; what it does not tell is empty or 0.
    pub(crate) fn observe(cpus: usize) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(String::new, |(_, name)| name.trim().to_owned());
        let (idle_before, all_before) = cpu_ticks(&read("/proc/stat"));
        let begin = Instant::now();
        while let Some(left) = WATCH.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        let (idle, all) = cpu_ticks(&read("/proc/stat"));
        let idle_part = idle.saturating_sub(idle_before) as f64 / all.saturating_sub(all_before).max(1) as f64;
        let used_by_others = (1.0 - idle_part).clamp(0.0, 1.0);
        Self { processor, cpus, kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(), used_by_others }
    }
}

/// What a clock of CPU time tells, of this process or of the calling thread.
pub(crate) fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Ticks in which the CPUs had nothing to do, and all ticks, of the first line of `/proc/stat`.
fn cpu_ticks(stat: &str) -> (u64, u64) {
    // user nice system idle iowait irq softirq steal; guest times, which follow, are in the first two already.
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first.split_whitespace().skip(1).take(8).filter_map(|ticks| ticks.parse().ok()).collect();
    (ticks.iter().skip(3).take(2).sum(), ticks.iter().sum())
}

/// Which CPUs belong to the gateway, and which to the load with its simulated provider.
pub(crate) struct Split {
    gateway: CpuSet,
    load: CpuSet,
    /// CPUs in the gateway's set.
    pub(crate) gateway_cpus: usize,
    /// CPUs in both sets together.
    pub(crate) all: usize,
    /// Whether the two sets are disjoint.
    pub(crate) apart: bool,
}

impl Split {
    /// Gives the gateway the first `wanted` CPUs and the load the others. Both share all of them where 0 are wanted or none would be left.
    pub(crate) fn of_this_machine(wanted: usize) -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let numbers: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        let all = numbers.len();
        if wanted == 0 || wanted >= all {
            return Ok(Self { gateway: allowed, load: allowed, gateway_cpus: all, all, apart: false });
        }
        let set_of = |cpus: &[usize]| {
            let mut set = CpuSet::new();
            cpus.iter().for_each(|cpu| set.set(*cpu));
            set
        };
        let (gateway, load) = numbers.split_at(wanted);
        Ok(Self { gateway: set_of(gateway), load: set_of(load), gateway_cpus: wanted, all, apart: true })
    }

    /// Confines the calling thread, and what it starts from now on, to the load's CPUs.
    pub(crate) fn confine_load(&self) -> anyhow::Result<()> {
        Ok(sched_setaffinity(None, &self.load)?)
    }

    /// Runs `start` on the gateway's CPUs: a process started there stays there.
    pub(crate) fn on_gateway_cpus<T>(&self, start: impl FnOnce() -> T) -> anyhow::Result<T> {
        sched_setaffinity(None, &self.gateway)?;
        let started = start();
        sched_setaffinity(None, &self.load)?;
        Ok(started)
    }

    /// In words, for the report.
    pub(crate) fn describe(&self) -> String {
        match (self.apart, self.gateway_cpus) {
            (true, 1) => "gateway on one CPU, load and simulated provider on the others".to_owned(),
            (true, cpus) => format!("gateway on {cpus} CPUs, load and simulated provider on the others"),
            (false, _) => "gateway, load and simulated provider share all CPUs".to_owned(),
        }
    }
}
