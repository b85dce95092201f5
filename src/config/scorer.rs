//! The weights of the complexity score, compiled into the program.

use aipipe_actors::routing::complexity::Weights;

const SCORER: &str = include_str!("../../config/scorer.toml");

/// The weights of `config/scorer.toml`. Should the file not parse, which a test rules out, those that the code holds.
pub fn shipped_weights() -> Weights {
    toml::from_str(SCORER).unwrap_or_else(|error| {
        tracing::error!(%error, "config/scorer.toml cannot be read; scoring by the signals alone");
        Weights::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_weights_are_read() {
        let weights: Weights = toml::from_str(SCORER).unwrap();
        assert!(weights.version() > 0);
        assert_eq!(weights, shipped_weights());
    }
}
