//! One tree of actors with its root, which is rebuilt within the process when it fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::gauges::Gauges;
use super::supervisor::{Child, Node, Roster, Supervisor};

/// The root may fail so often within [`ROOT_WINDOW`]; one failure more ends the process, and whatever runs it starts it afresh.
const ROOT_FAILURES: usize = 10;
const ROOT_WINDOW: Duration = Duration::from_secs(60);

/// Restarts by label (`root`, `tenants`, `tenant`, `provider:openai`, …), which count on when a role is forgotten.
#[derive(Debug, Default)]
pub struct RestartTotals(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl RestartTotals {
    /// The counter of a label.
    pub fn counter(&self, label: &str) -> Arc<AtomicU64> {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.entry(label.to_owned()).or_default().clone()
    }

    /// All labels with their counts.
    pub fn snapshot(&self) -> Vec<(String, u64)> {
        let totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.iter().map(|(label, count)| (label.clone(), count.load(Ordering::Relaxed))).collect()
    }
}

/// A tree of actors.
pub struct System {
    root: Arc<Supervisor>,
    stopping: Arc<AtomicBool>,
    restarts: RestartTotals,
    ended: watch::Sender<bool>,
}

impl System {
    /// A tree with nothing below its root yet.
    pub fn new() -> Arc<Self> {
        let restarts = RestartTotals::default();
        let stopping = Arc::new(AtomicBool::new(false));
        let gauges = Arc::new(Gauges::new(restarts.counter("root")));
        let root = Supervisor::new("root", Arc::default(), gauges, stopping.clone());
        Arc::new(Self { root, stopping, restarts, ended: watch::Sender::new(false) })
    }

    /// Counters for a role: `label` is what its restarts are counted under.
    pub fn gauges(&self, label: &str) -> Arc<Gauges> {
        Arc::new(Gauges::new(self.restarts.counter(label)))
    }

    /// A supervisor of the children in `roster`, to be started below the root.
    pub fn supervisor(&self, name: &'static str, roster: Arc<Roster>) -> Arc<Supervisor> {
        Supervisor::new(name, roster, self.gauges(name), self.stopping.clone())
    }

    /// Starts the root with these children and keeps it alive. Returns once all of them run.
    pub async fn start(self: &Arc<Self>, children: Vec<Arc<dyn Child>>) {
        let keeper = self.clone();
        let (ready, started) = tokio::sync::oneshot::channel();
        tokio::spawn(async move { keeper.keep(ready).await });
        // The sender is dropped only where the root could not be started at all, which `ended` tells.
        let _ = started.await;
        for child in children {
            self.root.start(child).await;
        }
    }

    /// The live tree, from the root down.
    pub fn tree(&self) -> Node {
        Node::of(&self.root)
    }

    /// Restarts by label.
    pub fn restarts(&self) -> Vec<(String, u64)> {
        self.restarts.snapshot()
    }

    /// Makes the actor of this name panic while it handles a message. False for an unknown name.
    pub fn crash(&self, name: &str) -> bool {
        fn find(child: &dyn Child, name: &str) -> Option<bool> {
            if child.name() == name {
                return Some(child.crash());
            }
            child.children().iter().find_map(|child| find(&**child, name))
        }
        find(&self.root, name).is_some()
    }

    /// Completes when the root has ended for good: after [`System::shutdown`], or because it failed too often.
    pub async fn ended(&self) {
        // The sender lives as long as `self`.
        let _ = self.ended.subscribe().wait_for(|&ended| ended).await;
    }

    /// Lets every actor handle what is queued, leaf by leaf, then ends the tree.
    pub async fn shutdown(&self, patience: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        let Some(root) = self.root.cell() else { return };
        for supervisor in root.get_children() {
            supervisor.drain_children_and_wait(Some(patience)).await;
        }
        root.drain_children_and_wait(Some(patience)).await;
        root.stop(None);
        self.ended().await;
    }

    async fn keep(&self, ready: tokio::sync::oneshot::Sender<()>) {
        let mut ready = Some(ready);
        let mut failures: Vec<Instant> = Vec::new();
        loop {
            match self.root.spawn_root().await {
                Ok(incarnation) => {
                    if let Some(ready) = ready.take() {
                        // The starter may have given up waiting.
                        let _ = ready.send(());
                    }
                    // A task that panicked has ended as well as one that returned.
                    let _ = incarnation.await;
                }
                Err(error) => tracing::error!(%error, "the root supervisor could not start"),
            }
            if self.stopping.load(Ordering::Relaxed) {
                break;
            }
            let now = Instant::now();
            failures.retain(|&at| now.duration_since(at) < ROOT_WINDOW);
            failures.push(now);
            self.root.gauges().failed("the root supervisor failed".into());
            if failures.len() > ROOT_FAILURES {
                tracing::error!("the root supervisor failed {} times within a minute; giving up", failures.len());
                break;
            }
            let wait = Backoff::RESTART.delay(failures.len() as u32 - 1, fastrand::f64());
            tracing::error!(restart_in_ms = wait.as_millis() as u64, "the root supervisor failed; rebuilding the tree");
            tokio::time::sleep(wait).await;
        }
        self.ended.send_replace(true);
    }
}
