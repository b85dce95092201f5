//! What a test learns of the calls, and how the simulator starts and stops.

use aipipe::simulator::{Behaviour, Provider, Record, Settings, Simulator};
use bytes::Bytes;

use crate::support::*;

#[tokio::test]
async fn calls_are_recorded_as_received_or_only_counted() {
    let simulator = simulator().await;
    let asked = body(Provider::Moonshot, Wanted::Text, "Hello");
    ask(&simulator, Provider::Moonshot, &asked).await;
    let calls = simulator.calls();
    assert_eq!((calls.len(), calls[0].provider, calls[0].json()), (1, Provider::Moonshot, asked.clone()));
    assert_eq!((calls[0].path.as_str(), calls[0].status), ("/v1/chat/completions", Some(200)));
    assert_eq!(calls[0].header("authorization").unwrap(), format!("Bearer {}", simulator.api_key(Provider::Moonshot)));

    let counting = Simulator::start(Settings { record: Record::CountOnly, ..Settings::default() }).await.unwrap();
    let content_type = "application/json".to_owned();
    counting.script(Provider::Moonshot, Behaviour::Fixed { content_type, bytes: Bytes::from_static(b"{}") });
    assert_eq!(ask(&counting, Provider::Moonshot, &asked).await.text().await.unwrap(), "{}");
    assert!(counting.calls().is_empty());
    assert_eq!(counting.counts(Provider::Moonshot).arrived, 1);
}

#[tokio::test]
async fn a_child_process_is_told_where_the_providers_are() {
    let settings = Settings { keys: vec![(Provider::Gemini, "a-key".to_owned())], ..Settings::default() };
    let simulator = Simulator::start(settings).await.unwrap();
    let environment = simulator.environment();
    assert_eq!(environment.len(), 14);
    assert!(environment.contains(&("GEMINI_API_KEY".to_owned(), "a-key".to_owned())));
    assert!(environment.contains(&("AIPIPE_OPENROUTER_BASE_URL".to_owned(), simulator.base_url(Provider::OpenRouter))));
    assert!(simulator.base_url(Provider::OpenRouter).ends_with("/api/v1"));
}

#[tokio::test]
async fn dropping_the_simulator_ends_listeners_and_connections() {
    let simulator = simulator().await;
    simulator.script_next(Provider::OpenAi, Behaviour::Silent);
    let asked = body(Provider::OpenAi, Wanted::Text, "Hello");
    let again = prepared(&simulator, Provider::OpenAi, false, &asked);
    let call = tokio::spawn(prepared(&simulator, Provider::OpenAi, false, &asked).send());
    simulator.wait_for_calls(Provider::OpenAi, 1).await;
    drop(simulator);
    assert!(call.await.unwrap().is_err());
    assert!(again.send().await.unwrap_err().is_connect());
}
