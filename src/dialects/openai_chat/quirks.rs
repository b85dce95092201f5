//! What single providers do differently within the dialect.

/// A provider's peculiarities; the default is OpenAI itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ChatQuirks {
    /// `completion_tokens` leaves out hidden reasoning (xAI). The three figures of an answer that gives them all have the last word:
    /// where `total_tokens` shows what was counted, that is believed.
    pub completion_excludes_reasoning: bool,
    /// Usage of a stream stands in the last choice (Moonshot) and need not come at the top level.
    pub usage_in_choice: bool,
}
