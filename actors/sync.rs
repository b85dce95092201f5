//! The locks and channels of what is checked under all kinds of schedules: `tests/model` puts its own in their place.

pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use tokio::sync::{oneshot, watch};
