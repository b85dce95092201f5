//! The log's events as lines of JSON: one flat object each, with time, level and target beside the event's own fields.
//!
//! Each request ends in such a line, so that it is written straight into one buffer.

use std::fmt::{self, Debug, Write as _};

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Microseconds, always.
const TIME: DateTimePrinter = DateTimePrinter::new().precision(Some(6));
/// Bytes of room for a line at first; most need no more.
const USUAL_BYTES: usize = 512;

/// Writes each event as a line of JSON.
#[derive(Debug)]
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = Line { bytes: Vec::with_capacity(USUAL_BYTES), text: String::new() };
        line.bytes.extend_from_slice(b"{\"timestamp\":\"");
        TIME.print_timestamp(&Timestamp::now(), &mut line.bytes).map_err(|_| fmt::Error)?;
        line.bytes.push(b'"');
        line.member("level", metadata.level().as_str());
        event.record(&mut line);
        line.member("target", metadata.target());
        line.bytes.extend_from_slice(b"}\n");
        writer.write_str(std::str::from_utf8(&line.bytes).map_err(|_| fmt::Error)?)
    }
}

/// A line that is being written; its first member is there.
struct Line {
    bytes: Vec<u8>,
    /// What a value says of itself, before it is escaped.
    text: String,
}

impl Line {
    fn member(&mut self, name: &str, value: impl Serialize) {
        self.bytes.push(b',');
        // Neither names nor values of these kinds can fail in memory.
        let _ = serde_json::to_writer(&mut self.bytes, name);
        self.bytes.push(b':');
        let _ = serde_json::to_writer(&mut self.bytes, &value);
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        // What fails to describe itself is shown as far as it came.
        let _ = write!(text, "{value:?}");
        self.member(field.name(), &text);
        self.text = text;
    }
}
