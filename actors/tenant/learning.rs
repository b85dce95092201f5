//! What a tenant's requests have taught of models: evidence by model and kind of task, in memory, written down from time to time.
//!
//! It stands outside the tenant's actor: whoever knows how an answer ended notes it, the actor reads it. Nothing of one tenant's is ever
//! seen by another's. What was noted since it was last written down is lost when the process dies.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::catalogue::Model;
use crate::identity::{ModelId, ProviderId};
use crate::routing::choice::Lessons;
use crate::routing::evidence::{Evidence, Task, Verdict};

/// Models of one tenant about which something is known: more than any catalogue has. Beyond it the one of which nothing was heard for the
/// longest time is forgotten.
const MOST_MODELS: usize = 1_024;

/// What is known of one model's answers to one kind of task.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// Who serves it.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// At which kind of task.
    pub task: Task,
    /// What its answers came to.
    pub evidence: Evidence,
}

type ByTask = [Evidence; Task::ALL.len()];

#[derive(Debug, Default)]
struct Known {
    models: HashMap<ProviderId, HashMap<ModelId, ByTask>>,
    /// Whether anything of it can move a choice: answers that ended well and nothing else cannot.
    moves: bool,
    /// Rises with each change.
    revision: u64,
    /// The revision that was written down last.
    saved: u64,
}

/// What one tenant's requests have taught.
#[derive(Debug, Default)]
pub struct Learning(Mutex<Known>);

impl Learning {
    /// What was written down.
    pub fn of(lessons: Vec<Lesson>) -> Self {
        let mut known = Known::default();
        for Lesson { provider, model, task, evidence } in lessons {
            known.moves |= evidence.moves();
            let by_task = known.models.entry(provider).or_default().entry(model).or_default();
            if let Some(slot) = by_task.get_mut(task as usize) {
                *slot = evidence;
            }
        }
        Self(Mutex::new(known))
    }

    /// An answer of a model has ended.
    pub fn note(&self, (provider, model): (&ProviderId, &ModelId), task: Task, verdict: Verdict, now: Timestamp) {
        self.change((provider, model), task, now, |evidence| evidence.note(verdict, now));
    }

    /// Somebody judged an answer of a model, with a score in 0..=1, or one that does not count; `replaced` is what was counted of the same
    /// answer before, and when.
    pub fn judge(
        &self,
        (provider, model): (&ProviderId, &ModelId),
        task: Task,
        (score, replaced): (Option<f64>, Option<(f64, Timestamp)>),
        now: Timestamp,
    ) {
        self.change((provider, model), task, now, |evidence| {
            if let Some((before, said)) = replaced {
                evidence.withdraw(before, said, now);
            }
            if let Some(score) = score {
                evidence.judge(score, now);
            }
        });
    }

    /// What is known as of this instant, for one choice: nothing is noted as long as it lives. `None`: nothing that could move it.
    pub fn as_of(&self, now: Timestamp) -> Option<AsOf<'_>> {
        let known = self.lock();
        known.moves.then_some(AsOf { known, now })
    }

    /// All that is known at this instant and has not faded, in the order of provider, model and task.
    pub fn lessons(&self, now: Timestamp) -> Vec<Lesson> {
        lessons(&self.lock(), now)
    }

    /// What is to be written down, and its revision; `None`: nothing changed since the last time.
    pub fn unsaved(&self, now: Timestamp) -> Option<(u64, Vec<Lesson>)> {
        let known = self.lock();
        (known.revision != known.saved).then(|| (known.revision, lessons(&known, now)))
    }

    /// That revision is written down.
    pub fn saved(&self, revision: u64) {
        self.lock().saved = revision;
    }

    /// Whether all of it is written down.
    pub fn is_saved(&self) -> bool {
        let known = self.lock();
        known.revision == known.saved
    }

    /// Forgets everything, which is not to be written down again.
    pub fn clear(&self) {
        *self.lock() = Known::default();
    }

    fn change(
        &self,
        (provider, model): (&ProviderId, &ModelId),
        task: Task,
        now: Timestamp,
        change: impl FnOnce(&mut Evidence),
    ) {
        let mut known = self.lock();
        let is_new = known.models.get(provider).is_none_or(|models| !models.contains_key(model));
        if is_new && known.models.values().map(HashMap::len).sum::<usize>() >= MOST_MODELS {
            forget_one(&mut known.models);
        }
        let fresh = [Evidence { at: now, ..Evidence::default() }; Task::ALL.len()];
        let by_task = known.models.entry(provider.clone()).or_default().entry(model.clone()).or_insert(fresh);
        if let Some(evidence) = by_task.get_mut(task as usize) {
            change(evidence);
            let moves = evidence.moves();
            known.moves |= moves;
        }
        known.revision += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known at an instant.
#[derive(Debug)]
pub struct AsOf<'a> {
    known: MutexGuard<'a, Known>,
    now: Timestamp,
}

impl Lessons for AsOf<'_> {
    fn shift(&self, model: &Model, task: Task) -> f64 {
        let by_task = self.known.models.get(&model.provider).and_then(|models| models.get(&model.id));
        let evidence = by_task.and_then(|by_task| by_task.get(task as usize));
        evidence.map_or(0.0, |evidence| evidence.shift(model.quality, self.now))
    }
}

fn lessons(known: &Known, now: Timestamp) -> Vec<Lesson> {
    let mut lessons = Vec::new();
    let models =
        known.models.iter().flat_map(|(provider, models)| models.iter().map(move |(id, by)| (provider, id, by)));
    for (provider, model, by_task) in models {
        for (task, evidence) in Task::ALL.into_iter().zip(by_task) {
            if !evidence.is_faded(now) {
                let (provider, model) = (provider.clone(), model.clone());
                lessons.push(Lesson { provider, model, task, evidence: *evidence });
            }
        }
    }
    lessons.sort_by(|a, b| (&a.provider, &a.model, a.task as u8).cmp(&(&b.provider, &b.model, b.task as u8)));
    lessons
}

fn forget_one(models: &mut HashMap<ProviderId, HashMap<ModelId, ByTask>>) {
    let heard = |by_task: &ByTask| by_task.iter().map(|evidence| evidence.at).max();
    let each =
        models.iter().flat_map(|(provider, models)| models.iter().map(move |(id, by)| (provider, id, heard(by))));
    let longest_ago = each.min_by_key(|(_, _, heard)| *heard).map(|(provider, id, _)| (provider.clone(), id.clone()));
    if let Some((provider, id)) = longest_ago
        && let Some(models) = models.get_mut(&provider)
    {
        models.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(model: &str) -> (ProviderId, ModelId) {
        (ProviderId::parse("openai").unwrap(), ModelId::parse(model).unwrap())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn note(learning: &Learning, model: &str, second: i64) {
        let (provider, model) = names(model);
        learning.note((&provider, &model), Task::Code, Verdict::Sound, at(second));
    }

    #[test]
    fn what_is_written_down_is_what_is_read_again() {
        let learning = Learning::default();
        assert!(learning.lessons(at(1)).is_empty() && learning.unsaved(at(1)).is_none());
        note(&learning, "a", 1);
        let (revision, lessons) = learning.unsaved(at(1)).unwrap();
        note(&learning, "a", 2);
        learning.saved(revision);
        assert!(!learning.is_saved());
        assert_eq!(lessons.len(), 1);
        assert_eq!(Learning::of(lessons.clone()).lessons(at(1)), lessons);
        // In a year it is worth nothing.
        assert!(Learning::of(lessons.clone()).lessons(at(365 * 86_400)).is_empty());
        assert!(Learning::of(lessons).is_saved());
        // Answers that ended well move nothing.
        assert!(learning.as_of(at(2)).is_none());
        let (provider, model) = names("a");
        learning.judge((&provider, &model), Task::Code, (Some(1.0), None), at(2));
        assert!(learning.as_of(at(2)).is_some() && Learning::of(learning.lessons(at(2))).as_of(at(2)).is_some());
        learning.clear();
        assert!(learning.lessons(at(2)).is_empty() && learning.is_saved());
    }

    #[test]
    fn the_model_that_was_not_heard_of_for_longest_makes_room() {
        let learning = Learning::default();
        for model in 0..MOST_MODELS as i64 {
            note(&learning, &format!("m{model}"), model);
        }
        note(&learning, "m0", 10_000);
        note(&learning, "new", 10_001);
        let lessons = learning.lessons(at(10_001));
        let knows = |model: &str| lessons.iter().any(|lesson| lesson.model.as_str() == model);
        assert_eq!(lessons.len(), MOST_MODELS);
        assert!(knows("m0") && knows("new") && !knows("m1"));
    }
}
