//! The machine that the figures come from, and which of its CPUs each side may use.

use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
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
    /// Load average of the last minute before the benchmark began: well above 0, others were working too.
    pub(crate) load_before: f64,
}

/// Load average from which on others take a part of the CPUs that changes figures.
const BUSY: f64 = 0.5;

impl Machine {
    /// Whether others were working when the benchmark began, so that its figures only hold for comparison within the run, if at all.
    pub(crate) fn is_busy(&self) -> bool {
        self.load_before > BUSY
    }

    /// Reads `/proc`; what it does not tell is empty or 0.
    pub(crate) fn observe(cpus: usize) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(String::new, |(_, name)| name.trim().to_owned());
        let load_before = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
        Self { processor, cpus, kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(), load_before }
    }
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
