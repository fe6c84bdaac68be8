//! Where results go: text and tables for people, one JSON object for programs.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write};

use anyhow::{Context as _, bail};
use serde::Serialize;
use tracing_indicatif::suspend_tracing_indicatif;

use crate::args::CommonArgs;
use crate::table::{Style, Table};

/// Text and tables for the reader: on standard output, with `--json` on standard error, with `--json --quiet` nowhere.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    to: Destination,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    Output,
    Error,
    Nowhere,
}

impl Report {
    /// The report of a program with these options.
    pub fn new(common: &CommonArgs) -> Self {
        let to = match (common.json, common.quiet) {
            (false, _) => Destination::Output,
            (true, false) => Destination::Error,
            (true, true) => Destination::Nowhere,
        };
        Self { to }
    }

    /// Prints a line, or several. A reader that went away (a closed pipe) is no error.
    pub fn say(&self, text: impl Display) {
        // Bars are taken off the screen meanwhile, whichever stream shares the terminal with them.
        suspend_tracing_indicatif(|| {
            let _ = match self.to {
                Destination::Output => writeln!(io::stdout(), "{text}"),
                Destination::Error => writeln!(io::stderr(), "{text}"),
                Destination::Nowhere => Ok(()),
            };
        });
    }

    /// Prints a table: with lines on a terminal, as plain Markdown elsewhere.
    pub fn table(&self, table: &Table) {
        let terminal = match self.to {
            Destination::Output => io::stdout().is_terminal(),
            Destination::Error => io::stderr().is_terminal(),
            Destination::Nowhere => return,
        };
        let style = if terminal {
            Style::Lines
        } else {
            Style::Markdown
        };
        self.say(table.render(style));
    }
}

/// Prints `value` as one JSON object and a line end on standard output.
///
/// [`program::run`](crate::program::run) calls this once, with the result of the program, if `--json` is given.
///
/// # Errors
/// If `value` does not serialise, or to something other than an object, or the output is closed.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    suspend_tracing_indicatif(|| write_json(&mut io::stdout().lock(), value))
}

pub(crate) fn write_json(to: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    let value = serde_json::to_value(value).context("the result cannot be written as JSON")?;
    if !value.is_object() {
        bail!("the result is not a JSON object");
    }
    writeln!(to, "{value:#}")?;
    to.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_one_object_and_round_trips() {
        let value = serde_json::json!({ "results": [{ "share": 0.1 }, { "share": 1e-300 }] });
        let mut out = Vec::new();
        write_json(&mut out, &value).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read, value);
        assert_eq!(out.last(), Some(&b'\n'));
    }

    #[test]
    fn anything_but_an_object_is_refused_and_writes_nothing() {
        for value in [serde_json::json!([1]), serde_json::json!(1)] {
            let mut out = Vec::new();
            assert!(write_json(&mut out, &value).is_err());
            assert!(out.is_empty());
        }
    }
}
