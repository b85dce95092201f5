//! A real browser, headless, driven over WebDriver (W3C) on loopback.

use std::process::Stdio;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::support::client;

/// What WebDriver names an element's id by.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Whatever takes so long never comes.
const NEVER_MS: u64 = 20_000;
/// What keeps Chromium to itself and to loopback.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
];

/// A browser with one window. Dropping it ends it.
pub(crate) struct Browser {
    client: Client,
    session: String,
    _driver: Child,
    _profile: TempDir,
    _turn: SemaphorePermit<'static>,
}

/// One browser at a time: drivers that start together may choose the same port, and then one of them ends.
static TURNS: Semaphore = Semaphore::const_new(1);

impl Browser {
    /// A fresh browser; `None`, said aloud, where chromium and its driver are not installed.
    pub(crate) async fn start() -> Option<Self> {
        let turn = TURNS.acquire().await.unwrap();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let Ok(mut driver) = command.spawn() else {
            assert!(std::env::var_os("CI").is_none(), "chromedriver is not installed");
            eprintln!("SKIPPED: the dashboard in a real browser: install chromium and chromium-driver");
            return None;
        };
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = said.next_line().await.unwrap().expect("chromedriver ended");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let profile = tempfile::tempdir().unwrap();
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": NEVER_MS, "pageLoad": NEVER_MS},
        });
        let mut browser = Self {
            client: client(),
            session: format!("http://127.0.0.1:{port}/session"),
            _driver: driver,
            _profile: profile,
            _turn: turn,
        };
        let session = browser.call(Method::POST, "", &json!({"capabilities": {"alwaysMatch": wanted}})).await;
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().unwrap());
        Some(browser)
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = self.client.request(method.clone(), format!("{}{path}", self.session));
        let request = if body.is_null() { request } else { request.body(body.to_string()) };
        let text = request.send().await.unwrap().text().await.unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(answer["value"]["error"].is_null(), "{path} {body}: {}", answer["value"]["message"]);
        answer["value"].take()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, &body).await
    }

    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    async fn find(&self, css: &str) -> String {
        let found = self.post("/element", json!({"using": "css selector", "value": css})).await;
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    /// Clicks as a user does: what is hidden or covered cannot be clicked.
    pub(crate) async fn click(&self, css: &str) {
        let element = self.find(css).await;
        self.post(&format!("{element}/click"), json!({})).await;
    }

    /// Types into a field, in place of what it held.
    pub(crate) async fn type_into(&self, css: &str, text: &str) {
        let element = self.find(css).await;
        self.post(&format!("{element}/clear"), json!({})).await;
        self.post(&format!("{element}/value"), json!({"text": text})).await;
    }

    /// The value of an expression.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        self.post("/execute/sync", json!({"script": format!("return ({expression})"), "args": []})).await
    }

    /// Waits until an expression becomes true of the page, and gives its value.
    pub(crate) async fn wait(&self, expression: &str) -> Value {
        let script = "
            const done = arguments[arguments.length - 1];
            const test = () => { try { return (EXPRESSION); } catch { return null; } };
            const look = () => { const value = test(); if (value) { observer.disconnect(); done(value); } };
            const observer = new MutationObserver(look);
            observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
            look();";
        let body = json!({"script": script.replace("EXPRESSION", expression), "args": []});
        self.post("/execute/async", body).await
    }

    /// Waits until the element's text holds these words.
    pub(crate) async fn wait_for_text(&self, css: &str, words: &str) {
        self.wait(&format!("document.querySelector({css:?}).textContent.includes({words:?})")).await;
    }

    /// Gives the window a size.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": true});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.post("/goog/cdp/execute", command).await;
    }

    /// What the console has said since the last time, of warnings and errors; violations of the page's policy are among them.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({"type": "browser"})).await;
        let grave = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        entries.as_array().unwrap().iter().filter(grave).map(|entry| entry["message"].to_string()).collect()
    }

    /// Ends the browser in good order.
    pub(crate) async fn close(self) {
        self.call(Method::DELETE, "", &Value::Null).await;
    }
}
