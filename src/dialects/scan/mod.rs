//! One borrowed pass over a client's body: what every dialect finds there for routing, accounting and splicing.
//!
//! Nothing is copied and no tree is built; texts stay as they stand in the body and are unescaped only when somebody asks for them.
//! Only what AiPipe itself relies on is checked: a field that it does not know passes to the provider untouched. `null` means absent.
//! A member that is written twice is refused: providers differ in which of the two counts, and a limit or a model must not be read in
//! two ways. A dialect reads its own members ([`BodyScan`]) into what all have in common ([`Findings`]).

mod ask;
mod findings;
mod members;
mod preferences;
mod prompt_key;
mod thread;
mod transcript;
mod values;

pub use ask::Ask;
pub use findings::Findings;
pub(in crate::dialects) use findings::{BodyScan, read};
pub use members::{Member, Members};
pub use prompt_key::PromptHasher;
pub(in crate::dialects) use thread::{Said, Thread};
pub use transcript::Trace;
pub(in crate::dialects) use transcript::Transcript;
pub(in crate::dialects) use values::{
    boolean, count, count_pages, effort_named, id_within, invalid, number, objects, string, strings, whole,
};
