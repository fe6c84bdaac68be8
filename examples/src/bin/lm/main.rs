//! Loads a language model, measures how well it predicts texts, and lets it continue a prompt.

mod model;
mod perplexity;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Parser;
use fire_assay_examples::interrupt::interrupted;
use fire_assay_examples::table::{self, Table};
use fire_assay_examples::{CommonArgs, DeviceName, Report, program};
use fire_assay_models::lm::{ChatMessage, ChatOptions, GenerateOptions, Generator, Sampling, Stop};
use model::{Loaded, ModelSource, trained_here};
use perplexity::{Measured, measure};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::Serialize;

/// Loads a language model, prints the perplexity of texts, and continues a prompt.
///
/// With no arguments: trains a very small model briefly on embedded text, for want of another, and does both with it.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The model: a Hugging Face folder, a GGUF file, or kit (SmolLM2-135M-Instruct of the data kit)
    #[arg(long, value_name = "PATH")]
    model: Option<ModelSource>,

    /// A text whose perplexity is wanted: a file, or the text itself; may be given several times
    #[arg(long, value_name = "FILE|STRING")]
    text: Vec<String>,

    /// Tokens that are read together; longer texts are cut [default: 1024, or the model's context if that is less]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    window: Option<u64>,

    /// A text to continue
    #[arg(long, value_name = "STRING")]
    prompt: Option<String>,

    /// Take the prompt as what a user says in a chat, by the model's template
    #[arg(long, requires = "prompt")]
    chat: bool,

    #[command(flatten)]
    sampling: SamplingArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// How to continue the prompt. Without options the most probable token is taken each time.
#[derive(clap::Args)]
#[command(next_help_heading = "Continuation")]
struct SamplingArgs {
    /// Tokens, at most
    #[arg(long, value_name = "N", default_value_t = 64)]
    tokens: usize,

    /// Draw tokens at random, from logits divided by this; 1 for the model's own distribution, 0 for the most probable
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,

    /// Draw from the N most probable tokens
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,

    /// Draw from the fewest tokens that together have this probability
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,

    /// Draw from tokens with at least this share of the highest probability
    #[arg(long, value_name = "P")]
    min_p: Option<f64>,

    /// Make tokens that are in the text already less probable; 1 for no change
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    repetition_penalty: f64,

    /// Stop after this text; may be given several times
    #[arg(long, value_name = "STRING")]
    stop: Vec<String>,
}

impl AsRef<CommonArgs> for Args {
    fn as_ref(&self) -> &CommonArgs {
        &self.common
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Outcome {
    model: String,
    parameters: usize,
    /// Loading, or training the model of the default run.
    load_seconds: f64,
    /// In all.
    seconds: f64,
    /// One row a text.
    results: Vec<Measured>,
    continuation: Option<Continuation>,
}

/// A prompt and what became of it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Continuation {
    prompt: String,
    text: String,
    tokens: Vec<u32>,
    /// Mean log-probability of the new tokens by the model, in nats; none if there are no tokens.
    mean_log_probability: Option<f64>,
    stop: Stop,
    seconds: f64,
}

/// What the model of the default run continues.
const PROMPT: &str = "The ";

fn main() -> ExitCode {
    program::run(run)
}

fn run(args: &Args, report: &Report) -> Result<Outcome> {
    let start = Instant::now();
    let device = args.common.device.or_else(DeviceName::default_of_build);
    let device = device.context("this build has no device")?.open();
    let mut texts: Vec<(String, String)> = args
        .text
        .iter()
        .map(|text| named(text))
        .collect::<Result<_>>()?;
    let mut prompt = args.prompt.clone();
    let loaded = match &args.model {
        Some(source) => source.load(&device)?,
        None => {
            let (loaded, held_out) = trained_here(args.common.seed, &device, report)?;
            if texts.is_empty() && prompt.is_none() {
                texts.push(("held-out text".to_owned(), held_out));
                prompt = Some(PROMPT.to_owned());
            }
            loaded
        }
    };
    let load_seconds = start.elapsed().as_secs_f64();
    let config = loaded.model.config();
    report.say(format!(
        "{}: {} parameters, {} tokens, context {}; ready after {load_seconds:.1} s",
        loaded.name,
        config.parameters(),
        config.vocabulary,
        config.context
    ));
    let window = args
        .window
        .map_or(1_024, |window| window as usize)
        .min(config.context);
    let results = texts
        .iter()
        .map(|(name, text)| {
            measure(&loaded, name, text, window).with_context(|| format!("the text `{name}`"))
        })
        .collect::<Result<Vec<_>>>()?;
    if !results.is_empty() {
        report.table(&perplexities(&results));
    }
    let continuation = match &prompt {
        Some(prompt) => Some(continue_prompt(args, &loaded, prompt, report)?),
        None => None,
    };
    Ok(Outcome {
        parameters: config.parameters(),
        model: loaded.name,
        load_seconds,
        seconds: start.elapsed().as_secs_f64(),
        results,
        continuation,
    })
}

/// The text of an option, and a name for it: the contents of a file if there is one, otherwise the option itself.
fn named(text: &str) -> Result<(String, String)> {
    const SHOWN: usize = 40;
    if Path::new(text).is_file() {
        let contents =
            std::fs::read_to_string(text).with_context(|| format!("cannot read {text}"))?;
        return Ok((text.to_owned(), contents));
    }
    let mut name: String = text.chars().take(SHOWN).collect();
    if name.len() < text.len() {
        name.push('…');
    }
    Ok((name, text.to_owned()))
}

fn perplexities(results: &[Measured]) -> Table {
    let mut table = Table::new([
        "text",
        "bytes",
        "tokens",
        "nats a token",
        "perplexity",
        "bits a byte",
    ]);
    for row in results {
        table.row([
            table::text(&row.text),
            table::integer(row.bytes),
            table::integer(row.tokens),
            table::decimal(row.mean_nll, 4),
            table::decimal(row.perplexity, 3),
            table::decimal(row.bits_per_byte, 3),
        ]);
    }
    table
}

fn continue_prompt(
    args: &Args,
    loaded: &Loaded,
    prompt: &str,
    report: &Report,
) -> Result<Continuation> {
    let Loaded {
        model, tokenizer, ..
    } = loaded;
    let text = match args.chat {
        false => prompt.to_owned(),
        true => {
            let template = tokenizer
                .chat_template()
                .context("the model has no chat template")?;
            template.render(&[ChatMessage::new("user", prompt)], &ChatOptions::default())?
        }
    };
    // A chat template writes the special tokens itself.
    let tokens = tokenizer.encode(&text, !args.chat)?;
    let given = &args.sampling;
    let sampling = Sampling {
        temperature: given.temperature,
        top_k: given.top_k,
        top_p: given.top_p,
        min_p: given.min_p,
        repetition_penalty: given.repetition_penalty,
    };
    let options = GenerateOptions {
        stop_strings: given.stop.clone(),
        ..GenerateOptions::new(sampling, given.tokens)
    };
    let start = Instant::now();
    let mut rng = StdRng::seed_from_u64(args.common.seed);
    let generation = Generator::new(model, options)?
        .with_tokenizer(tokenizer)
        .with_cancel(interrupted())
        .generate(&tokens, &mut rng)?;
    let seconds = start.elapsed().as_secs_f64();
    // An answer is a text of its own, anything else goes on in that of the prompt.
    let before: &[u32] = if args.chat { &[] } else { &tokens };
    let text = tokenizer.decode_after(before, &generation.tokens, args.chat)?;
    report.say(format!("\n{prompt}▶{text}\n"));
    let count = generation.tokens.len();
    report.say(format!(
        "{count} tokens in {seconds:.1} s; ▶ is where the prompt ends"
    ));
    let sum: f64 = generation
        .log_probabilities
        .iter()
        .map(|&value| f64::from(value))
        .sum();
    Ok(Continuation {
        prompt: prompt.to_owned(),
        text,
        tokens: generation.tokens,
        mean_log_probability: (count > 0).then(|| sum / count as f64),
        stop: generation.stop,
        seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
        assert!(Args::try_parse_from(["lm", "--chat"]).is_err());
        assert!(Args::try_parse_from(["lm", "--window", "0"]).is_err());
        let args = Args::try_parse_from(["lm", "--model", "kit", "--text", "a", "--text", "b"]);
        let args = args.unwrap();
        assert_eq!(args.model, Some(ModelSource::Kit));
        assert_eq!(args.text, ["a", "b"]);
    }

    #[test]
    fn a_text_is_a_file_if_there_is_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "contents").unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(
            named(path).unwrap(),
            (path.to_owned(), "contents".to_owned())
        );
        let long = "ä".repeat(50);
        let (name, text) = named(&long).unwrap();
        assert_eq!((name.chars().count(), text), (41, long));
    }
}
