//! Where the log goes: stderr, readable on a terminal and JSON lines elsewhere, through a queue that nobody waits for.
//!
//! `tracing` has one subscriber a process, and panics one hook: this is the only thing of AiPipe that is global, and only the program's
//! start sets it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use jiff::Timestamp;
use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::json_lines::JsonLines;
use super::queue::{self, Closer, Lines, LossReport};

/// What is logged where the operator says nothing.
const DEFAULT_FILTER: &str = "info";
/// The actor library tells of every start and stop; a directive of the operator's for the same target takes its place.
const QUIET: &str = "ractor=warn";

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter breaks the syntax of directives (`info`, `aipipe=debug,ractor=info`).
    #[error("the log filter cannot be read: {0}")]
    Filter(#[from] ParseError),
    /// The process has a subscriber already.
    #[error("the log was set up before: {0}")]
    Installed(#[from] SetGlobalDefaultError),
    /// The writing thread could not be started.
    #[error("the log's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Keeps the log alive; dropping it writes what is still queued. Later lines go to stderr directly.
#[derive(Debug)]
#[must_use = "the log ends when the guard is dropped"]
pub struct LogGuard {
    _closer: Closer,
}

/// Sends the process's log to stderr, and panics with it. An empty filter means `info`.
///
/// # Errors
/// When the filter cannot be read, a subscriber is set already or the writing thread cannot be started.
pub fn init(filter: &str) -> Result<LogGuard, LogError> {
    let filter = parse_filter(filter)?;
    let format = if std::io::stderr().is_terminal() { Format::Human } else { Format::Json };
    let (lines, closer) = queue::start(std::io::stderr(), format.loss_report())?;
    match format {
        Format::Human => tracing::subscriber::set_global_default(human(filter, lines)),
        Format::Json => tracing::subscriber::set_global_default(json(filter, lines)),
    }?;
    report_panics();
    Ok(LogGuard { _closer: closer })
}

/// Tells of every panic, its message and place, in one line of the log; on stderr where there is no log yet. A backtrace comes with it
/// where `RUST_BACKTRACE` asks for one.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let message = panic_message(panic);
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        if tracing::dispatcher::has_been_set() {
            tracing::error!(thread, place, backtrace, "panicked: {message}");
        } else {
            eprintln!("thread {thread} panicked at {place}: {message}");
            if let Some(backtrace) = backtrace {
                eprintln!("{backtrace}");
            }
        }
    }));
}

fn panic_message<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

fn parse_filter(filter: &str) -> Result<EnvFilter, ParseError> {
    let filter = if filter.trim().is_empty() { DEFAULT_FILTER } else { filter };
    EnvFilter::builder().parse(format!("{QUIET},{filter}"))
}

#[derive(Debug, Clone, Copy)]
enum Format {
    Human,
    Json,
}

impl Format {
    /// The thread that writes cannot log, since its line would stand behind those in the queue; so it words the report itself.
    fn loss_report(self) -> LossReport {
        match self {
            Self::Human => |count| format!("{}  WARN aipipe::log: {count} log lines dropped\n", Timestamp::now()),
            Self::Json => |count| {
                let at = Timestamp::now();
                format!(
                    "{{\"timestamp\":\"{at}\",\"level\":\"WARN\",\"message\":\"log lines dropped\",\"dropped\":{count},\
                     \"target\":\"aipipe::log\"}}\n"
                )
            },
        }
    }
}

fn human(filter: EnvFilter, lines: Lines) -> impl Subscriber + Send + Sync {
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || lines.clone()).finish()
}

fn json(filter: EnvFilter, lines: Lines) -> impl Subscriber + Send + Sync {
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || lines.clone());
    builder.event_format(JsonLines).finish()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `events` runs under a log with this filter.
    fn logged(filter: &str, events: impl FnOnce()) -> Vec<serde_json::Value> {
        let kept = Kept::default();
        let (lines, closer) = queue::start(kept.clone(), Format::Json.loss_report()).unwrap();
        with_default(super::json(parse_filter(filter).unwrap(), lines), events);
        drop(closer);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn chatter() {
        tracing::info!(target: "ractor::actor", "started");
        tracing::debug!(target: "aipipe::http", "detail");
        tracing::info!(target: "aipipe::http", status = 200, "answered");
    }

    #[test]
    fn values_of_every_kind_are_json() {
        let lines = logged("", || {
            let (quoted, none) = ("a \"quote\"\nand a line", None::<u64>);
            tracing::info!(quoted, shown = %quoted, debug = ?quoted, signed = -1, share = 0.5, yes = true, none, "said: {quoted}");
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let quoted = "a \"quote\"\nand a line";
        for (name, value) in [
            ("quoted", json!(quoted)),
            ("shown", json!(quoted)),
            ("debug", json!(format!("{quoted:?}"))),
            ("signed", json!(-1)),
            ("share", json!(0.5)),
            ("yes", json!(true)),
            ("message", json!(format!("said: {quoted}"))),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
        assert!(line.get("none").is_none(), "{line}");
        assert!(line["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{line}");
    }

    fn messages(lines: &[serde_json::Value]) -> Vec<&str> {
        lines.iter().map(|line| line["message"].as_str().unwrap()).collect()
    }

    #[test]
    fn lines_are_flat_json_with_their_fields() {
        let lines = logged("", chatter);
        assert_eq!(messages(&lines), ["answered"]);
        assert_eq!((&lines[0]["level"], &lines[0]["status"]), (&"INFO".into(), &200.into()));
        assert_eq!(lines[0]["target"], "aipipe::http");
        assert!(lines[0]["timestamp"].is_string());
    }

    #[test]
    fn ractor_is_quiet_unless_the_operator_wants_to_hear_it() {
        assert_eq!(messages(&logged("debug", chatter)), ["detail", "answered"]);
        assert_eq!(messages(&logged("warn,ractor=info", chatter)), ["started"]);
        assert_eq!(messages(&logged("info,ractor::actor=info", chatter)), ["started", "answered"]);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        assert!(parse_filter("aipipe=loud").is_err());
    }

    #[test]
    fn the_report_of_dropped_lines_is_a_line_of_the_log() {
        let report: serde_json::Value = serde_json::from_str(&Format::Json.loss_report()(7)).unwrap();
        assert_eq!((&report["dropped"], &report["level"]), (&7.into(), &"WARN".into()));
        assert!(Format::Human.loss_report()(7).ends_with(" 7 log lines dropped\n"));
    }

    /// What a test of this file writes to stderr when it runs in a process of its own, since subscriber and hook are the process's.
    fn stderr_of(test: &str) -> String {
        let mut process = std::process::Command::new(std::env::current_exe().unwrap());
        let name = format!("telemetry::log::tests::{test}");
        process.args(["--exact", &name, "--ignored", "--nocapture"]).env_remove("RUST_BACKTRACE");
        let output = process.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn panic_in_a_thread() {
        let thread = std::thread::Builder::new().name("doomed".into());
        thread.spawn(|| panic!("the reason was {}", 7)).unwrap().join().unwrap_err();
    }

    #[test]
    #[ignore = "runs in a process of its own, for `a_panic_is_one_line_of_the_log`"]
    fn panic_with_a_log() {
        let guard = init("info").unwrap();
        panic_in_a_thread();
        drop(guard);
        tracing::info!("after the guard");
    }

    #[test]
    fn a_panic_is_one_line_of_the_log() {
        let stderr = stderr_of("panic_with_a_log");
        let lines: Vec<serde_json::Value> = stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(messages(&lines), ["panicked: the reason was 7", "after the guard"]);
        assert_eq!((&lines[0]["level"], &lines[0]["thread"]), (&"ERROR".into(), &"doomed".into()));
        assert!(lines[0]["place"].as_str().unwrap().contains("log.rs:"), "{}", lines[0]);
        assert!(lines[0].get("backtrace").is_none(), "{}", lines[0]);
    }

    #[test]
    #[ignore = "runs in a process of its own, for `a_panic_before_the_log_is_on_stderr`"]
    fn panic_without_a_log() {
        report_panics();
        panic_in_a_thread();
    }

    #[test]
    fn a_panic_before_the_log_is_on_stderr() {
        let stderr = stderr_of("panic_without_a_log");
        assert!(stderr.starts_with("thread doomed panicked at "), "{stderr}");
        assert!(stderr.trim_end().ends_with(": the reason was 7"), "{stderr}");
    }
}
