//! When to stop: a deadline, and a flag that the caller can set from elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::report::Reason;

/// A flag that stops a search from another thread; the search returns what it has proven so far.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every search that holds a clone of this token to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A deadline and a token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancel: CancelToken,
}

impl Limits {
    pub(crate) fn within(seconds: Option<f64>, cancel: CancelToken) -> Self {
        let deadline = seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .and_then(|d| Instant::now().checked_add(d));
        Self { deadline, cancel }
    }

    /// Why to stop now, if at all.
    pub(crate) fn reached(&self) -> Option<Reason> {
        if self.cancel.is_cancelled() {
            Some(Reason::Cancelled)
        } else if self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            Some(Reason::Timeout)
        } else {
            None
        }
    }
}
