//! Error bodies.

use http::StatusCode;

use crate::dialects::anthropic::error::read_error;

#[test]
fn type_message_and_status_are_read() {
    let body = br#"{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
    let error = read_error(StatusCode::from_u16(529).unwrap(), body);
    assert_eq!(error.status.as_u16(), 529);
    assert_eq!(error.code.as_deref(), Some("overloaded_error"));
    assert_eq!(error.message, "Overloaded");
    assert_eq!(error.param, None);
}

#[test]
fn the_field_at_fault_is_taken_from_the_message() {
    let read = |kind: &str, message: &str| {
        let body = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#);
        read_error(StatusCode::BAD_REQUEST, body.as_bytes()).param
    };
    assert_eq!(read("invalid_request_error", "temperature: range: 0..1").as_deref(), Some("temperature"));
    assert_eq!(
        read("invalid_request_error", "tools.0.custom.input_schema.type: Field required").as_deref(),
        Some("tools.0.custom.input_schema.type")
    );
    assert_eq!(read("not_found_error", "model: there-is-no-such-model").as_deref(), Some("model"));
    assert_eq!(read("invalid_request_error", "prompt is too long: 3 tokens > 2 maximum"), None);
    assert_eq!(read("api_error", "model: is on fire"), None);
}

#[test]
fn d180_the_text_that_clients_recover_by_is_kept() {
    let body = br#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 214,000 tokens > 200,000 maximum"}}"#;
    let error = read_error(StatusCode::BAD_REQUEST, body);
    assert_eq!(error.message, "prompt is too long: 214,000 tokens > 200,000 maximum");
}

#[test]
fn d178_bodies_of_other_shapes_are_described_not_quoted() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "no body"),
        (b"<!DOCTYPE html><p>secret", "an HTML page"),
        (b"upstream connect error: secret", "plain text"),
        (b"{\"secret\":1}", "JSON that is no error"),
        (b"{\"error\":{}}", "JSON that is no error"),
        (b"\xff\xfe", "plain text"),
    ];
    for (body, what) in cases {
        let error = read_error(StatusCode::BAD_GATEWAY, body);
        assert_eq!((error.status, error.code), (StatusCode::BAD_GATEWAY, None));
        assert!(error.message.contains(what) && error.message.contains("502"), "{}", error.message);
        assert!(!error.message.contains("secret"));
    }
}

#[test]
fn a_bare_text_in_place_of_the_error_object_is_the_message() {
    let error = read_error(StatusCode::NOT_FOUND, br#"{"code":5,"error":"url.not_found"}"#);
    assert_eq!((error.code, error.message.as_str()), (None, "url.not_found"));
}
