//! The calls of a stream, put together from their pieces.
//!
//! A piece names its call by a number, by an id or not at all. A call is told of when its function's name is known, for other dialects
//! have the name in the event that begins it; what came of its arguments until then is told right after.

use super::Reader;
use super::message::{Call, Function};
use crate::dialects::conversation::{Event, Opaque};
use crate::dialects::translate::{Malformed, Undo};

/// A call that has begun.
#[derive(Debug)]
struct Begun {
    /// The provider's number of it, which need not count from 0 or be there at all.
    index: Option<u32>,
    /// The provider's id, where it gave one.
    id: Option<String>,
    /// The function, as the provider calls it; empty while it is not known.
    name: String,
    signature: Option<Opaque>,
    /// All arguments so far.
    arguments: String,
    /// The number under which it was told of.
    told: Option<u32>,
}

/// All calls of an answer.
#[derive(Debug)]
pub(super) struct Calls {
    undo: Undo,
    begun: Vec<Begun>,
    told: u32,
}

/// A piece as it came.
struct Piece<'a> {
    index: Option<u32>,
    id: Option<&'a str>,
    /// The function's name; `None` where it is empty too.
    name: Option<&'a str>,
}

impl Calls {
    pub(super) fn new(undo: Undo) -> Self {
        Self { undo, begun: Vec::new(), told: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    /// Takes a piece of a call.
    pub(super) fn take(&mut self, call: &Call, whose: &Reader, out: &mut Vec<Event>) {
        let empty = Function::default();
        let function = call.function.as_ref().unwrap_or(&empty);
        self.piece((call.index, call.id.as_deref()), function, call.signature(whose), out);
    }

    /// Takes a piece of the only call of the legacy form.
    pub(super) fn take_legacy(&mut self, function: &Function, out: &mut Vec<Event>) {
        self.piece((Some(0), None), function, None, out);
    }

    fn piece(
        &mut self,
        (index, id): (Option<u32>, Option<&str>),
        function: &Function,
        signature: Option<Opaque>,
        out: &mut Vec<Event>,
    ) {
        let piece = Piece {
            index,
            id: id.filter(|id| !id.is_empty()),
            name: function.name.as_deref().filter(|name| !name.is_empty()),
        };
        let number = self.place(&piece).unwrap_or_else(|| {
            self.begun.push(Begun {
                index,
                id: piece.id.map(str::to_owned),
                name: String::new(),
                signature: None,
                arguments: String::new(),
                told: None,
            });
            self.begun.len() - 1
        });
        let Some(call) = self.begun.get_mut(number) else { return };
        if call.id.is_none() && call.told.is_none() {
            call.id = piece.id.map(str::to_owned);
        }
        if let Some(name) = piece.name.filter(|_| call.name.is_empty()) {
            call.name = name.to_owned();
        }
        call.signature = signature.or(call.signature.take());
        let delta = function.arguments();
        call.arguments.push_str(&delta);
        if let Some(index) = call.told {
            if !delta.is_empty() {
                out.push(Event::ToolArguments { index, delta });
            }
        } else if !call.name.is_empty() {
            let index = self.told;
            self.told += 1;
            call.told = Some(index);
            out.push(Event::ToolCallStart {
                index,
                id: call.id.clone().unwrap_or_else(|| format!("call_{number}")),
                name: self.undo.original_name(&call.name).to_owned(),
                signature: call.signature.take(),
            });
            if !call.arguments.is_empty() {
                out.push(Event::ToolArguments { index, delta: call.arguments.clone() });
            }
        }
    }

    /// The call that a piece belongs to; `None`: a new one.
    fn place(&self, piece: &Piece<'_>) -> Option<usize> {
        let place = match (piece.index, piece.id) {
            // The last one, where several calls go by one number.
            (Some(index), _) => self.begun.iter().rposition(|call| call.index == Some(index)),
            (None, Some(id)) => self.begun.iter().position(|call| call.id.as_deref() == Some(id)),
            (None, None) => self.begun.len().checked_sub(1),
        }?;
        let call = self.begun.get(place)?;
        // A second id under a number that is taken is another call: some servers count all calls as the first.
        let other_id = piece.id.zip(call.id.as_deref()).is_some_and(|(new, known)| new != known);
        let begins = match (piece.index, piece.id, piece.name) {
            (_, _, None) => false,
            (_, Some(_), Some(_)) => other_id,
            (Some(_), None, Some(_)) => false,
            // Nothing but the name tells where a call begins; it may also stand in every piece of one.
            (None, None, Some(name)) => !call.name.is_empty() && (name != call.name || is_json(&call.arguments)),
        };
        (!begins).then_some(place)
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`Malformed`] where a call never got its function's name.
    pub(super) fn close(&self) -> Result<(), Malformed> {
        if self.begun.iter().any(|call| call.told.is_none()) {
            return Err(Malformed("a call does not name its function".to_owned()));
        }
        Ok(())
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
