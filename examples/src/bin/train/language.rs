//! Trains a small language model and its tokenizer.

use std::time::Instant;

use anyhow::Result;
use burn::module::Module as _;
use burn::tensor::Device;
use fire_assay_examples::language::{LmSize, LmTask};
use fire_assay_examples::{CommonArgs, Report};
use fire_assay_models::train::Length;
use serde::Serialize;

use crate::fingerprint::fingerprint;
use crate::settings::Settings;
use crate::show::{self, Row};
use crate::text::TextSource;

/// What to train, and on what.
pub(crate) struct Task<'a> {
    pub(crate) size: LmSize,
    pub(crate) text: &'a TextSource,
    pub(crate) window: Option<usize>,
}

/// The result of a training.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Outcome {
    lm: String,
    parameters: usize,
    vocabulary: usize,
    window: usize,
    training_tokens: usize,
    test_tokens: usize,
    /// Of the training and the evaluations; of a resumed run, what it took this time.
    seconds: f64,
    test_loss: f64,
    perplexity: f64,
    accuracy: f64,
    results: Vec<Row>,
}

/// Trains, shows how it went, and saves the model with its tokenizer.
pub(crate) fn run(
    task: &Task<'_>,
    settings: &Settings,
    device: &Device,
    common: &CommonArgs,
    report: &Report,
) -> Result<Outcome> {
    let (text, notes) = task.text.read()?;
    for note in notes {
        report.say(note);
    }
    let window = task.window.unwrap_or(task.size.window());
    let lm = LmTask::new(task.size, &text, window)?;
    let size = name(task.size);
    report.say(format!(
        "{size} language model, {} parameters, {} tokens in its vocabulary; {} tokens of text to train on and {} to test \
         on, in windows of {window}; {} bytes a token",
        lm.config.parameters(),
        lm.config.vocabulary,
        lm.train.tokens(),
        lm.test.tokens(),
        format_args!("{:.2}", text.len() as f64 / (lm.train.tokens() + lm.test.tokens()) as f64),
    ));
    let mut config = task.size.training(Length::Epochs(10), common.seed);
    config.label = format!(
        "{size} language model in windows of {window} on {} tokens of a text with the hash {}",
        lm.train.tokens(),
        fingerprint([text.as_bytes()]),
    );
    settings.apply(&mut config);
    let start = Instant::now();
    let trained = lm.train(config, settings.checkpoint()?, device, |progress, found| {
        show::log_epoch(progress.history, found);
        show::evaluation(found)
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let model = trained.model.valid();
    let found = lm.test.evaluate(&model)?;
    let rows = show::rows(&trained.history, found);
    let title = format!("{size} language model");
    show::show(&title, &rows, &trained.history, common, report)?;
    if let Some(folder) = common.out_file("model")? {
        lm.save(&model, &folder)?;
        report.say(format!("wrote {}", folder.display()));
    }
    report.say(format!(
        "test loss {:.4} nats a token, perplexity {:.2}; {seconds:.1} s",
        found.loss,
        found.loss.exp()
    ));
    Ok(Outcome {
        lm: size,
        parameters: lm.config.parameters(),
        vocabulary: lm.config.vocabulary,
        window,
        training_tokens: lm.train.tokens(),
        test_tokens: lm.test.tokens(),
        seconds,
        test_loss: found.loss,
        perplexity: found.loss.exp(),
        accuracy: found.accuracy,
        results: rows,
    })
}

fn name(size: LmSize) -> String {
    let value = clap::ValueEnum::to_possible_value(&size);
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}
