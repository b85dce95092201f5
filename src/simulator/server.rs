//! The listeners: accepts connections, checks keys, finds the endpoint and sends what the script wants.
//!
//! Connections are served by hyper itself, without a router between: only so can a call be reset before its headers, and can all
//! connections end with the simulator.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::answer::{Answer, Delivery, Step, Steps};
use super::behaviour::{Behaviour, Script};
use super::calls::{Call, CallGuard, CallLog, Outcome};
use super::errors::{Failure, Kind};
use super::hold::Gate;
use super::latency::{Latency, LatencyProfile, realistic};
use super::provider::Provider;
use super::responses::Shelf;
use super::routes::{Endpoint, route};
use super::text::hash;
use super::usage::PromptCache;
use super::{Settings, anthropic, embeddings, faults, gemini, models, openai_chat, responses};

/// One provider: where it listens, what it accepts, and what it remembers.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) provider: Provider,
    pub(crate) address: SocketAddr,
    pub(crate) script: Script,
    pub(crate) gate: Gate,
    pub(crate) cache: PromptCache,
    pub(crate) shelf: Shelf,
    pub(crate) settings: Arc<Settings>,
    keys: Vec<String>,
    log: Arc<CallLog>,
}

impl Site {
    pub(crate) fn new(provider: Provider, address: SocketAddr, settings: Arc<Settings>, log: Arc<CallLog>) -> Self {
        let of_provider = settings.keys.iter().filter(|(owner, _)| *owner == provider);
        let mut keys: Vec<String> = of_provider.map(|(_, key)| key.clone()).collect();
        if keys.is_empty() {
            keys.push(format!("simulated-{provider}-key"));
        }
        let (script, gate, cache, shelf) =
            (Script::default(), Gate::default(), PromptCache::default(), Shelf::default());
        Self { provider, address, script, gate, cache, shelf, settings, keys, log }
    }

    pub(crate) fn first_key(&self) -> &str {
        self.keys.first().map_or("", String::as_str)
    }

    fn pace(&self, behaviour: &Behaviour, model: &str) -> LatencyProfile {
        match (behaviour, self.settings.latency) {
            (Behaviour::Latency(profile), _) => *profile,
            (_, Latency::Realistic) => realistic(self.provider, model),
            (_, Latency::None) => LatencyProfile::default(),
        }
    }
}

/// A request as the wire formats see it.
pub(crate) struct Request<'a> {
    pub(crate) site: &'a Site,
    pub(crate) body: &'a Value,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) model: &'a str,
    pub(crate) delivery: Delivery,
    pub(crate) behaviour: &'a Behaviour,
    /// Gemini streams an array where the client does not ask for events (`alt=sse`).
    pub(crate) query: &'a str,
    /// Different for each call of the process; makes ids.
    pub(crate) serial: u64,
}

impl Request<'_> {
    /// An id of so many letters of the alphabet, different for each call and salt.
    pub(crate) fn id(&self, salt: &str, length: usize) -> String {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let letter = |place: usize| {
            let drawn = hash(format!("{salt}/{place}/{}/{}", self.serial, self.site.settings.seed).as_bytes());
            LETTERS.get(drawn as usize % LETTERS.len()).map_or('A', |letter| char::from(*letter))
        };
        (0..length).map(letter).collect()
    }

    /// So many hexadecimal digits, different for each call and salt.
    pub(crate) fn hex(&self, salt: &str, length: usize) -> String {
        let digit = |place: usize| {
            let drawn = hash(format!("{salt}/{place}/{}/{}", self.serial, self.site.settings.seed).as_bytes());
            char::from_digit((drawn % 16) as u32, 16).unwrap_or('0')
        };
        (0..length).map(digit).collect()
    }

    /// The text that the behaviour puts into the model's mouth.
    pub(crate) fn says(&self) -> Option<String> {
        match self.behaviour {
            Behaviour::Says(text) => Some(text.clone()),
            Behaviour::HugeAnswer(bytes) => Some("All work and no play. ".chars().cycle().take(*bytes).collect()),
            _ => None,
        }
    }

    pub(crate) fn tells_usage(&self) -> bool {
        *self.behaviour != Behaviour::UsageMissing
    }
}

/// Serves one provider until the task is aborted, which ends its connections too.
pub(crate) async fn serve(listener: TcpListener, site: Arc<Site>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve_connection(stream, Arc::clone(&site)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, site: Arc<Site>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| answer_call(Arc::clone(&site), request));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = Pin::new(&mut connection).await;
    if ended.is_err_and(|error| error.source().is_some_and(|cause| cause.is::<Reset>())) {
        // A call that is to be reset: closing with nothing left to send makes the kernel send a reset.
        let _: io::Result<()> = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// The call is reset.
#[derive(Debug)]
pub(crate) struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated provider reset the connection")
    }
}

impl Error for Reset {}

async fn answer_call(site: Arc<Site>, request: hyper::Request<Incoming>) -> Result<Response<Steps>, Reset> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|_| Reset)?.to_bytes();
    let received = Received::new(&site, head, bytes);
    let mut guard = received.arrive(&site);
    let behaviour = site.script.behaviour(received.model.as_deref(), site.settings.seed);
    let barrier = site.gate.barrier();
    if let Some(barrier) = barrier.clone().filter(|barrier| barrier.after == 0 || received.delivery == Delivery::Whole)
    {
        barrier.passed().await;
    }
    match &behaviour {
        Behaviour::SlowHeaders(wait) => tokio::time::sleep(*wait).await,
        Behaviour::Silent => std::future::pending().await,
        Behaviour::ResetBeforeHeaders => {
            guard.end(Outcome::Broken);
            return Err(Reset);
        }
        _ => {}
    }
    let answer = received.answer(&site, &behaviour);
    let (usage, cost_ticks, status) = (answer.usage, answer.cost_ticks, answer.status.as_u16());
    guard.note(|call| {
        call.usage = usage;
        call.cost_ticks = cost_ticks;
        call.status = Some(status);
    });
    let pace = site.pace(&behaviour, received.model.as_deref().unwrap_or_default());
    let mut steps = VecDeque::new();
    if answer.status == StatusCode::OK {
        steps.extend(faults::steps(site.provider, &answer, &behaviour, whole_pace(pace, &answer)));
    } else {
        steps.extend(answer.events.iter().map(|event| Step::Send(event.bytes.clone())));
    }
    if let Some(barrier) = barrier.filter(|barrier| barrier.after > 0 && answer.delivery == Delivery::Stream) {
        faults::wait_in_the_middle(&mut steps, &answer, barrier);
    }
    if answer.delivery == Delivery::Whole
        && let Some(Step::Pause(pause)) = steps.front()
    {
        // A provider sends the headers of a document when the document is there.
        tokio::time::sleep(*pause).await;
        steps.pop_front();
    }
    Ok(respond(answer, steps, &behaviour, guard))
}

/// A document takes as long as the stream of its tokens would.
fn whole_pace(pace: LatencyProfile, answer: &Answer) -> LatencyProfile {
    if answer.delivery == Delivery::Stream {
        return pace;
    }
    let tokens = answer.usage.map_or(0, |usage| u32::try_from(usage.output).unwrap_or(u32::MAX));
    LatencyProfile { first_token: pace.first_token + pace.per_token.saturating_mul(tokens), ..pace }
}

fn respond(answer: Answer, mut steps: VecDeque<Step>, behaviour: &Behaviour, guard: CallGuard) -> Response<Steps> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    add("content-type", &answer.content_type);
    if answer.delivery == Delivery::Stream {
        add("cache-control", "no-cache");
    }
    for (name, value) in &answer.headers {
        add(name, value);
    }
    if *behaviour == Behaviour::Truncated {
        let length: usize = answer.events.iter().map(|event| event.bytes.len()).sum();
        add("content-length", &(length + 1024).to_string());
        steps.extend([Step::Flush, Step::Break]);
    }
    let mut response = Response::new(Steps::new(steps, answer.delivery, guard));
    *response.status_mut() = answer.status;
    *response.headers_mut() = headers;
    response
}

/// A call as received, with what could be read of it.
struct Received {
    head: http::request::Parts,
    bytes: Bytes,
    endpoint: Option<Endpoint>,
    model: Option<String>,
    delivery: Delivery,
    body: Result<Value, serde_json::Error>,
}

impl Received {
    fn new(site: &Site, head: http::request::Parts, bytes: Bytes) -> Self {
        let (endpoint, named) = route(site.provider, &head.method, head.uri.path());
        let body: Result<Value, _> = serde_json::from_slice(&bytes);
        let field = |name: &str| body.as_ref().ok().and_then(|body| body.get(name));
        let model = named.or_else(|| field("model").and_then(Value::as_str).map(str::to_owned));
        let streams = head.uri.path().ends_with(":streamGenerateContent")
            || field("stream").and_then(Value::as_bool).unwrap_or_default();
        let delivery = if streams { Delivery::Stream } else { Delivery::Whole };
        Self { head, bytes, endpoint, model, delivery, body }
    }

    fn arrive(&self, site: &Site) -> CallGuard {
        site.log.arrive(site.provider, || Call {
            provider: site.provider,
            method: self.head.method.to_string(),
            path: self.head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: self.head.headers.clone(),
            body: self.bytes.clone(),
            model: self.model.clone(),
            stream: self.delivery == Delivery::Stream,
            status: None,
            outcome: Outcome::Open,
            usage: None,
            cost_ticks: None,
        })
    }

    fn model(&self) -> &str {
        self.model.as_deref().unwrap_or_default()
    }

    /// The answer before faults spoil it, or the provider's refusal.
    fn answer(&self, site: &Site, behaviour: &Behaviour) -> Answer {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let request = Request {
            site,
            body: self.body.as_ref().unwrap_or(&Value::Null),
            headers: &self.head.headers,
            model: self.model(),
            delivery: self.delivery,
            behaviour,
            query: self.head.uri.query().unwrap_or_default(),
            serial,
        };
        self.try_answer(&request).unwrap_or_else(|failure| refusal(&request, &failure))
    }

    fn try_answer(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let provider = request.site.provider;
        let usual = |kind| Err(Failure::usual(provider, kind, request.model));
        match request.behaviour {
            Behaviour::Fixed { content_type, bytes } => return Ok(Answer::whole(content_type, bytes.clone())),
            Behaviour::NotJson { body, status } => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
                return Ok(Answer { status, ..Answer::whole("text/html; charset=UTF-8", body.clone()) });
            }
            Behaviour::Status { status, retry_after } => {
                let failure = Failure::of_status(provider, *status, request.model);
                return Err(Failure { retry_after: *retry_after, ..failure });
            }
            Behaviour::OutOfMoney => return usual(Kind::OutOfMoney),
            Behaviour::TooLong => return usual(Kind::TooLong),
            _ => {}
        }
        check_key(request)?;
        let Some(endpoint) = self.endpoint else { return usual(Kind::NoSuchPath) };
        if endpoint == Endpoint::Models {
            return Ok(models::list(provider));
        }
        if endpoint == Endpoint::KeptResponse {
            let address = self.head.uri.path().rsplit_once("/responses/").map_or("", |(_, address)| address);
            return responses::kept(request, &self.head.method, address);
        }
        if self.body.is_err() || !request.body.is_object() {
            return Err(Failure::bad(not_json(provider)));
        }
        if *request.behaviour == Behaviour::ErrorIn200 {
            return Ok(faults::error_in_200(provider, request.model, request.delivery));
        }
        match (endpoint, provider) {
            (Endpoint::Chat, Provider::Anthropic) => anthropic::answer(request),
            (Endpoint::Chat, Provider::Gemini) => gemini::answer(request),
            (Endpoint::Chat, _) => openai_chat::answer(request),
            (Endpoint::CountTokens, Provider::Anthropic) => anthropic::count_tokens(request),
            (Endpoint::CountTokens, Provider::Gemini) => gemini::count_tokens(request),
            (Endpoint::CountTokens, _) => responses::count_tokens(request),
            (Endpoint::Embeddings, Provider::Gemini) => gemini::embed(request),
            (Endpoint::Embeddings, _) => embeddings::answer(request),
            (Endpoint::Responses, _) => responses::answer(request),
            (Endpoint::Models | Endpoint::KeptResponse, _) => usual(Kind::NoSuchPath),
        }
    }
}

/// Checks the key where this provider wants it.
fn check_key(request: &Request<'_>) -> Result<(), Failure> {
    let provider = request.site.provider;
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let in_query = || request.query.split('&').find_map(|pair| pair.strip_prefix("key="));
    let key = match provider {
        Provider::Anthropic => header("x-api-key").or(bearer),
        Provider::Gemini => header("x-goog-api-key").or_else(in_query),
        _ => bearer,
    };
    match key {
        None => Err(Failure::usual(provider, Kind::NoKey, request.model)),
        Some(key) if request.site.keys.iter().any(|good| good == key) => Ok(()),
        Some(_) => Err(Failure::usual(provider, Kind::BadKey, request.model)),
    }
}

/// What a provider says to a body that is no JSON object.
fn not_json(provider: Provider) -> &'static str {
    match provider {
        Provider::OpenAi => {
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. The \
             OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
        }
        Provider::Anthropic => "The request body is not valid JSON",
        Provider::Gemini => "Invalid JSON payload received. Unexpected end of string. Expected a value.",
        _ => "Failed to parse the request body as JSON",
    }
}

/// The provider's refusal of a request.
fn refusal(request: &Request<'_>, failure: &Failure) -> Answer {
    let provider = request.site.provider;
    let request_id = format!("req_{}", request.id("request", 24));
    let mut answer = Answer::json(&failure.body(provider, &request_id));
    answer.status = failure.status(provider);
    answer.headers = failure.headers(provider);
    answer.headers.extend(request_id_header(provider, request_id));
    if provider == Provider::Gemini {
        answer.content_type = "application/json; charset=UTF-8".to_owned();
    }
    answer
}

/// The header in which a provider tells the request's id.
pub(crate) fn request_id_header(provider: Provider, id: String) -> Option<(&'static str, String)> {
    match provider {
        Provider::OpenAi | Provider::Xai => Some(("x-request-id", id)),
        Provider::Anthropic => Some(("request-id", id)),
        Provider::MiniMax => Some(("trace-id", id)),
        Provider::Moonshot => Some(("msh-request-id", id)),
        Provider::OpenRouter | Provider::Gemini => None,
    }
}
