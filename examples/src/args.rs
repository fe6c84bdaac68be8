//! The options that every program has.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use tracing_subscriber::filter::Targets;

use crate::device::{self, DeviceName};

/// Options of every example program; flatten them into the program's own with `#[command(flatten)]`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct CommonArgs {
    /// Where tensors live: `flex`, `wgpu`, `vulkan`, `cuda` or `cuda:N`, of those compiled in.
    #[arg(long, value_name = "DEVICE", help = device::option_help())]
    pub device: Option<DeviceName>,

    /// Seed of every random choice; the same seed gives the same result.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// Print the result as one JSON object on standard output, all else on standard error.
    #[arg(long)]
    pub json: bool,

    /// No progress bars, and with --json no text either; errors are still printed.
    #[arg(long)]
    pub quiet: bool,

    /// Write plots and other files into this folder, which is made if it is missing.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// What to log, as LEVEL or TARGET=LEVEL,..., such as `warn,bpe_inference=debug` [default: warn, or
    /// with --quiet error]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<Targets>,
}

impl CommonArgs {
    /// The path of a file to write: `name` in the folder of `--out`, which is made if it is missing; `None` without
    /// `--out`.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn out_file(&self, name: &str) -> anyhow::Result<Option<PathBuf>> {
        self.out
            .as_ref()
            .map(|folder| {
                fs::create_dir_all(folder)
                    .with_context(|| format!("cannot make the folder {}", folder.display()))?;
                Ok(folder.join(name))
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// Weighs things.
    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        common: CommonArgs,
    }

    fn parse(arguments: &[&str]) -> Result<CommonArgs, clap::Error> {
        let all = std::iter::once("program").chain(arguments.iter().copied());
        Program::try_parse_from(all).map(|program| program.common)
    }

    #[test]
    fn every_option_reaches_its_field() {
        let line = "--seed 7 --json --quiet --out plots --log warn,bpe_inference=debug";
        let args = parse(&line.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(args.seed, 7);
        assert!(args.json && args.quiet);
        assert_eq!(args.out, Some(PathBuf::from("plots")));
        let log = args.log.unwrap();
        assert!(log.would_enable("bpe_inference", &tracing::Level::DEBUG));
        assert!(!log.would_enable("other", &tracing::Level::INFO));
    }

    #[test]
    fn the_help_is_about_the_program_and_lists_the_options() {
        let help = <Program as clap::CommandFactory>::command()
            .render_help()
            .to_string();
        assert!(help.starts_with("Weighs things"), "{help}");
        for option in ["--device", "--seed", "--json", "--quiet", "--out", "--log"] {
            assert!(help.contains(option), "{help}");
        }
    }

    #[test]
    fn nothing_is_required_and_the_seed_is_fixed() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.seed, 0);
        assert!(!args.json && !args.quiet && args.device.is_none() && args.out.is_none());
    }

    #[test]
    fn bad_values_are_usage_errors() {
        for bad in [
            ["--seed", "-1"],
            ["--device", "abacus"],
            ["--log", "bpe_inference=loud"],
        ] {
            let error = parse(&bad).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad:?}");
        }
    }

    #[test]
    fn out_file_makes_the_folder_or_says_why_not() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("a/b");
        let args = parse(&["--out", folder.to_str().unwrap()]).unwrap();
        assert_eq!(args.out_file("x.svg").unwrap(), Some(folder.join("x.svg")));
        assert!(folder.is_dir());

        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let args = parse(&["--out", file.to_str().unwrap()]).unwrap();
        assert!(args.out_file("x.svg").is_err());
        assert_eq!(parse(&[]).unwrap().out_file("x.svg").unwrap(), None);
    }
}
