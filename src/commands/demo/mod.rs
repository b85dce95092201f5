//! `aipipe demo`: the main job with nothing but the binary. Simulated providers on loopback, the real gateway in front of them, a day's mix
//! of requests over HTTP, and what it cost beside one frontier model.
//!
//! The answers are invented by the simulator; prices, routing, failover, cache and accounts are the real thing.
#![expect(clippy::indexing_slicing, reason = "a JSON value indexed by a name is null where there is nothing")]

mod bill;
mod script;
mod stage;
mod told;

use std::process::ExitCode;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::Method;
use tokio::signal::unix::{SignalKind, signal};

use self::bill::Bill;
use self::script::{Act, Request, Script};
use self::stage::Stage;
use self::told::Told;
use super::print;
use crate::config::Environment;
use crate::simulator::{Behaviour, Latency, Provider};
use crate::telemetry::log;

/// Requests under way at a time.
const CONCURRENCY: usize = 6;
/// What is logged where AIPIPE_LOG says nothing: the live view is the log here.
const QUIET: &str = "off";

/// How the demonstration runs.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// End after the table instead of serving on
    #[arg(long)]
    once: bool,
    /// Let the simulated models answer at once
    #[arg(long)]
    fast: bool,
}

/// Runs it.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let filter = Environment::from_process().get("AIPIPE_LOG").unwrap_or(QUIET).to_owned();
    let _log = match log::init(&filter) {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("aipipe demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("aipipe demo: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(perform(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aipipe demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn perform(arguments: &Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let latency = if arguments.fast { Latency::None } else { Latency::Realistic };
    let stage = Stage::set(latency).await?;
    let outcome = tokio::select! {
        outcome = play(&stage, arguments) => outcome,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    stage.clear().await;
    outcome
}

/// Sends the script's requests and prints what came of them; then, unless it was asked to end, waits for ever.
async fn play(stage: &Stage, arguments: &Arguments) -> anyhow::Result<()> {
    let script = Script::load()?;
    for tenant in &script.tenants {
        stage.create(tenant).await?;
    }
    print(&format!(
        "Seven simulated providers, a gateway at {}, {} requests of {} tenants.\n\n",
        stage.url(""),
        script.len(),
        script.tenants.len()
    ));
    let view = View::new(script.len());
    let mut answered = 0;
    for act in Act::ALL {
        let down = (act == Act::Outage).then(|| busiest(stage));
        match (act, down) {
            (Act::Outage, Some(provider)) => {
                view.say(&format!("\n--- {provider}, which has answered most, goes down ---\n"));
                stage.simulator.script(provider, Behaviour::status(503));
            }
            (Act::After, _) => view.say("\n--- it is back ---\n"),
            _ => {}
        }
        let requests = stream::iter(script.requests(act)).map(|request| ask(stage, &script, request));
        let mut answers = requests.buffer_unordered(CONCURRENCY);
        while let Some(told) = answers.next().await {
            let told = told?;
            answered += usize::from(told.is_answered());
            view.tell(&told);
        }
        if let Some(provider) = down {
            stage.simulator.script(provider, Behaviour::Normal);
        }
    }
    view.close();
    anyhow::ensure!(answered > 0, "no request was answered; AIPIPE_LOG=info shows why");
    print(&summary(stage, &script).await?);
    if !arguments.once {
        print(&format!("{}\nserving until interrupted\n", how_to_try(stage)));
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// The provider that has answered most so far.
fn busiest(stage: &Stage) -> Provider {
    let calls = |provider: &Provider| stage.simulator.counts(*provider).arrived;
    Provider::ALL.into_iter().max_by_key(calls).unwrap_or(Provider::OpenAi)
}

async fn ask(stage: &Stage, script: &Script, request: &Request) -> anyhow::Result<Told> {
    let started = Instant::now();
    let response = stage.chat(&request.tenant, &script.body(request)).send().await?;
    let mut told = Told::read(request, response, started).await?;
    if told.attempts > 1 {
        let row = stage.admin(Method::GET, &format!("/admin/requests/{}", told.request_id), None).await?;
        let attempts = row["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let failed = attempts
            .iter()
            .filter_map(|attempt| Some(format!("{} ({})", attempt["provider"].as_str()?, attempt["fault"].as_str()?)));
        told.after(&failed.collect::<Vec<_>>());
    }
    Ok(told)
}

async fn summary(stage: &Stage, script: &Script) -> anyhow::Result<String> {
    let mut bill = Bill::default();
    for tenant in &script.tenants {
        bill.add(&stage.admin(Method::GET, &format!("/admin/tenants/{}/stats", tenant.id), None).await?);
    }
    let baseline = stage.baseline();
    Ok(format!(
        "\n{}\n\nsaved {:.1} % against sending everything to {baseline}: simulated answers, the catalogue's prices\n",
        bill.table(&baseline),
        bill.saved_percent()
    ))
}

fn how_to_try(stage: &Stage) -> String {
    let url = stage.url("/v1");
    format!(
        "\ntry it:\n  curl {url}/chat/completions -H 'content-type: application/json' \
         -d '{{\"model\":\"auto\",\"messages\":[{{\"role\":\"user\",\"content\":\"What is a mutex?\"}}]}}'\n  \
         python -c 'from openai import OpenAI; print(OpenAI(base_url=\"{url}\", api_key=\"any\").chat.completions.create(\
         model=\"auto\", messages=[{{\"role\": \"user\", \"content\": \"What is a mutex?\"}}]))'\n\
         look inside:\n  {} in a browser, with the secret {secret}\n  curl -H 'X-Admin-Secret: {secret}' {}\n",
        stage.url("/admin/"),
        stage.url("/admin/providers"),
        secret = stage.secret,
    )
}

/// Lines as they come, with a bar below them on a terminal.
struct View {
    bar: ProgressBar,
}

impl View {
    fn new(length: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| print(&format!("{text}\n")));
    }

    fn tell(&self, told: &Told) {
        self.bar.inc(1);
        let number = usize::try_from(self.bar.position()).unwrap_or(usize::MAX);
        self.say(&told.line(number));
    }

    fn close(&self) {
        self.bar.finish_and_clear();
    }
}
