//! What a Gemini model takes by its generation, told from its name.

use aipipe_actors::catalogue::{Model, ReasoningControl};

/// A model's generation: `gemini-2.5-flash` is (2, 5), `gemini-4-argon` (4, 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u32, u32);

impl Generation {
    /// Reads the name; where it names none (`gemini-flash-latest`) the newest rules hold if the catalogue gives the model a thinking
    /// level, else those of Gemini 2.5.
    pub(super) fn of(model: &Model) -> Self {
        Self::named(model.id.as_str()).unwrap_or(match model.parameters.reasoning {
            ReasoningControl::Level => Self(u32::MAX, 0),
            ReasoningControl::None | ReasoningControl::Budget | ReasoningControl::Adaptive => Self(2, 5),
        })
    }

    fn named(id: &str) -> Option<Self> {
        let id = id.strip_prefix("models/").unwrap_or(id);
        let version = id.strip_prefix("gemini-")?.split('-').next()?;
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }

    /// Whether schemas may be full JSON schemas (`parametersJsonSchema`, `responseJsonSchema`) and the calling mode `VALIDATED` is
    /// known. Source: <https://ai.google.dev/gemini-api/docs/structured-output>.
    pub(super) fn takes_json_schema(self) -> bool {
        self >= Self(2, 5)
    }

    /// Whether function calls in the history need their thought signature, calls have ids, function responses may hold media, and
    /// functions may stand beside a response schema: all since Gemini 3.
    /// Source: <https://ai.google.dev/gemini-api/docs/thought-signatures>, <https://ai.google.dev/gemini-api/docs/gemini-3>.
    pub(super) fn is_three_or_later(self) -> bool {
        self >= Self(3, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Generation;

    #[test]
    fn names_tell_the_generation() {
        assert_eq!(Generation::named("gemini-2.5-flash-lite"), Some(Generation(2, 5)));
        assert_eq!(Generation::named("models/gemini-3-flash-preview"), Some(Generation(3, 0)));
        assert_eq!(Generation::named("gemini-4-argon"), Some(Generation(4, 0)));
        assert_eq!(Generation::named("gemini-flash-latest"), None);
        assert_eq!(Generation::named("gemma-3-27b-it"), None);
    }
}
