//! Chat Completions as a client's dialect.

use aipipe_actors::identity::RequestId;
use aipipe_actors::routing::digest::PromptKey;
use bytes::Bytes;
use serde_json::json;

use super::answer::{AnswerShape, ToolShape};
use super::passthrough::{DetailsUse, DeveloperRole, NameUse, Passthrough};
use super::scan::{Scan, scan};
use super::{ChatQuirks, ChatStreamEncoder, PassthroughScanner, UsageView};
use super::{decode_request, error, prepare_passthrough, read_answer, stream, write_answer};
use crate::dialects::client::{
    Addressed, AnswerFacts, ClientRequest, ClientSurface, Decoded, Facts, Frame, Onward, Prepared, Price, Seen,
    StreamReading, Target,
};
use crate::dialects::conversation::Answer;
use crate::dialects::scan::PromptHasher;
use crate::dialects::translate::{AnswerError, ClientError, InvalidRequest, Malformed, StreamEncoder};
use crate::providers::{Dialect, EffortField, Profile, StreamUsage};
use crate::upstream::sse::RawEvent;

/// Members that only OpenRouter knows.
const ROUTER_MEMBERS: &[&str] = &["provider", "transforms", "plugins", "route"];
/// What a cache key begins with.
const SURFACE: &[&str] = &["chat"];

/// Chat Completions.
#[derive(Debug, Clone, Copy)]
pub struct Chat;

impl ClientSurface for Chat {
    fn scan<'a>(&self, body: &'a [u8], _: &Addressed<'a>) -> Result<Box<dyn ClientRequest + 'a>, InvalidRequest> {
        let scan = scan(body)?;
        let effort = scan.reasoning.as_ref().and_then(|reasoning| reasoning.effort);
        let facts = scan.found.facts(effort, scan.choices)?;
        Ok(Box::new(ChatRequest { scan, facts }))
    }

    fn is_spoken_by(&self, profile: &Profile) -> bool {
        profile.dialect == Dialect::OpenAi
    }

    fn path(&self, profile: &Profile, stream: bool) -> &'static str {
        if stream { profile.paths.chat_stream } else { profile.paths.chat }
    }

    fn read_answer(&self, body: &[u8], profile: &Profile) -> Result<AnswerFacts, AnswerError> {
        read_answer(body, quirks(profile))
    }

    fn explanation_event(&self, frame: &Frame, model: &str, explanation: &str) -> Option<Bytes> {
        // A chunk without choices, which clients pass over as they do the one with usage.
        let id = answer_id(frame);
        let head =
            json!({"id": id, "object": "chat.completion.chunk", "created": frame.created, "model": model}).to_string();
        let head = head.trim_end_matches('}');
        Some(Bytes::from(format!("data: {head},\"choices\":[],\"aipipe\":{explanation}}}\n\n")))
    }

    fn error(&self, error: &ClientError<'_>, _: RequestId) -> Bytes {
        error::write_error(error)
    }

    fn error_event(&self, error: &ClientError<'_>, _: RequestId) -> Bytes {
        stream::error_event(error)
    }
}

fn quirks(profile: &Profile) -> ChatQuirks {
    ChatQuirks {
        completion_excludes_reasoning: profile.completion_excludes_reasoning,
        usage_in_choice: profile.usage_in_choice,
    }
}

fn answer_id(frame: &Frame) -> String {
    format!("chatcmpl-{}", frame.request_id)
}

struct ChatRequest<'a> {
    scan: Scan<'a>,
    facts: Facts,
}

impl ChatRequest<'_> {
    /// How the client reads calls: one that declares only the legacy `functions` reads them the legacy way.
    fn tools(&self) -> ToolShape {
        let legacy = self.scan.found.means("functions") && self.scan.found.members.get("tools").is_none();
        if legacy { ToolShape::LegacyFunction } else { ToolShape::Calls }
    }

    fn shape(&self, frame: &Frame) -> AnswerShape {
        let custom_tools = self.scan.custom_tools.iter().map(|name| name.decode().into_owned()).collect();
        AnswerShape { id: answer_id(frame), created: frame.created, tools: self.tools(), custom_tools }
    }

    fn view(&self) -> UsageView {
        if self.scan.include_usage { UsageView::Shown } else { UsageView::Hidden }
    }

    /// Of a stream that passes through, a client that did not ask sees what it would see without AiPipe.
    fn passing_view(&self, profile: &Profile) -> UsageView {
        match (self.scan.include_usage, profile.stream_usage) {
            (true, _) => UsageView::Shown,
            (false, StreamUsage::OnRequest) => UsageView::Hidden,
            (false, StreamUsage::Always) => UsageView::Untouched,
        }
    }
}

impl ClientRequest for ChatRequest<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn prompt_key(&self, hasher: &PromptHasher) -> PromptKey {
        self.scan.found.prompt_key(hasher, SURFACE)
    }

    fn pass(&self, target: &Target<'_>) -> Prepared {
        let profile = target.profile;
        let is_router = profile.effort == EffortField::ReasoningObject;
        prepare_passthrough(
            &self.scan,
            &Passthrough {
                model: target.model,
                chosen: target.chosen,
                preset: if profile.reasoning_split { &[("reasoning_split", "true")] } else { &[] },
                foreign: if is_router { &[] } else { ROUTER_MEMBERS },
                developer: if profile.developer_role { DeveloperRole::Known } else { DeveloperRole::AsSystem },
                usage: profile.stream_usage,
                details: if is_router || profile.reasoning_split { DetailsUse::Own } else { DetailsUse::Unknown },
                names: if profile.reasoning_split { NameUse::Own } else { NameUse::Fitted },
            },
        )
    }

    fn decode(&self) -> Result<Decoded, InvalidRequest> {
        let decoded = decode_request(&self.scan)?;
        Ok(Decoded { conversation: decoded.conversation, dropped: decoded.dropped })
    }

    fn write_answer(&self, answer: &Answer, frame: &Frame) -> Bytes {
        write_answer(answer, &self.shape(frame), None)
    }

    fn stream_encoder(&self, frame: &Frame) -> Box<dyn StreamEncoder> {
        Box::new(ChatStreamEncoder::new(self.shape(frame), self.view()))
    }

    fn passing(&self, profile: &Profile) -> Box<dyn StreamReading> {
        Box::new(Passing(PassthroughScanner::new(quirks(profile), self.passing_view(profile))))
    }
}

struct Passing(PassthroughScanner);

impl StreamReading for Passing {
    fn event(&mut self, event: RawEvent, price: Price<'_>, out: &mut Vec<Bytes>) -> Seen {
        let relayed = self.0.relay(event, price);
        let facts = relayed.facts;
        let course = match (facts.error, facts.malformed) {
            (Some(error), _) => Onward::Error(error),
            (_, Some(malformed)) => Onward::Malformed(malformed),
            _ if facts.is_done => match self.0.close() {
                Ok(()) => Onward::Whole,
                Err(malformed) => Onward::Malformed(malformed),
            },
            _ => Onward::More,
        };
        // The end of an answer that is not whole must not reach the client.
        if matches!(course, Onward::More | Onward::Whole) {
            out.extend(relayed.bytes);
        }
        let commits = facts.is_content || facts.stop.is_some();
        Seen { content: commits.then_some(facts.content_bytes), usage: facts.usage, course, ..Seen::default() }
    }

    fn close(&mut self, _: &mut Vec<Bytes>) -> Result<(), Malformed> {
        self.0.close()
    }

    fn finish(&mut self, price: Price<'_>, out: &mut Vec<Bytes>) {
        out.extend(self.0.finish(price));
    }
}
