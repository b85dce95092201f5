//! Spoils a good answer as its behaviour asks, and turns it into the steps of a body.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::answer::{Answer, Delivery, Event, Place, Step};
use super::behaviour::Behaviour;
use super::errors::{Failure, Kind, minimax_base_resp};
use super::hold::Barrier;
use super::latency::LatencyProfile;
use super::provider::Provider;

/// The steps of an answer under a behaviour. Whole answers are cut in half by faults that come "after" some deltas.
pub(crate) fn steps(
    provider: Provider,
    answer: &Answer,
    behaviour: &Behaviour,
    pace: LatencyProfile,
) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    let events = halves_where_needed(answer, behaviour);
    let fault_at = fault_place(&events, behaviour);
    let mut deltas = 0;
    for (position, event) in events.iter().enumerate() {
        if Some(position) == fault_at && spoil(provider, answer, behaviour, &mut steps) == Rest::Dropped {
            return steps;
        }
        if event.place == Place::Delta {
            let pause = match deltas {
                0 => pace.first_token + pace.jitter.mul_f64(fastrand::f64()),
                _ => pace.per_token,
            };
            if !pause.is_zero() {
                steps.push_back(Step::Pause(pause));
            }
            deltas += 1;
        }
        steps.push_back(Step::Send(event.bytes.clone()));
    }
    if fault_at == Some(events.len()) {
        // The fault comes after everything; what it would drop is empty.
        spoil(provider, answer, behaviour, &mut steps);
    }
    steps
}

/// Makes a stream wait at a barrier once it has sent the barrier's deltas.
pub(crate) fn wait_in_the_middle(steps: &mut VecDeque<Step>, answer: &Answer, barrier: Arc<Barrier>) {
    let place = after_deltas(&answer.events, barrier.after);
    let sent = |step: &Step| matches!(step, Step::Send(_));
    let position = steps.iter().enumerate().filter(|(_, step)| sent(step)).nth(place).map_or(steps.len(), |(at, _)| at);
    steps.insert(position, Step::WaitFor(barrier));
}

/// What becomes of the events after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Sent,
    Dropped,
}

fn spoil(provider: Provider, answer: &Answer, behaviour: &Behaviour, steps: &mut VecDeque<Step>) -> Rest {
    match behaviour {
        Behaviour::StallAfter(_) => steps.push_back(Step::Stall),
        Behaviour::BreaksAfter(_) => steps.extend([Step::Flush, Step::Break]),
        Behaviour::ErrorEventAfter(_) if answer.delivery == Delivery::Stream => {
            steps.push_back(Step::Send(answer.error_event.clone().unwrap_or_else(|| error_event(provider))));
        }
        Behaviour::MalformedEventAfter(_) if answer.delivery == Delivery::Stream => {
            steps.push_back(Step::Send(malformed_event(provider)));
            return Rest::Sent;
        }
        Behaviour::ErrorEventAfter(_) | Behaviour::MalformedEventAfter(_) | Behaviour::EndsEarly(_) => {}
        _ => return Rest::Sent,
    }
    Rest::Dropped
}

/// The number of the event before which the fault strikes; `None` where the behaviour strikes no event.
fn fault_place(events: &[Event], behaviour: &Behaviour) -> Option<usize> {
    match behaviour {
        Behaviour::StallAfter(deltas)
        | Behaviour::BreaksAfter(deltas)
        | Behaviour::EndsEarly(deltas)
        | Behaviour::ErrorEventAfter(deltas)
        | Behaviour::MalformedEventAfter(deltas) => Some(after_deltas(events, *deltas)),
        _ => None,
    }
}

/// The place after so many deltas, or after the last one; before the first one for 0.
fn after_deltas(events: &[Event], deltas: usize) -> usize {
    let mut places = events.iter().enumerate().filter(|(_, event)| event.place == Place::Delta).map(|(at, _)| at);
    let first = places.clone().next().unwrap_or(events.len());
    match deltas.checked_sub(1) {
        None => first,
        Some(nth) => places.clone().nth(nth).or(places.next_back()).map_or(events.len(), |at| at + 1),
    }
}

fn halves_where_needed(answer: &Answer, behaviour: &Behaviour) -> Vec<Event> {
    if answer.delivery == Delivery::Stream || fault_place(&answer.events, behaviour).is_none() {
        return answer.events.clone();
    }
    let mut halves = Vec::new();
    for event in &answer.events {
        let middle = event.bytes.len() / 2;
        halves.push(Event { place: Place::Delta, bytes: event.bytes.slice(..middle) });
        halves.push(Event { place: Place::Closing, bytes: event.bytes.slice(middle..) });
    }
    halves
}

/// The event with which a provider tells an error in the middle of a stream.
pub(crate) fn error_event(provider: Provider) -> Bytes {
    let failure = Failure::usual(provider, Kind::Overloaded, "");
    let text = match provider {
        Provider::Anthropic => {
            let message = &failure.message;
            format!(
                "event: error\ndata: {{\"type\": \"error\", \"error\": {{\"type\": \"overloaded_error\", \"message\": \"{message}\"}}}}\n\n"
            )
        }
        Provider::Gemini => format!("data: {}\r\n\r\n", failure.body(provider, "")),
        Provider::OpenRouter => {
            let chunk = json!({
                "id": "gen-1762179802-simulatedsimulated00",
                "provider": "Simulated",
                "error": {"code": 502, "message": "Provider returned error"},
                "model": "simulated",
                "object": "chat.completion.chunk",
                "created": 1_762_179_802,
                "choices": [{
                    "index": 0,
                    "delta": {"role": "assistant", "content": ""},
                    "finish_reason": "error",
                    "native_finish_reason": null,
                    "logprobs": null,
                }],
            });
            format!("data: {chunk}\n\ndata: [DONE]\n\n")
        }
        Provider::MiniMax => format!("data: {}\n\n", minimax_base_resp(1000, "unknown error", "simulated")),
        Provider::OpenAi | Provider::Xai | Provider::Moonshot => format!("data: {}\n\n", failure.body(provider, "")),
    };
    Bytes::from(text)
}

/// An event that is cut in the middle of its JSON.
fn malformed_event(provider: Provider) -> Bytes {
    Bytes::from_static(match provider {
        Provider::Anthropic => {
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_\n\n"
        }
        Provider::Gemini => b"data: {\"candidates\": [{\"content\": {\"parts\": [{\"te\r\n\r\n",
        _ => b"data: {\"id\":\"chatcmpl-simulated\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"ind\n\n",
    })
}

/// A good status with an error in it, as each provider sends it.
pub(crate) fn error_in_200(provider: Provider, model: &str, delivery: Delivery) -> Answer {
    if provider == Provider::MiniMax {
        return Answer::json(&minimax_base_resp(1002, "rate limit exceeded", model));
    }
    if delivery == Delivery::Stream {
        return Answer::stream(
            "text/event-stream",
            vec![Event { place: Place::Opening, bytes: error_event(provider) }],
        );
    }
    let failure = match provider {
        Provider::OpenRouter => {
            Failure { status: Some(502), ..Failure::new(Kind::Internal, "Provider returned error") }
        }
        _ => Failure::usual(provider, Kind::Overloaded, model),
    };
    Answer::json(&failure.body(provider, "req_simulated"))
}
