//! `GenerateContentResponse` as it stands on the wire: a whole answer, or one piece of a stream.
//!
//! Every field may be missing or null. Arguments of calls stay the text that came.

use std::borrow::Cow;

use aipipe_actors::money::Tokens;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::THOUGHT_SIGNATURE;
use super::error::{self, ErrorBody};
use crate::dialects::conversation::{Media, Opaque, Part as Said, Stop, Usage};
use crate::dialects::translate::{Malformed, ProviderError};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    pub(super) candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    pub(super) prompt_feedback: Option<PromptFeedback<'a>>,
    pub(super) usage_metadata: Option<UsageMetadata>,
    pub(super) model_version: Option<String>,
    pub(super) response_id: Option<String>,
    pub(super) error: Option<ErrorBody>,
}

impl<'a> Response<'a> {
    /// Reads one, or tells what else stands there: an error in an array, or nothing that can be read.
    pub(super) fn read(json: &'a [u8]) -> Result<Self, Unread> {
        // An array is an error in disguise; serde would read it as a struct, field by field.
        let read = match json.trim_ascii_start().first() {
            Some(b'[') => Err("it is an array"),
            _ => serde_json::from_slice(json).map_err(|failure| category(&failure)),
        };
        read.map_err(|what| match error::read(json) {
            Some(error) => Unread::Error(error.into_provider_error()),
            None => Unread::Malformed(what),
        })
    }
}

/// What stands in place of a response.
pub(super) enum Unread {
    /// The provider's error.
    Error(ProviderError),
    /// Nothing that can be read, and why.
    Malformed(&'static str),
}

/// What is wrong with a text, without any of it.
fn category(failure: &serde_json::Error) -> &'static str {
    match failure.classify() {
        serde_json::error::Category::Eof => "it breaks off",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data => "a field has another type than documented",
        serde_json::error::Category::Io => "it could not be read",
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    pub(super) index: Option<u32>,
    #[serde(borrow)]
    pub(super) content: Option<Content<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

impl Candidate<'_> {
    /// Why the candidate ended, where it has.
    pub(super) fn finish(&self) -> Option<Finish> {
        self.finish_reason.as_deref().filter(|&reason| reason != "FINISH_REASON_UNSPECIFIED").map(finish)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Content<'a> {
    #[serde(borrow)]
    pub(super) parts: Option<Vec<Part<'a>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'a> {
    text: Option<String>,
    thought: Option<bool>,
    thought_signature: Option<String>,
    #[serde(borrow)]
    function_call: Option<FunctionCall<'a>>,
    inline_data: Option<Blob>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionCall<'a> {
    id: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_args: Option<&'a RawValue>,
    will_continue: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    mime_type: Option<String>,
    data: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptFeedback<'a> {
    #[serde(borrow)]
    block_reason: Option<Cow<'a, str>>,
}

impl PromptFeedback<'_> {
    /// Whether the prompt was blocked, so that there is no candidate.
    pub(super) fn blocked(&self) -> bool {
        self.block_reason.as_deref().is_some_and(|reason| reason != "BLOCK_REASON_UNSPECIFIED")
    }
}

/// Counts so far; each piece of a stream repeats them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UsageMetadata {
    prompt_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    total_token_count: Option<u64>,
    #[serde(rename = "promptTokensDetails", deserialize_with = "audio")]
    prompt_audio: Option<u64>,
    #[serde(rename = "toolUsePromptTokensDetails", deserialize_with = "audio")]
    tool_use_prompt_audio: Option<u64>,
    #[serde(rename = "candidatesTokensDetails", deserialize_with = "audio")]
    candidates_audio: Option<u64>,
}

/// How many tokens of a count by modality are audio.
fn audio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    /// `ModalityTokenCount`.
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct ModalityCount {
        modality: String,
        token_count: u64,
    }
    let counts = Option::<Vec<ModalityCount>>::deserialize(deserializer)?;
    let is_audio = |count: &&ModalityCount| count.modality == "AUDIO";
    Ok(counts.map(|counts| counts.iter().filter(is_audio).map(|count| count.token_count).fold(0, u64::saturating_add)))
}

impl UsageMetadata {
    /// These figures where they say something, else the earlier ones.
    pub(super) fn or(self, earlier: Self) -> Self {
        Self {
            prompt_token_count: self.prompt_token_count.or(earlier.prompt_token_count),
            tool_use_prompt_token_count: self.tool_use_prompt_token_count.or(earlier.tool_use_prompt_token_count),
            cached_content_token_count: self.cached_content_token_count.or(earlier.cached_content_token_count),
            candidates_token_count: self.candidates_token_count.or(earlier.candidates_token_count),
            thoughts_token_count: self.thoughts_token_count.or(earlier.thoughts_token_count),
            total_token_count: self.total_token_count.or(earlier.total_token_count),
            prompt_audio: self.prompt_audio.or(earlier.prompt_audio),
            tool_use_prompt_audio: self.tool_use_prompt_audio.or(earlier.tool_use_prompt_audio),
            candidates_audio: self.candidates_audio.or(earlier.candidates_audio),
        }
    }

    /// The parts inside the wholes: Gemini counts thoughts beside the candidates and tool prompts beside the prompt, cached content
    /// inside the prompt. `None` where nothing was counted. Where the prompt's count is missing and no total tells it, `input` is 0,
    /// which no prompt ever is.
    pub(super) fn usage(self) -> Option<Usage> {
        let output = self.candidates_token_count.unwrap_or(0).saturating_add(self.thoughts_token_count.unwrap_or(0));
        let tools = self.tool_use_prompt_token_count.unwrap_or(0);
        let input = match (self.prompt_token_count, self.total_token_count) {
            (Some(prompt), _) => prompt.saturating_add(tools),
            (None, Some(total)) => total.saturating_sub(output),
            (None, None) => tools,
        };
        if input == 0 && output == 0 {
            return None;
        }
        let sum = |one: Option<u64>, other: Option<u64>| one.unwrap_or(0).saturating_add(other.unwrap_or(0));
        let tokens = Tokens {
            input,
            cached_input: self.cached_content_token_count.unwrap_or(0).min(input),
            cache_write: 0,
            output,
            reasoning: self.thoughts_token_count.unwrap_or(0),
            audio_input: sum(self.prompt_audio, self.tool_use_prompt_audio).min(input),
            audio_output: self.candidates_audio.unwrap_or(0).min(output),
        };
        Some(Usage { tokens, reported_cost: None })
    }
}

/// What a `finishReason` means.
pub(super) enum Finish {
    /// The answer is whole, or as whole as it gets.
    Stopped(Stop),
    /// The model broke its own call or the provider failed: what came is no answer.
    Failed(ProviderError),
}

/// Reads a `finishReason`; calls turn `STOP` into a wait for their results later, by the whole answer.
/// Source: `Candidate.FinishReason`, <https://ai.google.dev/api/generate-content#FinishReason>.
fn finish(reason: &str) -> Finish {
    match reason {
        "STOP" => Finish::Stopped(Stop::End),
        "MAX_TOKENS" => Finish::Stopped(Stop::Length),
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE" | "NO_IMAGE" => {
            Finish::Stopped(Stop::Filtered)
        }
        image if image.starts_with("IMAGE_") => Finish::Stopped(Stop::Filtered),
        "TOO_MANY_TOOL_CALLS" => Finish::Stopped(Stop::Paused),
        // Broken calls, an end for no given reason, and what Google adds to its list: never taken for a whole answer.
        other => Finish::Failed(ProviderError {
            status: http::StatusCode::BAD_GATEWAY,
            code: Some(other.to_owned()),
            message: format!("the model ended its answer with {other}"),
            param: None,
            retry_after: None,
        }),
    }
}

/// What a part of an answer says, with the signature that came with it.
pub(super) enum Piece {
    Text(String),
    Thought(String),
    Call {
        id: Option<String>,
        name: String,
        arguments: String,
    },
    Media(Said),
    /// A kind of part that is never asked for, or nothing but a signature.
    Nothing,
}

impl Part<'_> {
    /// Bytes of text and calls.
    pub(super) fn bytes(&self) -> usize {
        let call = self.function_call.as_ref().map_or(0, |call| {
            let length = |raw: Option<&RawValue>| raw.map_or(0, |raw| raw.get().len());
            call.name.as_ref().map_or(0, String::len) + length(call.args) + length(call.partial_args)
        });
        self.text.as_ref().map_or(0, String::len) + call
    }

    /// Whether it is of a kind that only a client of this dialect can ask a stream for: media, and calls in pieces.
    pub(super) fn is_own(&self) -> bool {
        self.inline_data.is_some() || self.function_call.as_ref().is_some_and(FunctionCall::is_piece)
    }

    /// Takes the part apart into what it says and its signature.
    pub(super) fn read(self, origin: &str) -> Result<(Piece, Option<Opaque>), Malformed> {
        let signature = self.thought_signature.filter(|data| !data.is_empty()).map(|data| Opaque {
            origin: origin.to_owned(),
            kind: THOUGHT_SIGNATURE,
            data,
        });
        let thought = self.thought == Some(true);
        let piece = if let Some(call) = self.function_call {
            call.read()?
        } else if let Some(text) = self.text.filter(|text| !text.is_empty()) {
            if thought { Piece::Thought(text) } else { Piece::Text(text) }
        } else if let Some(blob) = self.inline_data.filter(|_| !thought) {
            blob.read()
        } else {
            Piece::Nothing
        };
        Ok((piece, signature))
    }
}

impl FunctionCall<'_> {
    /// Whether it is no call by itself: the first piece has the name, the last is empty.
    fn is_piece(&self) -> bool {
        self.partial_args.is_some() || self.will_continue == Some(true) || (self.name.is_none() && self.args.is_none())
    }

    fn read(self) -> Result<Piece, Malformed> {
        if self.partial_args.is_some() || self.will_continue == Some(true) {
            return Err(Malformed("a function call came in pieces, which was not asked for".to_owned()));
        }
        let Some(name) = self.name.filter(|name| !name.is_empty()) else {
            return Err(Malformed("a function call has no name".to_owned()));
        };
        let arguments = match self.args.map(RawValue::get) {
            None | Some("null") => "{}".to_owned(),
            Some(args) => compact(args),
        };
        Ok(Piece::Call { id: self.id.filter(|id| !id.is_empty()), name, arguments })
    }
}

impl Blob {
    fn read(self) -> Piece {
        let media_type = self.mime_type.unwrap_or_default();
        let (is_image, is_audio) = (media_type.starts_with("image/"), media_type.starts_with("audio/"));
        let media = Media::Inline { media_type, base64: self.data.unwrap_or_default() };
        Piece::Media(match () {
            () if is_image => Said::Image(media),
            () if is_audio => Said::Audio(media),
            () => Said::Document { media, name: None },
        })
    }
}

/// JSON text without the white space between its tokens: Gemini indents what it answers.
fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            quoted = c == '"';
        }
        text.push(c);
    }
    text
}

/// Gives the calls of one answer their ids: the provider's where it has one that is not taken, else one that no other answer makes.
#[derive(Debug, Default)]
pub(super) struct CallIds {
    given: Vec<String>,
}

impl CallIds {
    /// The id of the next call. `response_id` is unique among answers; where it is missing, the call itself stands for it.
    pub(super) fn next(&mut self, own: Option<String>, response_id: &str, call: (&str, &str)) -> String {
        let id = match own {
            Some(own) if !self.given.contains(&own) => own,
            Some(own) => format!("{own}_{}", self.given.len()),
            None if response_id.is_empty() => {
                let mut checksum = crc32fast::Hasher::new();
                checksum.update(call.0.as_bytes());
                checksum.update(call.1.as_bytes());
                format!("call_{:08x}_{}", checksum.finalize(), self.given.len())
            }
            None => format!("call_{response_id}_{}", self.given.len()),
        };
        self.given.push(id.clone());
        id
    }
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn d29_arguments_lose_white_space_and_nothing_else() {
        let indented = "{\n  \"a b\": [1.0, 12345678901234567890],\n  \"q\": \"say \\\"x y\\\" \\\\\" }";
        assert_eq!(compact(indented), r#"{"a b":[1.0,12345678901234567890],"q":"say \"x y\" \\"}"#);
    }
}
