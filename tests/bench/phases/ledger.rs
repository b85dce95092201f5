//! What the ledger costs: the CPU time of a request's own task and of the writer, the time before dispatch, and the replay after a kill.
//!
//! Taken in this process, with the records of a request that a gateway has served: the product has no switch that turns its ledger off.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aipipe::simulator::Provider;
use aipipe::store::{AdminScope, MasterKeySource, Reader, RequestFilter, RequestRow, Settings, Store, Synchronous};
use aipipe_actors::identity::RequestId;
use aipipe_actors::ledger::{Attempt, Closing, Ledger, Opening, Outcome};
use aipipe_actors::money::{Rate, Rates};
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use rustix::time::ClockId;
use serde_json::value::RawValue;

use super::{Bench, KB, Loop, ROUNDS, microseconds, progress};
use crate::gateway::Gateway;
use crate::load::Until;
use crate::machine::cpu_time;
use crate::prompt::{Wish, whole_answer};
use crate::report::Figure;

/// Requests come in lots of so many, one with every batch of the writer's: 4,000 a second.
const LOT: usize = 400;
const LOTS: usize = 20;
/// As long as the writer lets records gather.
const GATHER: Duration = Duration::from_millis(100);
/// A whole segment of the journal, which is left a quarter earlier.
const FULL_JOURNAL: u64 = 16 << 20;

impl Bench<'_> {
    /// The figures of a ledger that takes records as fast as a busy gateway's.
    pub(crate) fn measure_ledger(&mut self) -> anyhow::Result<()> {
        progress("ledger");
        let (row, decision) = self.served()?;
        let records = Records::of(&row, decision);
        let mut openings = Histogram::new(3)?;
        let rounds = (0..ROUNDS).map(|_| records.busy_round(&mut openings)).collect::<anyhow::Result<Vec<Cpu>>>()?;
        let how = format!(
            "its records of opening and settlement, a decision of {:.1} kB in it, {} requests a round at {} a second",
            records.opening.decision.get().len() as f64 / KB as f64,
            LOT * LOTS,
            LOT as f64 / GATHER.as_secs_f64()
        );
        let own = rounds.iter().map(|cpu| cpu.own).collect();
        let caller = format!("thread CPU time of the appends; {how}");
        self.figures.push(Figure::median("ledger: CPU per request, in its own task", own, "µs", caller));
        let writer = rounds.iter().map(|cpu| cpu.writer).collect();
        let all = format!("process CPU time less that of the appends; {how}");
        self.figures.push(Figure::median("ledger: CPU per request, by the writer's thread", writer, "µs", all));
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let value = microseconds(&openings, quantile);
            let how = "wall time of the append that comes before dispatch; the same rounds";
            self.figures.push(Figure::once(format!("ledger: time before dispatch {label}"), value, "µs", how));
        }
        let (replayed, times) = records.replays()?;
        let how = format!(
            "opening a database whose journal holds {} MiB that it lacks, {replayed} records, as kill -9 would leave it",
            FULL_JOURNAL >> 20
        );
        self.figures.push(Figure::median("ledger: replay of a full journal", times, "ms", how));
        Ok(())
    }

    /// The row of a request that a gateway has chosen a model for, and its decision as it is kept.
    fn served(&mut self) -> anyhow::Result<(RequestRow, Arc<RawValue>)> {
        let mut gateway = Gateway::start(self.plan.binary, &self.simulator.environment(), self.plan.split, "")?;
        self.simulator.script(Provider::OpenAi, whole_answer());
        let shape = Loop { name: "ledger", bytes: KB, wish: Wish::Auto, clients: 1 };
        self.closed_round(&gateway.target(), &shape, Until::Requests(1))?;
        gateway.stop()?;
        let reader = Reader::open(&gateway.database())?;
        let filter = RequestFilter { limit: 1, ..RequestFilter::default() };
        let page = self.load.block_on(reader.requests(AdminScope::granted(), filter))?;
        let row = page.requests.into_iter().next().context("a request was served and has no row")?;
        let connection = rusqlite::Connection::open(gateway.database())?;
        let kept: String = connection.query_row("SELECT decision FROM requests", [], |row| row.get(0))?;
        Ok((row, RawValue::from_string(kept)?.into()))
    }
}

/// Microseconds of CPU time per request.
struct Cpu {
    own: f64,
    writer: f64,
}

/// The two records of a request.
struct Records {
    opening: Opening,
    closing: Closing,
}

impl Records {
    fn of(row: &RequestRow, decision: Arc<RawValue>) -> Self {
        let rates = Rates { input: Rate(150_000_000), output: Rate(600_000_000), ..Rates::default() };
        let attempts = row.attempts.iter().map(|attempt| Attempt {
            provider: attempt.provider.clone(),
            model: attempt.model.clone(),
            outcome: attempt.outcome,
            status: attempt.status,
            latency_ms: attempt.latency_ms,
            tokens: row.tokens,
            estimated: row.estimated,
            rates,
            cost: attempt.cost,
            fault: attempt.fault.clone(),
            role: attempt.role,
        });
        let closing = Closing {
            request_id: row.request_id,
            tenant: row.tenant.clone(),
            at: row.at,
            outcome: Outcome::Ok,
            provider: row.provider.clone(),
            model: row.model.clone(),
            attempts: attempts.collect(),
            tokens: row.tokens,
            estimated: row.estimated,
            cost: row.cost,
            saved: row.saved,
            latency_ms: row.latency_ms.unwrap_or_default(),
            ttft_ms: row.ttft_ms,
        };
        let opening = Opening {
            request_id: row.request_id,
            tenant: row.tenant.clone(),
            at: row.at,
            dialect: row.dialect.clone(),
            requested: row.requested.clone(),
            complexity: row.complexity,
            provider: row.provider.clone(),
            model: row.model.clone(),
            rates,
            reserved: row.reserved,
            cache: row.cache,
            tags: row.tags.clone(),
            decision,
            shadow_of: None,
        };
        Self { opening, closing }
    }

    /// The same of another request.
    fn next(&mut self) {
        self.opening.request_id = RequestId::generate();
        self.closing.request_id = self.opening.request_id;
    }

    fn busy_round(&self, openings: &mut Histogram<u64>) -> anyhow::Result<Cpu> {
        let mut records = Self { opening: self.opening.clone(), closing: self.closing.clone() };
        let directory = tempfile::tempdir()?;
        let store = open(&directory.path().join("aipipe.db"))?;
        let ledger = store.ledger();
        let before = cpu_time(ClockId::ProcessCPUTime);
        let mut appending = Duration::ZERO;
        for _ in 0..LOTS {
            let begin = cpu_time(ClockId::ThreadCPUTime);
            for _ in 0..LOT {
                records.next();
                let opened = Instant::now();
                ledger.open(&records.opening)?;
                openings.record(u64::try_from(opened.elapsed().as_nanos())?)?;
                ledger.close(&records.closing);
            }
            appending += cpu_time(ClockId::ThreadCPUTime) - begin;
            std::thread::park_timeout(GATHER);
        }
        store.close();
        let all = cpu_time(ClockId::ProcessCPUTime) - before;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / (LOT * LOTS) as f64;
        Ok(Cpu { own: each(appending), writer: each(all - appending) })
    }

    /// How many records the replay of a full journal takes over, and the milliseconds of some replays.
    fn replays(&self) -> anyhow::Result<(u64, Vec<f64>)> {
        let (directory, copies) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let database = directory.path().join("aipipe.db");
        let store = open(&database)?;
        // The writer cannot write while another holds the database: what is appended meanwhile stands in the journal alone.
        let other = rusqlite::Connection::open(&database)?;
        other.execute_batch("BEGIN IMMEDIATE")?;
        let appended = self.fill(&*store.ledger(), &directory.path().join("aipipe.db.ledger"))?;
        let copy = |round: usize| {
            let to = copies.path().join(round.to_string());
            copy(directory.path(), &to).map(|()| to.join("aipipe.db"))
        };
        let left = (0..ROUNDS).map(copy).collect::<anyhow::Result<Vec<_>>>()?;
        other.execute_batch("ROLLBACK")?;
        store.close();
        let mut times = Vec::new();
        for database in left {
            let begin = Instant::now();
            let (store, recovered) = Store::open(settings(&database))?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            ensure!(recovered.replayed == appended && recovered.damaged == 0, "{recovered:?} of {appended} records");
            store.close();
        }
        Ok((appended, times))
    }

    /// Appends until the journal is full; says how many records.
    fn fill(&self, ledger: &dyn Ledger, journal: &Path) -> anyhow::Result<u64> {
        let mut records = Self { opening: self.opening.clone(), closing: self.closing.clone() };
        let mut appended = 0;
        while bytes_in(journal)? < FULL_JOURNAL {
            for _ in 0..LOT {
                records.next();
                ledger.open(&records.opening)?;
                ledger.close(&records.closing);
                appended += 2;
            }
        }
        Ok(appended)
    }
}

fn settings(database: &Path) -> Settings {
    let (master_key, synchronous) = (MasterKeySource::FileBesideDatabase, Synchronous::default());
    Settings { path: database.to_owned(), master_key, synchronous }
}

fn open(database: &Path) -> anyhow::Result<Store> {
    Ok(Store::open(settings(database))?.0)
}

fn bytes_in(directory: &Path) -> anyhow::Result<u64> {
    fs::read_dir(directory)?.try_fold(0, |bytes, entry| Ok(bytes + entry?.metadata()?.len()))
}

/// Copies a directory with what lies in it.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
