//! Trains a network: an image classifier, or a small language model with its tokenizer.

mod data;
mod fingerprint;
mod language;
mod settings;
mod show;
mod text;
mod vision;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use data::ImageSource;
use fire_assay_examples::language::LmSize;
use fire_assay_examples::{CommonArgs, DeviceName, Report, UsageError, program};
use fire_assay_models::vision::NETWORKS;
use serde::Serialize;
use settings::Settings;
use text::TextSource;
use vision::Augmentation;

/// Trains an image classifier, or with --lm a small language model and its tokenizer.
///
/// With no arguments: a multilayer perceptron on the 2,000 embedded images of Fashion-MNIST. With --out, the network and
/// the curves of loss and accuracy are written; with --checkpoint, a run that was killed goes on with --resume to
/// the same weights. --log train=info tells of each epoch as soon as it ends.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The image classifier
    #[arg(long, value_name = "NAME", default_value = "mlp", value_parser = clap::builder::PossibleValuesParser::new(NETWORKS))]
    net: String,

    /// Factor of the classifier's widths; 0.25 is a quarter of the published ones
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    width: f64,

    /// Images: embedded, fashion-mnist and mnist (of the data kit), idx:FOLDER (the four files of MNIST's names),
    /// folder:PATH or cifar10-folder:PATH (a folder or tar archive with a folder for each class)
    #[arg(long, value_name = "SOURCE", default_value = "embedded")]
    data: ImageSource,

    /// Only the first so many training images of each class
    #[arg(long, value_name = "N")]
    per_class: Option<usize>,

    /// Changes training images at random
    #[arg(long, value_enum)]
    augment: Option<Augmentation>,

    /// A language model instead of a classifier
    #[arg(long, value_name = "SIZE", value_enum, conflicts_with_all = ["net", "width", "data", "per_class", "augment"])]
    lm: Option<LmSize>,

    /// Text: embedded (130 kB of English), kit (19 MB of English, sampled), a file or a folder
    #[arg(
        long,
        value_name = "SOURCE",
        default_value = "embedded",
        requires = "lm"
    )]
    text: TextSource,

    /// Tokens of a training sequence [default: 64, 128 and 256, by size]
    #[arg(long, value_name = "N", requires = "lm")]
    window: Option<usize>,

    #[command(flatten)]
    settings: Settings,

    #[command(flatten)]
    common: CommonArgs,
}

impl AsRef<CommonArgs> for Args {
    fn as_ref(&self) -> &CommonArgs {
        &self.common
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Vision(vision::Outcome),
    Language(language::Outcome),
}

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: &Args, report: &Report) -> Result<Outcome> {
    let device = args.common.device.or_else(DeviceName::default_of_build);
    let device = device.context("this build has no device")?.open();
    if let Some(size) = args.lm {
        let task = language::Task {
            size,
            text: &args.text,
            window: args.window,
        };
        let outcome = language::run(&task, &args.settings, &device, &args.common, report)?;
        return Ok(Outcome::Language(outcome));
    }
    if !(args.width.is_finite() && args.width > 0.0) {
        return Err(UsageError(format!("--width {}: not above 0", args.width)).into());
    }
    let task = vision::Task {
        net: &args.net,
        width: args.width,
        data: &args.data,
        per_class: args.per_class,
        augment: args.augment,
    };
    let outcome = vision::run(&task, &args.settings, &device, &args.common, report)?;
    Ok(Outcome::Vision(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn classifiers_and_language_models_do_not_mix() {
        for bad in [
            "--lm nano --net cnn",
            "--lm nano --data embedded",
            "--text a.txt",
            "--net resnet21",
            "--lm huge",
            "--data png:x",
        ] {
            let words = std::iter::once("train").chain(bad.split(' '));
            assert!(Args::try_parse_from(words).is_err(), "{bad}");
        }
        let words = ["train", "--lm", "tiny", "--text", "a.txt", "--window", "32"];
        let args = Args::try_parse_from(words).unwrap();
        assert_eq!(args.text, TextSource::Path("a.txt".into()));
    }
}
