//! The operator's API: conditions of changes, pages and filters, figures over time, the live view, and its own description.

use std::collections::BTreeSet;
use std::time::Duration;

use aipipe::simulator::{Behaviour, Provider};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{Answer, Bench, Setting, ask, ask_stream};

const MODEL: &str = "openai/gpt-4o-mini";

impl Bench {
    async fn put(&self, tenant: &str, policy: Value, header: Option<(&str, &str)>) -> Answer {
        let mut request = self.admin(Method::PUT, &format!("/admin/tenants/{tenant}")).body(policy.to_string());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        Answer::read(request.send().await.unwrap()).await
    }
}

#[tokio::test]
async fn a_change_holds_only_on_the_condition_that_it_names() {
    let bench = Bench::start().await;
    let missing = bench.put("acme", json!({}), Some(("if-match", "*"))).await;
    assert_eq!((missing.status, missing.code().as_str()), (412, "precondition_failed"));
    let created = bench.put("acme", json!({}), Some(("if-none-match", "*"))).await.ok();
    let tag = created.header("etag").to_owned();
    let again = bench.put("acme", json!({}), Some(("if-none-match", "*"))).await;
    assert_eq!((again.status, again.code().as_str()), (412, "precondition_failed"));

    let changed = bench.put("acme", json!({"budget_usd": "5"}), Some(("if-match", &tag))).await.ok();
    let stale = bench.put("acme", json!({"budget_usd": "9"}), Some(("if-match", &tag))).await;
    assert_eq!((stale.status, stale.code().as_str()), (412, "precondition_failed"));
    assert_eq!(bench.shown("/admin/tenants/acme").await["budget_usd"], "5.000000000");
    // The same once more changes nothing, and so keeps its tag.
    let same = bench.put("acme", json!({"budget_usd": 5}), None).await.ok();
    assert_eq!((same.header("etag"), &same.text), (changed.header("etag"), &changed.text));

    let path = "/admin/tenants/acme/keys";
    let keys = Answer::read(bench.admin(Method::GET, path).send().await.unwrap()).await.ok();
    let set = |tag: &str| bench.admin(Method::POST, path).header("if-match", tag).body(r#"{"openai":"sk-1234567890"}"#);
    Answer::read(set(keys.header("etag")).send().await.unwrap()).await.ok();
    assert_eq!(set(keys.header("etag")).send().await.unwrap().status(), 412);
    let removed = bench.admin(Method::DELETE, "/admin/tenants/acme").header("if-match", &tag).send().await.unwrap();
    assert_eq!(removed.status(), 412);
}

#[tokio::test]
async fn tenants_come_in_pages_with_what_they_spent_and_their_tokens() {
    let bench = Bench::start().await;
    for name in ["a", "b", "c"] {
        bench.put_tenant(name, &json!({"operator_keys": true})).await;
    }
    let mut names = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = bench.shown(&format!("/admin/tenants?limit=3{cursor}")).await;
        names
            .extend(page["tenants"].as_array().unwrap().iter().map(|tenant| tenant["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(names, ["a", "b", "c", "default"]);

    let request = bench.chat(&ask(MODEL, "Hello")).header("x-tenant-id", "b");
    let cost = Answer::read(request.send().await.unwrap()).await.ok().header("x-aipipe-cost-usd").to_owned();
    for tenant in [bench.shown("/admin/tenants/b").await, bench.shown("/admin/tenants").await["tenants"][1].clone()] {
        let spent = json!({"day_usd": cost, "month_usd": cost, "held_usd": "0.000000000", "in_flight": 0});
        assert_eq!(tenant["spent"], spent);
    }
    let issued = bench.admin(Method::POST, "/admin/tenants/b/tokens").send().await.unwrap();
    let issued = Answer::read(issued).await.ok().json();
    let listed = bench.shown("/admin/tenants/b/tokens").await;
    assert_eq!(
        listed["tokens"],
        json!([{"id": issued["id"], "created_at": issued["created_at"], "expires_at": null, "last_used_at": null}])
    );
}

#[tokio::test]
async fn requests_are_found_by_who_what_how_and_when() {
    let bench = Bench::start().await;
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    bench.answered(&ask(MODEL, "One")).await;
    let request = bench.chat(&ask("anthropic/claude-haiku-4-5", "Two")).header("x-tenant-id", "acme");
    Answer::read(request.send().await.unwrap()).await.ok();
    bench.simulator.script(Provider::Xai, Behaviour::unreliable(1.0));
    bench.refused(&ask("xai/grok-4.3", "Three")).await;

    let rows = bench.rows().await;
    let (first, last) = (rows[2]["at"].as_str().unwrap(), rows[0]["at"].as_str().unwrap());
    for (query, found) in [
        ("tenant=acme", vec!["anthropic"]),
        ("provider=openai", vec!["openai"]),
        ("model=grok-4.3", vec!["xai"]),
        ("outcome=failed", vec!["xai"]),
        ("outcome=ok", vec!["anthropic", "openai"]),
        ("outcome=ok&tenant=default", vec!["openai"]),
        (&format!("since={last}"), vec!["xai"]),
        (&format!("until={last}"), vec!["anthropic", "openai"]),
        (&format!("since={first}&until={last}&provider=anthropic"), vec!["anthropic"]),
        ("provider=gemini", vec![]),
    ] {
        let page = bench.shown(&format!("/admin/requests?{query}")).await;
        let providers: Vec<&str> =
            page["requests"].as_array().unwrap().iter().map(|row| row["provider"].as_str().unwrap()).collect();
        assert_eq!(providers, found, "{query}");
    }
    for query in ["outcome=lost", "since=yesterday", "provider=%20", "limit=0", "limit=1001", "cursor=x"] {
        let answer = bench.admin(Method::GET, &format!("/admin/requests?{query}")).send().await.unwrap();
        let answer = Answer::read(answer).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{query}");
    }
}

#[tokio::test]
async fn figures_over_time_add_up_to_the_stats() {
    let bench = Bench::start().await;
    for prompt in ["One", "Two", "Two"] {
        bench.answered(&ask(MODEL, prompt)).await;
    }
    bench.simulator.script_next(Provider::OpenAi, Behaviour::unreliable(1.0));
    bench
        .answered(&json!({"model": MODEL, "messages": [{"role": "user", "content": "Three"}],
        "aipipe": {"models": ["anthropic/claude-haiku-4-5"]}}))
        .await;
    let stats = bench.shown("/admin/tenants/default/stats").await;
    let sum = |flows: &Value, name: &str| {
        flows.as_array().unwrap().iter().map(|flow| flow[name].as_u64().unwrap()).sum::<u64>()
    };
    for (by, parts) in [("provider", &stats["providers"]), ("model", &stats["models"])] {
        let set = bench.shown(&format!("/admin/series?steps=4&by={by}")).await;
        assert_eq!(set["total"]["cost_usd"], stats["cost_usd"], "{set}");
        assert_eq!(set["total"]["saved_usd"], stats["saved_usd"], "{set}");
        let series = set["series"].as_array().unwrap();
        assert_eq!(series.len(), parts.as_object().unwrap().len(), "{set}");
        for one in series {
            let part = &parts[one["name"].as_str().unwrap()];
            for name in ["requests", "errors", "cost_usd", "saved_usd"] {
                assert_eq!(one[name], part[name], "{by} {} {name}", one["name"]);
            }
            assert_eq!(one["points"].as_array().unwrap().len(), 4);
            assert_eq!(Some(sum(&one["points"], "requests")), one["requests"].as_u64());
        }
    }
    for by in ["", "&by=tenant"] {
        let set = bench.shown(&format!("/admin/series?steps=1{by}")).await;
        for name in ["requests", "errors", "cost_usd", "saved_usd"] {
            assert_eq!(set["total"][name], stats[name], "{name}");
        }
    }
    assert_eq!(bench.admin(Method::GET, "/admin/series?by=mood").send().await.unwrap().status(), 400);
}

/// The next snapshot that satisfies a condition.
async fn snapshot(events: &mut Response, read: &mut String, mut wanted: impl FnMut(&Value) -> bool) -> Value {
    loop {
        while let Some((event, rest)) = read.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
            *read = rest.to_owned();
            let seen: Value = data.map(|data| serde_json::from_str(&data).unwrap()).unwrap_or_default();
            if wanted(&seen) {
                return seen;
            }
        }
        let chunk = events.chunk().await.unwrap().expect("the events ended");
        read.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

#[tokio::test]
async fn whoever_watches_sees_what_is_under_way_and_what_is_not_well() {
    let bench = Bench::start().await;
    let mut events = bench.admin(Method::GET, "/admin/events").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream; charset=utf-8");
    let mut read = String::new();
    let first = snapshot(&mut events, &mut read, |_| true).await;
    assert_eq!((&first["overview"]["well"], &first["requests"]), (&json!(true), &json!([])));

    let hold = bench.simulator.hold(Provider::OpenAi);
    let request = bench.chat(&ask(MODEL, "Hello"));
    let answer = tokio::spawn(async move { Answer::read(request.send().await.unwrap()).await });
    let open = snapshot(&mut events, &mut read, |seen| seen["requests"][0]["outcome"] == "reserved").await;
    assert_eq!(open["overview"]["metrics"]["requests_under_way"], 1);
    drop(hold);
    answer.await.unwrap().ok();
    snapshot(&mut events, &mut read, |seen| seen["requests"][0]["outcome"] == "ok").await;

    bench.simulator.script(Provider::OpenAi, Behaviour::unreliable(1.0));
    for n in 0..6 {
        bench.refused(&ask(MODEL, &format!("Question {n}"))).await;
    }
    let ill = snapshot(&mut events, &mut read, |seen| seen["overview"]["well"] == false).await;
    let condition = &ill["overview"]["conditions"][0];
    assert_eq!((&condition["code"], &condition["subject"]), (&json!("circuit_open"), &json!(MODEL)), "{condition}");
    assert!(condition["since"].is_string(), "{condition}");
    assert!(condition["doing"].as_str().unwrap().contains("probe"), "{condition}");
}

#[tokio::test]
async fn a_circuit_on_trial_is_recovering_and_its_trouble_began_when_it_opened_first() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::status(500));
    let worst = async || bench.shown("/admin/overview").await["conditions"][0].clone();
    for n in 0..6 {
        bench.refused(&ask(MODEL, &format!("Question {n}"))).await;
    }
    let open = worst().await;
    assert_eq!((&open["code"], &open["severity"]), (&json!("circuit_open"), &json!("warning")), "{open}");

    // A probe fails, and the next one is due.
    past_the_cool_down(5).await;
    bench.refused(&ask(MODEL, "Are you well?")).await;
    bench.idle().await;
    assert!(worst().await["what"].as_str().unwrap().contains("one probe has failed"), "{}", worst().await);
    past_the_cool_down(10).await;
    let overview = bench.shown("/admin/overview").await;
    let trial = &overview["conditions"][0];
    assert_eq!(overview["well"], false, "{overview}");
    assert_eq!((&trial["code"], &trial["severity"]), (&json!("circuit_half_open"), &json!("recovering")), "{trial}");
    assert_eq!((&trial["subject"], &trial["since"]), (&json!(MODEL), &open["since"]), "{trial}");
    let doing = trial["doing"].as_str().unwrap();
    assert!(doing.contains("one call at a time") && doing.contains("the next request is the probe"), "{doing}");
    assert!(doing.contains("up to 20 s"), "{doing}");
    assert_eq!(bench.shown("/admin/providers/openai").await["models"]["gpt-4o-mini"]["failed_probes"], 1);

    bench.simulator.script(Provider::OpenAi, Behaviour::default());
    let calls = bench.simulator.counts(Provider::OpenAi).arrived;
    let hold = bench.simulator.hold(Provider::OpenAi);
    let request = bench.chat(&ask(MODEL, "And now?"));
    let answer = tokio::spawn(async move { Answer::read(request.send().await.unwrap()).await });
    bench.simulator.wait_for_calls(Provider::OpenAi, calls + 1).await;
    assert!(worst().await["doing"].as_str().unwrap().contains("the probe is under way"), "{}", worst().await);
    drop(hold);
    answer.await.unwrap().ok();
    bench.idle().await;
    let overview = bench.shown("/admin/overview").await;
    assert_eq!(overview["well"], true, "{overview}");
}

/// Lets the longest cool-down of so many seconds pass at once.
async fn past_the_cool_down(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn the_usual_time_to_first_content_is_that_of_streams() {
    let bench = Bench::start().await;
    let after = async |calls: u64| loop {
        let health = bench.shown("/admin/providers/openai").await["models"]["gpt-4o-mini"].clone();
        if health["calls"] == calls {
            return ["latency_ms", "ttft_ms"].map(|time| health[time].as_f64().unwrap() > 0.0);
        }
    };
    bench.answered(&ask(MODEL, "Whole")).await;
    assert_eq!(after(1).await, [true, false]);
    bench.answered(&ask_stream(MODEL, "Streamed")).await;
    assert_eq!(after(2).await, [true, true]);
}

#[tokio::test]
async fn without_any_key_nothing_is_well() {
    let bench = Bench::with(Setting { without_key: &Provider::ALL, ..Setting::default() }).await;
    let severity = async || {
        let overview = bench.shown("/admin/overview").await;
        let found = overview["conditions"].as_array().unwrap().iter().find(|condition| condition["code"] == "no_key");
        (overview["well"].clone(), found.unwrap()["severity"].clone())
    };
    assert_eq!(severity().await, (json!(false), json!("critical")));
    let set = bench.admin(Method::POST, "/admin/tenants/acme/keys").body(r#"{"openai":"sk-1234567890"}"#);
    Answer::read(set.send().await.unwrap()).await.ok();
    assert_eq!(severity().await, (json!(true), json!("notice")));
}

#[tokio::test]
async fn watchers_are_bounded_and_leave_room_when_they_go() {
    let bench = Bench::start().await;
    let watch = || bench.admin(Method::GET, "/admin/events").send();
    let mut watching = Vec::new();
    let refused = loop {
        assert!(watching.len() < 100, "there is a bound");
        let response = watch().await.unwrap();
        if response.status() != 200 {
            break Answer::read(response).await;
        }
        watching.push(response);
    };
    assert_eq!((refused.status, refused.code().as_str()), (503, "too_many_watchers"));
    assert!(!refused.header("retry-after").is_empty());
    watching.clear();
    tokio::time::timeout(Duration::from_secs(30), async { while watch().await.unwrap().status() != 200 {} })
        .await
        .unwrap();
}

async fn without_admin() -> Bench {
    Bench::with(Setting { environment: &[("AIPIPE_ADMIN_SECRET", "")], ..Setting::default() }).await
}

#[tokio::test]
async fn the_page_needs_no_secret_and_nothing_from_elsewhere() {
    let bench = Bench::start().await;
    let get = |path: &str| bench.client.get(bench.url(path)).send();
    for asset in aipipe::dashboard::ASSETS {
        let answer = Answer::read(get(&format!("/admin/assets/{}", asset.name)).await.unwrap()).await.ok();
        assert_eq!((answer.header("content-type"), answer.header("cache-control")), (asset.content_type, "no-store"));
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let elsewhere = answer.text.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http:") && !elsewhere.contains("https:"), "{}", asset.name);
        assert!(!answer.text.contains("innerHTML"), "{}", asset.name);
    }
    let page = Answer::read(get("/admin/").await.unwrap()).await.ok();
    let named = page.text.match_indices("assets/").map(|(at, _)| &page.text[at + 7..]);
    for name in named.map(|rest| rest.split('"').next().unwrap()) {
        assert!(aipipe::dashboard::asset(name).is_some(), "{name}");
    }
    assert_eq!(get("/admin").await.unwrap().url().path(), "/admin/");
    assert_eq!(get("/admin/assets/none.js").await.unwrap().status(), 404);
    let off = without_admin().await;
    let refused = Answer::read(off.client.get(off.url("/admin/")).send().await.unwrap()).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "admin_disabled"));
}

#[tokio::test]
async fn the_description_names_every_endpoint_and_describes_what_they_answer() {
    let bench = Bench::start().await;
    bench.put_tenant("acme", &json!({"operator_keys": true})).await;
    bench.answered(&ask(MODEL, "Hello")).await;
    let document = bench.shown("/admin/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    let off = without_admin().await;
    let mut ids = BTreeSet::new();
    for (path, methods) in paths {
        let filled = path
            .replace("{id}", "none")
            .replace("{name}", "none")
            .replace("{token}", "none")
            .replace("{file}", "app.js");
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{method} {path}: {id} is another's id");
            for (status, answer) in operation["responses"].as_object().unwrap() {
                assert!(!answer["description"].as_str().unwrap_or_default().is_empty(), "{method} {path} {status}");
            }
            let call = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = bench.admin(call.clone(), &filled).send().await.unwrap();
            assert_eq!(answer.headers()["cache-control"], "no-store", "{method} {path}");
            let status = answer.status().as_u16();
            let there =
                status != 405 && (status != 404 || !answer.text().await.unwrap().contains("there is nothing at"));
            assert!(there, "{method} {path}: {status}");
            let guarded = Answer::read(off.client.request(call, off.url(&filled)).send().await.unwrap()).await;
            assert_eq!((guarded.status, guarded.code().as_str()), (403, "admin_disabled"), "{method} {path}");
        }
    }
    // The reverse: an endpoint that people are told of is in the document.
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let mut told = 0;
    for path in readme.split('`').filter_map(|code| code.split_whitespace().find(|word| word.starts_with("/admin/"))) {
        let path = path.split('?').next().unwrap();
        if !path.contains("…")
            && path.split('/').all(|part| {
                part.is_empty() || part.starts_with('{') || part.chars().all(|c| c.is_ascii_lowercase() || c == '.')
            })
        {
            assert!(paths.contains_key(path), "README: {path}");
            told += 1;
        }
    }
    assert!(told > 10, "{told}");

    let request = bench.rows().await[0]["request_id"].as_str().unwrap().to_owned();
    bench.put_tenant("default", &json!({"shadow": {"sample": 1.0}})).await;
    for _ in 0..2 {
        bench.answered(&ask("auto", "Hello")).await;
    }
    for (template, path) in [
        ("/admin/overview", "/admin/overview"),
        ("/admin/tenants", "/admin/tenants"),
        ("/admin/tenants/{id}", "/admin/tenants/acme"),
        ("/admin/tenants/{id}/keys", "/admin/tenants/acme/keys"),
        ("/admin/tenants/{id}/tokens", "/admin/tenants/acme/tokens"),
        ("/admin/tenants/{id}/stats", "/admin/tenants/default/stats"),
        ("/admin/tenants/{id}/learning", "/admin/tenants/default/learning"),
        ("/admin/tenants/{id}/shadow", "/admin/tenants/default/shadow"),
        ("/admin/series", "/admin/series?by=model"),
        ("/admin/requests", "/admin/requests"),
        ("/admin/requests/{id}", &format!("/admin/requests/{request}")),
        ("/admin/providers", "/admin/providers"),
        ("/admin/providers/{name}", "/admin/providers/openai"),
        ("/admin/actors", "/admin/actors"),
        ("/admin/metrics", "/admin/metrics"),
    ] {
        let schema = &paths[template]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{template}");
        fits(&document, schema, &bench.shown(path).await, path);
    }
}

/// Holds a value against a schema, as far as this document uses them.
fn fits(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema =
            document.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is not in the document"));
        return fits(document, schema, value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let is_null = |schema: &&Value| schema["type"] == "null";
        if value.is_null() {
            assert!(choices.iter().any(|schema| is_null(&schema)), "{place} is null");
            return;
        }
        let [other] = choices.iter().filter(|schema| !is_null(schema)).collect::<Vec<_>>()[..] else {
            panic!("{place}")
        };
        return fits(document, other, value, place);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) if kinds.contains(&"number") => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&kind), "{place}: {kind}, not {kinds:?}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{place}: {value}");
    }
    for item in value.as_array().into_iter().flatten() {
        fits(document, &schema["items"], item, &format!("{place}[]"));
    }
    let Some(members) = value.as_object() else { return };
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(members.contains_key(required.as_str().unwrap()), "{place} lacks {required}");
    }
    for (name, member) in members {
        let place = format!("{place}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => panic!("{place} is not described"),
            (Value::Null, Value::Null) => {}
            (Value::Null, other) => fits(document, other, member, &place),
            (described, _) => fits(document, described, member, &place),
        }
    }
}

#[tokio::test]
async fn only_an_object_sets_a_tenant() {
    let bench = Bench::start().await;
    bench.put_tenant("acme", &json!({"budget_usd": "20"})).await;
    for body in ["[]", "[true]", "null", "", "\"x\"", "{\"budget_usd\": \"20\""] {
        let set = bench.admin(Method::PUT, "/admin/tenants/acme").body(body).send().await.unwrap();
        let refused = Answer::read(set).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_request"), "{body}: {}", refused.text);
    }
    assert_eq!(bench.shown("/admin/tenants/acme").await["budget_usd"], "20.000000000");
}

#[tokio::test]
async fn what_nobody_was_asked_has_cost_nothing() {
    let bench = Bench::start().await;
    let shown = bench.shown("/admin/metrics").await;
    let providers = shown["providers"].as_object().unwrap().values();
    for aggregate in providers.chain([&shown["total"]]) {
        assert_eq!(aggregate["cost_usd"], "0.000000000", "{aggregate}");
    }
}
