//! The dialect held to its numbered cases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod answers;
mod passing;
mod requests;
mod streams;

use aipipe_actors::identity::RequestId;
use serde_json::{Value, json};

use super::Responses;
use crate::dialects::client::{Addressed, ClientRequest, ClientSurface as _, Decoded, Frame};
use crate::dialects::translate::InvalidRequest;

/// A request with these members.
fn body(extra: Value) -> String {
    let mut body = json!({"model": "m", "input": "hi"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body.to_string()
}

fn try_scan(text: &str) -> Result<Box<dyn ClientRequest + '_>, InvalidRequest> {
    Responses.scan(text.as_bytes(), &Addressed::default())
}

fn try_decode(extra: Value) -> Result<Decoded, InvalidRequest> {
    try_scan(&body(extra))?.decode()
}

fn decoded(extra: Value) -> Decoded {
    try_decode(extra).unwrap()
}

/// The field that a request is refused for.
fn refused(extra: Value) -> String {
    try_decode(extra).unwrap_err().param.unwrap()
}

fn frame() -> Frame {
    Frame { request_id: RequestId::from_bytes([7; 16]), created: 5 }
}
