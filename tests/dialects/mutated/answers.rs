//! Providers' whole answers, errors and counts.

use aipipe::dialects;
use aipipe::dialects::client::{Addressed, annotate};
use aipipe::dialects::translate::{AnswerError, Undo};
use aipipe::providers::BUILT_IN;
use aipipe_actors::money::NanoUsd;
use aipipe_actors::routing::digest::ClientDialect;
use http::StatusCode;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{CLIENTS, Corpus, FEW, assert_bounded, frame, is_json, plain_request, upstream};
use crate::mutation;
use crate::mutation::json::Spoiling;

/// The answer as each provider's that could have sent it: passed on, translated, and taken for an error.
fn check(dialect: ClientDialect, body: &[u8], undo: &Undo) -> Result<bool, TestCaseError> {
    let mut is_read = false;
    let surface = dialects::surface(dialect);
    let speakers = BUILT_IN.iter().filter(|provider| surface.is_spoken_by(&provider.profile));
    for profile in speakers.clone().map(|provider| provider.profile) {
        if let Ok(facts) = surface.read_answer(body, &profile) {
            is_read = true;
            let text = bytes::Bytes::copy_from_slice(body);
            let told = annotate(&text, &facts, Some(NanoUsd(7)), Some("{\"decision\":null}"));
            prop_assert!(is_json(&told) || !is_json(body), "{told:?}");
            assert_bounded(told.len(), body.len())?;
        }
    }
    surface.counting().and_then(|counting| counting.read(body));
    if matches!(dialect, ClientDialect::Responses | ClientDialect::Embeddings) {
        return Ok(is_read);
    }
    for profile in speakers.map(|provider| provider.profile) {
        let upstream = upstream(profile);
        match upstream.decode_answer(body, "openai/target", undo) {
            Ok(answer) => {
                for client in CLIENTS {
                    let request = plain_request(client);
                    let addressed = Addressed { model: Some("m"), stream: false };
                    let written =
                        dialects::surface(client).scan(&request, &addressed).unwrap().write_answer(&answer, &frame());
                    prop_assert!(is_json(&written), "{client:?}: {written:?}");
                    assert_bounded(written.len(), body.len())?;
                }
            }
            Err(AnswerError::Provider(error)) => prop_assert!(!error.message.is_empty()),
            Err(AnswerError::Malformed(why)) => prop_assert!(!why.0.is_empty()),
        }
        for status in [StatusCode::BAD_REQUEST, StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY] {
            let error = upstream.decode_error(status, body);
            assert_bounded(error.message.len(), body.len())?;
        }
    }
    Ok(is_read)
}

fn answers(dialect: ClientDialect) {
    let answers = Corpus::of(dialect).answers;
    let strategy = (any::<Index>(), any::<Index>(), Spoiling::any(), any::<bool>());
    mutation::run(FEW, &strategy, |(document, donor, spoiling, is_tool)| {
        let body = spoiling.spoil(document.get(&answers), donor.get(&answers));
        let undo = Undo { answer_tool: is_tool.then(|| "f".to_owned()), ..Undo::default() };
        check(dialect, &body, &undo)
    });
}

#[test]
fn spoilt_chat_answers() {
    answers(ClientDialect::Chat);
}

#[test]
fn spoilt_messages_answers() {
    answers(ClientDialect::Messages);
}

#[test]
fn spoilt_gemini_answers() {
    answers(ClientDialect::Gemini);
}

#[test]
fn spoilt_responses_answers() {
    answers(ClientDialect::Responses);
}

#[test]
fn spoilt_embeddings_answers() {
    answers(ClientDialect::Embeddings);
}
