//! Traces as a collector receives them: OTLP over HTTP, with the attributes of the conventions for generative AI.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aipipe::simulator::{Behaviour, Provider};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Wire};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus};
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Answer, Bench, Setting, ask, ask_stream, model};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const PROMPT: &str = "What is a heliotrope?";

/// A collector that keeps what it is sent.
#[derive(Clone)]
struct Collector {
    received: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    status: StatusCode,
}

impl Collector {
    /// One that answers with this status, and its address.
    async fn start(status: StatusCode) -> (Self, String) {
        let collector = Self { received: Arc::default(), status };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(Self::receive)).with_state(collector.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        (collector, address)
    }

    async fn receive(State(collector): State<Self>, headers: HeaderMap, body: Bytes) -> StatusCode {
        collector.received.lock().unwrap().push((headers, body));
        collector.status
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let received = self.received.lock().unwrap();
        received.iter().map(|(_, body)| ExportTraceServiceRequest::decode(body.clone()).unwrap()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// The spans of one kind, by the time at which they began.
    fn of_kind(&self, kind: SpanKind) -> Vec<Span> {
        let mut spans: Vec<Span> = self.spans().into_iter().filter(|span| span.kind == i32::from(kind)).collect();
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }
}

fn json_of(value: &Wire) -> Value {
    match value {
        Wire::StringValue(text) => json!(text),
        Wire::IntValue(number) => json!(number),
        Wire::DoubleValue(number) => json!(number),
        Wire::BoolValue(flag) => json!(flag),
        Wire::ArrayValue(array) => array.values.iter().map(|one| json_of(one.value.as_ref().unwrap())).collect(),
        other => panic!("{other:?}"),
    }
}

/// Attributes by name; none comes twice.
fn attributes(pairs: &[KeyValue]) -> Value {
    let mut object = serde_json::Map::new();
    for pair in pairs {
        let value = json_of(pair.value.as_ref().unwrap().value.as_ref().unwrap());
        assert!(object.insert(pair.key.clone(), value).is_none(), "{} twice", pair.key);
    }
    Value::Object(object)
}

/// A gateway that sends its spans when it ends.
async fn bench(address: &str, more: &[(&str, &str)]) -> Bench {
    configured("", address, more).await
}

async fn configured(file: &str, address: &str, more: &[(&str, &str)]) -> Bench {
    let mut environment = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", address), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    environment.extend_from_slice(more);
    Bench::with(Setting { file, environment: &environment, ..Setting::default() }).await
}

/// What a provider was told of the trace.
fn told(bench: &Bench, provider: Provider) -> (String, String) {
    let call = bench.simulator.calls_of(provider).pop().unwrap();
    let header = |name: &str| call.header(name).unwrap_or_default().to_owned();
    (header("traceparent"), header("tracestate"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_request_that_fails_over_is_one_span_with_a_child_for_each_call() {
    let (collector, address) = Collector::start(StatusCode::OK).await;
    let resource = [("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"), ("OTEL_SERVICE_NAME", "edge")];
    let secret = [("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=abc")];
    let bench = bench(&address, &[resource.as_slice(), &secret].concat()).await;
    bench.simulator.script(Provider::OpenAi, Behaviour::status(500));
    let mut body = ask(model(Provider::OpenAi), PROMPT);
    body["aipipe"] = json!({"models": [model(Provider::Anthropic)]});
    let request = bench.chat(&body).header("traceparent", PARENT).header("tracestate", "vendor=1");
    let answer = Answer::read(request.send().await.unwrap()).await.ok();
    let row = bench.rows().await.remove(0);
    let (failed_call, call) = (told(&bench, Provider::OpenAi), told(&bench, Provider::Anthropic));
    bench.gateway.clone().shut_down().await;

    let sent = collector.received.lock().unwrap().clone();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0["content-type"], "application/x-protobuf");
    assert_eq!(sent[0].0["x-collector-key"], "abc");
    for secret in ["heliotrope", answer.content().as_str(), bench.simulator.api_key(Provider::Anthropic)] {
        assert!(!String::from_utf8_lossy(&sent[0].1).contains(secret), "{secret}");
    }
    let resource = attributes(&collector.requests()[0].resource_spans[0].resource.as_ref().unwrap().attributes);
    assert_eq!((&resource["service.name"], &resource["deployment.environment.name"]), (&json!("edge"), &json!("test")));

    let (servers, clients) = (collector.of_kind(SpanKind::Server), collector.of_kind(SpanKind::Client));
    let (server, [first, second]) = (&servers[0], clients.as_slice()) else { panic!("{clients:?}") };
    assert_eq!(servers.len(), 1);
    for span in [server, first, second] {
        assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.trace_state, "vendor=1");
        assert!(server.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.start_time_unix_nano < span.end_time_unix_nano);
        assert!(span.end_time_unix_nano <= server.end_time_unix_nano);
    }
    assert_eq!(hex(&server.parent_span_id), "b7ad6b7169203331");
    for (span, told) in [(first, failed_call), (second, call)] {
        assert_eq!(span.parent_span_id, server.span_id);
        let parent = format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
        assert_eq!(told, (parent, "vendor=1".to_owned()));
    }
    assert_eq!(server.name, "POST /v1/chat/completions");
    assert_eq!((&*first.name, &*second.name), ("chat gpt-4o-mini", "chat claude-haiku-4-5"));
    let status = |span: &Span| span.status.as_ref().unwrap().code();
    assert_eq!(
        (status(server), status(first), status(second)),
        (SpanStatus::Unset, SpanStatus::Error, SpanStatus::Unset)
    );

    let failed = attributes(&first.attributes);
    for (name, value) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("openai")),
        ("gen_ai.request.model", json!("gpt-4o-mini")),
        ("error.type", json!("upstream")),
        ("http.response.status_code", json!(500)),
        ("server.address", json!("127.0.0.1")),
        ("aipipe.attempt", json!(1)),
    ] {
        assert_eq!(failed[name], value, "{name}");
    }
    assert!(failed["server.port"].is_u64() && failed.get("gen_ai.response.model").is_none());
    let answered = attributes(&second.attributes);
    for (name, value) in [
        ("gen_ai.provider.name", json!("anthropic")),
        ("gen_ai.request.model", json!("claude-haiku-4-5")),
        ("gen_ai.response.model", json!("claude-haiku-4-5")),
        ("gen_ai.response.finish_reasons", json!(["stop"])),
        ("gen_ai.usage.input_tokens", row["tokens"]["input"].clone()),
        ("gen_ai.usage.output_tokens", row["tokens"]["output"].clone()),
        ("http.response.status_code", json!(200)),
        ("aipipe.attempt", json!(2)),
    ] {
        assert_eq!(answered[name], value, "{name}");
    }
    let whole = attributes(&server.attributes);
    for (name, value) in [
        ("http.request.method", json!("POST")),
        ("http.route", json!("/v1/chat/completions")),
        ("url.scheme", json!("http")),
        ("url.path", json!("/v1/chat/completions")),
        ("http.response.status_code", json!(200)),
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("anthropic")),
        ("gen_ai.request.model", json!("openai/gpt-4o-mini")),
        ("gen_ai.response.model", json!("claude-haiku-4-5")),
        ("gen_ai.response.finish_reasons", json!(["stop"])),
        ("gen_ai.usage.input_tokens", row["tokens"]["input"].clone()),
        ("aipipe.request_id", json!(answer.header("x-request-id"))),
        ("aipipe.tenant", json!("default")),
        ("aipipe.attempts", json!(2)),
        ("aipipe.cache", json!("miss")),
        ("aipipe.outcome", json!("ok")),
    ] {
        assert_eq!(whole[name], value, "{name}");
    }
    assert_eq!(format!("{:.9}", whole["aipipe.cost_usd"].as_f64().unwrap()), row["cost_usd"].as_str().unwrap());
    assert_eq!(whole["aipipe.complexity"].as_f64(), row["complexity"].as_f64());
    assert_eq!(bench.metric("aipipe_spans_total{result=\"exported\"}").await, 3.0);
}

#[tokio::test]
async fn streams_of_every_dialect_tell_why_they_ended_and_what_they_used() {
    let (collector, address) = Collector::start(StatusCode::OK).await;
    let bench = bench(&address, &[]).await;
    let generate = json!({"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]});
    let mut message = ask(model(Provider::Anthropic), PROMPT);
    message["max_tokens"] = json!(100);
    message["stream"] = json!(true);
    let response = json!({"model": model(Provider::OpenAi), "input": PROMPT, "stream": true});
    let gemini = format!("/v1beta/models/{}:streamGenerateContent?alt=sse", model(Provider::Gemini));
    let embed = json!({"model": "openai/text-embedding-3-small", "input": PROMPT});
    for (path, body) in [
        ("/v1/chat/completions", &ask_stream(model(Provider::OpenAi), PROMPT)),
        ("/v1/chat/completions", &ask_stream(model(Provider::Gemini), PROMPT)),
        ("/v1/messages", &message),
        ("/v1/responses", &response),
        (&*gemini, &generate),
        ("/v1/embeddings", &embed),
    ] {
        Answer::read(bench.post(path, body).send().await.unwrap()).await.ok();
    }
    bench.idle().await;
    bench.gateway.clone().shut_down().await;
    let names: Vec<String> = collector.of_kind(SpanKind::Client).into_iter().map(|span| span.name).collect();
    let chats = ["chat gpt-4o-mini", "generate_content gemini-3.5-flash", "chat claude-haiku-4-5"];
    assert_eq!(
        names,
        [chats.as_slice(), &["chat gpt-4o-mini", chats[1], "embeddings text-embedding-3-small"]].concat()
    );
    for span in collector.spans() {
        let told = attributes(&span.attributes);
        assert!(told["gen_ai.usage.input_tokens"].as_u64().is_some_and(|count| count > 0), "{told}");
        if told["gen_ai.operation.name"] == "embeddings" {
            continue;
        }
        assert_eq!(told["gen_ai.response.finish_reasons"], json!(["stop"]), "{}: {told}", span.name);
        assert!(told["gen_ai.response.time_to_first_chunk"].as_f64().is_some_and(|time| time > 0.0), "{told}");
    }
}

#[tokio::test]
async fn a_refusal_is_a_span_and_a_caller_that_keeps_no_trace_is_followed() {
    let (collector, address) = Collector::start(StatusCode::OK).await;
    let bench = bench(&address, &[]).await;
    let refused = bench.refused(&ask("no-such-model", PROMPT)).await;
    let unsampled = PARENT.strip_suffix("01").unwrap().to_owned() + "00";
    let request = bench.chat(&ask(model(Provider::OpenAi), PROMPT)).header("traceparent", &unsampled);
    Answer::read(request.send().await.unwrap()).await.ok();
    let (parent, _) = told(&bench, Provider::OpenAi);
    assert!(parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && parent.ends_with("-00"), "{parent}");
    assert!(!parent.contains("b7ad6b7169203331"));
    bench.gateway.clone().shut_down().await;

    let spans = collector.spans();
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    let told = attributes(&span.attributes);
    assert_eq!(told["error.type"], json!(refused.code()));
    assert_eq!(told["http.response.status_code"], json!(refused.status));
    assert!(span.parent_span_id.is_empty() && span.trace_id.iter().any(|&byte| byte != 0));
    assert_eq!(span.status.as_ref().unwrap().code(), SpanStatus::Unset);
}

#[tokio::test]
async fn without_a_collector_nothing_is_told_to_anybody() {
    let bench = Bench::start().await;
    let request = bench.chat(&ask(model(Provider::OpenAi), PROMPT)).header("traceparent", PARENT);
    Answer::read(request.send().await.unwrap()).await.ok();
    assert_eq!(told(&bench, Provider::OpenAi), (String::new(), String::new()));
    for result in ["exported", "dropped"] {
        assert_eq!(bench.metric(&format!("aipipe_spans_total{{result=\"{result}\"}}")).await, 0.0);
    }
}

#[tokio::test]
async fn what_a_collector_does_not_take_is_counted() {
    let (_, address) = Collector::start(StatusCode::BAD_REQUEST).await;
    let bench = bench(&address, &[("OTEL_BSP_MAX_QUEUE_SIZE", "2")]).await;
    bench.answered(&ask(model(Provider::OpenAi), PROMPT)).await;
    bench.gateway.tracer.as_ref().unwrap().close(Duration::from_secs(5)).await;
    // Nobody takes spans any more.
    bench.answered(&ask(model(Provider::OpenAi), "What is a heliostat?")).await;
    assert_eq!(bench.metric("aipipe_spans_total{result=\"dropped\"}").await, 4.0);
    assert_eq!(bench.metric("aipipe_spans_total{result=\"exported\"}").await, 0.0);
}

/// Permits what is said to be told.
const PERMITTED: &str = "[telemetry]\ncontent = true\n";

/// The messages that a request's span carries.
fn messages(span: &Span, name: &str) -> Value {
    let told = attributes(&span.attributes);
    told.get(name).map_or(Value::Null, |text| serde_json::from_str(text.as_str().unwrap()).unwrap())
}

/// The text of an answer in any dialect, whole or streamed.
fn text_of(answer: &Answer) -> String {
    let places = [
        "/choices/0/message/content",
        "/choices/0/delta/content",
        "/content/0/text",
        "/delta/text",
        "/delta",
        "/candidates/0/content/parts/0/text",
        "/output/0/content/0/text",
        "/output/1/content/0/text",
    ];
    let whole = std::iter::once(answer.text.as_str());
    let events = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    let read = whole.chain(events).filter_map(|text| serde_json::from_str::<Value>(text).ok());
    read.filter_map(|json| places.iter().find_map(|place| json.pointer(place)?.as_str().map(str::to_owned))).collect()
}

#[tokio::test]
async fn what_is_said_is_told_where_configuration_and_tenant_both_ask_for_it() {
    let (collector, address) = Collector::start(StatusCode::OK).await;
    let bench = configured(PERMITTED, &address, &[]).await;
    bench.put_tenant("default", &json!({"telemetry_content": true})).await;
    let chat = ask(model(Provider::OpenAi), PROMPT);
    let mut elsewhere = ask_stream(model(Provider::Anthropic), PROMPT);
    elsewhere["messages"] = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROMPT}]);
    let mut message = ask(model(Provider::Anthropic), PROMPT);
    message["max_tokens"] = json!(100);
    let mut message_stream = message.clone();
    message_stream["stream"] = json!(true);
    let response = json!({"model": model(Provider::OpenAi), "input": PROMPT});
    let mut response_stream = response.clone();
    response_stream["stream"] = json!(true);
    let translated = json!({"model": model(Provider::Gemini), "input": PROMPT, "stream": true});
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]});
    let gemini = |way: &str| format!("/v1beta/models/{}:{way}", model(Provider::Gemini));
    let (generate, stream) = (gemini("generateContent"), gemini("streamGenerateContent?alt=sse"));
    let mut answers = Vec::new();
    for (path, body) in [
        ("/v1/chat/completions", &chat),
        // From the cache.
        ("/v1/chat/completions", &chat),
        ("/v1/chat/completions", &elsewhere),
        ("/v1/messages", &message),
        ("/v1/messages", &message_stream),
        ("/v1/responses", &response),
        ("/v1/responses", &response_stream),
        ("/v1/responses", &translated),
        (&*generate, &contents),
        (&*stream, &contents),
    ] {
        answers.push(text_of(&Answer::read(bench.post(path, body).send().await.unwrap()).await.ok()));
    }
    bench.idle().await;
    bench.gateway.clone().shut_down().await;

    let spans = collector.of_kind(SpanKind::Server);
    assert_eq!(spans.len(), 10);
    for (number, (span, answer)) in spans.iter().zip(&answers).enumerate() {
        let asked = messages(span, "gen_ai.input.messages");
        let user = json!({"role": "user", "parts": [{"type": "text", "content": PROMPT}]});
        assert_eq!(asked.as_array().unwrap().last(), Some(&user), "{number}: {asked}");
        let said = messages(span, "gen_ai.output.messages");
        let [only] = said.as_array().unwrap().as_slice() else { panic!("{number}: {said}") };
        assert_eq!((&only["role"], &only["finish_reason"]), (&json!("assistant"), &json!("stop")), "{number}: {said}");
        let text: String =
            only["parts"].as_array().unwrap().iter().filter_map(|part| part["content"].as_str()).collect();
        assert!(!text.is_empty() && text == *answer, "{number}: {text} {answer}");
        assert!(attributes(&span.attributes).get("aipipe.input.cut_bytes").is_none());
    }
    let system = json!({"role": "system", "parts": [{"type": "text", "content": "Be brief."}]});
    assert_eq!(messages(&spans[2], "gen_ai.input.messages")[0], system);
    for span in collector.of_kind(SpanKind::Client) {
        let told = attributes(&span.attributes).to_string();
        assert!(!told.contains("heliotrope"), "a request's own span carries it, once: {told}");
    }
}

#[tokio::test]
async fn nothing_of_what_is_said_is_told_unless_both_say_so_and_nowhere_else_ever() {
    for (file, policy) in [("", json!({"telemetry_content": true})), (PERMITTED, json!({}))] {
        let (collector, address) = Collector::start(StatusCode::OK).await;
        let bench = configured(file, &address, &[]).await;
        bench.put_tenant("default", &policy).await;
        bench.answered(&ask(model(Provider::OpenAi), PROMPT)).await;
        bench.answered(&ask_stream(model(Provider::OpenAi), PROMPT)).await;
        bench.idle().await;
        bench.gateway.clone().shut_down().await;
        for span in collector.spans() {
            let told = attributes(&span.attributes).to_string();
            assert!(!told.contains("heliotrope") && !told.contains("messages"), "{told}");
        }
    }
    let (_, address) = Collector::start(StatusCode::OK).await;
    let bench = configured(PERMITTED, &address, &[]).await;
    bench.put_tenant("default", &json!({"telemetry_content": true})).await;
    bench.answered(&ask(model(Provider::OpenAi), PROMPT)).await;
    bench.idle().await;
    for path in
        ["/admin/requests", "/admin/overview", "/admin/metrics", "/admin/actors", "/admin/tenants/default/stats"]
    {
        assert!(!bench.shown(path).await.to_string().contains("heliotrope"), "{path}");
    }
    let metrics = bench.client.get(bench.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(!metrics.contains("heliotrope"));
    bench.gateway.clone().shut_down().await;
    let mut kept: Vec<PathBuf> = bench.files().into_iter().map(|(file, _)| file.into()).collect();
    while let Some(place) = kept.pop() {
        if place.is_dir() {
            kept.extend(std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&place).unwrap();
        assert!(!bytes.windows(10).any(|window| window == b"heliotrope"), "{}", place.display());
    }
}

#[tokio::test]
async fn a_long_prompt_is_cut_and_a_broken_answer_is_told_as_far_as_it_came() {
    let (collector, address) = Collector::start(StatusCode::OK).await;
    let bench = configured(PERMITTED, &address, &[]).await;
    bench.put_tenant("default", &json!({"telemetry_content": true})).await;
    let long = format!("{PROMPT} {}", "It turns. ".repeat(10_000));
    bench.answered(&ask(model(Provider::OpenAi), &long)).await;
    bench.simulator.script(Provider::OpenAi, Behaviour::BreaksAfter(2));
    let broken = bench.answered(&ask_stream(model(Provider::OpenAi), PROMPT)).await;
    bench.idle().await;
    bench.gateway.clone().shut_down().await;
    let spans = collector.of_kind(SpanKind::Server);
    let asked = messages(&spans[0], "gen_ai.input.messages");
    let kept = asked[0]["parts"][0]["content"].as_str().unwrap();
    assert!(long.starts_with(kept) && (30_000..32_768).contains(&kept.len()), "{}", kept.len());
    let cut = attributes(&spans[0].attributes)["aipipe.input.cut_bytes"].as_u64().unwrap();
    assert_eq!(cut as usize + kept.len(), long.len());
    let said = messages(&spans[1], "gen_ai.output.messages");
    assert_eq!(said[0]["finish_reason"], "error", "{said}");
    assert_eq!(said[0]["parts"][0]["content"], broken.streamed(), "{said}");
}
