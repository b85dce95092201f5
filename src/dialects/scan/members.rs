//! The members of a body's object and where they stand.

use std::ops::Range;

use super::invalid;
use crate::dialects::json::{Key, Text};
use crate::dialects::translate::InvalidRequest;

/// Most members of a body: real requests have some thirty.
const MAX_MEMBERS: usize = 256;

/// One member of the body's object.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// Offset of the opening quote of its name.
    pub start: usize,
    /// Where its value stands.
    pub value: Range<usize>,
}

/// All members, in the client's order.
#[derive(Debug, Default)]
pub struct Members<'a> {
    /// The offset after the opening brace.
    pub open: usize,
    list: Vec<Member<'a>>,
}

impl<'a> Members<'a> {
    /// Those of an object whose brace ends at this offset; none yet.
    pub(super) fn of(open: usize) -> Self {
        Self { open, list: Vec::with_capacity(16) }
    }

    /// The position of a member by its name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|member| member.name == *name)
    }

    /// A member by its name.
    pub fn get(&self, name: &str) -> Option<&Member<'a>> {
        self.list.iter().find(|member| member.name == *name)
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Member<'a>> {
        self.list.iter()
    }

    /// Whether one more may join.
    pub(super) fn admit(&self, name: &str) -> Result<(), InvalidRequest> {
        if self.list.len() == MAX_MEMBERS {
            return Err(invalid(None, format!("the body has more than {MAX_MEMBERS} members")));
        }
        if self.get(name).is_some() {
            return Err(invalid(Some(name), format!("`{name}` is given twice")));
        }
        Ok(())
    }

    /// One more, whose value has been read.
    pub(super) fn push(&mut self, key: &Key<'a>, value: Range<usize>) {
        self.list.push(Member { name: key.name, start: key.start, value });
    }
}
