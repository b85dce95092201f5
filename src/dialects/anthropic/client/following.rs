//! Follows a stream of this dialect that passes through, so that another model's continuation can be joined to it.

use serde::Deserialize;

use super::stream::{Block, Encoder, Kind};
use crate::dialects::progress::Progress;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        index: u32,
        content_block: Piece,
    },
    ContentBlockDelta {
        delta: Piece,
    },
    ContentBlockStop {
        index: u32,
    },
    Ping,
    /// The end, and whatever else may come.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    model: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece {
    Text {
        #[serde(default)]
        text: String,
    },
    TextDelta {
        text: String,
    },
    CitationsDelta,
    Thinking,
    RedactedThinking,
    ThinkingDelta,
    SignatureDelta,
    /// Calls, results of the provider's own tools, and what is not known.
    #[serde(other)]
    Other,
}

/// Takes an event as if the encoder had written it.
pub(super) fn follow(encoder: &mut Encoder, data: &str, progress: &mut Progress) {
    // OpenRouter ends its Messages streams with OpenAI's marker.
    if matches!(data.trim(), "" | "[DONE]") {
        return;
    }
    let Ok(event) = serde_json::from_str(data) else { return progress.close() };
    match event {
        Event::MessageStart { message } => {
            encoder.begun = true;
            encoder.model = message.model;
        }
        Event::ContentBlockStart { index, content_block } => {
            encoder.next = index;
            encoder.open = matches!(content_block, Piece::Text { .. }).then(|| Block::new(Kind::Text));
            note(&content_block, progress);
        }
        Event::ContentBlockDelta { delta } => note(&delta, progress),
        Event::ContentBlockStop { index } => {
            encoder.next = index.saturating_add(1);
            encoder.open = None;
        }
        Event::Ping => {}
        Event::Other => progress.close(),
    }
}

fn note(piece: &Piece, progress: &mut Progress) {
    match piece {
        Piece::Text { text } | Piece::TextDelta { text } => progress.text(text),
        Piece::CitationsDelta => {}
        Piece::Thinking | Piece::RedactedThinking | Piece::ThinkingDelta | Piece::SignatureDelta => progress.thought(),
        Piece::Other => progress.close(),
    }
}
