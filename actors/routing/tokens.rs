//! How many tokens a request has, estimated in one linear pass and without a vocabulary.
//!
//! A real tokenizer first cuts text into short pieces by a fixed pattern (a word with the space before it, up to three digits, a run of
//! punctuation, a line break) and then splits each piece by its vocabulary. The cut is repeated here by kind of character; the split is replaced
//! by the mean number of tokens that a piece of that kind and length has.

mod cost;
mod scan;
#[cfg(test)]
mod tests;

/// Fixed overhead of a message: role and separators, as in OpenAI's chat format (3 a message, 1 for a name).
const MESSAGE_TOKENS: u64 = 4;
/// What no provider's message frame exceeds.
const MESSAGE_BOUND: u64 = 16;
/// An image of usual size: between OpenAI's 85 to 1,100, Anthropic's up to 1,600 and Gemini's 258 to 1,120.
const ATTACHMENT_TOKENS: u64 = 1_000;
/// Above the dearest single image that a provider documents (Anthropic, 2,576 pixels a side: 4,784).
const ATTACHMENT_BOUND: u64 = 6_000;

/// Adds up an estimate of o200k tokens and an upper bound in bytes over the pieces of a request, in any order.
///
/// Text may still be in its JSON escaping: `\n`, `\"` and `\u4e2d` count as the characters that they stand for.
#[derive(Debug, Default, Clone, Copy)]
pub struct Estimator {
    /// In units of `1 / cost::SCALE` token, so that many small pieces add up without rounding.
    scaled: u64,
    bytes: u64,
}

impl Estimator {
    /// Counts a piece of text; JSON escapes may still stand in it.
    pub fn text(&mut self, text: &str) {
        self.scaled = self.scaled.saturating_add(scan::scaled_tokens(text.as_bytes()));
        self.bytes = self.bytes.saturating_add(text.len() as u64);
    }

    /// Counts what a message costs beside its text (role and separators).
    pub fn message(&mut self) {
        self.add(MESSAGE_TOKENS, MESSAGE_BOUND);
    }

    /// Counts a piece of JSON that the provider renders for the model (tool declarations, schemas).
    pub fn json(&mut self, json: &str) {
        self.text(json);
    }

    /// Counts an image, document page or the like of unknown size.
    pub fn attachment(&mut self) {
        self.add(ATTACHMENT_TOKENS, ATTACHMENT_BOUND);
    }

    /// Estimated o200k tokens.
    pub fn tokens(&self) -> u64 {
        self.scaled.div_ceil(cost::SCALE).min(self.bytes)
    }

    /// A number that no byte-level tokenizer exceeds: every token stands for at least one byte of the text, and the frames of messages and
    /// attachments are taken at their largest.
    pub fn upper_bound(&self) -> u64 {
        self.bytes
    }

    fn add(&mut self, tokens: u64, bound: u64) {
        self.scaled = self.scaled.saturating_add(tokens.saturating_mul(cost::SCALE));
        self.bytes = self.bytes.saturating_add(bound);
    }
}
