//! A ledger of releases from one table: intents are written before a fit, outcomes after it, so that a run that was interrupted counts as spent.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::budget::PrivacyBudget;
use crate::error::{Error, Result};

/// The budget of one table, and what has been spent of it (basic composition).
///
/// Entries are lines of JSON that are only ever appended; with a file they outlive the process. One process at a time may hold a file: it is locked.
#[derive(Debug)]
pub struct Ledger {
    total: PrivacyBudget,
    entries: Vec<Entry>,
    file: Option<(PathBuf, File)>,
    /// Whether the file may hold more than `entries`.
    is_broken: bool,
}

/// One line of a ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// What the release was for.
    pub purpose: String,
    /// Its epsilon.
    pub epsilon: f64,
    /// Its delta.
    pub delta: f64,
    /// Whether something was returned, a refusal included. An intent that was never completed is spent all the same.
    pub completed: bool,
}

/// An entry that is paid for and not completed.
#[derive(Debug)]
#[must_use = "complete the intent when the release is out"]
pub struct Intent(usize);

impl Ledger {
    /// A ledger in memory.
    #[must_use]
    pub fn new(total: PrivacyBudget) -> Self {
        Self {
            total,
            entries: Vec::new(),
            file: None,
            is_broken: false,
        }
    }

    /// A ledger in a file, which is made if it is missing. The budget is the caller's: it is not stored.
    ///
    /// # Errors
    /// [`Error::Io`], also if another process holds the file; [`Error::Format`] if a line is no entry.
    pub fn open(path: impl AsRef<Path>, total: PrivacyBudget) -> Result<Self> {
        let path = path.as_ref();
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(io)?;
        file.try_lock().map_err(|error| io(error.into()))?;
        let mut entries: Vec<Entry> = Vec::new();
        for (index, line) in BufReader::new(&file).lines().enumerate() {
            let line = line.map_err(io)?;
            let bad = |found: String| Error::Format {
                file: path.display().to_string(),
                line: index as u64 + 1,
                expected: "an entry of a ledger".to_owned(),
                found,
            };
            let record: Record =
                serde_json::from_str(&line).map_err(|error| bad(error.to_string()))?;
            match record {
                Record::Intent {
                    purpose,
                    epsilon,
                    delta,
                } => {
                    if !(epsilon >= 0.0 && epsilon.is_finite() && (0.0..=1.0).contains(&delta)) {
                        return Err(bad(format!("epsilon {epsilon}, delta {delta}")));
                    }
                    entries.push(Entry {
                        purpose,
                        epsilon,
                        delta,
                        completed: false,
                    });
                }
                Record::Completed { entry } => match entries.get_mut(entry) {
                    Some(entry) => entry.completed = true,
                    None => return Err(bad(format!("completion of entry {entry}"))),
                },
            }
        }
        Ok(Self {
            total,
            entries,
            file: Some((path.to_owned(), file)),
            is_broken: false,
        })
    }

    /// Pays for a release, before it is made.
    ///
    /// # Errors
    /// [`Error::LedgerExhausted`], [`Error::BadParameter`] for an epsilon or delta without a meaning, [`Error::Io`]. Nothing may be
    /// released then. After a failure to write, the entry may be in the file all the same; the ledger takes no more until it is opened again.
    pub fn spend(&mut self, purpose: &str, epsilon: f64, delta: f64) -> Result<Intent> {
        if !(epsilon >= 0.0 && epsilon.is_finite()) {
            return Err(Error::BadParameter {
                name: "epsilon",
                value: epsilon,
                reason: "must be finite and not negative",
            });
        }
        if !(0.0..1.0).contains(&delta) {
            return Err(Error::BadParameter {
                name: "delta",
                value: delta,
                reason: "must lie in [0, 1)",
            });
        }
        let (available_epsilon, available_delta) = self.available();
        // A hair of slack, so that tenths of a budget add up to it.
        if epsilon > available_epsilon + 1e-12 * self.total.epsilon()
            || delta > available_delta + 1e-12 * self.total.delta()
        {
            return Err(Error::LedgerExhausted {
                available_epsilon,
                available_delta,
                epsilon,
                delta,
            });
        }
        self.append(&Record::Intent {
            purpose: purpose.to_owned(),
            epsilon,
            delta,
        })?;
        self.entries.push(Entry {
            purpose: purpose.to_owned(),
            epsilon,
            delta,
            completed: false,
        });
        Ok(Intent(self.entries.len() - 1))
    }

    /// Notes that a release is out.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn complete(&mut self, intent: Intent) -> Result<()> {
        self.append(&Record::Completed { entry: intent.0 })?;
        if let Some(entry) = self.entries.get_mut(intent.0) {
            entry.completed = true;
        }
        Ok(())
    }

    /// What has been spent.
    #[must_use]
    pub fn spent(&self) -> (f64, f64) {
        self.entries.iter().fold((0.0, 0.0), |(e, d), entry| {
            (e + entry.epsilon, d + entry.delta)
        })
    }

    /// What is left.
    #[must_use]
    pub fn available(&self) -> (f64, f64) {
        let (epsilon, delta) = self.spent();
        (
            (self.total.epsilon() - epsilon).max(0.0),
            (self.total.delta() - delta).max(0.0),
        )
    }

    /// All entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn append(&mut self, record: &Record) -> Result<()> {
        let Some((path, file)) = &mut self.file else {
            return Ok(());
        };
        let result = if self.is_broken {
            Err(std::io::Error::other(
                "an earlier entry may be in the file, whole or in part: open the ledger again",
            ))
        } else {
            let line = serde_json::to_string(record).map_err(std::io::Error::from);
            line.and_then(|line| writeln!(file, "{line}").and_then(|()| file.sync_data()))
        };
        self.is_broken = result.is_err();
        result.map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Record {
    Intent {
        purpose: String,
        epsilon: f64,
        delta: f64,
    },
    Completed {
        entry: usize,
    },
}
