//! What stands around every program: options, progress, errors, the exit status.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use crate::args::CommonArgs;
use crate::progress;
use crate::report::{Report, print_json};

/// The exit status of a program that failed.
const FAILED: u8 = 1;
/// The exit status of a program that was called wrongly.
const USAGE: u8 = 2;

/// A mistake in how the program was called that shows only after the options were parsed, such as two options that
/// exclude each other. [`run`] then exits with status 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Runs a program: parses the command line into `A`, sets progress bars and logs up, calls `program`, and with
/// `--json` prints its result as one JSON object.
///
/// The exit status is 0 on success (and for `--help` and `--version`), 2 for a wrong command line or a
/// [`UsageError`], 1 for every other error, whose chain of causes is printed on standard error.
pub fn run<A, R>(program: impl FnOnce(&A, &Report) -> anyhow::Result<R>) -> ExitCode
where
    A: clap::Parser + AsRef<CommonArgs>,
    R: Serialize,
{
    ExitCode::from(status(std::env::args_os(), program))
}

fn status<A, R>(
    command_line: impl IntoIterator<Item = OsString>,
    program: impl FnOnce(&A, &Report) -> anyhow::Result<R>,
) -> u8
where
    A: clap::Parser + AsRef<CommonArgs>,
    R: Serialize,
{
    let args = match A::try_parse_from(command_line) {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output, complaints to standard error.
            let _ = error.print();
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    let common = args.as_ref();
    progress::init(common);
    let outcome = program(&args, &Report::new(common)).and_then(|result| {
        if common.json {
            print_json(&result)?;
        }
        Ok(())
    });
    match outcome {
        Ok(()) => 0,
        Err(error) if reader_went_away(&error) => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", chain(&error));
            if error.is::<UsageError>() {
                USAGE
            } else {
                FAILED
            }
        }
    }
}

/// Whether the error only says that whoever read the output has seen enough (`program | head`).
fn reader_went_away(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The error and what caused it, a line each; a cause that its parent already quotes is left out.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        common: CommonArgs,
    }

    impl AsRef<CommonArgs> for Args {
        fn as_ref(&self) -> &CommonArgs {
            &self.common
        }
    }

    fn status_of(
        arguments: &[&str],
        program: impl FnOnce(&Args, &Report) -> anyhow::Result<serde_json::Value>,
    ) -> u8 {
        let all = std::iter::once("program").chain(arguments.iter().copied());
        status(all.map(OsString::from), program)
    }

    #[test]
    fn the_status_tells_success_failure_and_misuse_apart() {
        let object = || serde_json::json!({});
        assert_eq!(status_of(&["--quiet"], |_, _| Ok(object())), 0);
        assert_eq!(status_of(&["--quiet"], |_, _| Err(anyhow!("no"))), 1);
        let misuse = || Err(UsageError("no".to_owned()).into());
        assert_eq!(status_of(&["--quiet"], |_, _| misuse()), 2);
        let wrapped = || misuse().context("while looking at the options");
        assert_eq!(status_of(&["--quiet"], |_, _| wrapped()), 2);
        let closed = || Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        assert_eq!(status_of(&["--quiet"], |_, _| closed()), 0);
    }

    #[test]
    fn a_wrong_command_line_never_starts_the_program() {
        for (arguments, expected) in [(["--no-such-option"], 2), (["--help"], 0)] {
            let status = status_of(&arguments, |_, _| panic!("started"));
            assert_eq!(status, expected);
        }
    }

    #[test]
    fn a_result_that_is_no_object_is_an_error_with_json() {
        let list = |_: &Args, _: &Report| Ok(serde_json::json!([1]));
        assert_eq!(status_of(&["--quiet", "--json"], list), 1);
    }

    #[test]
    fn the_chain_names_every_cause_once() {
        let error = anyhow!("root").context("middle").context("top");
        assert_eq!(chain(&error), "top\n  because: middle\n  because: root");
        let quoted = anyhow!("root").context("top: root");
        assert_eq!(chain(&quoted), "top: root");
    }
}
