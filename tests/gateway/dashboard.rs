//! The dashboard, as an operator uses it: in a real browser.

use aipipe::simulator::{Behaviour, Provider};
use serde_json::json;

use crate::browser::Browser;
use crate::support::{Answer, Bench, SECRET, ask};

const KEY: &str = "sk-own-key-that-nobody-may-read-abcd";

#[tokio::test]
async fn a_circuit_on_trial_is_no_all_is_well() {
    let Some(browser) = Browser::start().await else { return };
    let bench = Bench::start().await;
    bench.simulator.script(Provider::OpenAi, Behaviour::status(500));
    for number in 0..6 {
        bench.refused(&ask("openai/gpt-4o-mini", &format!("Question {number}"))).await;
    }
    browser.open(&bench.url("/admin/")).await;
    browser.type_into("#secret", SECRET).await;
    browser.click("#login button").await;
    // The cool-down is at most five seconds long.
    browser.wait("document.querySelector('#verdict.recovering')?.textContent === 'One thing is recovering'").await;
    browser.wait_for_text("#conditions li.recovering", "on trial").await;
    browser.wait_for_text("#conditions li.recovering", "the next request is the probe").await;
    let calls = bench.shown("/admin/providers/openai").await["reach"]["calls"].as_u64().unwrap();
    let row = "[...document.querySelectorAll('#latency-rows tr')].find(row => row.textContent.startsWith('openai'))";
    let cells = browser.value(&format!("[...{row}.children].slice(12, 15).map(cell => cell.textContent)")).await;
    assert_eq!(cells, serde_json::json!([format!("{calls}"), format!("{calls}"), format!("{calls} / {calls}")]));
    browser.close().await;
}

#[tokio::test]
async fn an_operator_signs_in_restarts_an_actor_sets_a_budget_adds_a_key_and_watches_a_request() {
    let Some(browser) = Browser::start().await else { return };
    let bench = Bench::start().await;
    browser.open(&bench.url("/admin/")).await;

    browser.type_into("#secret", "a guess").await;
    browser.click("#login button").await;
    browser.wait_for_text("#login-error", "missing or wrong").await;
    assert_eq!(browser.value("document.getElementById('desk').hidden").await, true);
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("403")), "only the refusal: {complaints:?}");
    browser.type_into("#secret", SECRET).await;
    browser.click("#login button").await;
    browser.wait("document.querySelector('#verdict.well')?.textContent === 'All is well'").await;

    restarts_an_actor(&browser).await;
    sets_a_budget(&browser, &bench).await;
    adds_a_key(&browser, &bench).await;
    watches_a_request(&browser, &bench).await;

    browser.resize(390, 844).await;
    browser.wait("innerWidth === 390 && document.documentElement.scrollWidth <= innerWidth").await;
    browser.value("scrollTo(0, 0)").await;
    browser.click("#leave").await;
    browser.wait("!document.getElementById('login').hidden && sessionStorage.length === 0").await;
    assert_eq!(browser.complaints().await, [""; 0]);
    // Data can never become markup: the page's policy forbids it.
    let tried =
        "(() => { try { document.body.innerHTML = '<b>'; return 'markup'; } catch (error) { return error.name; } })()";
    assert_eq!(browser.value(tried).await, "TypeError");
    browser.close().await;
}

async fn restarts_an_actor(browser: &Browser) {
    for actor in ["root", "tenants", "providers", "provider:openai", "metrics"] {
        let row = format!("document.querySelector('[data-actor=\"{actor}\"]')?.textContent.includes('running')");
        browser.wait(&row).await;
    }
    let cells = "[...document.querySelectorAll('[data-actor=\"provider:openai\"] > *')].map(cell => cell.textContent)";
    browser.click("[aria-label='Restart provider:openai']").await;
    browser.wait("document.getElementById('ask').open").await;
    browser.click("#ask button[value=no]").await;
    browser.wait("!document.getElementById('ask').open").await;
    assert_eq!(browser.value(&format!("{cells}[3]")).await, "0", "who says no restarts nothing");
    browser.click("[aria-label='Restart provider:openai']").await;
    browser.click("#ask-yes").await;
    browser.wait(&format!("{cells}[3] === '1' && {cells}[1] === 'running'")).await;
    browser.wait_for_text("#conditions", "provider:openai: failed and runs again").await;
    assert_eq!(browser.value("document.getElementById('verdict').textContent").await, "All is well");
}

async fn sets_a_budget(browser: &Browser, bench: &Bench) {
    browser.type_into("#tenant-name", "acme").await;
    browser.click("#tenant-new button").await;
    browser.wait_for_text("#tenant-one", "Provider keys").await;
    browser.type_into("#tenant-one [name=budget_usd]", "12.5").await;
    browser.click("#tenant-one [name=operator_keys]").await;
    browser.click("#tenant-one form .primary").await;
    browser.wait_for_text("[data-tenant=acme]", "of $12.50 a month").await;
    let tenant = bench.shown("/admin/tenants/acme").await;
    assert_eq!((&tenant["budget_usd"], &tenant["operator_keys"]), (&json!("12.500000000"), &json!(true)));
}

async fn adds_a_key(browser: &Browser, bench: &Bench) {
    browser.wait("document.querySelector('#tenant-one [name=budget_usd]').value === '12.5'").await;
    browser.type_into("#tenant-one [name=key]", KEY).await;
    browser.click("#tenant-one .list form button").await;
    browser.wait_for_text("#tenant-one .list li", "openai …abcd").await;
    let held = "document.documentElement.outerHTML + [...document.querySelectorAll('input')].map(input => input.value)";
    assert!(!browser.value(held).await.as_str().unwrap().contains("nobody-may-read"));
    assert_eq!(bench.shown("/admin/tenants/acme/keys").await["keys"][0]["hint"], "…abcd");
}

async fn watches_a_request(browser: &Browser, bench: &Bench) {
    let hold = bench.simulator.hold(Provider::OpenAi);
    let request = bench.chat(&ask("openai/gpt-4o-mini", "What is a mutex?"));
    let answer = tokio::spawn(async move { Answer::read(request.send().await.unwrap()).await });
    let row = "document.querySelector('#requests-rows tr')";
    browser.wait(&format!("{row}.textContent.includes('under way')")).await;
    browser.wait_for_text("#requests-count", "1 under way").await;
    drop(hold);
    answer.await.unwrap().ok();
    browser.wait(&format!("{row}.querySelector('.state.good')?.textContent === 'ok'")).await;
    let cells = format!("[...{row}.children].map(cell => cell.textContent)");
    assert_eq!(browser.value(&format!("{cells}[3]")).await, "openai/gpt-4o-mini");
    browser.click("#requests-rows button").await;
    browser.wait_for_text(".decision .chosen", "openai/gpt-4o-mini (chosen)").await;
    assert_eq!(browser.value("document.querySelectorAll('.decision tr:not(.chosen) svg.bar').length >= 5").await, true);
    // Another stretch of time is looked at once it is chosen.
    browser.click("#money-span option:first-child").await;
    browser.wait("document.querySelector('#money-plot rect') && document.getElementById('money-rows').textContent.includes('openai')").await;
}
