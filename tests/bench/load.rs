//! Two kinds of load: as much as so many clients can take (closed loop), and a fixed rate whatever the answers take (open loop).

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::{Connection, Reception, Target};
use super::prompt::Prompt;

/// How long a closed loop goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// No request begins later than this after the start.
    Elapsed(Duration),
    /// So many requests by each client.
    Requests(usize),
}

/// What a load met. Latencies are in nanoseconds.
#[derive(Debug)]
pub(crate) struct Met {
    /// Whole answers of status 200 that no cache gave.
    pub(crate) good: u64,
    /// All others, and broken connections.
    pub(crate) bad: u64,
    /// What the first bad one was.
    pub(crate) complaint: Option<String>,
    /// Events of all streams.
    pub(crate) events: u64,
    /// From the sending, in an open loop the intended one, to the end of the answer.
    pub(crate) whole: Histogram<u64>,
    /// The same to the first bytes of the body.
    pub(crate) first: Histogram<u64>,
    /// From the first sending to the last end.
    pub(crate) elapsed: Duration,
}

impl Met {
    pub(crate) fn nothing() -> anyhow::Result<Self> {
        let (whole, first) = (Histogram::new(3)?, Histogram::new(3)?);
        Ok(Self { good: 0, bad: 0, complaint: None, events: 0, whole, first, elapsed: Duration::ZERO })
    }

    /// Recording never clamps: a latency that the histogram cannot hold is an error, not a wrong figure.
    fn note(&mut self, sent: Instant, received: anyhow::Result<Reception>) -> anyhow::Result<()> {
        match received {
            Ok(reception) if reception.status == 200 && reception.broke_off => {
                self.complain("a stream broke off".to_owned());
            }
            Ok(reception) if reception.status == 200 && !reception.cached => {
                self.good += 1;
                self.events += reception.events as u64;
                self.whole.record(nanoseconds(reception.end - sent))?;
                self.first.record(nanoseconds(reception.first - sent))?;
            }
            Ok(reception) if reception.status == 200 => self.complain("the cache answered".to_owned()),
            Ok(reception) => self.complain(format!("status {}: {}", reception.status, reception.refusal)),
            Err(error) => self.complain(format!("{error:#}")),
        }
        Ok(())
    }

    fn complain(&mut self, what: String) {
        self.bad += 1;
        self.complaint.get_or_insert(what);
    }

    /// Adds what another load met at another time.
    pub(crate) fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.good += other.good;
        self.bad += other.bad;
        self.events += other.events;
        self.elapsed += other.elapsed;
        self.complaint = self.complaint.take().or(other.complaint);
        self.whole.add(other.whole)?;
        self.first.add(other.first)?;
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Closed loop: so many clients, each on its own connection, each sending its next request when it has the answer to the last.
pub(crate) async fn closed(target: &Target, prompt: &Arc<Prompt>, clients: usize, until: Until) -> anyhow::Result<Met> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::open(target).await?);
    }
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for connection in connections {
        running.spawn(client(connection, Arc::clone(prompt), begin, until));
    }
    let mut met = Met::nothing()?;
    while let Some(of_client) = running.join_next().await {
        met.add(of_client??)?;
    }
    met.elapsed = begin.elapsed();
    Ok(met)
}

async fn client(mut connection: Connection, prompt: Arc<Prompt>, begin: Instant, until: Until) -> anyhow::Result<Met> {
    let mut met = Met::nothing()?;
    let mut sent = 0;
    loop {
        let goes_on = match until {
            Until::Elapsed(duration) => begin.elapsed() < duration,
            Until::Requests(requests) => sent < requests,
        };
        // A connection that broke once is not mended: the run has failed.
        if !goes_on || met.bad > 0 {
            return Ok(met);
        }
        let body = prompt.next();
        let now = Instant::now();
        let received = connection.exchange(body).await;
        met.note(now, received)?;
        sent += 1;
    }
}

/// Open loop: a request at each multiple of 1/rate, on a connection that is free or new. Latency counts from the moment at which it
/// should have been sent, so that neither a slow answer nor a late generator hides in it.
pub(crate) async fn open(target: &Target, prompt: &Arc<Prompt>, rate: u32, duration: Duration) -> anyhow::Result<Met> {
    let free = Arc::new(Mutex::new(vec![Connection::open(target).await?]));
    let mut due = departures(rate, duration)?;
    let begin = Instant::now();
    let mut under_way = JoinSet::new();
    while let Some(intended) = due.recv().await {
        let (free, target, prompt) = (Arc::clone(&free), target.clone(), Arc::clone(prompt));
        under_way.spawn(async move {
            let waiting = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match waiting {
                Some(connection) => connection,
                None => match Connection::open(&target).await {
                    Ok(connection) => connection,
                    Err(error) => return (intended, Err(error)),
                },
            };
            let received = connection.exchange(prompt.next()).await;
            if received.is_ok() {
                free.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            (intended, received)
        });
    }
    let mut met = Met::nothing()?;
    while let Some(ended) = under_way.join_next().await {
        let (intended, received) = ended.map_err(|error| anyhow!("a request's task failed: {error}"))?;
        met.note(intended, received)?;
    }
    met.elapsed = begin.elapsed();
    Ok(met)
}

/// The moments at which requests are due, each when it has come.
///
/// A thread of its own keeps them: the runtime's timers are good to a millisecond, several times what is measured.
fn departures(rate: u32, duration: Duration) -> anyhow::Result<mpsc::Receiver<Instant>> {
    /// The kernel wakes late by about so much; the rest of the time is spent looking at the clock.
    const WAKES_LATE: Duration = Duration::from_micros(150);
    let (due, receiver) = mpsc::channel(1024);
    let gap = Duration::from_secs(1) / rate;
    thread::Builder::new().name("departures".to_owned()).spawn(move || {
        let begin = Instant::now();
        let mut intended = begin + gap;
        while intended < begin + duration {
            loop {
                let left = intended.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                match left.checked_sub(WAKES_LATE) {
                    Some(sleep) if !sleep.is_zero() => thread::park_timeout(sleep),
                    _ => std::hint::spin_loop(),
                }
            }
            if due.blocking_send(intended).is_err() {
                return;
            }
            intended += gap;
        }
    })?;
    Ok(receiver)
}
