//! How many tokens a request has, estimated in one linear pass.

/// Adds up an estimate of o200k tokens and an upper bound in bytes over the pieces of a request, in any order.
#[derive(Debug, Default, Clone, Copy)]
pub struct Estimator {
    tokens: u64,
    bytes: u64,
}

impl Estimator {
    /// Counts a piece of text; JSON escapes may still stand in it.
    pub fn text(&mut self, text: &str) {
        self.tokens += (text.len() as u64).div_ceil(4);
        self.bytes += text.len() as u64;
    }

    /// Counts what a message costs beside its text (role and separators).
    pub fn message(&mut self) {
        self.tokens += 4;
        self.bytes += 16;
    }

    /// Counts a piece of JSON that the provider renders for the model (tool declarations, schemas).
    pub fn json(&mut self, json: &str) {
        self.text(json);
    }

    /// Counts an image, document page or the like of unknown size.
    pub fn attachment(&mut self) {
        self.tokens += 1_000;
        self.bytes += 6_000;
    }

    /// Estimated o200k tokens.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// A number that no tokenizer exceeds.
    pub fn upper_bound(&self) -> u64 {
        self.bytes
    }
}
