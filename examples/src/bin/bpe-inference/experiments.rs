//! The paper's experiments, each on data with a known answer.

use anyhow::Result;
use bpe_inference::baselines;
use bpe_inference::inference::{MissingPolicy, StopRule};
use bpe_inference::intervals::{BootstrapConfig, Resampling, bootstrap};
use bpe_inference::merges::{Alphabet, MergeList};
use bpe_inference::metrics::{log10_mse, mean_and_spread, sample_simplex};
use bpe_inference::pretokenizer::{PairFilter, TextPipeline};
use bpe_inference::synth::{sample_categories, sample_mixture};
use bpe_inference::{
    BpeTrainer, Category, Estimate, InferenceConfig, MixtureInference, PairTrace, TraceOptions,
    WordCounts,
};
use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::time::Instant;

use crate::corpora::{self, Corpus, Domains};
use crate::findings::{Curve, Findings, number, plus_minus};
use crate::paper;
use crate::pool::{Pool, count};
use crate::present::stop_name;
use crate::reference::references;
use crate::trial::{self, METHODS, TeeBaseline, infer_from};

/// Bytes of training text that the paper uses.
const PAPER_TRAINING_BYTES: f64 = 1e10;

/// What `--experiment` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Experiment {
    /// Mixtures of natural languages, held-out real text (table 2)
    Languages,
    /// The same with the Debian handbook, which has fewer languages and less text
    Handbook,
    /// Mixtures of programming languages, held-out real text (table 2)
    Code,
    /// Mixtures of English domains, held-out real text (table 2)
    Domains,
    /// Languages at the paper's scale by redrawing word counts
    Resampled,
    /// Error against the amount of counting data (figure 3)
    DataAmount,
    /// Error against the number of merges (figure 3)
    Merges,
    /// Training and counting text from different sources (table 3)
    Shift,
    /// One training category that is no candidate (figure 4)
    Omitted,
    /// A character-level, SentencePiece-like tokenizer (appendix)
    Sentencepiece,
    /// Merges reordered within sections as a defence (appendix A)
    Reordered,
    /// The same text for training and counting: the error must vanish
    Exact,
    /// How often bootstrap intervals cover the truth
    Coverage,
    /// Time and memory against merges and categories
    Scale,
}

/// What the command line sets.
pub(crate) struct Settings {
    pub(crate) trials: usize,
    pub(crate) sizes: Vec<usize>,
    pub(crate) merges: Option<usize>,
    pub(crate) vocabulary: usize,
    pub(crate) max_bytes: usize,
    pub(crate) domains: Domains,
    pub(crate) seed: u64,
}

impl Settings {
    /// The numbers of categories that this many allow; the others are noted.
    fn sizes(&self, available: usize, report: &mut Findings) -> Vec<usize> {
        let (possible, too_many): (Vec<usize>, Vec<usize>) =
            self.sizes.iter().partition(|&&n| n <= available);
        for n in too_many {
            report.note(format!(
                "n = {n} is left out: there are {available} categories"
            ));
        }
        possible
    }
}

/// Runs an experiment on the data kit (or on embedded text where the kit is not there).
pub(crate) fn run(experiment: Experiment, settings: &Settings) -> Result<Findings> {
    match experiment {
        Experiment::Languages => held_out("languages", corpora::languages()?, settings),
        Experiment::Handbook => held_out("languages", corpora::handbook()?, settings),
        Experiment::Code => held_out("code", corpora::code()?, settings),
        Experiment::Domains => held_out("domains", corpora::domains(settings.domains)?, settings),
        Experiment::Resampled => resampled(settings),
        Experiment::DataAmount => data_amount(settings),
        Experiment::Merges => merges(settings),
        Experiment::Shift => shift(settings),
        Experiment::Omitted => omitted(settings),
        Experiment::Sentencepiece => sentencepiece(settings),
        Experiment::Reordered => reordered(settings),
        Experiment::Exact => exact(settings),
        Experiment::Coverage => coverage(settings),
        Experiment::Scale => scale(settings),
    }
}

/// The pipeline of the controlled experiments: digits isolated, GPT-2's pattern, line by line.
fn pipeline() -> TextPipeline {
    TextPipeline::hf_trained()
}

/// Tokenizers trained on one half of real text and attacked with the other.
fn held_out(name: &str, corpus: Corpus, settings: &Settings) -> Result<Findings> {
    let mut rng = StdRng::seed_from_u64(settings.seed);
    let pool = Pool::split(&corpus.texts, pipeline(), settings.max_bytes, &mut rng)?;
    let mut report = Findings::new(
        &format!("mixtures of {name}, held-out real text"),
        &["n", "method", "log10 MSE", "paper", "trials"],
    );
    report.notes.extend(corpus.notes);
    let (least, most) = pool.counting_bytes();
    report.note(format!(
        "{} categories, {:.1} to {:.1} MB of counting text each (the paper: 1 GB)",
        pool.sources.len(),
        least as f64 / 1e6,
        most as f64 / 1e6
    ));
    let mut trials_json = Vec::new();
    for n in settings.sizes(pool.sources.len(), &mut report) {
        let span = tracing::info_span!("trials", position = 0_u64, length = settings.trials as u64);
        let _guard = span.enter();
        let tee = TeeBaseline::calibrate(&pool, n, settings.vocabulary, 10, &mut rng)?;
        let mut trials = Vec::new();
        for k in 0..settings.trials {
            let sources = pool.choose(n, &mut rng)?;
            let shares = sample_simplex(n, &mut rng)?;
            let vocabulary = settings.vocabulary;
            let tee = Some(&tee);
            trials.push(trial::run(
                &pool,
                &sources,
                &shares,
                vocabulary,
                settings.merges,
                tee,
                &mut rng,
            )?);
            span.record("position", k as u64 + 1);
        }
        for (m, method) in METHODS.iter().enumerate() {
            let values: Vec<f64> = trials
                .iter()
                .filter_map(|trial| trial.log10_mse[m])
                .collect();
            let (mean, spread) = mean_and_spread(&values);
            let paper = paper::controlled(name, n, method);
            report.row(
                [
                    n.to_string(),
                    (*method).into(),
                    plus_minus(mean, spread),
                    paper.map_or("-".into(), |(mean, spread)| plus_minus(mean, spread)),
                    values.len().to_string(),
                ],
                json!({
                    "n": n, "method": method, "mean": mean, "spread": spread,
                    "worst": values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    "trials": values.len(),
                    "paper-mean": paper.map(|p| p.0), "paper-spread": paper.map(|p| p.1),
                }),
            );
        }
        let margin = trials
            .iter()
            .filter_map(|t| Some(t.log10_mse[3]? - t.log10_mse[0]?))
            .fold(f64::INFINITY, f64::min);
        let bytes: Vec<f64> = trials
            .iter()
            .map(|t| t.training_bytes as f64 / 1e6)
            .collect();
        let seconds: Vec<f64> = trials.iter().map(|t| t.seconds).collect();
        report.note(format!(
            "n = {n}: {:.1} MB of training text on average (the paper: 10 GB), {:.1} s a trial, \
             every trial at least {margin:.2} decades below random",
            mean_and_spread(&bytes).0,
            mean_and_spread(&seconds).0
        ));
        trials_json.extend(trials);
    }
    report.extra("trials", serde_json::to_value(trials_json)?);
    Ok(report)
}

/// Every language's words from all of its text: what corpora of any size are drawn from.
fn histograms(corpus: &Corpus) -> Result<Vec<Category>> {
    let pipeline = pipeline();
    corpus
        .texts
        .iter()
        .map(|text| {
            let words = count(&pipeline, [text.text.as_str()])?;
            Ok(Category::new(text.name.clone(), words))
        })
        .collect()
}

/// A tokenizer trained on a drawn corpus of known mixture.
struct Drawn {
    chosen: Vec<Category>,
    truth: Vec<f64>,
    tokenizer: MergeList,
}

/// Draws `n` categories, a mixture of them and ten gigabytes of training text, and trains on it.
fn draw(histograms: &[Category], n: usize, merges: usize, rng: &mut StdRng) -> Result<Drawn> {
    let mut chosen = histograms.to_vec();
    chosen.shuffle(rng);
    chosen.truncate(n);
    let truth = sample_simplex(chosen.len(), rng)?;
    let words = sample_mixture(&chosen, &truth, PAPER_TRAINING_BYTES, rng)?;
    let (tokenizer, _) = BpeTrainer::new(merges).train(&words)?;
    Ok(Drawn {
        chosen,
        truth,
        tokenizer,
    })
}

fn resampled(settings: &Settings) -> Result<Findings> {
    let corpus = corpora::languages()?;
    let histograms = histograms(&corpus)?;
    let merges = settings.merges.unwrap_or(3000);
    let mut report = Findings::new(
        "languages at the paper's scale (redrawn word counts, 10 GB of training text)",
        &[
            "n",
            "merges",
            "counting bytes",
            "log10 MSE",
            "paper",
            "seconds",
            "trials",
        ],
    );
    report.notes.extend(corpus.notes);
    for n in settings.sizes(histograms.len(), &mut report) {
        for bytes in [1e7, 1e9] {
            let mut rng = StdRng::seed_from_u64(settings.seed);
            let (mut errors, mut seconds) = (Vec::new(), Vec::new());
            for _ in 0..settings.trials {
                let drawn = draw(&histograms, n, merges, &mut rng)?;
                let sample = sample_categories(&drawn.chosen, bytes, &mut rng)?;
                let start = Instant::now();
                let (_, estimate) = infer_from(&drawn.tokenizer, &sample, Some(merges))?;
                seconds.push(start.elapsed().as_secs_f64());
                errors.push(log10_mse(&estimate.byte_shares(), &drawn.truth)?);
            }
            let (mean, spread) = mean_and_spread(&errors);
            let paper = paper::controlled("languages", n, "lp").filter(|_| bytes == 1e9);
            report.row(
                [
                    n.to_string(),
                    merges.to_string(),
                    format!("{bytes:.0e}"),
                    plus_minus(mean, spread),
                    paper.map_or("-".into(), |(mean, spread)| plus_minus(mean, spread)),
                    number(mean_and_spread(&seconds).0),
                    errors.len().to_string(),
                ],
                json!({
                    "n": n, "merges": merges, "counting-bytes": bytes, "mean": mean,
                    "spread": spread, "trials": errors.len(), "seconds": mean_and_spread(&seconds).0,
                    "paper-mean": paper.map(|p| p.0),
                }),
            );
        }
    }
    Ok(report)
}

fn data_amount(settings: &Settings) -> Result<Findings> {
    let corpus = corpora::languages()?;
    let histograms = histograms(&corpus)?;
    let merges = settings.merges.unwrap_or(3000);
    let n = settings.sizes.first().copied().unwrap_or(5);
    let amounts = [1e6, 1e7, 1e8, 1e9, 1e10];
    let mut report = Findings::new(
        &format!("error against counting data, n = {n}, {merges} merges"),
        &["counting bytes", "log10 MSE", "trials"],
    );
    report.notes.extend(corpus.notes);
    let mut curve = Curve::new("counting data of each category (bytes)", "log10 MSE");
    let mut points = Vec::new();
    for bytes in amounts {
        let mut rng = StdRng::seed_from_u64(settings.seed);
        let mut errors = Vec::new();
        for _ in 0..settings.trials {
            let drawn = draw(&histograms, n, merges, &mut rng)?;
            let sample = sample_categories(&drawn.chosen, bytes, &mut rng)?;
            let (_, estimate) = infer_from(&drawn.tokenizer, &sample, Some(merges))?;
            errors.push(log10_mse(&estimate.byte_shares(), &drawn.truth)?);
        }
        let (mean, spread) = mean_and_spread(&errors);
        points.push((bytes, mean));
        report.row(
            [format!("{bytes:.0e}"), plus_minus(mean, spread), errors.len().to_string()],
            json!({"counting-bytes": bytes, "mean": mean, "spread": spread, "trials": errors.len()}),
        );
    }
    curve.series("LP", points);
    report.curve = Some(curve);
    Ok(report)
}

fn merges(settings: &Settings) -> Result<Findings> {
    let corpus = corpora::languages()?;
    let histograms = histograms(&corpus)?;
    let mut report = Findings::new(
        "error against the number of merges (1 GB of counting data)",
        &["n", "merges", "log10 MSE", "trials"],
    );
    report.notes.extend(corpus.notes);
    let mut curve = Curve::new("merges", "log10 MSE");
    let limit = settings.merges.unwrap_or(10_000);
    for n in settings.sizes(histograms.len(), &mut report) {
        let mut rng = StdRng::seed_from_u64(settings.seed);
        let mut errors: Vec<(usize, Vec<f64>)> = Vec::new();
        for _ in 0..settings.trials {
            let drawn = draw(&histograms, n, limit, &mut rng)?;
            let sample = sample_categories(&drawn.chosen, 1e9, &mut rng)?;
            let (_, estimate) = infer_from(&drawn.tokenizer, &sample, Some(limit))?;
            for (k, point) in estimate.stability.iter().enumerate() {
                if errors.len() <= k {
                    errors.push((point.merges, Vec::new()));
                }
                errors[k].1.push(log10_mse(&point.bytes, &drawn.truth)?);
            }
        }
        let mut points = Vec::new();
        for (merges, errors) in errors {
            let (mean, spread) = mean_and_spread(&errors);
            points.push((merges as f64, mean));
            report.row(
                [
                    n.to_string(),
                    merges.to_string(),
                    plus_minus(mean, spread),
                    errors.len().to_string(),
                ],
                json!({"n": n, "merges": merges, "mean": mean, "spread": spread}),
            );
        }
        curve.series(&format!("n = {n}"), points);
    }
    report.curve = Some(curve);
    Ok(report)
}

/// Trains on one source of each language and counts in another.
fn shift(settings: &Settings) -> Result<Findings> {
    let (training, counting) = corpora::shifted()?;
    let mut rng = StdRng::seed_from_u64(settings.seed);
    let pool = Pool::split(&training.texts, pipeline(), settings.max_bytes, &mut rng)?;
    let other: Vec<Category> = histograms(&counting)?;
    let n = settings
        .sizes
        .last()
        .copied()
        .unwrap_or(10)
        .min(pool.sources.len());
    let mut report = Findings::new(
        &format!("distribution shift, n = {n}"),
        &["counting text", "log10 MSE", "paper", "trials"],
    );
    report
        .notes
        .extend(training.notes.into_iter().chain(counting.notes));
    let mut errors = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..settings.trials {
        let sources = pool.choose(n, &mut rng)?;
        let shares = sample_simplex(n, &mut rng)?;
        let mut mixture = pool.train(&sources, &shares, settings.vocabulary, &mut rng)?;
        let (_, same) = trial::infer(&mixture, settings.merges)?;
        errors[0].push(log10_mse(&same.byte_shares(), &mixture.truth)?);
        mixture.categories = mixture
            .names
            .iter()
            .filter_map(|name| {
                other
                    .iter()
                    .find(|category| category.name == *name)
                    .cloned()
            })
            .collect();
        let (_, shifted) = trial::infer(&mixture, settings.merges)?;
        errors[1].push(log10_mse(&shifted.byte_shares(), &mixture.truth)?);
        errors[2].push(log10_mse(&baselines::random(n, &mut rng)?, &mixture.truth)?);
    }
    let rows = [
        ("same source", Some(-7.66)),
        ("other source", Some(-3.53)),
        ("(random guess)", Some(-1.84)),
    ];
    for ((label, paper), errors) in rows.into_iter().zip(&errors) {
        let (mean, spread) = mean_and_spread(errors);
        let paper = paper.filter(|_| n == 10);
        report.row(
            [
                label.into(),
                plus_minus(mean, spread),
                paper.map_or("-".into(), |p: f64| format!("{p:.2}")),
                errors.len().to_string(),
            ],
            json!({"counting": label, "mean": mean, "spread": spread, "paper-mean": paper}),
        );
    }
    Ok(report)
}

/// Withholds one category of the training mixture from the candidates.
fn omitted(settings: &Settings) -> Result<Findings> {
    let corpus = corpora::languages()?;
    let mut rng = StdRng::seed_from_u64(settings.seed);
    let pool = Pool::split(&corpus.texts, pipeline(), settings.max_bytes, &mut rng)?;
    let n = settings
        .sizes
        .last()
        .copied()
        .unwrap_or(10)
        .min(pool.sources.len());
    let merges = settings.merges.unwrap_or(1000);
    let mut report = Findings::new(
        &format!("one of {n} languages withheld from the candidates"),
        &[
            "withheld share",
            "log10 MSE (median)",
            "random (median)",
            "withheld in top 20",
            "trials",
        ],
    );
    report.notes.extend(corpus.notes);
    report.note(
        "scored against the truth over the remaining candidates; top 20: share of the 20 worst \
         explained merges that are more frequent in the withheld language than in any candidate",
    );
    let trials: Vec<_> = (0..settings.trials)
        .map(|_| Ok((pool.choose(n, &mut rng)?, sample_simplex(n - 1, &mut rng)?)))
        .collect::<Result<_>>()?;
    for mass in [0.01, 0.03, 0.1, 0.3] {
        let (mut errors, mut guesses, mut named) = (Vec::new(), Vec::new(), Vec::new());
        for (sources, rest) in &trials {
            let mut shares: Vec<f64> = rest.iter().map(|share| share * (1.0 - mass)).collect();
            shares.push(mass);
            let mut mixture = pool.train(sources, &shares, settings.vocabulary, &mut rng)?;
            let withheld = mixture.categories.pop().expect("at least two categories");
            let kept: f64 = mixture.truth[..n - 1].iter().sum();
            let truth: Vec<f64> = mixture.truth[..n - 1]
                .iter()
                .map(|share| share / kept)
                .collect();
            let (trace, estimate) = trial::infer(&mixture, Some(merges))?;
            errors.push(log10_mse(&estimate.byte_shares(), &truth)?);
            guesses.push(log10_mse(&baselines::random(n - 1, &mut rng)?, &truth)?);
            named.push(share_of(
                &withheld,
                &mixture.categories,
                &mixture.tokenizer,
                &trace,
                &estimate,
            ));
        }
        let (error, guess) = (median(&mut errors), median(&mut guesses));
        let named = mean_and_spread(&named).0;
        report.row(
            [
                format!("{mass}"),
                number(error),
                number(guess),
                format!("{:.0} %", 100.0 * named),
                trials.len().to_string(),
            ],
            json!({"withheld": mass, "median": error, "random-median": guess, "named": named}),
        );
    }
    Ok(report)
}

/// How many of the 20 worst explained merges belong to `withheld`: their pairs are more frequent there, per pair of
/// symbols, than in any candidate.
fn share_of(
    withheld: &Category,
    candidates: &[Category],
    tokenizer: &MergeList,
    trace: &PairTrace,
    estimate: &Estimate,
) -> f64 {
    use bpe_inference::inference::ViolationKind;
    let worst: Vec<Vec<u8>> = estimate
        .violations(tokenizer, trace, usize::MAX)
        .into_iter()
        .filter(|violation| violation.kind != ViolationKind::PairTooFrequent)
        .filter_map(|violation| violation.step)
        .take(20)
        .map(|step| tokenizer.text(tokenizer.steps()[step].product).into_owned())
        .collect();
    if worst.is_empty() {
        return 0.0;
    }
    let frequency = |category: &Category, token: &[u8]| {
        let found: u64 = category
            .words
            .iter()
            .map(|(word, count)| {
                count * word.windows(token.len()).filter(|w| *w == token).count() as u64
            })
            .sum();
        found as f64 / category.bytes as f64
    };
    let theirs = worst.iter().filter(|token| {
        let there = frequency(withheld, token);
        candidates
            .iter()
            .all(|category| frequency(category, token) < there)
    });
    theirs.count() as f64 / worst.len() as f64
}

/// A character-level tokenizer with SentencePiece's rules for candidates, and the byte-level one beside it.
fn sentencepiece(settings: &Settings) -> Result<Findings> {
    let corpus = corpora::languages()?;
    let n = settings.sizes.last().copied().unwrap_or(10);
    let merges = settings.merges.unwrap_or(3000);
    let mut report = Findings::new(
        &format!("character-level against byte-level tokenizers, n = {n}, {merges} merges"),
        &["alphabet", "log10 MSE", "paper", "trials"],
    );
    report.notes.extend(corpus.notes);
    let filter = PairFilter::sentencepiece();
    let allows = |left: &[u8], right: &[u8]| filter.allows(left, right);
    for (label, alphabet, pipeline, paper) in [
        (
            "characters",
            Alphabet::Characters,
            TextPipeline::llama(),
            -4.09,
        ),
        ("bytes", Alphabet::Bytes, pipeline(), -7.65),
    ] {
        let characters = alphabet == Alphabet::Characters;
        let mut rng = StdRng::seed_from_u64(settings.seed);
        let histograms: Vec<Category> = corpus
            .texts
            .iter()
            .map(|text| {
                Ok(Category::new(
                    text.name.clone(),
                    count(&pipeline, [text.text.as_str()])?,
                ))
            })
            .collect::<Result<_>>()?;
        let mut errors = Vec::new();
        for _ in 0..settings.trials {
            let mut chosen = histograms.clone();
            chosen.shuffle(&mut rng);
            chosen.truncate(n);
            let truth = sample_simplex(chosen.len(), &mut rng)?;
            let words = sample_mixture(&chosen, &truth, PAPER_TRAINING_BYTES, &mut rng)?;
            let mut trainer = BpeTrainer::new(merges).with_alphabet(alphabet);
            let mut options = TraceOptions::default();
            if characters {
                trainer = trainer.with_filter(&allows);
                options = options.with_filter(&allows);
            }
            let (tokenizer, _) = trainer.train(&words)?;
            let sample = sample_categories(&chosen, 1e9, &mut rng)?;
            let trace = PairTrace::build(&tokenizer, &sample, merges, &options)?;
            let config = InferenceConfig::new()
                .with_merges(merges)
                .with_unmatched(MissingPolicy::Skip);
            let estimate = MixtureInference::new(config).run(&trace)?;
            errors.push(log10_mse(&estimate.byte_shares(), &truth)?);
        }
        let (mean, spread) = mean_and_spread(&errors);
        report.row(
            [
                label.into(),
                plus_minus(mean, spread),
                number(paper),
                errors.len().to_string(),
            ],
            json!({"alphabet": label, "mean": mean, "spread": spread, "paper-mean": paper}),
        );
    }
    Ok(report)
}

/// Reorders merges within sections, which changes no encoding, and attacks the list as it stands and by sections.
fn reordered(settings: &Settings) -> Result<Findings> {
    let corpus = corpora::languages()?;
    let histograms = histograms(&corpus)?;
    let n = settings.sizes.first().copied().unwrap_or(5);
    let merges = settings.merges.unwrap_or(1000);
    let mut report = Findings::new(
        &format!("merges reordered within sections, n = {n}, {merges} merges"),
        &["merge order", "rows", "log10 MSE", "trials"],
    );
    report.notes.extend(corpus.notes);
    let cases = [
        ("as trained", false, false),
        ("as trained", false, true),
        ("reordered", true, false),
        ("reordered", true, true),
    ];
    let mut errors = vec![Vec::new(); cases.len()];
    let mut rng = StdRng::seed_from_u64(settings.seed);
    for _ in 0..settings.trials {
        let drawn = draw(&histograms, n, merges, &mut rng)?;
        let sample = sample_categories(&drawn.chosen, 1e9, &mut rng)?;
        let shuffled = shuffle_sections(&drawn.tokenizer, &mut rng)?;
        for ((_, reordered, sections), errors) in cases.iter().zip(&mut errors) {
            let list = if *reordered {
                &shuffled
            } else {
                &drawn.tokenizer
            };
            let trace = PairTrace::build(list, &sample, merges, &TraceOptions::default())?;
            let config = InferenceConfig::new()
                .with_merges(merges)
                .with_unmatched(MissingPolicy::Skip)
                .with_sections(*sections);
            let inference = MixtureInference::new(config).with_sections_of(list);
            let estimate = inference.run(&trace)?;
            errors.push(log10_mse(&estimate.byte_shares(), &drawn.truth)?);
        }
    }
    for ((order, _, sections), errors) in cases.into_iter().zip(&errors) {
        let rows = if sections { "by section" } else { "by merge" };
        let (mean, spread) = mean_and_spread(errors);
        report.row(
            [
                order.into(),
                rows.into(),
                plus_minus(mean, spread),
                errors.len().to_string(),
            ],
            json!({"order": order, "rows": rows, "mean": mean, "spread": spread}),
        );
    }
    Ok(report)
}

fn shuffle_sections(list: &MergeList, rng: &mut StdRng) -> Result<MergeList> {
    let mut order = Vec::with_capacity(list.steps().len());
    for section in list.sections() {
        let mut steps: Vec<usize> = section.collect();
        steps.shuffle(rng);
        order.extend(steps);
    }
    let parts = order.into_iter().map(|t| {
        let merge = list.steps()[t];
        (list.text(merge.left), list.text(merge.right))
    });
    Ok(MergeList::from_parts(list.alphabet(), parts)?)
}

/// Counts in the training text itself: every inequality holds at the truth.
///
/// Once with the text of every category taken once, as much of it as its share of the mixture asks for, and once with
/// whole multiples of the same text. Where there is an independent account of the pretokenizer, the tokenizer is
/// trained on the words that it makes, so that the error of a preset would show.
fn exact(settings: &Settings) -> Result<Findings> {
    let corpus = corpora::languages()?;
    let n = settings
        .sizes
        .first()
        .copied()
        .unwrap_or(5)
        .min(corpus.texts.len());
    let mut report = Findings::new(
        &format!("the same text for training and counting, n = {n}"),
        &[
            "pretokenizer",
            "trained with",
            "training text",
            "merges",
            "log10 MSE",
            "objective",
            "violated rows",
        ],
    );
    report.notes.extend(corpus.notes);
    report.note("one mixture each; the same texts, shares and blocks for every pretokenizer");
    for reference in references()? {
        let mut rng = StdRng::seed_from_u64(settings.seed);
        let mut texts = corpus.texts.clone();
        texts.shuffle(&mut rng);
        texts.truncate(n);
        let pipeline = &reference.pipeline;
        let pool = Pool::split(&texts, pipeline.clone(), settings.max_bytes, &mut rng)?;
        let sources = pool.choose(n, &mut rng)?;
        let shares = sample_simplex(n, &mut rng)?;
        let drawn = pool.draw(&sources, &shares, &mut rng);
        let categories: Vec<Category> = sources
            .iter()
            .zip(&drawn)
            .map(|(source, blocks)| {
                Ok(Category {
                    name: source.name.clone(),
                    words: count(pipeline, blocks.iter().copied())?,
                    bytes: blocks.iter().map(|block| block.len() as u64).sum(),
                })
            })
            .collect::<Result<_>>()?;
        let trained: Vec<WordCounts> = drawn
            .iter()
            .map(|blocks| reference.count(blocks))
            .collect::<Result<_>>()?;
        let multiples: Vec<u64> = (0..n).map(|_| rng.random_range(1..20)).collect();
        for (text, times) in [
            ("each once, in random shares", vec![1; n]),
            ("whole multiples of each", multiples),
        ] {
            let words =
                WordCounts::from_counts(trained.iter().zip(&times).flat_map(|(words, &times)| {
                    words.iter().map(move |(word, count)| (word, count * times))
                }));
            let bytes: Vec<f64> = categories
                .iter()
                .zip(&times)
                .map(|(category, &times)| (category.bytes * times) as f64)
                .collect();
            let total: f64 = bytes.iter().sum();
            let truth: Vec<f64> = bytes.iter().map(|bytes| bytes / total).collect();
            for merges in [1000, settings.vocabulary] {
                let estimate = exact_estimate(pipeline, &words, &categories, merges)?;
                let error = log10_mse(&estimate.byte_shares(), &truth)?;
                let violated = estimate.merge_violation.len() + estimate.pair_violation.len();
                report.row(
                    [
                        pipeline.to_string(),
                        reference.name().into(),
                        text.into(),
                        estimate.merges.to_string(),
                        number(error),
                        format!("{:.1e}", estimate.objective_upper),
                        violated.to_string(),
                    ],
                    json!({
                        "pretokenizer": pipeline.to_string(), "trained-with": reference.name(),
                        "training-text": text, "merges": estimate.merges, "log10-mse": error,
                        "objective-upper": estimate.objective_upper, "violated": violated,
                    }),
                );
            }
        }
    }
    Ok(report)
}

/// Trains on `words` and solves with the counts of `categories`, leaving nothing to a tolerance: the last digits of the
/// mixture hang on ties between counts.
fn exact_estimate(
    pipeline: &TextPipeline,
    words: &WordCounts,
    categories: &[Category],
    merges: usize,
) -> Result<Estimate> {
    let allows = |left: &[u8], right: &[u8]| pipeline.pairs.allows(left, right);
    let alphabet = match pipeline.pretokenizer.needs_utf8() {
        true => Alphabet::Characters,
        false => Alphabet::Bytes,
    };
    let (tokenizer, _) = BpeTrainer::new(merges)
        .with_alphabet(alphabet)
        .with_filter(&allows)
        .train(words)?;
    let options = TraceOptions::default().with_filter(&allows);
    let trace = PairTrace::build(&tokenizer, categories, merges, &options)?;
    let config = InferenceConfig::new()
        .with_merges(merges)
        .with_tolerance(1e-13)
        .with_stop(StopRule {
            alpha_tolerance: 0.0,
            gap: 0.0,
            ..StopRule::default()
        });
    Ok(MixtureInference::new(config).run(&trace)?)
}

/// How often the bootstrap's intervals hold the truth: where its assumption holds (redrawn words) and on real text
/// (blocks of lines).
fn coverage(settings: &Settings) -> Result<Findings> {
    let corpus = corpora::languages()?;
    let n = settings.sizes.first().copied().unwrap_or(5);
    let merges = settings.merges.unwrap_or(1000);
    let mut report = Findings::new(
        &format!("bootstrap intervals at 90 %, n = {n}, {merges} merges, 20 replicates"),
        &[
            "data",
            "resampled",
            "covered",
            "mean width",
            "category-trials",
        ],
    );
    report.notes.extend(corpus.notes.clone());
    let config = BootstrapConfig {
        seed: settings.seed,
        ..BootstrapConfig::default()
    };
    let inference = || MixtureInference::new(InferenceConfig::new().with_merges(merges));
    let mut tally = |data: &str, unit: &str, outcomes: Vec<(bool, f64)>| {
        let covered = outcomes.iter().filter(|o| o.0).count() as f64 / outcomes.len() as f64;
        let width = mean_and_spread(&outcomes.iter().map(|o| o.1).collect::<Vec<_>>()).0;
        report.row(
            [
                data.into(),
                unit.into(),
                format!("{:.0} %", 100.0 * covered),
                format!("{:.2e}", width),
                outcomes.len().to_string(),
            ],
            json!({"data": data, "resampled": unit, "covered": covered, "width": width}),
        );
    };

    let histograms = histograms(&corpus)?;
    let mut rng = StdRng::seed_from_u64(settings.seed);
    let mut outcomes = Vec::new();
    for _ in 0..settings.trials {
        let drawn = draw(&histograms, n, merges, &mut rng)?;
        let sample = sample_categories(&drawn.chosen, 1e7, &mut rng)?;
        let options = TraceOptions::default();
        let trace = PairTrace::build(&drawn.tokenizer, &sample, merges, &options)?;
        let inference = inference();
        let estimate = inference.run(&trace)?;
        let intervals = bootstrap(
            &drawn.tokenizer,
            &sample,
            &options,
            &inference,
            &estimate,
            Resampling::Words,
            &config,
        )?;
        let pairs = intervals.shares.iter().zip(&drawn.truth);
        outcomes.extend(pairs.map(|(i, &truth)| (i.contains(truth), i.high - i.low)));
    }
    tally("redrawn, 10 MB", "words", outcomes);

    let pool = Pool::split(&corpus.texts, pipeline(), settings.max_bytes, &mut rng)?;
    let (mut by_word, mut by_block) = (Vec::new(), Vec::new());
    for _ in 0..settings.trials {
        let sources = pool.choose(n, &mut rng)?;
        let shares = sample_simplex(n, &mut rng)?;
        let mixture = pool.train(&sources, &shares, merges, &mut rng)?;
        let blocks: Vec<_> = sources
            .iter()
            .map(|source| source.counting_blocks.clone())
            .collect();
        let options = TraceOptions::default();
        let trace = PairTrace::build(&mixture.tokenizer, &mixture.categories, merges, &options)?;
        let inference = inference();
        let estimate = inference.run(&trace)?;
        for (resampling, outcomes) in [
            (Resampling::Words, &mut by_word),
            (Resampling::Blocks(&blocks), &mut by_block),
        ] {
            let intervals = bootstrap(
                &mixture.tokenizer,
                &mixture.categories,
                &options,
                &inference,
                &estimate,
                resampling,
                &config,
            )?;
            let pairs = intervals.shares.iter().zip(&mixture.truth);
            outcomes.extend(pairs.map(|(i, &truth)| (i.contains(truth), i.high - i.low)));
        }
    }
    tally("held-out text", "words", by_word);
    tally("held-out text", "blocks", by_block);
    Ok(report)
}

/// Time and memory of counting and inference.
fn scale(settings: &Settings) -> Result<Findings> {
    let corpus = corpora::languages()?;
    let histograms = histograms(&corpus)?;
    let mut report = Findings::new(
        "time against merges and categories (1 GB of counting data, redrawn)",
        &[
            "n",
            "merges",
            "log10 MSE",
            "rows",
            "rounds",
            "count s",
            "infer s",
            "peak MiB so far",
        ],
    );
    report.notes.extend(corpus.notes);
    let limit = settings.merges.unwrap_or(30_000);
    for n in settings.sizes(histograms.len(), &mut report) {
        let mut rng = StdRng::seed_from_u64(settings.seed);
        let drawn = draw(&histograms, n, limit, &mut rng)?;
        let sample = sample_categories(&drawn.chosen, 1e9, &mut rng)?;
        for merges in [300, 1000, 3000, 10_000, 30_000]
            .into_iter()
            .filter(|&m| m <= limit)
        {
            let start = Instant::now();
            let trace =
                PairTrace::build(&drawn.tokenizer, &sample, merges, &TraceOptions::default())?;
            let counted = start.elapsed().as_secs_f64();
            let config = InferenceConfig::new().with_merges(merges);
            let estimate = MixtureInference::new(config).run(&trace)?;
            let inferred = start.elapsed().as_secs_f64() - counted;
            let error = log10_mse(&estimate.byte_shares(), &drawn.truth)?;
            report.row(
                [
                    n.to_string(),
                    merges.to_string(),
                    number(error),
                    estimate.rows.to_string(),
                    estimate.rounds.to_string(),
                    number(counted),
                    number(inferred),
                    peak_mebibytes().map_or("-".into(), |m| m.to_string()),
                ],
                json!({
                    "n": n, "merges": merges, "log10-mse": error, "rows": estimate.rows,
                    "rounds": estimate.rounds, "count-seconds": counted, "seconds": inferred,
                    "peak-mib": peak_mebibytes(), "stop": stop_name(estimate.stop),
                }),
            );
        }
    }
    Ok(report)
}

/// Peak resident memory of this process, where the system tells (Linux).
fn peak_mebibytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kib| kib / 1024)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => f64::NAN,
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}
