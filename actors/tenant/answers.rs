//! A tenant's cached answers, bounded by entries and bytes, for a few minutes.
//!
//! Entries expire by their own time (the cache evicts by recency, near to LRU: S3-FIFO). Each entry weighs at least its share of the
//! byte bound, so that one weight bounds both bytes and entries. All tenants' caches share one byte bound in equal parts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use tokio::time::Instant;

use super::flight::Flights;
use crate::identity::{ModelId, ProviderId};
use crate::money::Tokens;
use crate::routing::digest::PromptKey;

/// Identifies an answer: who gave it, and what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AnswerKey {
    /// Who answers.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// What was asked.
    pub prompt: PromptKey,
}

impl Equivalent<AnswerKey> for &AnswerKey {
    fn equivalent(&self, key: &AnswerKey) -> bool {
        *self == key
    }
}

/// A whole answer in the client's dialect, as it was delivered, without what belongs to one request only.
#[derive(Debug)]
pub struct CachedAnswer {
    /// The body.
    pub body: Box<[u8]>,
    /// Its content type.
    pub content_type: String,
    /// Who gave it.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// What it used then; a hit uses nothing.
    pub tokens: Tokens,
    /// Fields of the request that were left out, for `x-aipipe-dropped`.
    pub dropped: String,
}

#[derive(Debug, Clone)]
struct Entry {
    answer: Arc<CachedAnswer>,
    expires: Instant,
}

/// What all tenants' caches together may hold.
#[derive(Debug)]
pub struct CacheBounds {
    limits: ArcSwap<CacheLimits>,
    tenants: AtomicUsize,
}

/// The figures of [`CacheBounds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// How long an answer lives; zero switches the cache off.
    pub ttl: Duration,
    /// Entries of one tenant.
    pub max_entries: usize,
    /// Bytes of all tenants together.
    pub max_bytes: u64,
}

impl CacheBounds {
    /// Bounds without any cache yet.
    pub fn new(limits: CacheLimits) -> Arc<Self> {
        Arc::new(Self { limits: ArcSwap::from_pointee(limits), tenants: AtomicUsize::new(0) })
    }

    /// Changes the bounds: of bytes and age from the next answer kept on, of entries for caches that are made from now on.
    pub fn set(&self, limits: CacheLimits) {
        self.limits.store(Arc::new(limits));
    }

    /// One tenant's part of the bytes.
    fn share(&self, limits: &CacheLimits) -> u64 {
        limits.max_bytes / self.tenants.load(Ordering::Relaxed).max(1) as u64
    }
}

#[derive(Clone)]
struct ByBytes {
    least: u64,
}

impl Weighter<AnswerKey, Entry> for ByBytes {
    fn weight(&self, _: &AnswerKey, entry: &Entry) -> u64 {
        // The key and the bookkeeping beside the body.
        (entry.answer.body.len() as u64 + 256).max(self.least)
    }
}

type Answered = Cache<AnswerKey, Entry, ByBytes>;

/// One tenant's answers and the requests that are producing more.
pub struct Answers {
    bounds: Arc<CacheBounds>,
    /// Made with the first answer kept: a tenant that caches nothing costs nothing.
    cache: Mutex<Option<Arc<Answered>>>,
    epoch: AtomicU64,
    flights: ArcSwap<Flights>,
}

impl Answers {
    /// No answers yet.
    pub fn new(bounds: Arc<CacheBounds>) -> Self {
        bounds.tenants.fetch_add(1, Ordering::Relaxed);
        Self { bounds, cache: Mutex::new(None), epoch: AtomicU64::new(0), flights: ArcSwap::default() }
    }

    /// The answer kept under this key, unless it has expired.
    pub fn get(&self, key: &AnswerKey, now: Instant) -> Option<Arc<CachedAnswer>> {
        let cache = self.cache()?;
        let entry = cache.get(key)?;
        if entry.expires <= now {
            cache.remove(key);
            return None;
        }
        Some(entry.answer)
    }

    /// The epoch in which an answer is being produced: what is put later under an older one is not kept.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Keeps an answer that was asked for in `epoch`.
    pub fn put(&self, epoch: u64, key: AnswerKey, answer: Arc<CachedAnswer>, now: Instant) {
        let limits = self.bounds.limits.load();
        if limits.ttl.is_zero() {
            return;
        }
        let share = self.bounds.share(&limits);
        if answer.body.len() as u64 > share / 2 {
            return;
        }
        let mut slot = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock under which it is cleared: an answer of before never comes after.
        if epoch != self.epoch() {
            return;
        }
        let cache = slot.get_or_insert_with(|| {
            let least = (share / limits.max_entries.max(1) as u64).max(1);
            let estimated = limits.max_entries.min(1_024);
            Arc::new(Cache::with_weighter(estimated, share, ByBytes { least }))
        });
        if cache.capacity() != share {
            cache.set_capacity(share);
        }
        cache.insert(key, Entry { answer, expires: now + limits.ttl });
    }

    /// Forgets everything, what is being produced included.
    pub fn clear(&self) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.flights.store(Arc::default());
        *cache = None;
    }

    /// The requests that are producing answers now.
    pub fn flights(&self) -> Arc<Flights> {
        self.flights.load_full()
    }

    /// Entries kept.
    pub fn len(&self) -> usize {
        self.cache().map_or(0, |cache| cache.len())
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn cache(&self) -> Option<Arc<Answered>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.bounds.tenants.fetch_sub(1, Ordering::Relaxed);
    }
}
