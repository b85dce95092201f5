//! What is tried beside the usual choice: the runner-up in the place of the best, and a second policy without effect. Only requests that
//! leave the choice to AiPipe and come for the first time are drawn; the random part of their ids is the lot.

use super::actor::{Question, Stage};
use super::policy::Policy;
use crate::identity::Salt;
use crate::routing::decision::{Decision, Weighed, exponent};
use crate::routing::digest::Requested;

/// How many times the best one's effective cost a runner-up may have to be tried.
const DEAREST: f64 = 1.5;

fn is_drawn(question: &Question, share: f64, salt: Salt) -> bool {
    let Question { digest, stage, .. } = question;
    let is_open = *stage == Stage::First && digest.requested == Requested::Auto;
    share > 0.0 && is_open && digest.request_id.draw(salt) < share
}

/// Whether the runner-up is tried: where it costs little more than the best, and no conversation has a model yet.
pub(super) fn explores(policy: &Policy, question: &Question, decision: &Decision) -> bool {
    let is_bound = decision.conversation.is_some() || question.digest.turn.in_tool_loop;
    if is_bound || !is_drawn(question, policy.exploration, Salt::Exploration) {
        return false;
    }
    let exponent = exponent(decision.complexity);
    let cost = |weighed: &Weighed| weighed.effective(exponent);
    let most = decision.candidates.first().map_or(0.0, cost) * DEAREST;
    decision.runner_up().is_some_and(|second| cost(second) <= most)
}

/// Whether the second policy is asked too: not within a tool loop, where no policy chooses.
pub(super) fn is_compared(policy: &Policy, question: &Question) -> bool {
    !question.digest.turn.in_tool_loop
        && policy.shadow.as_ref().is_some_and(|shadow| is_drawn(question, shadow.sample, Salt::Shadow))
}
