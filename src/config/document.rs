//! A TOML text read key by key, so that every mistake in it is found at once and keeps its line.
//!
//! A derived deserializer stops at the first mistake and turns `0.15` into a binary fraction. Here each value is read on its own from the
//! parsed document, which keeps the digits of numbers as they were written; what was not asked for in a section is an unknown key.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::errors::{ConfigError, Place, suggestion};
use super::values::Readable;

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    /// What was written.
    pub(super) value: T,
    /// Where.
    pub(super) place: Place,
}

/// A TOML text with its name, collecting the problems that are found in it.
pub(super) struct Document<'t> {
    file: Arc<Path>,
    text: &'t str,
    line_starts: Vec<usize>,
    problems: RefCell<Vec<ConfigError>>,
}

impl<'t> Document<'t> {
    pub(super) fn new(file: &Path, text: &'t str) -> Self {
        let line_starts = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1).collect();
        Self { file: Arc::from(file), text, line_starts, problems: RefCell::default() }
    }

    /// The top level; where the text is not TOML it is empty and the problems say why.
    pub(super) fn root(&self) -> Section<'_, 't> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let mut entries = table.into_inner();
        if !errors.is_empty() {
            entries = DeTable::new();
        }
        for error in errors {
            let place = self.place(error.span().map_or(0, |span| span.start), String::new());
            self.report(place, format!("not TOML: {}", error.message()));
        }
        Section { document: self, path: String::new(), offset: 0, entries, known: Vec::new() }
    }

    /// What was found wrong.
    pub(super) fn into_problems(self) -> Vec<ConfigError> {
        self.problems.into_inner()
    }

    fn place(&self, offset: usize, key: String) -> Place {
        let line = 1 + self.line_starts.partition_point(|&start| start <= offset);
        Place::File { file: self.file.clone(), line: Some(line), key }
    }

    fn report(&self, place: Place, message: String) {
        self.problems.borrow_mut().push(ConfigError::new(place, message));
    }
}

/// One table of a document. Keys are taken out of it; [`Section::finish`] reports those that nobody knows.
pub(super) struct Section<'d, 't> {
    document: &'d Document<'t>,
    path: String,
    offset: usize,
    entries: DeTable<'t>,
    known: Vec<&'static str>,
}

impl<'d, 't> Section<'d, 't> {
    /// Where the section begins.
    pub(super) fn place(&self) -> Place {
        self.document.place(self.offset, self.path.clone())
    }

    /// The value of a key; a value of the wrong kind is reported and counts as absent.
    pub(super) fn take<T: Readable>(&mut self, key: &'static str) -> Option<Found<T>> {
        let value = self.remove(key)?;
        let place = self.document.place(value.span().start, self.path_of(key));
        match T::read(&value) {
            Ok(value) => Some(Found { value, place }),
            Err(mismatch) => {
                let mut message = format!("must be {}", mismatch.allowed);
                if let Some(written) = mismatch.span.and_then(|span| self.document.text.get(span)) {
                    message.push_str(", not ");
                    message.extend(written.chars().take(60));
                }
                self.document.report(place, message);
                None
            }
        }
    }

    /// The table of a key.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'d, 't>> {
        let value = self.remove(key)?;
        self.descend(self.path_of(key), value)
    }

    /// The tables within the table of a key, each with its name: `[providers.openai]`, `[providers.local]`.
    pub(super) fn named_sections(&mut self, key: &'static str) -> Vec<(String, Section<'d, 't>)> {
        let Some(outer) = self.section(key) else { return Vec::new() };
        outer
            .entries
            .into_iter()
            .filter_map(|(name, value)| {
                let name = name.into_inner().into_owned();
                let inner = self.descend(format!("{key}.{name}"), value)?;
                Some((name, inner))
            })
            .collect()
    }

    /// The tables of a list: `[[models]]`.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<Section<'d, 't>> {
        let Some(value) = self.remove(key) else { return Vec::new() };
        let place = self.document.place(value.span().start, self.path_of(key));
        let DeValue::Array(items) = value.into_inner() else {
            self.document.report(place, format!("must be a list of tables: [[{key}]]"));
            return Vec::new();
        };
        let path = self.path_of(key);
        items
            .into_iter()
            .enumerate()
            .filter_map(|(index, item)| self.descend(format!("{path}[{index}]"), item))
            .collect()
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        for (key, value) in &self.entries {
            let name = key.get_ref();
            let place = self.document.place(value.span().start, self.path_of(name));
            let hint = suggestion(name, self.known.iter().copied());
            self.document.report(place, format!("unknown key{hint} Allowed here: {}", self.known.join(", ")));
        }
    }

    fn remove(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.entries.remove(key)
    }

    fn descend(&self, path: String, value: Spanned<DeValue<'t>>) -> Option<Section<'d, 't>> {
        let offset = value.span().start;
        match value.into_inner() {
            DeValue::Table(entries) => {
                Some(Section { document: self.document, path, offset, entries, known: Vec::new() })
            }
            _ => {
                let place = self.document.place(offset, path);
                self.document.report(place, "must be a table".into());
                None
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::written::Written;

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24)) {
            let text = pieces.concat();
            let document = Document::new(Path::new("x.toml"), &text);
            Written::read(document.root());
            for problem in document.into_problems() {
                let Place::File { line: Some(line), .. } = problem.place else { panic!("{problem} has no line") };
                prop_assert!((1..=text.matches('\n').count() + 1).contains(&line), "{problem} in {text:?}");
            }
        }
    }

    /// Fragments that often make TOML, and often do not.
    const PIECES: &[&str] = &[
        "[server]\n",
        "[models]\n",
        "[[models]]\n",
        "[providers.x]\n",
        "providers = 3\n",
        "addr = ",
        "id = ",
        "input = ",
        "input = 0x10\n",
        "capabilities = [",
        "]",
        "\"tools\", ",
        "\"é\n",
        "1.5\n",
        "-0\n",
        "1979-05-27\n",
        "{ a = 1 }\n",
        "\n",
        "# é\n",
        "\u{0}",
        "retires_on = ",
    ];
}
