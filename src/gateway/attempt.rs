//! One upstream call: sends it, waits no longer than it may, and judges what comes before the client sees any of it.

use std::sync::Arc;
use std::time::Duration;

use aipipe_actors::catalogue::{Capability, Model};
use aipipe_actors::fault::Fault;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use reqwest::Response;
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::meter::Meter;
use super::outgoing::{Outgoing, Reading};
use super::reading::{Followed, Translating};
use super::upstreams::Upstream;
use crate::config::Reliability;
use crate::dialects::client::{AnswerFacts, ClientRequest, ClientSurface, Frame, Onward, StreamReading};
use crate::dialects::form::Form;
use crate::dialects::translate::{AnswerError, Malformed, ProviderError, Undo};
use crate::upstream::client::{self, Gathered, MAX_ANSWER_BYTES, MAX_ERROR_BYTES};
use crate::upstream::sse::{MAX_EVENT_BYTES, RawEvent, SseDecoder};

/// Models that reason are given so many times the usual wait for the first content: they think before they say anything.
const REASONING_PATIENCE: u32 = 4;
/// Longest wait for the body of an error whose status is known already.
const ERROR_BODY_PATIENCE: Duration = Duration::from_secs(5);

/// The most that may come before the first content, in bytes: a provider may begin by repeating instructions and tools, twice.
const MAX_BEGUN_BYTES: usize = 2 * MAX_EVENT_BYTES;

/// The least time that a candidate gets before another is asked in its place.
const SHORTEST_TURN: Duration = Duration::from_millis(250);
/// How long a whole answer takes at many models that do not reason: some thousand tokens.
const USUAL_ANSWER: Duration = Duration::from_secs(30);

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Of a stream, to its first content; of a whole answer, to its first byte.
    pub first: Duration,
    /// Silence after that.
    pub idle: Duration,
    /// Silence after which a client is told that its stream goes on.
    pub keep_alive: Duration,
    /// When the request's own time is up.
    pub deadline: Instant,
    /// How long the first content, or a whole answer, takes at many models of this kind.
    usually: Duration,
    /// Whether `first` is less than the configuration allows, to leave time for other candidates.
    is_share: bool,
}

impl Patience {
    /// What the configuration allows a model's call.
    pub fn new(reliability: &Reliability, model: &Model, is_stream: bool, deadline: Instant) -> Self {
        let thinks = if model.capabilities.contains(Capability::Reasoning) { REASONING_PATIENCE } else { 1 };
        let (first, usually) = match is_stream {
            false => (reliability.answer_timeout, USUAL_ANSWER.saturating_mul(thinks)),
            true => (reliability.first_byte_timeout.saturating_mul(thinks), SHORTEST_TURN),
        };
        let Reliability { idle_timeout: idle, keep_alive, .. } = *reliability;
        Self { first, idle, keep_alive, deadline, usually, is_share: false }
    }

    /// Whether the request's own time is shorter than what the configuration allows this call.
    pub fn is_cut_short(&self) -> bool {
        self.deadline.saturating_duration_since(Instant::now()) <= self.first
    }

    /// Where the request's own time is shorter than what the configuration allows one call: shares it among so many candidates, so that
    /// a silent one loses its turn while the next still has time. Nobody gets less than three times what its calls usually take, or where
    /// that is unknown what those of many models do: until a whole answer is there, nobody is heard of.
    #[must_use]
    pub fn shared(self, turns: u32, usual: Option<Duration>) -> Self {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let least = usual.map_or(self.usually, |usual| usual.saturating_mul(3)).max(SHORTEST_TURN);
        let share = (left / turns.max(1)).max(least);
        if !self.is_cut_short() || share >= left {
            return self;
        }
        Self { first: share, is_share: true, ..self }
    }
}

/// A call about to be made.
#[derive(Clone)]
pub struct Attempt<'a> {
    /// HTTP to the providers.
    pub http: &'a client::Client,
    /// Whom to call.
    pub upstream: &'a Upstream,
    /// The key to present.
    pub key: Option<SecretString>,
    /// Which model.
    pub model: Arc<Model>,
    /// How long it may take.
    pub patience: Patience,
    /// What it uses.
    pub meter: Meter,
}

/// Whom an answer is written for.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    /// The client's dialect.
    pub surface: &'static dyn ClientSurface,
    /// The client's request, which the answer is written for.
    pub request: &'a dyn ClientRequest,
    /// What a translated answer has beside its content.
    pub frame: Frame,
    /// Whether a stream is to be watched, so that another model can go on with it where it breaks.
    pub watched: bool,
}

/// A whole answer in the client's dialect, without what belongs to one request only.
pub struct Whole {
    /// The body.
    pub body: Bytes,
    /// What it says.
    pub facts: AnswerFacts,
}

/// A stream whose first content has come.
pub struct OpenStream {
    /// The rest of the provider's answer; `None` where nothing follows.
    pub response: Option<Response>,
    /// What has come of an event.
    pub decoder: SseDecoder,
    /// Events that have come and were not looked at.
    pub waiting: std::vec::IntoIter<RawEvent>,
    /// How they are read.
    pub reader: Box<dyn StreamReading>,
    /// What the client gets first.
    pub begun: Vec<Bytes>,
    /// Whether the answer is whole already.
    pub is_whole: bool,
}

impl Attempt<'_> {
    /// Calls and reads the whole answer.
    ///
    /// # Errors
    /// [`Failure`]; the client has seen nothing.
    pub async fn whole(&self, outgoing: Outgoing, client: &Client<'_>) -> Result<Whole, Failure> {
        let Outgoing { call, reading, .. } = outgoing;
        let response = self.send(call, self.first_deadline()).await?;
        let body = self.body(response).await?;
        let profile = &self.upstream.config.profile;
        let whole = match reading {
            Reading::Same => client.surface.read_answer(&body, profile).map(|facts| Whole { body, facts }),
            Reading::Translated(undo) => {
                self.upstream.dialect.decode_answer(&body, &self.origin(), &undo).and_then(|answer| {
                    let body = client.request.write_answer(&answer, &client.frame);
                    // What was just written is read as it would be from the cache.
                    let mut facts = client.surface.read_answer(&body, profile)?;
                    facts.usage = answer.usage;
                    // Its ids are AiPipe's own, and nothing of it is kept anywhere.
                    facts.issued.clear();
                    Ok(Whole { body, facts })
                })
            }
        };
        let mut whole = whole.map_err(|error| self.no_answer(error))?;
        self.meter.content(whole.facts.content_bytes);
        self.meter.stopped(Some(whole.facts.stop));
        self.meter.issued(std::mem::take(&mut whole.facts.issued));
        if let Some(usage) = whole.facts.usage {
            self.meter.usage(usage);
        }
        Ok(whole)
    }

    /// Calls and reads until the first content.
    ///
    /// # Errors
    /// [`Failure`]; the client has seen nothing.
    pub async fn stream(&self, outgoing: Outgoing, client: &Client<'_>) -> Result<OpenStream, Failure> {
        let Outgoing { call, reading, .. } = outgoing;
        let first = self.first_deadline();
        let response = self.send(call, first).await?;
        if is_whole(&response) {
            return self.whole_for_a_stream(response, reading, client).await;
        }
        let encoder = || client.request.stream_encoder(&client.frame);
        let reader: Box<dyn StreamReading> = match (reading, client.watched) {
            (Reading::Same, false) => client.request.passing(&self.upstream.config.profile),
            (Reading::Same, true) => {
                Box::new(Followed::new(client.request.passing(&self.upstream.config.profile), encoder()))
            }
            (Reading::Translated(undo), watched) => {
                let decoder = self.upstream.dialect.stream_decoder(&self.origin(), undo);
                let translating = Translating::new(decoder, encoder(), Form::of(client.request.facts()));
                Box::new(if watched { translating.watched() } else { translating })
            }
        };
        self.first_content(response, reader, first).await
    }

    /// Calls and reads until the first content of what goes on with an answer that broke off.
    ///
    /// # Errors
    /// [`Failure`]; the client has seen nothing of it.
    pub async fn continuation(&self, call: client::Call, reader: Translating) -> Result<OpenStream, Failure> {
        let first = self.first_deadline();
        let response = self.send(call, first).await?;
        if is_whole(&response) {
            return Err(self.malformed("a stream was asked for, and something else came"));
        }
        self.first_content(response, Box::new(reader), first).await
    }

    async fn first_content(
        &self,
        response: Response,
        reader: Box<dyn StreamReading>,
        first: Instant,
    ) -> Result<OpenStream, Failure> {
        let mut stream = OpenStream {
            response: Some(response),
            decoder: SseDecoder::default(),
            waiting: Vec::new().into_iter(),
            reader,
            begun: Vec::new(),
            is_whole: false,
        };
        let mut begun_bytes = 0;
        loop {
            if self.read_waiting(&mut stream, &mut begun_bytes)? {
                return Ok(stream);
            }
            let Some(response) = &mut stream.response else { return Ok(stream) };
            let chunk = match timeout_at(first, response.chunk()).await {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => return Err(Failure::broken(&self.model, client::broken(&error))),
                Err(_) => return Err(self.waited()),
            };
            let mut events = Vec::new();
            match chunk {
                Some(chunk) => stream.decoder.feed(chunk, &mut events).map_err(|error| self.malformed(error))?,
                None => {
                    events.extend(stream.decoder.finish().map_err(|error| self.malformed(error))?);
                    stream.waiting = events.into_iter();
                    if !self.read_waiting(&mut stream, &mut begun_bytes)? {
                        let closed = stream.reader.close(&mut stream.begun);
                        self.meter.stopped(closed.map_err(|malformed| Failure::ended_early(&self.model, malformed))?);
                        stream.is_whole = true;
                    }
                    return Ok(stream);
                }
            }
            stream.waiting = events.into_iter();
        }
    }

    /// Looks at the events that have come; whether the stream is committed.
    fn read_waiting(&self, stream: &mut OpenStream, begun_bytes: &mut usize) -> Result<bool, Failure> {
        for event in stream.waiting.by_ref() {
            let before = stream.begun.len();
            let seen = stream.reader.event(event, &|usage| self.meter.price(usage), &mut stream.begun);
            // The figures of an event count its own content too; one that ends in failure begins no answer.
            let begins = matches!(seen.course, Onward::More | Onward::Whole);
            if let Some(bytes) = seen.content.filter(|_| begins) {
                self.meter.content(bytes);
            }
            if let Some(usage) = seen.usage {
                self.meter.usage(usage);
            }
            self.meter.stopped(seen.stop);
            self.meter.issued(seen.issued);
            match seen.course {
                Onward::More => {}
                Onward::Whole => stream.is_whole = true,
                Onward::Error(error) => return Err(self.refused(error)),
                Onward::Malformed(malformed) => return Err(Failure::malformed(&self.model, malformed)),
            }
            if seen.content.is_some() || stream.is_whole {
                return Ok(true);
            }
            *begun_bytes += stream.begun.iter().skip(before).map(Bytes::len).sum::<usize>();
            if *begun_bytes > MAX_BEGUN_BYTES {
                return Err(self.malformed(format!("{MAX_BEGUN_BYTES} bytes of a stream came without any content")));
            }
        }
        Ok(false)
    }

    /// Sends the call; an answer with an error status is a failure.
    async fn send(&self, mut call: client::Call, first: Instant) -> Result<Response, Failure> {
        self.meter.sent(&mut call.headers);
        let auth = self.upstream.config.profile.auth;
        let response = match timeout_at(first, self.http.send(call, auth, self.key.as_ref())).await {
            Ok(Ok(response)) => response,
            Ok(Err(broken)) => return Err(Failure::broken(&self.model, broken)),
            Err(_) => return Err(self.waited()),
        };
        self.meter.answered(response.status());
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn refusal(&self, response: Response) -> Failure {
        let (status, headers) = (response.status(), response.headers().clone());
        let until = self.patience.deadline.min(Instant::now() + ERROR_BODY_PATIENCE);
        // A body that breaks off says as much as none.
        let body = match timeout_at(until, client::read_body(response, MAX_ERROR_BYTES)).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let mut error = self.upstream.read_error(status, &body);
        error.retry_after = client::retry_after(&headers, Timestamp::now()).or(error.retry_after);
        let mut failure = self.refused(error);
        let profile = &self.upstream.config.profile;
        if let (Fault::Key, Some(region)) = (failure.fault, profile.key_region) {
            failure.message = format!("{} ({region})", failure.message);
        }
        if let Some(id) = headers.get(profile.request_id_header).and_then(|value| value.to_str().ok()) {
            tracing::debug!(provider = %self.model.provider, upstream_request_id = id, "the provider's id of the failed call");
        }
        failure
    }

    /// A 200 without a stream: an error in disguise, or the answer of a server that does not stream, which is told as one.
    async fn whole_for_a_stream(
        &self,
        response: Response,
        reading: Reading,
        client: &Client<'_>,
    ) -> Result<OpenStream, Failure> {
        let body = self.body(response).await?;
        let undo = match reading {
            Reading::Same => Undo::default(),
            Reading::Translated(undo) => undo,
        };
        let (dialect, origin) = (&self.upstream.dialect, self.origin());
        let answer = dialect.decode_answer(&body, &origin, &undo).map_err(|error| self.no_answer(error))?;
        let unlike = "a stream was asked for, and an answer came that has no form as one";
        let events = answer.into_events().ok_or_else(|| self.malformed(unlike))?;
        let encoder = client.request.stream_encoder(&client.frame);
        let form = Form::of(client.request.facts());
        let mut reader = Translating::new(dialect.stream_decoder(&origin, undo), encoder, form);
        let mut begun = Vec::new();
        let seen = reader.recite(events, &mut begun);
        self.meter.content(seen.content.unwrap_or_default());
        self.meter.stopped(seen.stop);
        if let Some(usage) = seen.usage {
            self.meter.usage(usage);
        }
        Ok(OpenStream {
            response: None,
            decoder: SseDecoder::default(),
            waiting: Vec::new().into_iter(),
            reader: Box::new(reader),
            begun,
            is_whole: true,
        })
    }

    async fn body(&self, mut response: Response) -> Result<Bytes, Failure> {
        let mut gathered = Gathered::default();
        loop {
            let until = self.patience.deadline.min(Instant::now() + self.patience.idle);
            let piece = match timeout_at(until, response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Ok(gathered.finish()),
                Ok(Err(error)) => return Err(Failure::broken(&self.model, client::broken(&error))),
                Err(_) if Instant::now() >= self.patience.deadline => return Err(Failure::out_of_time(&self.model)),
                Err(_) => return Err(Failure::silent(&self.model, self.patience.idle)),
            };
            self.meter.buffered(piece.len());
            gathered.add(piece, MAX_ANSWER_BYTES).map_err(|broken| Failure::broken(&self.model, broken))?;
        }
    }

    fn first_deadline(&self) -> Instant {
        self.patience.deadline.min(Instant::now() + self.patience.first)
    }

    /// The wait for the first of an answer ended without anything: the request's own time counts before the provider's.
    fn waited(&self) -> Failure {
        if Instant::now() >= self.patience.deadline {
            Failure::out_of_time(&self.model)
        } else if self.patience.is_share {
            Failure::late(&self.model, self.patience.first)
        } else {
            Failure::silent(&self.model, self.patience.first)
        }
    }

    fn refused(&self, error: ProviderError) -> Failure {
        Failure::refused(&self.model, error, self.key.as_ref())
    }

    fn no_answer(&self, error: AnswerError) -> Failure {
        match error {
            AnswerError::Provider(error) => self.refused(error),
            AnswerError::Malformed(malformed) => Failure::malformed(&self.model, malformed),
        }
    }

    fn malformed(&self, error: impl ToString) -> Failure {
        Failure::malformed(&self.model, Malformed(error.to_string()))
    }

    fn origin(&self) -> String {
        self.model.address()
    }
}

/// Whether an answer is certainly no stream. Some compatible servers give no type or a wrong one.
fn is_whole(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|value| value.starts_with("application/json") || value.starts_with("text/html"))
}
