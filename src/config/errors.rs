//! What is wrong with a configuration: every problem at once, each with its place and with what is allowed there.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// Its path, as it was given.
        file: Arc<Path>,
        /// The line, counted from 1; absent where the file as a whole is meant.
        line: Option<usize>,
        /// The full path of the key (`providers.openai.base_url`); empty where no key is meant.
        key: String,
    },
    /// In an environment variable.
    Variable(String),
}

impl Place {
    /// The line in the file; what is not in a file comes after all lines.
    fn line(&self) -> usize {
        match self {
            Self::File { line, .. } => line.unwrap_or_default(),
            Self::Variable(_) => usize::MAX,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File { file, line, key } => {
                write!(f, "{}", file.display())?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                if key.is_empty() { Ok(()) } else { write!(f, ": {key}") }
            }
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What is wrong and what is allowed; never the value of a secret.
    pub message: String,
}

impl ConfigError {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

/// All problems of a configuration, one a line; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `value` where there are no problems.
    pub(super) fn none_or<T>(value: T, mut problems: Vec<ConfigError>) -> Result<T, Self> {
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort_by_key(|problem| problem.place.line());
        Err(Self(problems))
    }

    /// The problems: those of the file by line, then those of the environment.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(problem: ConfigError) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The entry of `candidates` that `word` probably stands for.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// The end of a sentence about an unknown word: "; did you mean X?", or a full stop.
pub(super) fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    did_you_mean(word, candidates).map_or_else(|| ".".to_owned(), |found| format!("; did you mean {found}?"))
}
