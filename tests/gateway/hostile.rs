//! Hostile bytes on the wire: what breaks the rules of HTTP is refused, what is slow is cut off, nothing that a client writes gets into
//! headers that go on, and no request harms another on the same connection.

use std::time::Duration;

use aipipe::simulator::{Behaviour, Provider};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Answer, Bench, ask};

const MODEL: &str = "openai/gpt-4o-mini";
/// Whatever takes so long never ends.
const HANGS: Duration = Duration::from_secs(30);

/// A raw connection.
struct Wire(BufReader<TcpStream>);

/// An answer as it came.
struct Seen {
    status: u16,
    head: String,
    body: String,
}

impl Wire {
    async fn to(bench: &Bench) -> Self {
        Self(BufReader::new(TcpStream::connect(bench.socket()).await.unwrap()))
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The other side may have closed already: what it said is still there to be read.
        let _ = self.0.get_mut().write_all(bytes.as_ref()).await;
    }

    /// The next answer; `None` where the connection ended.
    async fn answer(&mut self) -> Option<Seen> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).await.ok()?;
        Some(Seen { status, head, body: String::from_utf8(body).unwrap() })
    }

    async fn answered(&mut self) -> Seen {
        timeout(HANGS, self.answer()).await.expect("an answer in time").expect("an answer")
    }

    async fn ended(&mut self) -> bool {
        timeout(HANGS, self.answer()).await.expect("an end in time").is_none()
    }
}

/// A chat request on the wire.
fn request(extra_headers: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{extra_headers}\r\n{body}",
        body.len()
    )
}

fn good() -> String {
    request("", &ask(MODEL, "Hello").to_string())
}

#[tokio::test]
async fn what_breaks_the_rules_of_http_is_refused() {
    let bench = Bench::start().await;
    let header = |name: &str, value: &[u8]| {
        let body = ask(MODEL, "Hello").to_string();
        let head =
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{name}: ", body.len());
        [head.as_bytes(), value, b"\r\n\r\n", body.as_bytes()].concat()
    };
    let many = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("many headers", request(&many, "{}").into()),
        ("a large header", header("x-large", &vec![b'a'; 2 << 20])),
        ("a long address", format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000)).into()),
        ("NUL in a header", header("x-tenant-id", b"a\0b")),
        ("a line feed in a header", header("x-tenant-id", b"a\nb")),
        ("a folded header", header("x-tenant-id", b"a\r\n b")),
        ("no name", b"GET / HTTP/1.1\r\n: x\r\n\r\n".into()),
        ("space before the colon", b"GET / HTTP/1.1\r\nhost : x\r\n\r\n".into()),
        ("two lengths", request("content-length: 3\r\n", "{}").into()),
        ("a negative length", b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".into()),
        (
            "a length beyond numbers",
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n".into(),
        ),
        (
            "chunks that are not last",
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n".into(),
        ),
        (
            "chunks in HTTP/1.0",
            b"POST /v1/chat/completions HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        ("no HTTP", b"hello\r\n\r\n".into()),
        ("HTTP/2 by surprise", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
    ];
    for (what, bytes) in cases {
        let mut wire = Wire::to(&bench).await;
        wire.send(bytes).await;
        if let Some(seen) = timeout(HANGS, wire.answer()).await.expect(what) {
            assert!((400..500).contains(&seen.status), "{what}: {}", seen.head);
            assert!(wire.ended().await, "{what}: nothing more is read from such a connection");
        }
    }
    assert!(bench.simulator.calls().is_empty());
    bench.answered(&ask(MODEL, "Still there?")).await;
    bench.idle().await;
}

#[tokio::test]
async fn no_request_hides_within_another() {
    let bench = Bench::start().await;
    // By its length the body would be all of it, by its chunks it ends before the second request.
    let hidden = format!("0\r\n\r\n{}", good());
    let first = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n";
    for lengths in [
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", hidden.len()),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", hidden.len()),
    ] {
        let mut wire = Wire::to(&bench).await;
        wire.send(format!("{first}{lengths}\r\n{hidden}")).await;
        assert_eq!(wire.answered().await.status, 400, "an empty body is no request");
        assert!(wire.ended().await, "whoever is of two minds about the end gets no second answer");
    }
    assert!(bench.simulator.calls().is_empty());
}

#[tokio::test]
async fn old_and_absolute_requests_are_answered_like_others() {
    let bench = Bench::start().await;
    let body = ask(MODEL, "Hello").to_string();
    let mut wire = Wire::to(&bench).await;
    wire.send(format!("POST /v1/chat/completions HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(wire.answered().await.status, 200);
    assert!(wire.ended().await, "HTTP/1.0 closes");
    let mut wire = Wire::to(&bench).await;
    let head = format!(
        "POST http://elsewhere.example/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n",
        body.len()
    );
    wire.send(format!("{head}\r\n{body}")).await;
    assert_eq!(wire.answered().await.status, 200);
    let calls = bench.simulator.calls();
    assert!(calls.iter().all(|call| call.header("host").unwrap().starts_with("127.0.0.1")), "no proxy to anywhere");
}

#[tokio::test]
async fn one_bad_request_harms_no_other_on_its_connection() {
    let bench = Bench::start().await;
    let mut wire = Wire::to(&bench).await;
    let prompts = [
        r#"{"model":"openai/gpt-4o-mini","messages":"#.to_owned(),
        "[".repeat(20_000),
        r#"{"model":"openai/gpt-4o-mini","messages":[{"role":"user","content":"\ud800"}],"n":1e999}"#.to_owned(),
        r#"{"model":"no\r\nset-cookie: a=b","messages":[{"role":"user","content":"x"}]}"#.to_owned(),
    ];
    for (n, bad) in prompts.into_iter().enumerate() {
        wire.send(request("", &bad)).await;
        let seen = wire.answered().await;
        assert!((400..500).contains(&seen.status), "{n}: {}", seen.head);
        assert!(!seen.head.to_lowercase().contains("set-cookie"), "{}", seen.head);
        wire.send(request("", &ask(MODEL, &format!("Question {n}")).to_string())).await;
        let seen = wire.answered().await;
        assert_eq!(seen.status, 200, "{n}: {}", seen.body);
        assert!(seen.body.contains("choices"));
    }
    // Sent at once, they are answered in their order.
    wire.send(format!("{}{}{}", request("", "{"), good(), request("", "]"))).await;
    for status in [400, 200, 400] {
        assert_eq!(wire.answered().await.status, status);
    }
    bench.idle().await;
}

#[tokio::test]
async fn a_connection_outlives_a_refusal_that_came_before_the_body() {
    let bench = Bench::start().await;
    let mut wire = Wire::to(&bench).await;
    let refused = ask(MODEL, "Refused by its head").to_string();
    let large = "x".repeat(300_000);
    for (path, header, body, status) in [
        ("/v1/chat/completions", "x-tenant-id: nobody", &refused, 403),
        ("/v1/messages", "x-tenant-id: no/body", &refused, 400),
        ("/v1/chat/completions", "authorization: Bearer aip_wrong", &large, 401),
        ("/v1/chat/completions", "content-encoding: gzip", &large, 400),
        ("/v1/nothing", "x-a: b", &large, 404),
        ("/admin/tenants/acme/keys", "x-admin-secret: wrong", &refused, 403),
    ] {
        let length = body.len();
        wire.send(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{header}\r\n\r\n")).await;
        let seen = wire.answered().await;
        assert_eq!(seen.status, status, "{path} {header}: {}", seen.body);
        wire.send(body).await;
        wire.send(good()).await;
        assert_eq!(wire.answered().await.status, 200, "{path} {header}");
    }
    // Nobody waits for the body of a client that waits for leave to send it.
    let mut wire = Wire::to(&bench).await;
    wire.send(request("expect: 100-continue\r\nx-tenant-id: nobody\r\n", "")).await;
    assert_eq!(wire.answered().await.status, 403);
}

#[tokio::test]
async fn whoever_is_slow_is_cut_off() {
    let bench = Bench::start().await;
    bench.answered(&ask(MODEL, "Hello")).await;
    let mut slow_head = Wire::to(&bench).await;
    slow_head.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n").await;
    let mut slow_body = Wire::to(&bench).await;
    slow_body.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"model\"").await;
    let mut slow_chunks = Wire::to(&bench).await;
    slow_chunks
        .send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{\"mo\r\n")
        .await;
    while bench.gateway.drain.present() < 2 {
        tokio::task::yield_now().await;
    }
    // From here on the clock runs ahead whenever all wait.
    tokio::time::pause();
    assert!(slow_head.answer().await.is_none_or(|seen| seen.status == 408));
    for mut wire in [slow_body, slow_chunks] {
        let seen = wire.answer().await.unwrap();
        assert_eq!(seen.status, 408, "{}", seen.head);
        let error: Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!(error["error"]["code"], "invalid_request");
    }
    tokio::time::resume();
    bench.idle().await;
    assert_eq!(bench.rows().await.len(), 1);
}

#[tokio::test]
async fn nothing_of_a_client_but_its_request_goes_on() {
    let bench = Bench::start().await;
    let extra = "authorization: Bearer sk-of-the-client\r\ncookie: session=1\r\nx-tenant-id: default\r\nproxy-authorization: Basic eA==\r\n\
         connection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nte: trailers\r\nupgrade: h2c\r\nforwarded: for=1.2.3.4\r\n\
         x-forwarded-for: 1.2.3.4\r\nx-request-id: of-somebody-else\r\nx-aipipe-tags: a,b\r\nx-admin-secret: guess\r\nreferer: http://x\r\n";
    let mut wire = Wire::to(&bench).await;
    wire.send(request(extra, &ask(MODEL, "Hello").to_string())).await;
    let seen = wire.answered().await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    assert!(!seen.head.contains("of-somebody-else"), "ids are the gateway's own: {}", seen.head);
    let call = &bench.simulator.calls()[0];
    let mut names: Vec<_> = call.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["accept", "accept-encoding", "authorization", "content-length", "content-type", "host", "user-agent"]
    );
    assert!(!format!("{:?}", call.headers).contains("sk-of-the-client"));
}

#[tokio::test]
async fn a_provider_that_redirects_is_not_followed() {
    let bench = Bench::start().await;
    for status in [302, 307] {
        let before = bench.simulator.calls().len();
        bench.simulator.script_next(Provider::OpenAi, Behaviour::status(status));
        bench.simulator.script_next(Provider::OpenAi, Behaviour::status(status));
        let answer = bench.refused(&ask(MODEL, &format!("Redirected by {status}"))).await;
        assert_eq!(answer.status, 502, "{status}: {}", answer.text);
        assert!(answer.header("location").is_empty());
        assert!(bench.simulator.calls().len() > before);
    }
}

#[tokio::test]
async fn what_the_admin_api_says_is_kept_by_nobody() {
    let bench = Bench::start().await;
    for (secret, path) in [(true, "/admin/tenants"), (true, "/admin/nothing"), (false, "/admin/tenants")] {
        let request = match secret {
            true => bench.admin(reqwest::Method::GET, path),
            false => bench.client.get(bench.url(path)),
        };
        let answer = Answer::read(request.send().await.unwrap()).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn guessing_the_admin_secret_many_times_at_once_gains_nothing() {
    let bench = Bench::start().await;
    let guess = || bench.client.get(bench.url("/admin/tenants")).header("x-admin-secret", "guess").send();
    for _ in 0..6 {
        assert_eq!(guess().await.unwrap().status(), 403);
    }
    let crowd: Vec<_> = (0..100).map(|_| tokio::spawn(guess())).collect();
    let mut turned_away = 0;
    for one in crowd {
        let answer = Answer::read(one.await.unwrap().unwrap()).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "admin_forbidden"));
        turned_away += usize::from(!answer.header("retry-after").is_empty());
    }
    assert!(turned_away > 50, "most were not even looked at: {turned_away}");
}
