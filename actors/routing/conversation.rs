//! Turns of one conversation: which earlier turns a request goes on from, and when it keeps the model that served them.
//!
//! * Inside an open tool loop (the history ends in the results of calls) the model that made the calls serves on, whatever others cost,
//!   as long as it is eligible: what it thought while it called is lost on any other.
//! * Otherwise the usual choice holds, with the prompt cache counted: the raw cost of the model that served the turn before is taken with
//!   the prefix that both turns share at its cached-input price, every other model's with all input at its full price. The conversation
//!   changes its model only where another's effective cost is still lower: where what it gains exceeds the cache that it loses. Costs are
//!   integers of money until quality and penalty weigh them. A cache that has not been used for [`CACHE_LIFE`] counts as lost.
//! * An agent that is [`Stuck`] is released: it gets the usual choice at a complexity raised by [`Stuck::RAISE`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::choice::{Choice, Situation};
use super::decision::{Decision, Weighed, adjusted_cost, exponent};
use crate::catalogue::Model;
use crate::identity::{ModelId, ProviderId};
use crate::money::{NanoUsd, Tokens};

/// How long a provider keeps a prompt cache that nobody uses: Anthropic five minutes, OpenAI five to ten (their guides to prompt caching).
pub const CACHE_LIFE: Duration = Duration::from_secs(300);

/// Names a conversation, or one place in it: a keyed hash that holds no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConversationKey(pub u128);

/// A sign that an agent makes no headway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stuck {
    /// The same calls with the same arguments, [`Stuck::TIMES`] turns in a row.
    RepeatedCalls,
    /// So many results in a row that are errors.
    FailedCalls,
}

impl Stuck {
    /// How often in a row is too often.
    pub const TIMES: u32 = 3;
    /// What the complexity is raised by.
    pub const RAISE: f64 = 0.25;
}

/// Where in its conversation a request stands.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Names under which the turn before it may have been noted, the most exact first.
    pub earlier: Vec<ConversationKey>,
    /// Names under which this turn is noted; none where it belongs to no conversation that AiPipe routes.
    pub names: Vec<ConversationKey>,
    /// Whether the history ends in the results of calls.
    pub in_tool_loop: bool,
    /// Whether the agent makes no headway.
    pub stuck: Option<Stuck>,
}

/// What is known of the turn before.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Who served it.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// Since when the conversation has this model.
    pub since: Timestamp,
    /// Its input in o200k tokens.
    pub input_tokens: u64,
    /// Whether the provider's prompt cache may still hold that input.
    pub is_cached: bool,
}

/// Why a conversation keeps its model or changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Kept: a tool loop is open.
    ToolLoop,
    /// Kept: it is the best of all.
    Best,
    /// Kept: the best would cost more than it gains, with the prompt cache counted.
    PromptCache,
    /// Changed: another gains more than the prompt cache is worth.
    Gain,
    /// Released: the agent makes no headway; the usual choice holds.
    Stuck,
    /// Changed: it is no longer eligible; its candidate's reason tells why.
    Unavailable,
}

/// What became of a conversation's model, as the decision tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Continuation {
    /// Who served the turn before.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// Since when the conversation has had it.
    pub since: Timestamp,
    /// Whether it serves this turn too.
    pub kept: bool,
    /// Why.
    pub why: Why,
    /// Input tokens, the model's own, that its provider's prompt cache is taken to hold.
    pub cached_tokens: u64,
    /// Its raw cost with these at the cached-input price; `None`: it is no candidate.
    pub cached: Option<NanoUsd>,
    /// Its effective cost with that in USD.
    pub effective: Option<f64>,
}

impl Continuation {
    /// Whether this candidate is the conversation's.
    pub fn is_of(&self, candidate: &Weighed) -> bool {
        candidate.provider == self.provider && candidate.model == self.model
    }
}

/// Lets a conversation keep its model where that is worth it: the model is tried first then, and candidates keep their ranks.
pub fn go_on(choice: &mut Choice, situation: &Situation<'_>, earlier: Earlier) {
    let Choice { decision, ranked } = choice;
    let turn = &situation.digest.turn;
    let is_same = |model: &Arc<Model>| model.provider == earlier.provider && model.id == earlier.model;
    let place = ranked.iter().position(is_same);
    let prefix = if earlier.is_cached { earlier.input_tokens.min(decision.input_tokens) } else { 0 };
    let counted = place.and_then(|place| {
        let (model, weighed) = (ranked.get(place)?, decision.candidates.get(place)?);
        Some(with_cache(decision, model, weighed, prefix))
    });
    let best = decision.candidates.first().map_or(f64::INFINITY, |best| best.effective(exponent(decision.complexity)));
    let why = match (place, &counted) {
        (None, _) => Why::Unavailable,
        (Some(_), _) if turn.stuck.is_some() => Why::Stuck,
        (Some(_), _) if turn.in_tool_loop => Why::ToolLoop,
        (Some(0), _) => Why::Best,
        (Some(_), Some(counted)) if prefix > 0 && counted.effective <= best => Why::PromptCache,
        (Some(_), _) => Why::Gain,
    };
    let kept = match why {
        Why::ToolLoop | Why::Best | Why::PromptCache => true,
        Why::Stuck => place == Some(0),
        Why::Gain | Why::Unavailable => false,
    };
    if let Some(front) = place.filter(|_| kept).and_then(|place| ranked.get_mut(..=place)) {
        front.rotate_right(1);
    }
    decision.conversation = Some(Continuation {
        provider: earlier.provider,
        model: earlier.model,
        since: earlier.since,
        kept,
        why,
        cached_tokens: counted.as_ref().map_or(0, |counted| counted.tokens),
        cached: counted.as_ref().map(|counted| counted.raw),
        effective: counted.map(|counted| counted.effective),
    });
}

/// A candidate's costs with the prompt cache counted.
struct Counted {
    tokens: u64,
    raw: NanoUsd,
    effective: f64,
}

fn with_cache(decision: &Decision, model: &Model, weighed: &Weighed, prefix: u64) -> Counted {
    let tokens = model.own_tokens(prefix).min(weighed.input_tokens);
    let expected = Tokens {
        input: weighed.input_tokens,
        cached_input: tokens,
        output: weighed.output_tokens,
        ..Tokens::default()
    };
    let raw = model.rates.map_or(NanoUsd::ZERO, |rates| rates.cost(&expected));
    let adjusted = adjusted_cost(raw, weighed.quality, exponent(decision.complexity));
    Counted { tokens, raw, effective: adjusted * weighed.penalty }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Capabilities, Catalogue};
    use crate::identity::{RequestId, TenantId};
    use crate::money::{Rate, Rates};
    use crate::routing::choice::{Scored, Standing};
    use crate::routing::decision::Basis;
    use crate::routing::digest::{ClientDialect, Demand, Digest, Requested};
    use crate::routing::preferences::Preferences;
    use crate::routing::signals::{Features, Signals};

    /// A model with these prices of input and free output.
    fn model(id: &str, input: &str, cached: &str) -> Model {
        let rate = |text| Rate::parse_usd_per_million(text).unwrap();
        Model {
            provider: ProviderId::parse("openai").unwrap(),
            id: ModelId::parse(id).unwrap(),
            aliases: Vec::new(),
            rates: Some(Rates {
                input: rate(input),
                cached_input: rate(cached),
                cache_write: rate(input),
                output: rate("0"),
                long_context: None,
            }),
            quality: 0.5,
            auto: true,
            context_tokens: 100_000,
            max_output_tokens: 1_000,
            capabilities: Capabilities::NONE,
            parameters: Default::default(),
            token_ratio: 1.0,
            added: crate::catalogue::AddedTokens::default(),
            retires_on: None,
        }
    }

    /// What becomes of a conversation of 1000 tokens whose last turn `kept`, at $1.10 a million, served with so many, beside `other` at $1.
    fn decided(turn: Turn, prefix: u64, is_cached: bool, barred: Option<&str>) -> (Continuation, Vec<String>) {
        let digest = Digest {
            request_id: RequestId::generate(),
            dialect: ClientDialect::Chat,
            requested: Requested::Auto,
            requested_text: "auto".into(),
            quality: None,
            turn,
            preferences: Preferences::default(),
            demand: Arc::new(Demand {
                features: Features::default(),
                needs: Capabilities::NONE,
                parameters: Vec::new(),
                effort: None,
                input_tokens: 1_000,
                input_bound: 4_000,
                output_limit: None,
                choices: 1,
                stream: false,
            }),
            cache_key: None,
        };
        let catalogue = Catalogue::new([model("kept", "1.1", "0.11"), model("other", "1", "0.1")], 1);
        let situation = Situation {
            tenant: &TenantId::default_tenant(),
            digest: &digest,
            scored: Scored { complexity: 0.3, basis: Basis::Scored, bias: None, signals: Signals::default() },
            catalogue: &catalogue,
            allowed: None,
            min_quality: None,
            learned: None,
            today: jiff::civil::date(2026, 11, 1),
        };
        let mut choice = situation.choose(|model| match barred {
            Some(barred) if barred == model.id.as_str() => {
                Standing::Barred(crate::routing::decision::Reason::CircuitOpen)
            }
            _ => Standing::Ready { penalty: 1.0 },
        });
        let earlier = Earlier {
            provider: ProviderId::parse("openai").unwrap(),
            model: ModelId::parse("kept").unwrap(),
            since: Timestamp::UNIX_EPOCH,
            input_tokens: prefix,
            is_cached,
        };
        go_on(&mut choice, &situation, earlier);
        let chosen = choice.decision.chosen().unwrap();
        assert_eq!(chosen.model, choice.ranked[0].id);
        let order = choice.ranked.iter().map(|model| model.id.to_string()).collect();
        (choice.decision.conversation.unwrap(), order)
    }

    fn why(turn: Turn, prefix: u64, is_cached: bool, barred: Option<&str>) -> (Why, bool, String) {
        let (conversation, order) = decided(turn, prefix, is_cached, barred);
        (conversation.why, conversation.kept, order[0].clone())
    }

    #[test]
    fn a_conversation_moves_where_the_gain_exceeds_the_lost_cache() {
        // 1000 tokens are $0.001 at the other. Each cached token saves 990 of the 1,100,000 nano-dollars here: from 102 on it is cheaper.
        let other = || "other".to_owned();
        let kept = || "kept".to_owned();
        assert_eq!(why(Turn::default(), 102, true, None), (Why::PromptCache, true, kept()));
        assert_eq!(why(Turn::default(), 100, true, None), (Why::Gain, false, other()));
        assert_eq!(why(Turn::default(), 1_000, false, None), (Why::Gain, false, other()));
        assert_eq!(why(Turn::default(), 0, true, Some("other")), (Why::Best, true, kept()));
        let (conversation, _) = decided(Turn::default(), 5_000, true, None);
        assert_eq!((conversation.cached_tokens, conversation.cached), (1_000, Some(NanoUsd(110_000))));
    }

    #[test]
    fn a_tool_loop_keeps_its_model_unless_it_cannot_serve_or_makes_no_headway() {
        let in_loop = |stuck| Turn { in_tool_loop: true, stuck, ..Turn::default() };
        assert_eq!(why(in_loop(None), 0, false, None), (Why::ToolLoop, true, "kept".into()));
        assert_eq!(why(in_loop(None), 0, false, Some("kept")), (Why::Unavailable, false, "other".into()));
        assert_eq!(why(in_loop(Some(Stuck::FailedCalls)), 900, true, None), (Why::Stuck, false, "other".into()));
        let alone = why(in_loop(Some(Stuck::RepeatedCalls)), 900, true, Some("other"));
        assert_eq!(alone, (Why::Stuck, true, "kept".into()));
    }
}
