//! Whose turn it is: fair queueing over tenants, by weight.
//!
//! Self-clocked fair queueing (S. J. Golestani, "A self-clocked fair queueing scheme for broadband applications", INFOCOM 1994) with
//! requests of one size. When a request becomes the first of its tenant's queue, its turn is set to `clock + 1 / weight`; the lowest turn
//! is next, and the clock goes to it. While two tenants wait, what they are given differs from their weights by less than
//! `1 / weight + 1 / weight` rounds, and a request waits for a bounded number of others' turns. Nothing is remembered of a tenant that has
//! nobody waiting: coming back is no advantage, and coming late no disadvantage.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use crate::identity::TenantId;

/// A tenant's share of the turns beside others that wait: a tenant of weight 3 gets three for one of a tenant of weight 1. From 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Weight(NonZeroU8);

impl Weight {
    /// The largest share.
    pub const MOST: u8 = 100;
}

impl Default for Weight {
    fn default() -> Self {
        Self(NonZeroU8::MIN)
    }
}

impl TryFrom<u64> for Weight {
    type Error = String;

    fn try_from(number: u64) -> Result<Self, String> {
        let fits = u8::try_from(number).ok().filter(|number| *number <= Self::MOST).and_then(NonZeroU8::new);
        fits.map(Self).ok_or_else(|| format!("a weight is a whole number from 1 to {}", Self::MOST))
    }
}

impl From<Weight> for u64 {
    fn from(Weight(number): Weight) -> Self {
        number.get().into()
    }
}

/// One turn of weight 1 on the clock. Large beside [`Weight::MOST`], so that shares are exact to a hundredth of a per cent.
const ROUND: u64 = 1 << 20;

/// Where a queue stands in the order: its moment on the clock, and of equal ones the earlier first.
type Turn = (u64, u64);

#[derive(Debug)]
struct Queue<T> {
    turn: Turn,
    weight: Weight,
    waiting: VecDeque<T>,
}

/// What waits, by tenant, and whose turn is next.
#[derive(Debug)]
pub struct Turns<T> {
    clock: u64,
    set: u64,
    order: BTreeMap<Turn, TenantId>,
    queues: HashMap<TenantId, Queue<T>>,
    len: usize,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { clock: 0, set: 0, order: BTreeMap::new(), queues: HashMap::new(), len: 0 }
    }
}

impl<T> Turns<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether somebody of this tenant waits.
    pub fn has(&self, tenant: &TenantId) -> bool {
        self.queues.contains_key(tenant)
    }

    /// Lets one more wait, behind its own tenant's. The weight holds from the tenant's next turn on.
    pub fn push(&mut self, tenant: &TenantId, weight: Weight, item: T) {
        self.len += 1;
        if let Some(queue) = self.queues.get_mut(tenant) {
            queue.weight = weight;
            queue.waiting.push_back(item);
            return;
        }
        let turn = self.next_turn(weight);
        self.order.insert(turn, tenant.clone());
        self.queues.insert(tenant.clone(), Queue { turn, weight, waiting: VecDeque::from([item]) });
    }

    /// Takes out whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let (turn, tenant) = self.order.pop_first()?;
        (self.clock, _) = turn;
        let mut queue = self.queues.remove(&tenant)?;
        let item = queue.waiting.pop_front()?;
        self.len -= 1;
        if !queue.waiting.is_empty() {
            queue.turn = self.next_turn(queue.weight);
            self.order.insert(queue.turn, tenant.clone());
            self.queues.insert(tenant, queue);
        }
        Some(item)
    }

    /// Takes a tenant's waiters out for which this is so. The turn of a first one goes to the next.
    pub fn remove(&mut self, tenant: &TenantId, mut leaves: impl FnMut(&T) -> bool) {
        let Some(queue) = self.queues.get_mut(tenant) else { return };
        let before = queue.waiting.len();
        queue.waiting.retain(|item| !leaves(item));
        self.len -= before - queue.waiting.len();
        if queue.waiting.is_empty() {
            self.order.remove(&queue.turn);
            self.queues.remove(tenant);
        }
    }

    fn next_turn(&mut self, weight: Weight) -> Turn {
        self.set += 1;
        (self.clock + ROUND / u64::from(weight), self.set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn weight(number: u64) -> Weight {
        Weight::try_from(number).unwrap()
    }

    /// Who is served, in order, where so many of each wait.
    fn served(waiting: &[(&'static str, u64, usize)]) -> String {
        let mut turns = Turns::default();
        for (name, number, many) in waiting {
            (0..*many).for_each(|_| turns.push(&tenant(name), weight(*number), *name));
        }
        std::iter::from_fn(|| turns.pop()).collect()
    }

    #[test]
    fn turns_are_by_weight() {
        assert_eq!(served(&[("a", 1, 4), ("b", 1, 2)]), "ababaa");
        assert_eq!(served(&[("b", 1, 3), ("a", 3, 6)]), "aaabaaabb");
        assert_eq!(served(&[("a", 100, 3), ("b", 1, 1)]), "aaab");
        assert_eq!(served(&[("a", 2, 4), ("b", 3, 6)]), "babbababba");
    }

    #[test]
    fn whoever_comes_back_with_one_at_a_time_has_its_share_and_no_more() {
        let mut turns = Turns::default();
        (0..30).for_each(|_| turns.push(&tenant("a"), weight(3), "a"));
        let mut served = String::new();
        turns.push(&tenant("b"), weight(1), "b");
        for _ in 0..16 {
            let name = turns.pop().unwrap();
            served += name;
            if name == "b" {
                turns.push(&tenant("b"), weight(1), "b");
            }
        }
        assert_eq!(served, "aaabaaabaaabaaab");
    }

    #[test]
    fn weights_are_from_1_to_100() {
        for wrong in ["0", "101", "300", "-1", "1.5", "\"3\"", "null"] {
            assert!(serde_json::from_str::<Weight>(wrong).is_err(), "{wrong}");
        }
        for right in ["1", "100"] {
            assert_eq!(serde_json::to_string(&serde_json::from_str::<Weight>(right).unwrap()).unwrap(), right);
        }
    }

    proptest! {
        /// The bound of the paper, over every stretch in which two tenants wait without a break; a third comes and goes, in ones and twos.
        #[test]
        fn shares_keep_to_the_weights(
            weights in (1u64..=100, 1u64..=100, 1u64..=100),
            steps in proptest::collection::vec(0u8..5, 1..400),
        ) {
            let (a, b, c) = (tenant("a"), tenant("b"), tenant("c"));
            let mut turns = Turns::default();
            for _ in 0..400 {
                turns.push(&a, weight(weights.0), 'a');
                turns.push(&b, weight(weights.1), 'b');
            }
            // Served so far, at each moment, each times the other's weight.
            let mut history = vec![(0, 0)];
            let (mut of_a, mut of_b) = (0u64, 0u64);
            for step in steps {
                match step {
                    0 => turns.push(&c, weight(weights.2), 'c'),
                    1 => turns.remove(&c, |_| true),
                    _ => match turns.pop().unwrap() {
                        'a' => of_a += 1,
                        'b' => of_b += 1,
                        _ => continue,
                    },
                }
                history.push((of_a * weights.1, of_b * weights.0));
            }
            for (place, begin) in history.iter().enumerate() {
                for end in history.iter().skip(place) {
                    let apart = (end.0 - begin.0).abs_diff(end.1 - begin.1);
                    // One more, as the clock is in whole numbers.
                    prop_assert!(apart <= weights.0 + weights.1 + 1, "{begin:?} {end:?}");
                }
            }
        }

        /// Nobody is lost, nobody served twice, each tenant's in the order in which they came, and nobody waits for more of another's
        /// turns than the weights allow.
        #[test]
        fn nobody_starves(steps in proptest::collection::vec((0u8..4, 0usize..4), 1..300)) {
            let tenants = [("a", 1), ("b", 3), ("c", 50), ("d", 100)].map(|(name, number)| (tenant(name), weight(number)));
            let mut turns = Turns::default();
            let mut waiting: [VecDeque<usize>; 4] = Default::default();
            // For each tenant: how many of each other were served since its first one became that.
            let mut passed = [[0u64; 4]; 4];
            for (number, (action, who)) in steps.into_iter().enumerate() {
                let (name, share) = &tenants[who];
                match action {
                    0 | 1 => {
                        if waiting[who].is_empty() {
                            passed[who] = [0; 4];
                        }
                        turns.push(name, *share, (who, number));
                        waiting[who].push_back(number);
                    }
                    2 => {
                        let gone = waiting[who].pop_back();
                        turns.remove(name, |(_, item)| Some(*item) == gone);
                    }
                    _ => {
                        let Some((served, item)) = turns.pop() else { continue };
                        prop_assert_eq!(waiting[served].pop_front(), Some(item));
                        passed[served] = [0; 4];
                        for (other, waits) in waiting.iter().enumerate() {
                            if other != served && !waits.is_empty() {
                                passed[other][served] += 1;
                                let bound = u64::from(tenants[served].1) / u64::from(tenants[other].1) + 2;
                                prop_assert!(passed[other][served] <= bound, "{} before {}", served, other);
                            }
                        }
                    }
                }
                prop_assert_eq!(turns.len(), waiting.iter().map(VecDeque::len).sum::<usize>());
                for (who, waits) in waiting.iter().enumerate() {
                    prop_assert_eq!(turns.has(&tenants[who].0), !waits.is_empty());
                }
            }
        }
    }
}
