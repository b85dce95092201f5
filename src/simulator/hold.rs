//! Calls that wait in the middle until a test lets them go.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Keeps the calls of one provider waiting; released by [`Hold::release`] or by dropping it.
#[derive(Debug)]
pub struct Hold {
    barrier: Arc<Barrier>,
    gate: Arc<Mutex<Option<Arc<Barrier>>>>,
}

impl Hold {
    /// Lets the waiting calls go on; later ones do not wait.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut current = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|barrier| Arc::ptr_eq(barrier, &self.barrier)) {
            *current = None;
        }
        self.barrier.open.send_replace(true);
    }
}

/// Where a held call waits.
#[derive(Debug)]
pub(crate) struct Barrier {
    open: watch::Sender<bool>,
    /// How many deltas a stream sends first; 0 waits before the headers.
    pub(crate) after: usize,
}

impl Barrier {
    pub(crate) async fn passed(self: Arc<Self>) {
        // The sender is this barrier's own, so waiting cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// The barrier that a provider's next calls meet, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<Arc<Barrier>>>>);

impl Gate {
    pub(crate) fn hold(&self, after: usize) -> Hold {
        let barrier = Arc::new(Barrier { open: watch::Sender::new(false), after });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&barrier));
        Hold { barrier, gate: Arc::clone(&self.0) }
    }

    pub(crate) fn barrier(&self) -> Option<Arc<Barrier>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
