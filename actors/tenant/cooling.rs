//! Waits that a provider imposed on this tenant's keys: nobody else's matter.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::fault::Fault;
use crate::identity::{ModelId, ProviderId};

/// The longest list; beyond it waits that are over are forgotten, and where none is, new ones are not noted.
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
pub struct Cooling(Mutex<HashMap<(ProviderId, Option<ModelId>), CoolDown>>);

impl Cooling {
    /// Lets a key wait; `model`: for this model only.
    pub fn wait(&self, provider: ProviderId, model: Option<ModelId>, cool_down: CoolDown) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.len() >= MOST {
            let now = Instant::now();
            waits.retain(|_, wait| wait.until > now);
        }
        if waits.len() < MOST {
            waits.insert((provider, model), cool_down);
        }
    }

    /// A changed key waits for nothing.
    pub fn forget(&self, provider: &ProviderId) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waits.retain(|(at, _), _| at != provider);
    }

    /// The wait of the key for this model that ends last, if it must wait.
    pub fn of(&self, provider: &ProviderId, model: &ModelId, now: Instant) -> Option<CoolDown> {
        let waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.is_empty() {
            return None;
        }
        let of = |model: Option<ModelId>| waits.get(&(provider.clone(), model)).copied();
        let both = of(None).into_iter().chain(of(Some(model.clone())));
        both.filter(|wait| wait.until > now).max_by_key(|wait| wait.until)
    }
}
