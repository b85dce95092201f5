//! Which conversation a request belongs to: by the header made for that, by the session headers of known harnesses, else by its own
//! beginning.

use aipipe_actors::catalogue::Capability;
use aipipe_actors::routing::conversation::{ConversationKey, Turn};
use aipipe_actors::routing::digest::Requested;
use http::{HeaderMap, HeaderName};

use super::refusal::Refusal;
use crate::dialects::client::Facts;
use crate::dialects::scan::PromptHasher;

static NAMED: HeaderName = HeaderName::from_static("x-aipipe-session");
/// Longest name of a conversation in bytes.
const MAX_BYTES: usize = 256;

/// Headers in which harnesses send their session: Claude Code; Codex (both spellings, and its threads); OpenCode; what several of them
/// send to routers; Grok's clients.
static HARNESSES: [HeaderName; 8] = [
    HeaderName::from_static("x-claude-code-session-id"),
    HeaderName::from_static("session_id"),
    HeaderName::from_static("session-id"),
    HeaderName::from_static("thread-id"),
    HeaderName::from_static("x-opencode-session"),
    HeaderName::from_static("x-session-affinity"),
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-grok-conv-id"),
];

/// What a client's headers call the conversation.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Session {
    /// `X-AiPipe-Session`: names one conversation.
    named: Option<String>,
    /// A harness's session. It may hold several conversations: helpers that the agent starts, titles that are written beside it.
    harness: Option<String>,
}

impl Session {
    /// Reads the headers.
    ///
    /// # Errors
    /// [`Refusal`] where `X-AiPipe-Session` is empty, too long or not printable ASCII.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Refusal> {
        let named = headers.get(&NAMED).map(|value| {
            let text = value.to_str().ok().map(str::trim);
            text.filter(|text| (1..=MAX_BYTES).contains(&text.len())).map(str::to_owned).ok_or_else(|| {
                let message = format!("the header {NAMED} takes 1 to {MAX_BYTES} bytes of printable ASCII");
                Refusal::invalid(Some(NAMED.as_str()), message)
            })
        });
        let harness = HARNESSES.iter().find_map(|name| headers.get(name)?.to_str().ok().map(str::to_owned));
        Ok(Self { named: named.transpose()?, harness })
    }

    /// Where in its conversation a request stands. Only what leaves the choice to AiPipe belongs to one.
    pub(super) fn turn(self, requested: &Requested, facts: &Facts, hasher: &PromptHasher) -> Turn {
        if *requested != Requested::Auto || facts.demand.needs.contains(Capability::Embeddings) {
            return Turn::default();
        }
        let trace = &facts.trace;
        let (earlier, names) = match self.named {
            Some(name) => {
                let key = vec![key(hasher, &["named", &name], 0)];
                (key.clone(), key)
            }
            None => {
                let session = self.harness.or_else(|| facts.session.clone()).unwrap_or_default();
                let at = |place: u128| key(hasher, &["own", &session], place);
                // The exact place first. The beginning also finds a conversation whose middle was rewritten or shortened; before the
                // model has spoken there is nothing to find.
                let earlier = trace.before_answer.map(|before| vec![at(before), at(trace.opening)]);
                let mut names = vec![at(trace.opening), at(trace.whole)];
                names.dedup();
                (earlier.unwrap_or_default(), names)
            }
        };
        Turn { earlier, names, in_tool_loop: trace.in_tool_loop, stuck: trace.stuck }
    }
}

/// A key that nobody else can compute. It is looked up among one tenant's only.
fn key(hasher: &PromptHasher, words: &[&str], place: u128) -> ConversationKey {
    let place = format!("{place:032x}");
    let words: Vec<&str> = ["conversation"].iter().chain(words).copied().chain([place.as_str()]).collect();
    ConversationKey(hasher.key_of(&words, &[]).0)
}
