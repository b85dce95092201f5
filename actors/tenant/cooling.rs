//! Waits that a provider imposed on this tenant's keys: nobody else's matter.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::fault::Fault;
use crate::identity::{ModelId, ProviderId};

/// The longest list; where it is full of waits that have not ended, no further ones are noted.
const MOST: usize = 4_096;

/// Until when a key waits, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoolDown {
    /// Its end.
    pub until: Instant,
    /// What the provider said.
    pub fault: Fault,
}

/// Which of a tenant's keys wait until when, for all models of a provider or for one.
#[derive(Debug, Default)]
pub struct Cooling(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    until: HashMap<(ProviderId, Option<ModelId>), CoolDown>,
    /// When a key took another's place.
    changed: HashMap<ProviderId, Instant>,
}

impl Waits {
    fn is_former(&self, provider: &ProviderId, began: Instant) -> bool {
        self.changed.get(provider).is_some_and(|changed| began < *changed)
    }
}

impl Cooling {
    /// Lets the key of a call that began then wait; `model`: for this model only. A key that was replaced meanwhile is not waited for.
    pub fn wait(&self, provider: ProviderId, model: Option<ModelId>, cool_down: CoolDown, began: Instant) {
        let mut waits = self.lock();
        if waits.is_former(&provider, began) {
            return;
        }
        if waits.until.len() >= MOST {
            let now = Instant::now();
            waits.until.retain(|_, wait| wait.until > now);
        }
        if waits.until.len() < MOST {
            waits.until.insert((provider, model), cool_down);
        }
    }

    /// Another key serves from now on; it waits for nothing.
    pub fn key_changed(&self, provider: &ProviderId, now: Instant) {
        let mut waits = self.lock();
        waits.until.retain(|(at, _), _| at != provider);
        waits.changed.insert(provider.clone(), now);
    }

    /// Whether a call that began then was made with a key that was replaced since.
    pub fn is_former(&self, provider: &ProviderId, began: Instant) -> bool {
        self.lock().is_former(provider, began)
    }

    /// The wait of the key for this model that ends last, if it must wait.
    pub fn of(&self, provider: &ProviderId, model: &ModelId, now: Instant) -> Option<CoolDown> {
        let waits = self.lock();
        if waits.until.is_empty() {
            return None;
        }
        let of = |model: Option<ModelId>| waits.until.get(&(provider.clone(), model)).copied();
        let both = of(None).into_iter().chain(of(Some(model.clone())));
        both.filter(|wait| wait.until > now).max_by_key(|wait| wait.until)
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
