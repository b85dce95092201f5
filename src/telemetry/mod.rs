//! What operators see of a gateway from outside: its metrics and its log.
//!
//! - [`metrics`]: everything that `GET /metrics` shows. A [`Meters`] belongs to one gateway and nothing of it is global, so that several
//!   gateways count side by side in one process. Requests reach it through typed methods alone; what only has a value at the moment of a
//!   scrape (queues, circuits, the tree of actors) is handed over as [`Live`] when the text is written. The names stand in one table,
//!   which no other room can see: a metric under a name of its own cannot be made elsewhere.
//! - [`traces`]: spans for an OpenTelemetry collector, where one is named.
//! - [`log`]: where `tracing` goes. Lines leave through a bounded queue and a thread of its own: a terminal or pipe that nobody reads
//!   costs lines, which are counted and reported, and never a worker's time.
//!
//! None of them ever sees a key, and none but the traces of an operator who asks for it (`traces::content`) a prompt: they are given
//! names, counts and times.

pub mod log;
pub mod metrics;
pub mod traces;

mod json_lines;
mod live;
mod names;
mod queue;
mod usd;

pub use live::{Build, Live, LiveProvider};
pub use log::{LogError, LogGuard, report_panics};
pub use metrics::{Ended, Ending, LabelBounds, Meters, TenantLabel};
