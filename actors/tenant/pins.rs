//! Which model served the latest turn of each of a tenant's conversations: in memory only, bounded by entries and age.
//!
//! Entries stand in two generations. When the younger is full it becomes the older, and what was neither noted nor found since then is
//! forgotten: near to least-recently-used, at the cost of a hash map.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::identity::{ModelId, ProviderId};
use crate::routing::conversation::{CACHE_LIFE, ConversationKey, Earlier, Turn};

/// Entries of one generation; a turn has up to two.
const GENERATION: usize = 2_048;
/// The longest that a conversation may rest and still be known: an open call may wait for a person.
const MAX_AGE: Duration = Duration::from_secs(24 * 3_600);

/// Who asks the same so soon after the answer wants another one.
const AGAIN: Duration = Duration::from_secs(600);

#[derive(Debug, Clone)]
struct Pin {
    provider: ProviderId,
    model: ModelId,
    since: Timestamp,
    input_tokens: u64,
    noted: Instant,
    /// Whether the answer did not come to its end.
    broke: bool,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<ConversationKey, Pin>,
    old: HashMap<ConversationKey, Pin>,
}

impl Generations {
    fn put(&mut self, key: ConversationKey, pin: Pin) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, pin);
    }

    fn find(&mut self, key: ConversationKey, now: Instant) -> Option<Pin> {
        if let Some(pin) = self.young.get(&key) {
            return (now.saturating_duration_since(pin.noted) < MAX_AGE).then(|| pin.clone());
        }
        let pin = self.old.remove(&key).filter(|pin| now.saturating_duration_since(pin.noted) < MAX_AGE)?;
        self.put(key, pin.clone());
        Some(pin)
    }
}

/// The models of a tenant's conversations.
#[derive(Debug, Default)]
pub struct Pins(Mutex<Generations>);

impl Pins {
    /// What is known of the turn before this one.
    pub fn earlier(&self, turn: &Turn, now: Instant) -> Option<Earlier> {
        if turn.earlier.is_empty() {
            return None;
        }
        let pin = self.find(turn, now)?;
        Some(Earlier {
            is_cached: now.saturating_duration_since(pin.noted) < CACHE_LIFE,
            provider: pin.provider,
            model: pin.model,
            since: pin.since,
            input_tokens: pin.input_tokens,
        })
    }

    /// Who has answered exactly this, within [`AGAIN`] before `asked`: whoever asks it again wants another answer. `None` for what
    /// opens a conversation, which many may ask alike, where only the whole conversation has a name, and after an answer that broke off.
    pub fn asked_again(&self, turn: &Turn, asked: Instant) -> Option<(ProviderId, ModelId)> {
        let [_, exact] = turn.names[..] else { return None };
        if turn.earlier.is_empty() || turn.in_tool_loop {
            return None;
        }
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = generations.find(exact, asked)?;
        // What was asked before that answer was there is another sample, not another try.
        let is_after = pin.noted < asked && asked.duration_since(pin.noted) < AGAIN;
        (is_after && !pin.broke).then_some((pin.provider, pin.model))
    }

    /// The answer that was noted last for this turn did not come to its end: who asks again wants the same one.
    pub fn broke_off(&self, turn: &Turn) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old } = &mut *generations;
        for key in &turn.names {
            if let Some(pin) = young.get_mut(key).or_else(|| old.get_mut(key)) {
                pin.broke = true;
            }
        }
    }

    /// Notes who has served this turn of so many input tokens (o200k).
    pub fn note(&self, turn: &Turn, served: (&ProviderId, &ModelId), input_tokens: u64, at: Timestamp, now: Instant) {
        if turn.names.is_empty() {
            return;
        }
        let (provider, model) = served;
        let before = self.find(turn, now).filter(|pin| pin.provider == *provider && pin.model == *model);
        let since = before.map_or(at, |pin| pin.since);
        let pin =
            Pin { provider: provider.clone(), model: model.clone(), since, input_tokens, noted: now, broke: false };
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &turn.names {
            generations.put(*key, pin.clone());
        }
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Generations::default();
    }

    /// How many places in conversations are known.
    pub fn len(&self) -> usize {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.len() + generations.old.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, turn: &Turn, now: Instant) -> Option<Pin> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turn.earlier.iter().find_map(|key| generations.find(*key, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(earlier: u128, this: u128) -> Turn {
        Turn { earlier: vec![ConversationKey(earlier)], names: vec![ConversationKey(this)], ..Turn::default() }
    }

    fn note(pins: &Pins, turn: &Turn, model: &str, second: i64, now: Instant) {
        let (provider, model) = (ProviderId::parse("openai").unwrap(), ModelId::parse(model).unwrap());
        pins.note(turn, (&provider, &model), 10, Timestamp::from_second(second).unwrap(), now);
    }

    #[test]
    fn a_conversation_has_its_model_since_it_first_got_it() {
        let (pins, now) = (Pins::default(), Instant::now());
        note(&pins, &turn(0, 1), "a", 1, now);
        note(&pins, &turn(1, 2), "a", 2, now);
        assert_eq!(pins.earlier(&turn(2, 3), now).unwrap().since.as_second(), 1);
        note(&pins, &turn(2, 3), "b", 3, now);
        let earlier = pins.earlier(&turn(3, 4), now).unwrap();
        assert_eq!((earlier.model.as_str(), earlier.since.as_second(), earlier.is_cached), ("b", 3, true));
        assert!(!pins.earlier(&turn(3, 4), now + CACHE_LIFE).unwrap().is_cached);
        assert!(pins.earlier(&turn(3, 4), now + MAX_AGE).is_none());
        pins.clear();
        assert!(pins.is_empty() && pins.earlier(&turn(3, 4), now).is_none());
    }

    #[test]
    fn the_same_at_the_same_place_is_asked_again_and_an_opening_is_not() {
        let (pins, now) = (Pins::default(), Instant::now());
        let key = ConversationKey;
        let later = Turn { earlier: vec![key(1), key(0)], names: vec![key(0), key(2)], ..Turn::default() };
        note(&pins, &later, "a", 1, now);
        let soon = now + Duration::from_secs(1);
        assert_eq!(pins.asked_again(&later, soon).unwrap().1.as_str(), "a");
        assert!(pins.asked_again(&later, now).is_none() && pins.asked_again(&later, now + AGAIN).is_none());
        let in_loop = Turn { in_tool_loop: true, ..later.clone() };
        let next = Turn { earlier: vec![key(2), key(0)], names: vec![key(0), key(3)], ..Turn::default() };
        let opening = Turn { earlier: Vec::new(), ..later };
        assert!([in_loop, next, opening].iter().all(|turn| pins.asked_again(turn, soon).is_none()));
        let again = Turn { earlier: vec![key(1), key(0)], names: vec![key(0), key(2)], ..Turn::default() };
        pins.broke_off(&again);
        assert!(pins.asked_again(&again, soon).is_none() && pins.earlier(&again, soon).is_some());
        note(&pins, &again, "a", 2, now);
        assert!(pins.asked_again(&again, soon).is_some());
    }

    #[test]
    fn entries_are_bounded_and_those_in_use_outlive_the_others() {
        let (pins, now) = (Pins::default(), Instant::now());
        note(&pins, &turn(0, 1), "kept", 1, now);
        for other in 0..10 * GENERATION as u128 {
            note(&pins, &turn(0, 1_000 + other), "other", 1, now);
            assert!(pins.len() <= 2 * GENERATION);
            if other % 1_000 == 0 {
                assert!(pins.earlier(&turn(1, 2), now).is_some());
            }
        }
        assert!(pins.earlier(&turn(1_000, 2), now).is_none());
    }
}
