//! The answer cache: whose answers, how long, and one upstream call for those who ask at the same time.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::json;

use crate::support::{Answer, Bench, ask, ask_stream};

const MODEL: &str = "openai/gpt-4o-mini";

#[tokio::test]
async fn the_same_question_is_answered_once() {
    let bench = Bench::start().await;
    let first = bench.answered(&ask(MODEL, "What is a mutex?")).await;
    assert_eq!(first.header("x-aipipe-cache"), "miss");
    // Spacing and what only labels a request make no difference.
    let spaced = format!(
        r#"{{ "user": "me", "messages" : [ {{ "role":"user", "content":"What is a mutex?" }} ], "model": "{MODEL}" }}"#
    );
    let request = bench.client.post(bench.url("/v1/chat/completions")).body(spaced);
    let second = Answer::read(request.send().await.unwrap()).await.ok();
    assert_eq!(second.header("x-aipipe-cache"), "hit");
    assert_eq!((second.header("x-aipipe-cost-usd"), second.header("x-aipipe-attempts")), ("0.000000000", "0"));
    assert_eq!(second.content(), first.content());
    assert_ne!(second.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(bench.simulator.counts(Provider::OpenAi).arrived, 1);

    let stats = bench.shown("/admin/tenants/default/stats").await;
    assert_eq!((&stats["requests"], &stats["cache_hits"]), (&json!(2), &json!(1)), "{stats}");
    assert_eq!(stats["cost_usd"], json!(first.header("x-aipipe-cost-usd")));
    let hit = &bench.rows().await[0];
    assert_eq!(
        (&hit["cache"], &hit["cost_usd"], &hit["tokens"]["input"]),
        (&json!("hit"), &json!("0.000000000"), &json!(0))
    );
    assert_eq!(bench.metric(r#"aipipe_cache_requests_total{result="hit"}"#).await, 1.0);
}

#[tokio::test]
async fn what_differs_is_asked_anew() {
    let bench = Bench::start().await;
    bench.answered(&ask(MODEL, "What is a mutex?")).await;
    let mut warmer = ask(MODEL, "What is a mutex?");
    warmer["temperature"] = json!(0.7);
    for body in [warmer, ask(MODEL, "What is a mutex"), ask("anthropic/claude-haiku-4-5", "What is a mutex?")] {
        assert_eq!(bench.answered(&body).await.header("x-aipipe-cache"), "miss", "{body}");
    }
    bench.put_tenant("other", &json!({"operator_keys": true})).await;
    let other = bench.chat(&ask(MODEL, "What is a mutex?")).header("x-tenant-id", "other").send().await.unwrap();
    assert_eq!(Answer::read(other).await.ok().header("x-aipipe-cache"), "miss");
}

#[tokio::test]
async fn a_client_decides_what_the_cache_may_do() {
    let bench = Bench::start().await;
    let body = |mode: &str| {
        let mut body = ask(MODEL, "What is a mutex?");
        body["aipipe"] = json!({"cache": mode});
        body
    };
    for (mode, says) in [("off", "off"), ("off", "off"), ("refresh", "miss"), ("use", "hit"), ("refresh", "miss")] {
        assert_eq!(bench.answered(&body(mode)).await.header("x-aipipe-cache"), says, "{mode}");
    }
    for (directive, says) in [("no-store", "off"), ("no-cache", "miss"), ("max-age=5", "hit")] {
        let request = bench.chat(&ask(MODEL, "What is a mutex?")).header("cache-control", directive);
        assert_eq!(
            Answer::read(request.send().await.unwrap()).await.ok().header("x-aipipe-cache"),
            says,
            "{directive}"
        );
    }
    let stream = Answer::read(bench.chat(&ask_stream(MODEL, "What is a mutex?")).send().await.unwrap()).await.ok();
    assert_eq!(stream.header("x-aipipe-cache"), "off");
}

#[tokio::test]
async fn cut_off_answers_are_not_kept() {
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::HugeAnswer(2_000));
    let mut body = ask(MODEL, "Tell me all of it.");
    body["max_tokens"] = json!(5);
    for _ in 0..2 {
        let answer = bench.answered(&body).await;
        assert_eq!(answer.json()["choices"][0]["finish_reason"], "length");
        assert_eq!(answer.header("x-aipipe-cache"), "miss");
    }
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_share_one_call() {
    let bench = Bench::start().await;
    let hold = bench.simulator.hold(Provider::OpenAi);
    let body = ask(MODEL, "What is a semaphore?");
    let asking: Vec<_> = (0..5).map(|_| tokio::spawn(bench.chat(&body).send())).collect();
    bench.simulator.wait_for_calls(Provider::OpenAi, 1).await;
    // All five are under way before the answer comes.
    while bench.gateway.drain.present() < 5 {
        tokio::task::yield_now().await;
    }
    drop(hold);
    let mut says = Vec::new();
    for one in asking {
        let answer = Answer::read(one.await.unwrap().unwrap()).await.ok();
        says.push(answer.header("x-aipipe-cache").to_owned());
    }
    says.sort();
    assert_eq!(says, ["hit", "hit", "hit", "hit", "miss"]);
    assert_eq!(bench.simulator.counts(Provider::OpenAi).arrived, 1);
    assert_eq!(bench.rows().await.len(), 5);
    bench.idle().await;
}

#[tokio::test]
async fn when_the_one_who_pays_leaves_another_takes_over() {
    let bench = Bench::start().await;
    let hold = bench.simulator.hold(Provider::OpenAi);
    let body = ask(MODEL, "What is a semaphore?");
    let leader = tokio::spawn(bench.chat(&body).send());
    bench.simulator.wait_for_calls(Provider::OpenAi, 1).await;
    let followers: Vec<_> = (0..2).map(|_| tokio::spawn(bench.chat(&body).send())).collect();
    while bench.gateway.drain.present() < 3 {
        tokio::task::yield_now().await;
    }
    leader.abort();
    bench.simulator.wait_for_calls(Provider::OpenAi, 2).await;
    drop(hold);
    let mut says = Vec::new();
    for one in followers {
        says.push(Answer::read(one.await.unwrap().unwrap()).await.ok().header("x-aipipe-cache").to_owned());
    }
    says.sort();
    assert_eq!(says, ["hit", "miss"]);
    bench.idle().await;
    let outcomes: Vec<_> = bench.rows().await.iter().map(|row| row["outcome"].clone()).collect();
    assert!(outcomes.contains(&json!("cancelled")), "{outcomes:?}");
}

#[tokio::test]
async fn a_changed_key_ends_what_was_cached() {
    let bench = Bench::start().await;
    let keys = json!({"openai": bench.simulator.api_key(Provider::OpenAi)});
    let set = || bench.admin(reqwest::Method::POST, "/admin/tenants/acme/keys").body(keys.to_string()).send();
    Answer::read(set().await.unwrap()).await.ok();
    let asked = || bench.chat(&ask(MODEL, "What is a lock?")).header("x-tenant-id", "acme").send();
    for says in ["miss", "hit"] {
        assert_eq!(Answer::read(asked().await.unwrap()).await.ok().header("x-aipipe-cache"), says);
    }
    Answer::read(set().await.unwrap()).await.ok();
    assert_eq!(Answer::read(asked().await.unwrap()).await.ok().header("x-aipipe-cache"), "miss");
}
