//! The terms on which dialects translate: what a request is translated for, what came of it, what could not be carried.

use aipipe_actors::catalogue::Model;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use super::conversation::{Answer, Conversation, Event};
use super::progress::Progress;
use super::scrub;

/// A request in a provider's dialect, ready to be sent.
#[derive(Debug)]
pub struct EncodedRequest {
    /// The path below the provider's base URL, with its query.
    pub path: String,
    /// The JSON body.
    pub body: Bytes,
    /// Headers of the dialect beside authentication and content type.
    pub headers: HeaderMap,
    /// Names of the client's fields that were left out because they only tune, for `x-aipipe-dropped`.
    pub dropped: Vec<String>,
    /// What the reading of the answer must undo.
    pub undo: Undo,
}

/// What was changed in a request to fit the provider's rules and must be undone in its answer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Undo {
    /// Functions that were sent under another name.
    pub renamed: Vec<Renamed>,
    /// The function, as sent, whose arguments are the text of the answer: the way to a JSON schema at a model that has no other.
    pub answer_tool: Option<String>,
}

/// A function whose name the provider does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The name that the provider knows.
    pub sent: String,
    /// The client's name.
    pub original: String,
}

impl Undo {
    /// The client's name of a function that the provider calls `sent`.
    pub fn original_name<'a>(&'a self, sent: &'a str) -> &'a str {
        self.renamed.iter().find(|name| name.sent == sent).map_or(sent, |name| &name.original)
    }

    /// Whether a call of this function is the answer itself.
    pub fn is_answer(&self, sent: &str) -> bool {
        self.answer_tool.as_deref() == Some(sent)
    }
}

/// A field that changes the meaning of the answer and that the provider has no words for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct CannotCarry {
    /// The field of the client's request.
    pub field: String,
    /// Why, for the client.
    pub reason: String,
}

/// A client's request that breaks its own dialect's rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidRequest {
    /// The field at fault (`messages[2].content`), where one can be named.
    pub param: Option<String>,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// What a provider said that breaks its own dialect's rules; the text names what and never quotes content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// A provider's refusal or failure in its own words, read from an error body, an error inside a 200, or an error event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderError {
    /// The HTTP status; for errors inside a 200 the status that the provider gives the same error elsewhere.
    pub status: StatusCode,
    /// The provider's own code or type (`context_length_exceeded`, `overloaded_error`, `RESOURCE_EXHAUSTED`).
    pub code: Option<String>,
    /// The provider's message, scrubbed of keys and account ids.
    pub message: String,
    /// The field that the provider says is at fault.
    pub param: Option<String>,
    /// How long the provider asks to wait, read from the body; headers are read by the upstream client.
    pub retry_after: Option<std::time::Duration>,
}

impl ProviderError {
    /// The same without the key that the provider was called with.
    #[must_use]
    pub fn without(self, key: Option<&SecretString>) -> Self {
        match key {
            Some(key) => Self { message: scrub::without(&self.message, key.expose_secret()), ..self },
            None => self,
        }
    }
}

/// What an upstream's stream decoder makes of one server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Zero or more events of the answer were appended.
    Continue,
    /// The dialect's terminal event: the answer is whole.
    End,
    /// The provider reports an error inside the stream.
    Error(ProviderError),
}

/// Reads a provider's stream, one server-sent event at a time.
pub trait StreamDecoder: Send {
    /// Takes one event (its name, empty where the dialect has none, and its data) and appends what it means to `out`.
    ///
    /// # Errors
    /// [`Malformed`] where the data may have carried content and cannot be read: the stream must then end in an error.
    fn event(&mut self, name: &str, data: &str, out: &mut Vec<Event>) -> Result<Step, Malformed>;

    /// The connection closed properly after the last event: whether the answer is whole by the dialect's rules. Appends what was held
    /// back for the end.
    ///
    /// # Errors
    /// [`Malformed`] where the dialect's end had not come.
    fn close(&mut self, out: &mut Vec<Event>) -> Result<(), Malformed>;
}

/// Writes a client's stream, from its beginning or from where a stream of the same dialect broke off.
pub trait StreamEncoder: Send + Sync {
    /// Appends the bytes of one event.
    fn event(&mut self, event: &Event, out: &mut Vec<u8>);

    /// Appends the proper end: what the dialect sends last, usage and `cost` (a JSON number text in USD) included.
    fn finish(&mut self, cost_usd: Option<&str>, out: &mut Vec<u8>);

    /// Appends an error in mid-stream, after which nothing follows: never a clean end.
    fn error(&mut self, error: &ClientError<'_>, out: &mut Vec<u8>);

    /// Takes the data of an event that the client got as the provider wrote it, so that this encoder can go on behind it under the same
    /// ids, and notes how far the answer has come.
    fn follow(&mut self, data: &str, progress: &mut Progress);

    /// What stands as `aipipe` (a JSON object) in the event that says why the answer ended.
    fn tell(&mut self, aipipe: String);

    /// The same encoder at the same place, for a continuation that may come to nothing.
    fn copy(&self) -> Box<dyn StreamEncoder>;
}

/// An error as a client is told of it; each client dialect shapes it.
#[derive(Debug, Clone, Copy)]
pub struct ClientError<'a> {
    /// HTTP status (or what it would have been, in mid-stream).
    pub status: StatusCode,
    /// AiPipe's or the provider's stable code.
    pub code: &'a str,
    /// What was wrong and what to do.
    pub message: &'a str,
    /// The field at fault.
    pub param: Option<&'a str>,
}

/// Translates requests and answers for one upstream dialect that differs from the client's.
pub trait UpstreamDialect: Send + Sync {
    /// Writes the request for this model.
    ///
    /// # Errors
    /// [`CannotCarry`] where a field that changes the meaning of the answer has no counterpart.
    fn encode_request(&self, conversation: &Conversation, model: &Model) -> Result<EncodedRequest, CannotCarry>;

    /// Reads a whole answer with status 200; `origin` (`provider/model`) marks what only that model can read.
    ///
    /// # Errors
    /// [`AnswerError`] where it is an error in disguise or cannot be read.
    fn decode_answer(&self, body: &[u8], origin: &str, undo: &Undo) -> Result<Answer, AnswerError>;

    /// Reads the body of an answer whose status says that the call failed, whatever it is made of.
    fn decode_error(&self, status: StatusCode, body: &[u8]) -> ProviderError;

    /// Starts reading a stream; `origin` as above.
    fn stream_decoder(&self, origin: &str, undo: Undo) -> Box<dyn StreamDecoder>;
}

/// Why a 200 is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerError {
    /// The provider reports an error inside a 200.
    Provider(ProviderError),
    /// The body breaks the dialect's rules.
    Malformed(Malformed),
}
