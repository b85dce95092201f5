//! The table of faults: what each one means to a client of each dialect, streamed or not, to the ledger and to the model's penalty, where
//! nothing else could serve.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, model};
use crate::wire::{Then, Wire, unframed};

/// Short waits, so that silence is noticed soon.
const IMPATIENT: &str = "[reliability]\nfirst_byte_timeout_ms = 150\nanswer_timeout_ms = 150\nidle_timeout_ms = 150\n";
/// `1 / success_rate²` with three successes assumed.
const NONE: f64 = 1.0;
const ONE: f64 = 16.0 / 9.0;
const TWO: f64 = 25.0 / 9.0;

/// What is done to the calls.
enum Cause {
    /// By simulated providers, each in its own words.
    Simulated(Behaviour),
    /// By servers of OpenAI's dialect that say exactly these bytes.
    Wire(String, Then),
    /// There is no server.
    NobodyListens,
}

/// What the client gets.
enum Told {
    /// An error with this status and code.
    Error(u16, &'static str),
    /// The provider's own refusal, with this status and its own code.
    Refusal(u16),
    /// A stream that began and ends in an error event with this code.
    BrokenOff(&'static str),
    /// A whole answer.
    Whole,
}

#[derive(Clone, Copy, PartialEq)]
enum When {
    Always,
    Streamed,
    NotStreamed,
}

/// One line of the table: fault, when, what the client is told, upstream calls, penalty, the fault's name in the ledger (or its
/// names, where providers differ).
struct Row(Cause, When, Told, usize, f64, &'static str);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Client {
    Chat,
    Messages,
    Gemini,
}

impl Client {
    const ALL: [Self; 3] = [Self::Chat, Self::Messages, Self::Gemini];

    fn path(self, model: &str, stream: bool) -> String {
        match (self, stream) {
            (Self::Chat, _) => "/v1/chat/completions".into(),
            (Self::Messages, _) => "/v1/messages".into(),
            (Self::Gemini, false) => format!("/v1beta/models/{model}:generateContent"),
            (Self::Gemini, true) => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
        }
    }

    fn body(self, model: &str, stream: bool) -> Value {
        let prompt = "Tell me a story about the sea.";
        match self {
            Self::Chat | Self::Messages => json!({
                "model": model, "stream": stream, "max_tokens": 500, "messages": [{"role": "user", "content": prompt}],
            }),
            Self::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]}),
        }
    }

    /// AiPipe's code in an error of this dialect.
    fn code(self, error: &Value) -> String {
        let code = match self {
            Self::Chat | Self::Messages => &error["error"]["code"],
            Self::Gemini => &error["error"]["details"][0]["reason"],
        };
        code.as_str().unwrap_or_default().to_owned()
    }

    /// The dialect's own word for errors of this status.
    fn kind(self, error: &Value, status: u16) -> (String, &'static str) {
        let (found, wanted) = match self {
            Self::Chat => (
                &error["error"]["type"],
                match status {
                    403 => "permission_error",
                    429 => "rate_limit_error",
                    400..500 => "invalid_request_error",
                    _ => "server_error",
                },
            ),
            Self::Messages => (
                &error["error"]["type"],
                match status {
                    403 => "permission_error",
                    404 => "not_found_error",
                    413 => "request_too_large",
                    429 => "rate_limit_error",
                    400..500 => "invalid_request_error",
                    503 => "overloaded_error",
                    504 => "timeout_error",
                    _ => "api_error",
                },
            ),
            Self::Gemini => (
                &error["error"]["status"],
                match status {
                    403 => "PERMISSION_DENIED",
                    404 => "NOT_FOUND",
                    429 => "RESOURCE_EXHAUSTED",
                    400..500 => "INVALID_ARGUMENT",
                    503 => "UNAVAILABLE",
                    504 => "DEADLINE_EXCEEDED",
                    _ => "INTERNAL",
                },
            ),
        };
        (found.as_str().unwrap_or_default().to_owned(), wanted)
    }

    fn ends_cleanly(self, text: &str) -> bool {
        match self {
            Self::Chat => text.contains("data: [DONE]"),
            Self::Messages => text.contains("message_stop"),
            Self::Gemini => text.contains("finishReason"),
        }
    }
}

fn last_event(text: &str) -> Value {
    let mut data = text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.next_back().map(|data| serde_json::from_str(data).unwrap()).unwrap_or_default()
}

/// The providers of a row's six requests, one each, so that none sees another's penalty.
struct Targets {
    bench: Bench,
    models: Vec<String>,
    _wire: Option<Wire>,
}

impl Targets {
    async fn of(cause: &Cause, turn: usize) -> Self {
        match cause {
            Cause::Simulated(behaviour) => {
                let bench = Bench::with(Setting { file: IMPATIENT, ..Setting::default() }).await;
                // Within a 200 MiniMax tells of a rate limit; Gemini has the same words for an empty account and a rate limit.
                let tells_otherwise = |provider: &Provider| match behaviour {
                    Behaviour::ErrorIn200 => *provider == Provider::MiniMax,
                    Behaviour::OutOfMoney => *provider == Provider::Gemini,
                    _ => false,
                };
                let providers: Vec<Provider> =
                    Provider::ALL.into_iter().filter(|provider| !tells_otherwise(provider)).collect();
                for provider in &providers {
                    bench.simulator.script(*provider, behaviour.clone());
                }
                // Over the rows each dialect of a client meets each provider.
                let models = (0..6).map(|n| model(providers[(n + turn) % providers.len()]).to_owned()).collect();
                Self { bench, models, _wire: None }
            }
            Cause::Wire(bytes, then) => {
                let wire = Wire::start(bytes.clone(), *then).await;
                let bench = declared(wire.url(), IMPATIENT).await;
                Self { bench, models: (0..6).map(|n| format!("p{n}/m")).collect(), _wire: Some(wire) }
            }
            Cause::NobodyListens => {
                // Bound once, so that nobody else has it, and closed again.
                let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let url = format!("http://{}", listener.local_addr().unwrap());
                drop(listener);
                let bench = declared(&url, IMPATIENT).await;
                Self { bench, models: (0..6).map(|n| format!("p{n}/m")).collect(), _wire: None }
            }
        }
    }
}

/// Six declared providers at one address.
pub(crate) async fn declared(url: &str, reliability: &str) -> Bench {
    let mut file = reliability.to_owned();
    for n in 0..6 {
        file += &format!(
            "[providers.p{n}]\ndialect = \"openai\"\nbase_url = \"{url}\"\n[[models]]\nprovider = \"p{n}\"\nid = \"m\"\ninput = 1\noutput = 2\n"
        );
    }
    Bench::with(Setting { file: &file, ..Setting::default() }).await
}

async fn check(row: &Row, turn: usize) {
    let targets = Targets::of(&row.0, turn).await;
    let combinations = Client::ALL.into_iter().flat_map(|client| [(client, false), (client, true)]);
    let checks = combinations.zip(&targets.models).filter_map(|((client, stream), name)| {
        let skipped = row.1 == if stream { When::NotStreamed } else { When::Streamed };
        (!skipped).then(|| check_one(&targets.bench, row, turn, (client, stream, name)))
    });
    futures_util::future::join_all(checks).await;
    targets.bench.idle().await;
}

async fn check_one(bench: &Bench, row: &Row, turn: usize, (client, stream, name): (Client, bool, &str)) {
    let Row(_, _, told, calls, penalty, fault) = row;
    let about = format!("row {turn}: {fault}, {client:?} stream={stream} at {name}");
    let request = bench.post(&client.path(name, stream), &client.body(name, stream));
    let answer = Answer::read(request.send().await.unwrap()).await;
    let text = &answer.text;
    let outcome = match told {
        Told::Error(status, code) => {
            assert_eq!((answer.status, client.code(&answer.json()).as_str()), (*status, *code), "{about}: {text}");
            let (found, wanted) = client.kind(&answer.json(), *status);
            assert_eq!(found, wanted, "{about}: {text}");
            "failed"
        }
        Told::Refusal(status) => {
            assert_eq!(answer.status, *status, "{about}: {text}");
            let (found, wanted) = client.kind(&answer.json(), *status);
            assert_eq!(found, wanted, "{about}: {text}");
            assert!(!client.code(&answer.json()).is_empty(), "{about}: {text}");
            "failed"
        }
        Told::BrokenOff(code) => {
            assert_eq!(answer.status, 200, "{about}: {text}");
            assert_eq!(client.code(&last_event(text)), *code, "{about}: {text}");
            assert!(!client.ends_cleanly(text), "{about}: {text}");
            "truncated"
        }
        Told::Whole => {
            assert_eq!(answer.status, 200, "{about}: {text}");
            assert!(!stream || client.ends_cleanly(text), "{about}: {text}");
            "ok"
        }
    };
    let ledger = bench.shown(&format!("/admin/requests/{}", answer.header("x-request-id"))).await;
    assert_eq!(ledger["outcome"], outcome, "{about}: {ledger}");
    let attempts = ledger["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), *calls, "{about}: {ledger}");
    for attempt in attempts {
        assert_eq!(attempt["outcome"], outcome, "{about}: {ledger}");
        assert!(outcome == "ok" || fault.split('|').any(|name| attempt["fault"] == name), "{about}: {ledger}");
        // A provider that says no, whatever the status, is owed nothing.
        let is_free = matches!(told, Told::Refusal(_))
            || matches!(told, Told::Error(_, code) if code != &"upstream_malformed" && code != &"upstream_timeout");
        assert!(!is_free || attempt["cost_usd"] == "0.000000000", "{about}: {ledger}");
    }
    let (provider, id) = name.split_once('/').unwrap();
    let health = settled(bench, provider, id, *calls).await;
    let found = health["penalty"].as_f64().unwrap();
    assert!((found - penalty).abs() < 1e-9, "{about}: {found} for {penalty}: {health}");
}

/// A model's health, or its provider's reach where that suffers, once all its calls are counted there.
async fn settled(bench: &Bench, provider: &str, id: &str, calls: usize) -> Value {
    loop {
        let shown = bench.shown(&format!("/admin/providers/{provider}")).await;
        let health = &shown["models"][id];
        let counted = health["calls"].as_u64().unwrap_or(0) as usize;
        if counted >= calls {
            let reach = shown["reach"]["failed"].as_u64().unwrap_or(0) > 0;
            return if reach { shown["reach"].clone() } else { health.clone() };
        }
        tokio::task::yield_now().await;
    }
}

async fn check_all(rows: Vec<Row>) {
    for (turn, row) in rows.iter().enumerate() {
        check(row, turn).await;
    }
}

fn simulated(behaviour: Behaviour, told: Told, calls: usize, penalty: f64, fault: &'static str) -> Row {
    Row(Cause::Simulated(behaviour), When::Always, told, calls, penalty, fault)
}

fn page(status: u16, body: &str) -> Behaviour {
    Behaviour::NotJson { status, body: body.to_owned() }
}

#[tokio::test]
async fn faults_that_are_the_clients_or_the_keys_cost_no_model_its_good_name() {
    let moderated = r#"{"error": {"message": "Input flagged by moderation", "type": "invalid_request_error"}}"#;
    check_all(vec![
        simulated(Behaviour::status(400), Told::Refusal(400), 1, NONE, "request"),
        simulated(Behaviour::status(401), Told::Error(502, "upstream_error"), 1, NONE, "key"),
        simulated(Behaviour::OutOfMoney, Told::Error(502, "upstream_error"), 1, NONE, "quota"),
        simulated(Behaviour::status(402), Told::Error(502, "upstream_error"), 1, NONE, "quota"),
        simulated(Behaviour::status(403), Told::Error(502, "upstream_error"), 1, NONE, "key"),
        simulated(page(403, moderated), Told::Refusal(403), 1, NONE, "content_policy"),
        simulated(Behaviour::status(404), Told::Refusal(404), 1, NONE, "model_missing"),
        simulated(Behaviour::status(413), Told::Refusal(413), 1, NONE, "context_length"),
        simulated(Behaviour::TooLong, Told::Refusal(400), 1, NONE, "context_length"),
        simulated(Behaviour::rate_limited(7), Told::Error(429, "rate_limited"), 1, NONE, "rate_limited"),
    ])
    .await;
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_once_more_where_nobody_else_is() {
    check_all(vec![
        simulated(Behaviour::status(408), Told::Error(502, "upstream_error"), 2, TWO, "upstream"),
        simulated(Behaviour::status(500), Told::Error(502, "upstream_error"), 2, TWO, "upstream"),
        simulated(Behaviour::status(502), Told::Error(502, "upstream_error"), 2, TWO, "upstream"),
        simulated(Behaviour::status(503), Told::Error(502, "upstream_error"), 2, TWO, "overloaded"),
        simulated(Behaviour::status(529), Told::Error(502, "upstream_error"), 2, TWO, "overloaded"),
        simulated(page(502, "<html>bad gateway</html>"), Told::Error(502, "upstream_error"), 2, TWO, "upstream"),
        simulated(Behaviour::ResetBeforeHeaders, Told::Error(502, "upstream_malformed"), 2, TWO, "broken"),
        simulated(Behaviour::BreaksAfter(0), Told::Error(502, "upstream_malformed"), 2, TWO, "broken"),
        Row(
            Cause::Wire("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".into(), Then::Reset),
            When::Always,
            Told::Error(502, "upstream_malformed"),
            2,
            TWO,
            "broken",
        ),
        Row(Cause::NobodyListens, When::Always, Told::Error(502, "upstream_error"), 2, TWO, "unreachable"),
    ])
    .await;
}

#[tokio::test]
async fn silence_and_nonsense_are_not_asked_for_twice() {
    let malformed = || Told::Error(502, "upstream_malformed");
    let silent = || Told::Error(504, "upstream_timeout");
    let pings = unframed("200 OK", "content-type: text/event-stream\r\n", ": ping\n\n");
    let empty = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n";
    let packed = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\u{1f}\u{1}x";
    let cut = unframed("200 OK", "content-type: application/json\r\n", "{\"id\":\"x\",\"choices\":[{\"mess");
    check_all(vec![
        simulated(Behaviour::Silent, silent(), 1, ONE, "silent"),
        simulated(Behaviour::StallAfter(0), silent(), 1, ONE, "silent"),
        Row(Cause::Wire(pings, Then::Repeat(20)), When::Streamed, silent(), 1, ONE, "silent"),
        simulated(page(200, "<html>sorry</html>"), malformed(), 1, ONE, "malformed"),
        Row(Cause::Wire(empty.into(), Then::Close), When::Always, malformed(), 1, ONE, "malformed"),
        Row(Cause::Wire(packed.into(), Then::Close), When::Always, malformed(), 1, ONE, "malformed"),
        Row(Cause::Wire(cut, Then::Close), When::Always, malformed(), 1, ONE, "malformed"),
    ])
    .await;
}

/// A chunk of OpenAI's stream.
pub(crate) fn chunk(delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

pub(crate) fn events(body: &str) -> String {
    unframed("200 OK", "content-type: text/event-stream\r\n", body)
}

#[tokio::test]
async fn a_stream_never_ends_cleanly_unless_it_is_whole() {
    let hello = chunk(r#"{"role":"assistant","content":"Hello"}"#, "null");
    let done = chunk("{}", "\"stop\"");
    let malformed = || Told::BrokenOff("upstream_malformed");
    let wire = |body: String, then, told, calls, penalty, fault| {
        Row(Cause::Wire(events(&body), then), When::Streamed, told, calls, penalty, fault)
    };
    let streamed = |behaviour, told, calls, penalty, fault| {
        Row(Cause::Simulated(behaviour), When::Streamed, told, calls, penalty, fault)
    };
    let huge = format!("{hello}data: {{\"x\":\"{}", "x".repeat(17 << 20));
    check_all(vec![
        streamed(Behaviour::ErrorIn200, Told::Error(502, "upstream_error"), 2, TWO, "overloaded|upstream"),
        streamed(Behaviour::BreaksAfter(2), malformed(), 1, ONE, "broken"),
        streamed(Behaviour::EndsEarly(1), malformed(), 1, ONE, "broken"),
        streamed(Behaviour::StallAfter(2), Told::BrokenOff("upstream_timeout"), 1, ONE, "stalled"),
        streamed(Behaviour::MalformedEventAfter(2), malformed(), 1, ONE, "malformed"),
        wire(String::new(), Then::Close, Told::Error(502, "upstream_malformed"), 2, TWO, "broken"),
        wire(hello.clone(), Then::Close, malformed(), 1, ONE, "broken"),
        wire(hello.clone(), Then::Silence, Told::BrokenOff("upstream_timeout"), 1, ONE, "stalled"),
        wire(format!("{hello}data: {{\"id\":\"c\",\"choi"), Then::Close, malformed(), 1, ONE, "malformed"),
        wire(
            format!("{hello}data: {{\"id\":\"c\",\"choi"),
            Then::Silence,
            Told::BrokenOff("upstream_timeout"),
            1,
            ONE,
            "stalled",
        ),
        wire(huge, Then::Close, malformed(), 1, ONE, "malformed"),
        // Some servers leave out the marker at the end, and say things that nobody knows.
        wire(format!("{hello}{done}"), Then::Close, Told::Whole, 1, NONE, "none"),
        wire(
            format!("{hello}event: weather\ndata: {{\"sun\":true}}\n\n{done}data: [DONE]\n\n"),
            Then::Close,
            Told::Whole,
            1,
            NONE,
            "none",
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_error_event_is_passed_on_as_one() {
    check_all(vec![
        Row(
            Cause::Simulated(Behaviour::ErrorEventAfter(2)),
            When::Streamed,
            Told::BrokenOff("upstream_error"),
            1,
            ONE,
            "overloaded|upstream",
        ),
        Row(
            Cause::Simulated(Behaviour::BreaksAfter(1)),
            When::NotStreamed,
            Told::Error(502, "upstream_malformed"),
            2,
            TWO,
            "broken",
        ),
        Row(
            Cause::Simulated(Behaviour::Truncated),
            When::NotStreamed,
            Told::Error(502, "upstream_malformed"),
            2,
            TWO,
            "broken",
        ),
        Row(
            Cause::Simulated(Behaviour::ErrorIn200),
            When::NotStreamed,
            Told::Error(502, "upstream_error"),
            2,
            TWO,
            "overloaded|upstream",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_wait_that_a_provider_asks_for_is_told_whatever_its_form() {
    let now = jiff::Timestamp::now();
    let at = now + jiff::SignedDuration::from_secs(90);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap();
    for (headers, body, wait) in [
        ("retry-after: 7\r\n".to_owned(), "{}", 7..=7),
        ("retry-after-ms: 1500\r\nretry-after: 9\r\n".to_owned(), "{}", 2..=2),
        (format!("retry-after: {date}\r\n"), "{}", 60..=90),
        (String::new(), r#"{"error":{"message":"Please try again in 1m3.5s."}}"#, 64..=64),
        (String::new(), r#"{"error":{"message":"slow down","details":[{"retryDelay":"34.4s"}]}}"#, 35..=35),
        // Nobody is sent away for a day.
        ("retry-after: 86400\r\n".to_owned(), "{}", 600..=600),
        (String::new(), "{}", 1..=1),
    ] {
        let wire = Wire::start(unframed("429 Too Many Requests", &headers, body), Then::Close).await;
        let bench = declared(wire.url(), IMPATIENT).await;
        let answer = bench.refused(&Client::Chat.body("p0/m", false)).await;
        assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"), "{headers}: {}", answer.text);
        let told: u64 = answer.header("retry-after").parse().unwrap();
        assert!(wait.contains(&told), "{headers}{body}: {told}");
        assert_eq!(wire.calls(), 1);
    }
}
