//! Requests under way, and the wish to have no more of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Counts the requests under way and can close the door behind them.
#[derive(Debug, Default)]
pub struct Drain {
    draining: AtomicBool,
    present: AtomicUsize,
    left: Notify,
}

/// A request under way, for as long as this lives: its answer's body included.
#[derive(Debug)]
pub struct Presence(Arc<Drain>);

impl Drop for Presence {
    fn drop(&mut self) {
        if self.0.present.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_draining() {
            self.0.left.notify_waiters();
        }
    }
}

impl Drain {
    /// Lets a request in; `None` where the door is closed.
    pub fn enter(self: &Arc<Self>) -> Option<Presence> {
        self.present.fetch_add(1, Ordering::SeqCst);
        let presence = Presence(self.clone());
        (!self.is_draining()).then_some(presence)
    }

    /// Closes the door.
    pub fn begin(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether the door is closed.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Requests under way.
    pub fn present(&self) -> usize {
        self.present.load(Ordering::SeqCst)
    }

    /// Waits until the last request has left.
    pub async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            if self.present() == 0 {
                return;
            }
            left.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_to_leave_is_waited_for_and_nobody_enters_after_the_door_is_closed() {
        let drain = Arc::new(Drain::default());
        let present = drain.enter().unwrap();
        drain.begin();
        assert!(drain.enter().is_none());
        assert_eq!(drain.present(), 1);
        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.emptied().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(present);
        waiting.await.unwrap();
    }
}
