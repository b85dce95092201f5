//! The edits to a client's body on its way to a provider of the same dialect: a few splices, every other byte as it came.

use std::ops::Range;

use aipipe_actors::catalogue::Model;

use super::client::Prepared;
use super::scan::Findings;
use super::splice::{Cutter, Splice};

/// Edits to the members of one body while they are gathered.
#[derive(Debug)]
pub(super) struct Edits<'e> {
    found: &'e Findings<'e>,
    /// Edits within the values.
    pub(super) splice: Splice<'e>,
    gone: Vec<usize>,
    dropped: Vec<String>,
}

impl<'e> Edits<'e> {
    /// What every body undergoes: AiPipe's own goes.
    pub(super) fn begin(found: &'e Findings<'e>) -> Self {
        let mut edits = Self { found, splice: Splice::new(found.text()), gone: Vec::new(), dropped: Vec::new() };
        edits.remove("aipipe");
        edits
    }

    /// What every body undergoes that names its model: it is named as its provider names it.
    pub(super) fn with_model(found: &'e Findings<'e>, model: &Model) -> Self {
        let mut edits = Self::begin(found);
        edits.replace("model", serde_json::Value::from(model.id.as_str()).to_string());
        edits
    }

    /// The value of a member that is there and not null.
    pub(super) fn value(&self, name: &str) -> Option<Range<usize>> {
        let member = self.found.members.get(name)?;
        (self.found.text().get(member.value.clone()) != Some("null")).then(|| member.value.clone())
    }

    /// Whether a member is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, name: &str) {
        self.gone.extend(self.found.members.position(name));
    }

    /// Takes a member out and tells the client so.
    pub(super) fn drop_member(&mut self, name: &str) {
        if self.has(name) {
            self.tell(name);
        }
        self.remove(name);
    }

    /// Tells the client that a field was left out or lowered.
    pub(super) fn tell(&mut self, name: &str) {
        self.dropped.push(name.to_owned());
    }

    /// Puts another value, as JSON, in the place of a member's that is there.
    pub(super) fn replace(&mut self, name: &str, value: String) {
        if let Some(member) = self.found.members.get(name) {
            self.splice.replace(member.value.clone(), value);
        }
    }

    /// Sets a member that is absent or null.
    pub(super) fn insert(&mut self, name: &str, value: &str) {
        match self.found.members.get(name) {
            Some(null) => self.splice.replace(null.value.clone(), value.to_owned()),
            // `model` always stays, so that a member follows.
            None => self.splice.insert(self.found.members.open, format!("\"{name}\":{value},")),
        }
    }

    /// The edited body.
    pub(super) fn finish(mut self) -> Prepared {
        let mut cutter = Cutter::default();
        for (position, member) in self.found.members.iter().enumerate() {
            cutter.key(member.start);
            if self.gone.contains(&position) {
                cutter.cut(member.value.end);
            } else {
                cutter.keep(member.value.end);
            }
        }
        for range in cutter.close() {
            self.splice.remove(range);
        }
        self.dropped.dedup();
        Prepared { body: self.splice.finish(), dropped: self.dropped }
    }
}
