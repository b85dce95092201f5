//! OpenAI's Chat Completions: the dialect of the first client surface and of most providers.
//!
//! Between two that speak it nothing is translated: [`scan`] looks at a body once, [`passthrough`] splices the few changes into the client's body, [`read_answer`] and
//! [`PassthroughScanner`] watch what comes back without building a tree. For providers that speak otherwise [`request`] reads a body into
//! the canonical form, and [`answer`] and [`stream`] write the canonical answer as this dialect has it. What single providers do
//! differently is data ([`ChatQuirks`]), never a provider's name in code.

pub mod answer;
pub mod error;
mod following;
mod form;
pub(in crate::dialects) mod media;
pub mod passthrough;
pub mod quirks;
mod reader;
pub mod relay;
pub mod request;
pub mod scan;
pub mod stream;
mod surface;
#[cfg(test)]
mod tests;
mod upstream;
pub(super) mod usage;

pub use answer::{AnswerShape, read_answer, write_answer};
pub use error::{read_error, write_error};
pub use passthrough::{Passthrough, prepare_passthrough};
pub use quirks::ChatQuirks;
pub use relay::{ChunkFacts, PassthroughScanner, Relayed, UsageView};
pub use request::decode_request;
pub use stream::ChatStreamEncoder;
pub use surface::Chat;
pub use upstream::ChatUpstream;
