//! When long work is to end early: at Ctrl-C, or when its time is up.
//!
//! The first Ctrl-C (or SIGTERM) asks the work to stop with what it has; a second one ends the process at once, with
//! status 130.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use tracing_indicatif::suspend_tracing_indicatif;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// How often a [`Limit`] looks at the clock and at Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
/// The exit status of a process that Ctrl-C ended.
const KILLED: i32 = 130;

/// A flag that the first Ctrl-C sets. Until this is called Ctrl-C ends the process.
pub fn interrupted() -> &'static AtomicBool {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        let installed = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                process::exit(KILLED);
            }
            suspend_tracing_indicatif(|| {
                eprintln!("stopping with what there is; once more to stop at once");
            });
        });
        if let Err(error) = installed {
            tracing::warn!(%error, "Ctrl-C will end the program without a result");
        }
    });
    &INTERRUPTED
}

/// A piece of work that ends early at Ctrl-C or when its time is up, all of its parts together.
#[derive(Debug)]
pub struct Limit {
    time: Option<Duration>,
    deadline: Option<Instant>,
    stopped: Arc<AtomicBool>,
    /// Dropped with the limit, which ends the thread that watches.
    _alive: Sender<()>,
}

impl Limit {
    /// Work that begins now and may take this long; `None` for as long as it takes.
    pub fn start(time: Option<Duration>) -> Self {
        Self::calling(time, || {})
    }

    /// As [`Limit::start`]; when the flag is set, `stop` is called, once and on another thread: for work that looks at
    /// a flag of its own.
    pub fn calling(time: Option<Duration>, stop: impl FnOnce() + Send + 'static) -> Self {
        let interrupted = interrupted();
        // A time beyond what the clock can hold is no limit.
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        let stopped = Arc::new(AtomicBool::new(false));
        let (alive, ended) = mpsc::channel::<()>();
        let watched = Arc::clone(&stopped);
        thread::spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if late || interrupted.load(Ordering::Relaxed) {
                    watched.store(true, Ordering::Relaxed);
                    return stop();
                }
            }
        });
        Self {
            time,
            deadline,
            stopped,
            _alive: alive,
        }
    }

    /// A flag that is set at Ctrl-C, and within a fraction of a second after the time is up.
    pub fn flag(&self) -> &AtomicBool {
        &self.stopped
    }

    /// The time that is left, 0 when it is up; `None` without a limit.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Why the work must end, for the user; `None` if it may go on.
    pub fn reason(&self) -> Option<String> {
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Some("it was interrupted".to_owned());
        }
        let up = self.remaining() == Some(Duration::ZERO);
        let time = self.time.filter(|_| up)?;
        Some(format!("its time of {} s is up", time.as_secs_f64()))
    }

    /// Whether the work may go on.
    ///
    /// # Errors
    /// If it may not: that it was stopped while it was `doing` something, and why.
    pub fn check(&self, doing: &str) -> anyhow::Result<()> {
        match self.reason() {
            None => Ok(()),
            Some(reason) => bail!("stopped while {doing}: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_time_nothing_ends() {
        let limit = Limit::start(None);
        thread::sleep(3 * TICK);
        assert!(!limit.flag().load(Ordering::Relaxed));
        assert!(limit.check("waiting").is_ok());
        assert_eq!(limit.remaining(), None);
        let endless = Limit::start(Some(Duration::MAX));
        assert!(endless.check("waiting").is_ok());
    }

    #[test]
    fn who_asks_is_called_when_the_time_is_up_and_not_before() {
        let (called, calls) = mpsc::channel();
        let of = |time| {
            let called = called.clone();
            Limit::calling(time, move || called.send(()).unwrap())
        };
        drop(of(Some(Duration::from_secs(20))));
        let endless = of(None);
        thread::sleep(3 * TICK);
        assert!(calls.try_recv().is_err());
        let short = of(Some(Duration::from_millis(10)));
        calls.recv_timeout(Duration::from_secs(20)).unwrap();
        drop((endless, short));
    }

    #[test]
    fn when_the_time_is_up_the_flag_is_set_and_the_error_says_so() {
        let limit = Limit::start(Some(Duration::from_millis(10)));
        let patience = Instant::now() + Duration::from_secs(20);
        while !limit.flag().load(Ordering::Relaxed) {
            assert!(Instant::now() < patience, "the flag was never set");
            thread::sleep(TICK);
        }
        assert_eq!(limit.remaining(), Some(Duration::ZERO));
        let error = limit.check("waiting").unwrap_err().to_string();
        assert!(
            error.contains("waiting") && error.contains("0.01 s"),
            "{error}"
        );
    }
}
