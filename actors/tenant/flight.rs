//! One upstream call for identical concurrent requests of a tenant.
//!
//! The first leads, the others follow. A leader that ends without a final answer (it left, crashed, timed out) wakes all: the first to
//! ask again leads once more, with a reservation of its own; after a second failure each goes alone. `tests/model` checks that every
//! follower is woken, under all kinds of schedules.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::answers::{AnswerKey, CachedAnswer};
use crate::sync::{Mutex, watch};

/// A refusal that holds for every request that asks the same.
#[derive(Debug, Clone)]
pub struct SharedRefusal {
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: String,
    /// What was wrong.
    pub message: String,
    /// The field at fault.
    pub param: Option<String>,
}

/// How a flight ended.
#[derive(Debug, Clone)]
pub enum Landing {
    /// With an answer for all.
    Answered(Arc<CachedAnswer>),
    /// With the provider's refusal of what all of them ask.
    Refused(Arc<SharedRefusal>),
    /// Without anything that others could use.
    Abandoned,
}

type Flight = watch::Sender<Option<Landing>>;

/// A tenant's flights.
#[derive(Debug, Default)]
pub struct Flights(Mutex<HashMap<AnswerKey, Arc<Flight>>>);

/// What a request is to a flight.
#[derive(Debug)]
pub enum Boarding {
    /// It makes the upstream call.
    Lead(Leader),
    /// It waits for the leader's answer.
    Follow(Follower),
}

/// The request that makes the upstream call; dropped without landing it abandons the flight.
#[derive(Debug)]
pub struct Leader {
    flights: Arc<Flights>,
    key: AnswerKey,
    flight: Arc<Flight>,
}

/// A request that waits for another's answer.
#[derive(Debug)]
pub struct Follower(watch::Receiver<Option<Landing>>);

impl Flights {
    /// Joins the flight of this key, or starts it.
    pub fn board(self: &Arc<Self>, key: AnswerKey) -> Boarding {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key) {
            return Boarding::Follow(Follower(flight.subscribe()));
        }
        let flight = Arc::new(Flight::new(None));
        flights.insert(key.clone(), flight.clone());
        Boarding::Lead(Leader { flights: self.clone(), key, flight })
    }

    /// Flights under way.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Leader {
    /// What the answer is kept under.
    pub fn key(&self) -> &AnswerKey {
        &self.key
    }

    /// Whether anybody waits for the answer.
    pub fn is_followed(&self) -> bool {
        self.flight.receiver_count() > 0
    }

    /// Ends the flight for all.
    pub fn land(self, landing: Landing) {
        self.flight.send_replace(Some(landing));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        {
            let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A cleared cache has forgotten the flight; its key may have another by now.
            if flights.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
                flights.remove(&self.key);
            }
        }
        self.flight.send_if_modified(|landing| {
            let abandoned = landing.is_none();
            if abandoned {
                *landing = Some(Landing::Abandoned);
            }
            abandoned
        });
    }
}

impl Follower {
    /// Waits until the flight has ended.
    pub async fn landing(mut self) -> Landing {
        match self.0.wait_for(Option::is_some).await {
            Ok(landing) => landing.clone().unwrap_or(Landing::Abandoned),
            Err(_) => Landing::Abandoned,
        }
    }
}
