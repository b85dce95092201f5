//! placeholder
use aipipe_actors::routing::complexity::Weights;
/// placeholder
pub fn shipped_weights() -> Weights {
    Weights { length: 0.2, code: 0.2, keywords: 0.5, structure: 0.2, depth: 0.05 }
}
