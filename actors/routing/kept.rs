//! A decision as it is kept with its request: short, since each request has one. The candidates are places in the catalogue's
//! [`Lineup`]; what several of them have in common is said once, and what follows from the rest is left out.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::decision::{Decision, Learned, Reason, Weighed};
use super::evidence::{Task, shifted};
use super::lineup::{Lineup, LineupId};
use crate::money::Tokens;

/// What is kept. The lists are parallel to the candidates, or name them by their number among these.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    #[serde(flatten)]
    decision: Cow<'a, Decision>,
    /// Each different standing of a candidate.
    standings: Vec<Standing>,
    /// Of each candidate its place in the lineup and the number of its standing, one after the other.
    candidates: Vec<u32>,
    /// Penalties above 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    penalties: Vec<(usize, f64)>,
    /// What was learned: shifts of the quality's logit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shifts: Vec<(usize, f64)>,
}

/// What many candidates have in common.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Standing {
    /// Why they were passed over.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// Input tokens.
    #[serde(rename = "i")]
    input: u64,
    /// Output tokens.
    #[serde(rename = "o")]
    output: u64,
}

impl Standing {
    fn is_of(&self, weighed: &Weighed) -> bool {
        (self.input, self.output) == (weighed.input_tokens, weighed.output_tokens) && self.reason == weighed.reason
    }
}

impl Decision {
    /// The form kept in the ledger, to be read beside the lineup of its catalogue.
    pub fn encode(&self) -> Box<RawValue> {
        let mut standings: Vec<Standing> = Vec::new();
        let mut candidates = Vec::with_capacity(2 * self.candidates.len());
        let (mut penalties, mut shifts) = (Vec::new(), Vec::new());
        for (number, weighed) in self.candidates.iter().enumerate() {
            let known = standings.iter().position(|standing| standing.is_of(weighed));
            let standing = known.unwrap_or_else(|| {
                standings.push(Standing {
                    reason: weighed.reason.clone(),
                    input: weighed.input_tokens,
                    output: weighed.output_tokens,
                });
                standings.len() - 1
            });
            candidates.extend([weighed.place, standing as u32]);
            if weighed.penalty != 1.0 {
                penalties.push((number, weighed.penalty));
            }
            shifts.extend(weighed.learned.map(|learned| (number, learned.shift)));
        }
        let kept = Kept { decision: Cow::Borrowed(self), standings, candidates, penalties, shifts };
        serde_json::value::to_raw_value(&kept).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` where it is something else, or `lineup` is another's.
    pub fn decode(text: &str, lineup: &Lineup) -> Option<Self> {
        let Kept { decision, standings, candidates, penalties, shifts } = serde_json::from_str(text).ok()?;
        let mut decision: Self = decision.into_owned();
        if decision.lineup != lineup.id() {
            return None;
        }
        let weighed = candidates.as_chunks().0.iter().map(|&[place, standing]| {
            let (entry, standing) = (lineup.get(place)?, standings.get(standing as usize)?.clone());
            let expected = Tokens { input: standing.input, output: standing.output, ..Tokens::default() };
            Some(Weighed {
                place,
                provider: entry.provider.clone(),
                model: entry.model.clone(),
                reason: standing.reason,
                raw: entry.rates.map(|rates| rates.cost(&expected)),
                input_tokens: standing.input,
                output_tokens: standing.output,
                quality: entry.quality,
                learned: None,
                penalty: 1.0,
            })
        });
        decision.candidates = weighed.collect::<Option<_>>()?;
        for (number, penalty) in penalties {
            decision.candidates.get_mut(number)?.penalty = penalty;
        }
        for (number, shift) in shifts {
            let weighed = decision.candidates.get_mut(number)?;
            weighed.learned = Some(Learned { prior: weighed.quality, shift });
            weighed.quality = shifted(weighed.quality, shift);
        }
        Some(decision)
    }

    /// The lineup that a kept decision refers to.
    pub fn lineup_of(text: &str) -> Option<LineupId> {
        #[derive(Deserialize)]
        struct Head {
            lineup: LineupId,
        }
        part(text).map(|Head { lineup }| lineup)
    }

    /// The kind of task of a kept decision.
    pub fn task_of(text: &str) -> Option<Task> {
        #[derive(Deserialize)]
        struct Head {
            task: Task,
        }
        part(text).map(|Head { task }| task)
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}
