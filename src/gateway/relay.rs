//! A stream on its way to the client, from its first content to its end.

use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::Model;
use aipipe_actors::ledger::Outcome;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use reqwest::Response;
use secrecy::SecretString;
use tokio::time::{Instant, timeout, timeout_at};

use super::attempt::{Attempt, OpenStream, Patience};
use super::course::Course;
use super::failure::Failure;
use super::meter::Meter;
use super::overheard::Overheard;
use super::refusal::Refusal;
use super::rescue::{Continuation, Rescue};
use crate::dialects::client::{ClientSurface, Onward, StreamReading};
use crate::dialects::translate::Malformed;
use crate::upstream::client;
use crate::upstream::sse::{RawEvent, SseDecoder};

/// How long a provider's connection is kept after the answer's end, so that it can be used again.
const LINGER: Duration = Duration::from_secs(1);

/// Relays one stream. Dropped before its end, it cancels the upstream call, and its course settles what has passed.
pub struct Relay {
    /// `None` when the answer has ended.
    response: Option<Response>,
    /// The key that the provider was called with.
    key: Option<SecretString>,
    decoder: SseDecoder,
    waiting: std::vec::IntoIter<RawEvent>,
    reader: Box<dyn StreamReading>,
    begun: Vec<Bytes>,
    course: Course,
    surface: &'static dyn ClientSurface,
    model: Arc<Model>,
    /// What the call under way uses.
    meter: Meter,
    patience: Patience,
    /// Since when the provider's next bytes are waited for; `None` where nothing is.
    waiting_since: Option<Instant>,
    /// When the client last got something.
    told: Instant,
    state: State,
    /// What it takes to go on where the stream breaks.
    rescue: Option<Rescue>,
    /// What broke the stream first.
    first_failure: Option<Failure>,
    /// Reads along for the request's span, where that may be.
    overheard: Option<Overheard>,
}

#[derive(Debug)]
enum State {
    /// What came with the first content waits to be delivered.
    Begun {
        /// Whether that is all.
        is_whole: bool,
    },
    /// Events are passed on as they come.
    Flowing,
    /// The provider's stream broke; what had come has been delivered.
    Broken(Failure),
    /// Nothing more comes.
    Ended,
}

impl Relay {
    /// A stream whose first content has come.
    pub(super) fn new(
        stream: OpenStream,
        course: Course,
        attempt: &Attempt<'_>,
        surface: &'static dyn ClientSurface,
        rescue: Option<Rescue>,
    ) -> Self {
        let OpenStream { response, decoder, waiting, reader, begun, is_whole } = stream;
        let dialect = course.digest().dialect;
        let overheard = course.confidant().map(|span| Overheard::new(span.clone(), dialect));
        let mut relay = Self {
            response,
            key: attempt.key.clone(),
            decoder,
            waiting,
            reader,
            begun,
            course,
            surface,
            model: attempt.model.clone(),
            meter: attempt.meter.clone(),
            patience: attempt.patience,
            waiting_since: None,
            told: Instant::now(),
            state: State::Begun { is_whole },
            rescue,
            first_failure: None,
            overheard,
        };
        // A short answer may be whole with its first content: then nothing of it is left open.
        if is_whole {
            let mut rest = Vec::new();
            relay.complete(&mut rest);
            relay.begun.append(&mut rest);
            relay.state = State::Begun { is_whole };
        }
        relay
    }

    /// Puts an event in front of all others.
    pub fn precede(&mut self, event: Bytes) {
        self.begun.insert(0, event);
    }

    /// The next bytes for the client; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut out = Vec::new();
            match std::mem::replace(&mut self.state, State::Flowing) {
                State::Ended => {
                    self.state = State::Ended;
                    return None;
                }
                State::Begun { is_whole } => {
                    if is_whole {
                        self.state = State::Ended;
                    }
                    out = std::mem::take(&mut self.begun);
                }
                State::Flowing => {
                    if let Err(failure) = self.advance(&mut out).await {
                        self.course.fail(&self.meter, &failure);
                        self.state = State::Broken(failure);
                    }
                }
                State::Broken(failure) => Box::pin(self.mend(failure, &mut out)).await,
            }
            if let Some(bytes) = joined(out) {
                self.told = Instant::now();
                if let Some(overheard) = &mut self.overheard {
                    overheard.passed(&bytes);
                }
                return Some(bytes);
            }
        }
    }

    /// Goes on with another model's continuation, or ends the stream in an error event.
    async fn mend(&mut self, failure: Failure, out: &mut Vec<Bytes>) {
        let continuation = match (&mut self.rescue, self.reader.standing()) {
            (Some(rescue), Some(standing)) => rescue.go_on(&failure, standing, &mut self.course).await,
            _ => None,
        };
        let first = self.first_failure.get_or_insert(failure);
        let Some(Continuation { stream, key, model, meter, patience }) = continuation else {
            self.course.settle(Outcome::Truncated);
            self.state = State::Ended;
            let refusal = broke_off(first);
            let error = refusal.as_client_error();
            let told = self.reader.fail(&error);
            let id = self.course.digest().request_id;
            out.push(told.unwrap_or_else(|| self.surface.error_event(&error, id)));
            return;
        };
        let OpenStream { response, decoder, waiting, reader, begun, is_whole } = stream;
        (self.response, self.decoder, self.waiting, self.reader) = (response, decoder, waiting, reader);
        (self.key, self.model, self.meter, self.patience) = (key, model, meter, patience);
        self.waiting_since = None;
        out.extend(begun);
        if is_whole {
            self.complete(out);
        }
    }

    /// Reads on until something has come, and appends what the client gets of it.
    async fn advance(&mut self, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        if self.waiting.len() == 0 {
            let mut events = Vec::new();
            let malformed = |error: &dyn ToString| Failure::malformed(&self.model, Malformed(error.to_string()));
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            let until = self.patience.deadline.min(since + self.patience.idle);
            let sign_of_life = self.told + self.patience.keep_alive;
            let Some(response) = &mut self.response else {
                return Err(malformed(&"the answer ended before it was whole"));
            };
            match timeout_at(until.min(sign_of_life), response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    self.waiting_since = None;
                    self.decoder.feed(chunk, &mut events).map_err(|error| malformed(&error))?;
                }
                Ok(Ok(None)) => {
                    events.extend(self.decoder.finish().map_err(|error| malformed(&error))?);
                    self.read(events.into_iter(), out)?;
                    if !matches!(self.state, State::Ended) {
                        let closed = self.reader.close(out);
                        let stop = closed.map_err(|malformed| Failure::ended_early(&self.model, malformed))?;
                        self.meter.stopped(stop);
                        self.complete(out);
                    }
                    return Ok(());
                }
                Ok(Err(error)) => return Err(Failure::broken(&self.model, client::broken(&error))),
                Err(_) if Instant::now() >= self.patience.deadline => return Err(Failure::out_of_time(&self.model)),
                Err(_) if Instant::now() < until => {
                    self.told = Instant::now();
                    self.reader.keep_alive(out);
                    return Ok(());
                }
                Err(_) => return Err(Failure::stalled(&self.model, self.patience.idle)),
            }
            self.waiting = events.into_iter();
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.read(waiting, out)
    }

    fn read(&mut self, events: std::vec::IntoIter<RawEvent>, out: &mut Vec<Bytes>) -> Result<(), Failure> {
        for event in events {
            let meter = &self.meter;
            let seen = self.reader.event(event, &|usage| meter.price(usage), out);
            // The figures of an event count its own content too.
            if let Some(bytes) = seen.content {
                meter.content(bytes);
            }
            if let Some(usage) = seen.usage {
                meter.usage(usage);
            }
            meter.stopped(seen.stop);
            meter.issued(seen.issued);
            match seen.course {
                Onward::More => {}
                Onward::Whole => {
                    self.complete(out);
                    return Ok(());
                }
                Onward::Error(error) => {
                    return Err(Failure::refused(&self.model, error, self.key.as_ref()));
                }
                Onward::Malformed(malformed) => return Err(Failure::malformed(&self.model, malformed)),
            }
        }
        Ok(())
    }

    /// The answer is whole: it is settled before the client has its last bytes.
    fn complete(&mut self, out: &mut Vec<Bytes>) {
        let meter = &self.meter;
        self.reader.finish(&|usage| meter.price(usage), out);
        self.course.succeed(&self.meter, self.reader.form());
        self.course.settle(Outcome::Ok);
        self.state = State::Ended;
        if let Some(mut response) = self.response.take() {
            // Read to its end, the connection can be used again; what would follow is of no interest.
            tokio::spawn(timeout(LINGER, async move { while let Ok(Some(_)) = response.chunk().await {} }));
        }
    }
}

/// What a client is told in the middle of its answer.
fn broke_off(failure: &Failure) -> Refusal {
    if failure.is_about_the_request() {
        // A refusal in mid-stream is the provider's doing, whatever it says of the request.
        let message = format!("{}: {}", failure.model.provider, failure.message);
        return Refusal::new(StatusCode::BAD_GATEWAY, "upstream_error", message);
    }
    Refusal::failed(failure)
}

/// Several pieces as one; a single one is not copied.
fn joined(mut pieces: Vec<Bytes>) -> Option<Bytes> {
    match pieces.len() {
        0 => None,
        1 => pieces.pop(),
        _ => {
            let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            for piece in pieces {
                all.extend_from_slice(&piece);
            }
            Some(all.freeze())
        }
    }
}
