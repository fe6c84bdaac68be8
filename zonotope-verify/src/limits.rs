//! When to stop: a deadline, and a flag that the caller can set from elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
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

/// How one call runs: what it draws at random, and when it stops. A call that is stopped returns what it has proven by then.
///
/// The defaults change nothing: the seed of the settings, and no limit.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// A seed in place of that of the settings; `None`, the default, keeps theirs.
    pub seed: Option<u64>,
    /// Wall-clock seconds from the call on; `None`, the default, for no limit.
    pub timeout_seconds: Option<f64>,
    /// Stops the call when it is cancelled. Default: a token that nobody else holds.
    pub cancel: CancelToken,
}

impl RunOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the limit of time.
    #[must_use]
    pub fn with_timeout_seconds(mut self, seconds: f64) -> Self {
        self.timeout_seconds = Some(seconds);
        self
    }

    /// Stops when the token is cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The limits, counted from now.
    pub(crate) fn limits(&self) -> Result<Limits> {
        Limits::within(self.timeout_seconds, self.cancel.clone())
    }
}

/// A deadline and a token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancel: CancelToken,
}

impl Limits {
    pub(crate) fn within(seconds: Option<f64>, cancel: CancelToken) -> Result<Self> {
        if let Some(seconds) = seconds.filter(|seconds| seconds.is_nan() || *seconds < 0.0) {
            return Err(Error::InvalidConfig {
                field: "timeout_seconds",
                reason: format!("{seconds} is no span of time"),
            });
        }
        // A time that no clock can tell is none.
        let deadline = seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .and_then(|d| Instant::now().checked_add(d));
        Ok(Self { deadline, cancel })
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
