#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::dialects::conversation::{Media, Opaque};
use crate::dialects::translate::Renamed;
use aipipe_actors::money::Tokens;
use http::StatusCode;

const ORIGIN: &str = "gemini/gemini-3-flash-preview";

fn read(body: &str) -> Answer {
    decode(body.as_bytes(), ORIGIN, &Undo::default()).expect("an answer")
}

fn fail(body: &str) -> AnswerError {
    decode(body.as_bytes(), ORIGIN, &Undo::default()).expect_err("no answer")
}

fn candidate(rest: &str) -> String {
    format!(r#"{{"candidates":[{{{rest}}}],"modelVersion":"gemini-3-flash-preview","responseId":"r1"}}"#)
}

fn signature(data: &str) -> Opaque {
    Opaque { origin: ORIGIN.to_owned(), kind: "thought_signature", data: data.to_owned() }
}

fn calls(choice: &Choice) -> Vec<&ToolCall> {
    let calls = choice.parts.iter().filter_map(|part| match part {
        Part::ToolCall(call) => Some(call),
        _ => None,
    });
    calls.collect()
}

fn stop(reason: &str) -> Stop {
    read(&candidate(&format!(r#""content":{{"parts":[{{"text":"x"}}]}},"finishReason":"{reason}""#))).choices[0].stop
}

#[test]
fn finish_reasons_become_stops() {
    assert_eq!(stop("STOP"), Stop::End);
    assert_eq!(stop("MAX_TOKENS"), Stop::Length);
    assert_eq!(stop("TOO_MANY_TOOL_CALLS"), Stop::Paused);
    for reason in
        ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY", "NO_IMAGE"]
    {
        assert_eq!(stop(reason), Stop::Filtered, "{reason}");
    }
}

#[test]
fn d97_stop_with_calls_waits_for_their_results() {
    let body = candidate(
        r#""content":{"parts":[{"functionCall":{"name":"f","args":{"n": 12345678901234567890, "x": 1.0}}}]},"finishReason":"STOP""#,
    );
    let choice = &read(&body).choices[0];
    assert_eq!(choice.stop, Stop::ToolUse);
    // D29: the numbers as they came.
    assert_eq!(calls(choice)[0].arguments, r#"{"n":12345678901234567890,"x":1.0}"#);
}

#[test]
fn d105_a_cut_call_stays_cut() {
    let body = candidate(r#""content":{"parts":[{"functionCall":{"name":"f"}}]},"finishReason":"MAX_TOKENS""#);
    assert_eq!(read(&body).choices[0].stop, Stop::Length);
}

#[test]
fn d30_calls_without_id_get_unique_ones() {
    let body = candidate(
        r#""content":{"parts":[{"functionCall":{"name":"f","args":{}}},{"functionCall":{"name":"f","args":{}}},
            {"functionCall":{"name":"g","id":"own"}},{"functionCall":{"name":"g","id":"own"}}]},"finishReason":"STOP""#,
    );
    let answer = read(&body);
    let calls = calls(&answer.choices[0]);
    let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["call_r1_0", "call_r1_1", "own", "own_3"]);
    assert_eq!(calls[2].arguments, "{}");
}

#[test]
fn d122_signatures_are_kept_on_calls_thoughts_and_text() {
    let body = candidate(
        r#""content":{"parts":[{"text":"hm","thought":true,"thoughtSignature":"s0"},
            {"functionCall":{"name":"f"},"thoughtSignature":"s1"},{"text":"done","thoughtSignature":"s2"},
            {"text":"","thoughtSignature":"s3"}]},"finishReason":"STOP""#,
    );
    let parts = &read(&body).choices[0].parts;
    let thought = |text: &str, data| Thought { text: text.to_owned(), opaque: Some(signature(data)) };
    assert!(matches!(&parts[0], Part::Reasoning(found) if *found == thought("hm", "s0")));
    assert!(matches!(&parts[1], Part::ToolCall(call) if call.signature == Some(signature("s1"))));
    assert!(matches!(&parts[2], Part::Text(text) if text == "done"));
    assert!(matches!(&parts[3], Part::Reasoning(found) if *found == thought("", "s2")));
    assert!(matches!(&parts[4], Part::Reasoning(found) if *found == thought("", "s3")));
}

#[test]
fn d102_a_candidate_without_parts_is_a_choice() {
    for content in [r#""content":{},"#, r#""content":{"role":"model"},"#, r#""content":null,"#, ""] {
        let answer = read(&candidate(&format!(r#"{content}"finishReason":"MAX_TOKENS""#)));
        assert_eq!((answer.choices.len(), answer.choices[0].stop), (1, Stop::Length));
        assert!(answer.choices[0].parts.is_empty());
    }
}

#[test]
fn d103_a_blocked_prompt_is_a_filtered_answer() {
    let answer = read(r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":9}}"#);
    assert_eq!((answer.choices.len(), answer.choices[0].stop), (1, Stop::Filtered));
    assert!(answer.choices[0].parts.is_empty());
    assert_eq!(answer.usage.unwrap().tokens.input, 9);
    assert_eq!(answer.model, "gemini-3-flash-preview");
}

#[test]
fn d104_a_broken_call_is_not_handed_on() {
    for reason in ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER"] {
        let body = candidate(&format!(
            r#""content":{{"parts":[{{"functionCall":{{"name":"f"}}}}]}},"finishReason":"{reason}""#
        ));
        let AnswerError::Provider(error) = fail(&body) else { panic!("{reason} is the provider's") };
        assert_eq!((error.status, error.code.as_deref()), (StatusCode::BAD_GATEWAY, Some(reason)));
    }
}

#[test]
fn d107_usage_counts_thoughts_and_tool_prompts_inside() {
    let body = r#"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}],"usageMetadata":
        {"promptTokenCount":132,"candidatesTokenCount":65,"totalTokenCount":1733,"toolUsePromptTokenCount":1387,
         "thoughtsTokenCount":149,"cachedContentTokenCount":100,
         "promptTokensDetails":[{"modality":"TEXT","tokenCount":32},{"modality":"AUDIO","tokenCount":100}],
         "toolUsePromptTokensDetails":[{"modality":"AUDIO","tokenCount":7},{"modality":"TEXT"}],
         "candidatesTokensDetails":[{"modality":"AUDIO","tokenCount":65}]}}"#;
    let (audio_input, audio_output) = (107, 65);
    let tokens = Tokens {
        input: 1519,
        cached_input: 100,
        output: 214,
        reasoning: 149,
        audio_input,
        audio_output,
        ..Tokens::default()
    };
    assert_eq!(read(body).usage.unwrap().tokens, tokens);
}

#[test]
fn d117_no_counts_are_no_usage() {
    let body = r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"trafficType":"ON_DEMAND"}}"#;
    assert_eq!(read(body).usage, None);
}

#[test]
fn d135_candidates_come_in_order_of_their_index() {
    let body = r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"},
        {"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#;
    let texts: Vec<_> = read(body).choices.into_iter().map(|mut choice| choice.parts.remove(0)).collect();
    assert!(matches!(&texts[..], [Part::Text(a), Part::Text(b)] if a == "a" && b == "b"));
}

#[test]
fn d139_images_in_the_answer_are_images() {
    let body = candidate(
        r#""content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]},"finishReason":"STOP""#,
    );
    let media = Media::Inline { media_type: "image/png".to_owned(), base64: "AA==".to_owned() };
    assert!(matches!(&read(&body).choices[0].parts[..], [Part::Image(found)] if *found == media));
}

#[test]
fn d22_the_client_gets_its_own_names_back() {
    let renamed = vec![Renamed { sent: "my_tool".to_owned(), original: "my tool".to_owned() }];
    let body = candidate(r#""content":{"parts":[{"functionCall":{"name":"my_tool"}}]},"finishReason":"STOP""#);
    let answer = decode(body.as_bytes(), ORIGIN, &Undo { renamed, answer_tool: None }).unwrap();
    assert_eq!(calls(&answer.choices[0])[0].name, "my tool");
}

#[test]
fn an_error_in_a_200_is_the_providers() {
    for body in [
        r#"{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}"#,
        r#"[{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}]"#,
    ] {
        let AnswerError::Provider(error) = fail(body) else { panic!("the provider's") };
        assert_eq!((error.status, error.message.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
    }
}

#[test]
fn what_is_no_answer_is_malformed() {
    for body in ["", "<html>", "[]", "{}", r#"{"candidates":[]}"#, r#"{"candidates":[{"content":{"parts":[]}}]}"#] {
        assert!(matches!(fail(body), AnswerError::Malformed(_)), "{body}");
    }
}
