//! Waits that a provider imposed on this tenant's keys: nobody else's matter.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::identity::{ModelId, ProviderId};

/// The longest list; beyond it the waits that end first are forgotten.
const MOST: usize = 4_096;

/// Which of a tenant's keys wait until when, for all models of a provider or for one.
#[derive(Debug, Default)]
pub struct Cooling(Mutex<HashMap<(ProviderId, Option<ModelId>), Instant>>);

impl Cooling {
    /// Lets a key wait; `model`: for this model only.
    pub fn wait(&self, provider: ProviderId, model: Option<ModelId>, until: Instant) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.len() >= MOST {
            let now = Instant::now();
            waits.retain(|_, until| *until > now);
        }
        if waits.len() < MOST {
            waits.insert((provider, model), until);
        }
    }

    /// A changed key waits for nothing.
    pub fn forget(&self, provider: &ProviderId) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waits.retain(|(at, _), _| at != provider);
    }

    /// Until when the key must wait for this model, if it must.
    pub fn until(&self, provider: &ProviderId, model: &ModelId, now: Instant) -> Option<Instant> {
        let waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.is_empty() {
            return None;
        }
        let of = |model: Option<ModelId>| waits.get(&(provider.clone(), model)).copied().filter(|until| *until > now);
        of(None).max(of(Some(model.clone())))
    }
}
