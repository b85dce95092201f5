//! What is written for a provider reads, as a client's request in the same dialect, as the conversation that it was.

use proptest::prelude::*;

use super::*;
use crate::dialects::conversation::{Media, ResponseFormat, Settings, ToolChoice};
use crate::dialects::openai_chat::decode_request;
use crate::dialects::openai_chat::scan::scan;

fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z \"\\\\\n{}äß😀]{1,12}"
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,64}"
}

fn medium(kind: &'static str) -> impl Strategy<Value = Media> {
    prop_oneof![
        Just(Media::Inline { media_type: kind.into(), base64: "QUJD".into() }),
        Just(Media::Url("https://example.com/a?b=c".into())),
    ]
}

fn spoken() -> impl Strategy<Value = Turn> {
    let piece = prop_oneof![
        word().prop_map(Part::Text),
        medium("image/png").prop_map(Part::Image),
        Just(Part::Audio(Media::Inline { media_type: "audio/wav".into(), base64: "QUJD".into() })),
        Just(Part::Document {
            media: Media::Inline { media_type: "application/pdf".into(), base64: "JVBERi0=".into() },
            name: Some("a.pdf".into()),
        }),
    ];
    let user = (prop::collection::vec(piece, 1..4), prop::option::of(name())).prop_map(|(parts, name)| Turn {
        role: Role::User,
        parts,
        name,
    });
    let system = word().prop_map(|text| turn(Role::System, vec![Part::Text(text)]));
    prop_oneof![4 => user, 1 => system]
}

/// An answer, and a turn for the result of each of its calls.
fn answered() -> impl Strategy<Value = Vec<Turn>> {
    let calls = prop::collection::vec((name(), prop_oneof![Just("{\"a\":1.0}".to_owned()), word()], word()), 0..3);
    let refusal = prop::option::of(word());
    (word(), refusal, calls, any::<u32>()).prop_map(|(said, refusal, calls, salt)| {
        let mut parts = vec![Part::Text(said)];
        parts.extend(refusal.map(Part::Refusal));
        let mut results = Vec::new();
        for (number, (name, arguments, outcome)) in calls.into_iter().enumerate() {
            let id = format!("call_{salt}_{number}");
            let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
            parts.push(call(&id, &name, &arguments));
            results.push(turn(Role::User, vec![result(&id, &name, vec![Part::Text(outcome)])]));
        }
        let mut turns = vec![turn(Role::Assistant, parts)];
        turns.extend(results);
        turns
    })
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let exchange =
        (spoken(), answered()).prop_map(|(said, answered)| std::iter::once(said).chain(answered).collect::<Vec<_>>());
    // A system turn at the head would be an instruction.
    let begun = word().prop_map(|text| turn(Role::User, vec![Part::Text(text)]));
    (begun, prop::collection::vec(exchange, 0..3))
        .prop_map(|(begun, rest)| std::iter::once(begun).chain(rest.into_iter().flatten()).collect())
}

/// A schema that may be strict.
const CLOSED: &str = r#"{"type":"object","properties":{"z":{"maximum":1e3},"a":{"b":1.50}},"required":["a","z"],"additionalProperties":false}"#;

fn tools() -> impl Strategy<Value = (Vec<Tool>, ToolChoice, Option<bool>)> {
    let tool = (name(), prop::option::of(word()), any::<bool>(), prop::option::of(any::<bool>())).prop_map(
        |(name, description, has_schema, strict)| Tool {
            name,
            description,
            schema: has_schema.then(|| raw(CLOSED)),
            strict,
        },
    );
    (prop::collection::vec(tool, 0..3), 0_u8..4, prop::option::of(any::<bool>())).prop_map(
        |(tools, choice, parallel)| {
            let choice = match (choice, tools.first()) {
                (1, Some(_)) => ToolChoice::None,
                (2, Some(_)) => ToolChoice::Required,
                (3, Some(tool)) => ToolChoice::Named(tool.name.clone()),
                _ => ToolChoice::Auto,
            };
            // What there is to call in parallel without tools is nothing: it is not sent.
            let parallel = parallel.filter(|_| !tools.is_empty());
            (tools, choice, parallel)
        },
    )
}

fn format() -> impl Strategy<Value = ResponseFormat> {
    prop_oneof![
        Just(()).prop_map(|()| ResponseFormat::Text),
        Just(()).prop_map(|()| ResponseFormat::JsonObject),
        (name(), prop::option::of(word()), prop::option::of(any::<bool>())).prop_map(|(name, description, strict)| {
            ResponseFormat::JsonSchema { name, description, schema: raw(CLOSED), strict }
        }),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let share = || prop::option::of((0_u8..=8).prop_map(|eighths| f64::from(eighths) / 8.0));
    let penalty = || prop::option::of((1_i8..=8).prop_map(|eighths| f64::from(eighths) / 4.0 - 1.125));
    let stop = prop::collection::vec(word(), 0..=4);
    let limit = prop::option::of(1_u64..64_000);
    let choices = prop::option::of(2_u32..5);
    (limit, share(), share(), stop, prop::option::of(any::<i64>()), penalty(), penalty(), choices).prop_map(
        |(max_output_tokens, temperature, top_p, stop, seed, presence_penalty, frequency_penalty, choices)| Settings {
            max_output_tokens,
            temperature,
            top_p,
            stop,
            seed,
            presence_penalty,
            frequency_penalty,
            choices,
            ..Settings::default()
        },
    )
}

prop_compose! {
    fn conversation()(
        mut instructions in prop::collection::vec(word(), 0..3),
        turns in turns(),
        (tools, tool_choice, parallel_tool_calls) in tools(),
        format in format(),
        settings in settings(),
        stream in any::<bool>(),
    ) -> Conversation {
        // Where free JSON is asked for and nobody speaks of it, an instruction joins.
        if matches!(format, ResponseFormat::JsonObject) {
            instructions.push("Answer in JSON.".into());
        }
        let settings = Settings { choices: settings.choices.filter(|_| !stream), ..settings };
        Conversation {
            instructions, turns, tools, tool_choice, parallel_tool_calls, format, settings, stream,
            ..Conversation::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_conversation_comes_back_equal(given in conversation()) {
        let encoded = encoded(&given, &model("openai"));
        prop_assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
        let read = decode_request(&scan(&encoded.body).unwrap()).unwrap();
        prop_assert!(read.dropped.is_empty(), "{:?}", read.dropped);
        prop_assert_eq!(format!("{:?}", read.conversation), format!("{given:?}"));
    }
}
