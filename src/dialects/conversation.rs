//! The canonical form: what a request and an answer mean, in no provider's words.
//!
//! Each dialect translates to and from this form once, so that four client dialects and three upstream dialects cost N + M translations.
//! JSON that only passes through (schemas, tool arguments) stays text, so that number spellings and key order survive. Opaque things of
//! a model (thinking signatures, encrypted reasoning, thought signatures) carry their origin and go back to that model only.

use aipipe_actors::catalogue::Effort;
use aipipe_actors::money::{NanoUsd, Tokens};
use serde_json::value::RawValue;

/// A whole request.
#[derive(Debug, Default)]
pub struct Conversation {
    /// System and developer messages at the head, in order.
    pub instructions: Vec<String>,
    /// The turns after them.
    pub turns: Vec<Turn>,
    /// Declared functions, in the client's order.
    pub tools: Vec<Tool>,
    /// Which of them may or must be called.
    pub tool_choice: ToolChoice,
    /// Whether one answer may hold several calls; `None`: the provider's default.
    pub parallel_tool_calls: Option<bool>,
    /// What the answer must look like.
    pub format: ResponseFormat,
    /// Sampling and limits.
    pub settings: Settings,
    /// Whether and how much to think; `None`: the model's default.
    pub reasoning: Option<Reasoning>,
    /// Names of the client's fields that only tune or label (`user`, `metadata`, `seed`, …) and that the canonical form does not hold:
    /// listed in `x-aipipe-dropped` when the request is translated.
    pub hints: Vec<&'static str>,
    /// Whether the answer is streamed.
    pub stream: bool,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The human, and tool results.
    User,
    /// The model.
    Assistant,
    /// An instruction in the middle of the conversation.
    System,
}

/// One turn: consecutive messages of one role may stand as several turns; dialects that refuse that merge them.
#[derive(Debug)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What, in order.
    pub parts: Vec<Part>,
    /// The speaker's name, where the client gave one.
    pub name: Option<String>,
}

/// A piece of a turn or of an answer.
#[derive(Debug, Clone)]
pub enum Part {
    /// Plain text.
    Text(String),
    /// An image.
    Image(Media),
    /// A document (PDF, text).
    Document {
        /// Its bytes or address.
        media: Media,
        /// Its file name or title.
        name: Option<String>,
    },
    /// Sound.
    Audio(Media),
    /// The model asks for a function to be run.
    ToolCall(ToolCall),
    /// What a function returned.
    ToolResult(ToolResult),
    /// The model's thoughts.
    Reasoning(Thought),
    /// The model's refusal to answer.
    Refusal(String),
}

/// Bytes or an address of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// Data within the request.
    Inline {
        /// For instance `image/png`.
        media_type: String,
        /// Standard base64 without white space.
        base64: String,
    },
    /// An address that the provider is asked to fetch; AiPipe never does.
    Url(String),
    /// A file stored at one provider.
    FileId(String),
}

/// A call of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Links the call to its result.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// Arguments as JSON text; what a model or client sent, even where it is not valid JSON.
    pub arguments: String,
    /// The signature that a provider wants back with the call.
    pub signature: Option<Opaque>,
}

/// The result of a call.
#[derive(Debug, Clone)]
pub struct ToolResult {
    /// The call's id.
    pub call_id: String,
    /// The function's name, looked up in the history.
    pub name: String,
    /// Text and media, in order.
    pub parts: Vec<Part>,
    /// Whether the call failed.
    pub is_error: bool,
}

/// A piece of the model's reasoning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thought {
    /// Readable text; empty where the provider shows none.
    pub text: String,
    /// Signature or encrypted form.
    pub opaque: Option<Opaque>,
}

/// Something that only the model that made it can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// `provider/model` that made it; empty where the client did not say.
    pub origin: String,
    /// What it is: `signature`, `redacted`, `encrypted`, `thought_signature`.
    pub kind: &'static str,
    /// As received.
    pub data: String,
}

/// A declared function.
#[derive(Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON schema of its arguments, as the client wrote it; `None`: no arguments.
    pub schema: Option<Box<RawValue>>,
    /// Whether the arguments must follow the schema to the letter.
    pub strict: Option<bool>,
}

/// Which functions may or must be called.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// None may.
    None,
    /// At least one must.
    Required,
    /// This one must.
    Named(String),
    /// Only these may; `required` says whether one must.
    Allowed {
        /// Their names.
        names: Vec<String>,
        /// Whether one of them must be called.
        required: bool,
    },
}

/// What the answer must look like.
#[derive(Debug, Default)]
pub enum ResponseFormat {
    /// Anything.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON after a schema.
    JsonSchema {
        /// The schema's name.
        name: String,
        /// What it describes.
        description: Option<String>,
        /// The schema as the client wrote it.
        schema: Box<RawValue>,
        /// Whether the answer must follow it to the letter.
        strict: Option<bool>,
    },
}

/// Sampling and limits; `None`: the provider's default.
#[derive(Debug, Default, Clone)]
pub struct Settings {
    /// Most output tokens, hidden reasoning included.
    pub max_output_tokens: Option<u64>,
    /// Sampling temperature, as the client's scale has it (0..=2).
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// Sampling among the k likeliest.
    pub top_k: Option<u64>,
    /// Sequences that end the answer.
    pub stop: Vec<String>,
    /// Seed for repeatable sampling.
    pub seed: Option<i64>,
    /// Penalty for tokens already present.
    pub presence_penalty: Option<f64>,
    /// Penalty by frequency.
    pub frequency_penalty: Option<f64>,
    /// Choices in one answer.
    pub choices: Option<u32>,
    /// Log probabilities asked for; the number of alternatives.
    pub logprobs: Option<u32>,
}

/// A request for reasoning.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Reasoning {
    /// How much.
    pub effort: Option<Effort>,
    /// At most so many tokens of it.
    pub budget_tokens: Option<u64>,
}

impl Reasoning {
    /// The level asked for; where only a budget is given, the level that AiPipe takes it for.
    pub fn level(&self) -> Option<Effort> {
        self.effort.or(self.budget_tokens.map(|tokens| match tokens {
            0 => Effort::None,
            1..=2_048 => Effort::Low,
            2_049..=8_192 => Effort::Medium,
            _ => Effort::High,
        }))
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model was done.
    End,
    /// It waits for the results of its tool calls.
    ToolUse,
    /// The output limit was reached.
    Length,
    /// The context window is full.
    ContextFull,
    /// A stop sequence was produced.
    Sequence,
    /// The model refused.
    Refusal,
    /// The provider filtered prompt or answer.
    Filtered,
    /// A provider-side tool loop paused and can be resumed.
    Paused,
}

/// What an answer used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens by kind, the parts inside the wholes.
    pub tokens: Tokens,
    /// What the provider says it charged, where it does.
    pub reported_cost: Option<NanoUsd>,
}

/// A whole answer.
#[derive(Debug, Default)]
pub struct Answer {
    /// The provider's id of it.
    pub id: String,
    /// The model as its provider names it.
    pub model: String,
    /// One or more choices.
    pub choices: Vec<Choice>,
    /// What it used; `None` where the provider said nothing.
    pub usage: Option<Usage>,
}

impl Answer {
    /// The answer as the steps of a stream; `None` where it has no form as one: several choices, or media.
    pub fn into_events(self) -> Option<Vec<Event>> {
        let mut choices = self.choices.into_iter();
        let (Some(choice), None) = (choices.next(), choices.next()) else { return None };
        let mut events = vec![Event::Start { id: self.id, model: self.model }];
        let mut index = 0;
        for part in choice.parts {
            match part {
                Part::Text(text) => events.push(Event::Text(text)),
                Part::Refusal(text) => events.push(Event::Refusal(text)),
                Part::Reasoning(Thought { text, opaque }) => {
                    events.extend((!text.is_empty()).then_some(Event::Reasoning(text)));
                    events.extend(opaque.map(Event::ReasoningOpaque));
                }
                Part::ToolCall(ToolCall { id, name, arguments, signature }) => {
                    events.push(Event::ToolCallStart { index, id, name, signature });
                    events.push(Event::ToolArguments { index, delta: arguments });
                    index += 1;
                }
                Part::Image(_) | Part::Document { .. } | Part::Audio(_) | Part::ToolResult(_) => return None,
            }
        }
        events.extend(self.usage.map(Event::Usage));
        events.push(Event::Stop { reason: choice.stop, sequence: choice.stop_sequence });
        Some(events)
    }
}

/// One choice of an answer.
#[derive(Debug)]
pub struct Choice {
    /// Content, in order.
    pub parts: Vec<Part>,
    /// Why it ended.
    pub stop: Stop,
    /// Which stop sequence was produced, where known.
    pub stop_sequence: Option<String>,
}

/// One step of a streamed answer (of its only choice: translated requests have one).
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The answer has begun; nothing of it is content yet. Comes again, before any content, where the provider puts another model in the
    /// place of the first: the later one holds.
    Start {
        /// The provider's id of it.
        id: String,
        /// The model as its provider names it.
        model: String,
    },
    /// More text.
    Text(String),
    /// More of a refusal.
    Refusal(String),
    /// More readable reasoning.
    Reasoning(String),
    /// The signature or encrypted form of the reasoning so far.
    ReasoningOpaque(Opaque),
    /// A tool call begins; calls are numbered from 0 in the order in which they begin.
    ToolCallStart {
        /// Its number.
        index: u32,
        /// Its id.
        id: String,
        /// The function's name.
        name: String,
        /// The signature that the provider wants back.
        signature: Option<Opaque>,
    },
    /// More of the JSON text of a call's arguments.
    ToolArguments {
        /// The call's number.
        index: u32,
        /// The text.
        delta: String,
    },
    /// Figures so far; later ones replace earlier ones.
    Usage(Usage),
    /// Why the answer ended; not yet its end.
    Stop {
        /// The reason.
        reason: Stop,
        /// Which stop sequence was produced, where known.
        sequence: Option<String>,
    },
    /// A sign of life without content.
    Ping,
}

impl Event {
    /// Whether it carries something of the answer itself: from here on the stream is committed.
    pub fn is_content(&self) -> bool {
        !matches!(self, Self::Start { .. } | Self::Usage(_) | Self::Ping)
    }

    /// Why the answer ended, where it says so.
    pub fn stop(&self) -> Option<Stop> {
        match self {
            Self::Stop { reason, .. } => Some(*reason),
            _ => None,
        }
    }
}
