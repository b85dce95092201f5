//! How much of clients' and providers' bodies is in memory, and how much may be.
//!
//! A body is counted as it comes, so that nobody can hold memory by announcing it. Beyond the bound the newest request is refused; answers
//! are paid for and only counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// The bytes that all bodies together take up.
#[derive(Debug)]
pub struct Buffers {
    bound: AtomicUsize,
    held: AtomicUsize,
}

/// What one request takes up; dropping it gives it back.
#[derive(Debug)]
pub struct Held {
    buffers: Arc<Buffers>,
    bytes: usize,
}

/// A client's body in memory.
#[derive(Debug)]
pub struct Body {
    /// The body.
    pub bytes: Bytes,
    /// What it takes up.
    pub held: Held,
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Buffers {
    /// Room for so many bytes.
    pub fn new(bound: usize) -> Arc<Self> {
        Arc::new(Self { bound: AtomicUsize::new(bound), held: AtomicUsize::new(0) })
    }

    /// Changes the bound; what is in memory stays.
    pub fn bound(&self, bytes: usize) {
        self.bound.store(bytes, Ordering::Relaxed);
    }

    /// Bytes in memory.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// A request that takes up nothing yet.
    pub fn hold(self: &Arc<Self>) -> Held {
        Held { buffers: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Whether so many more bytes would find room now.
    pub fn could_grow(&self, bytes: usize) -> bool {
        self.buffers.held().saturating_add(bytes) <= self.buffers.bound.load(Ordering::Relaxed)
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// [`Full`], with nothing taken.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let before = self.buffers.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.buffers.bound.load(Ordering::Relaxed) {
            self.buffers.held.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Full);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Takes so many bytes more, whatever the bound.
    pub fn add(&mut self, bytes: usize) {
        self.buffers.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Gives back all.
    pub fn clear(&mut self) {
        self.buffers.held.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_refused_and_everything_is_given_back() {
        let buffers = Buffers::new(10);
        let mut first = buffers.hold();
        assert_eq!(first.grow(8), Ok(()));
        let mut second = buffers.hold();
        assert_eq!(second.grow(3), Err(Full));
        assert_eq!(second.grow(2), Ok(()));
        first.add(5);
        assert_eq!(buffers.held(), 15);
        assert!(!second.could_grow(1));
        drop(first);
        assert!(second.could_grow(8));
        drop(second);
        assert_eq!(buffers.held(), 0);
    }
}
