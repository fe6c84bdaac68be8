//! One tokenizer of known mixture, attacked by every method.

use std::time::Instant;

use anyhow::Result;
use bpe_inference::baselines::{self, Tee};
use bpe_inference::inference::MissingPolicy;
use bpe_inference::metrics::log10_mse;
use bpe_inference::{
    BpeTrainer, Category, Estimate, InferenceConfig, MergeList, MixtureInference, PairTrace,
    TraceOptions,
};
use rand::Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::pool::{Mixture, Pool, Source};

/// The methods of the paper's table 2 and the uniform guess.
pub(crate) const METHODS: [&str; 5] = ["lp", "tee", "tc", "random", "uniform"];

/// What one trial gave.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Trial {
    pub(crate) categories: Vec<String>,
    pub(crate) truth: Vec<f64>,
    pub(crate) estimate: Vec<f64>,
    /// log10 MSE by method, in the order of [`METHODS`]; `None` where a method was not run.
    pub log10_mse: Vec<Option<f64>>,
    pub(crate) training_bytes: u64,
    pub(crate) merges: usize,
    pub(crate) rows: usize,
    pub(crate) seconds: f64,
}

/// Solves for the mixture with the first `merges` merges.
pub(crate) fn infer(mixture: &Mixture, merges: Option<usize>) -> Result<(PairTrace, Estimate)> {
    infer_from(&mixture.tokenizer, &mixture.categories, merges)
}

/// Counts and solves.
pub(crate) fn infer_from(
    tokenizer: &MergeList,
    categories: &[Category],
    merges: Option<usize>,
) -> Result<(PairTrace, Estimate)> {
    let steps = merges.unwrap_or(30_000);
    let trace = PairTrace::build(tokenizer, categories, steps, &TraceOptions::default())?;
    let config = InferenceConfig {
        merges,
        // The first merges of a small share may hold none of its script.
        unmatched: MissingPolicy::Skip,
        ..InferenceConfig::default()
    };
    let estimate = MixtureInference::new(config).run(&trace)?;
    Ok((trace, estimate))
}

/// Tokenizer encoding efficiency, calibrated on mixtures of the same pool.
pub(crate) struct TeeBaseline {
    own: Vec<(String, MergeList)>,
    model: Tee,
}

impl TeeBaseline {
    /// Trains a tokenizer of `merges` merges on each category alone and fits the model on `calibration` mixtures of
    /// `n` categories.
    pub(crate) fn calibrate(
        pool: &Pool,
        n: usize,
        merges: usize,
        calibration: usize,
        rng: &mut impl Rng,
    ) -> Result<Self> {
        let own: Vec<(String, MergeList)> = pool
            .sources
            .par_iter()
            .map(|source| {
                let trainer = BpeTrainer::new(merges);
                let (list, _) = trainer.train(&source.counting.words)?;
                Ok((source.name.clone(), list))
            })
            .collect::<Result<_>>()?;
        let unfitted = Self {
            own,
            model: Tee {
                intercept: 0.0,
                slope: 1.0,
            },
        };
        let mut points = Vec::new();
        for _ in 0..calibration {
            let sources = pool.choose(n, rng)?;
            let shares = bpe_inference::metrics::sample_simplex(n, rng)?;
            let mixture = pool.train(&sources, &shares, merges, rng)?;
            points.push((unfitted.efficiency(&mixture)?, mixture.truth));
        }
        let model = Tee::fit(points.iter().map(|(e, t)| (e.as_slice(), t.as_slice())))?;
        Ok(Self { model, ..unfitted })
    }

    fn efficiency(&self, mixture: &Mixture) -> Result<Vec<f64>> {
        let own: Vec<MergeList> = mixture
            .names
            .iter()
            .filter_map(|name| self.own.iter().find(|(own, _)| own == name))
            .map(|(_, list)| list.clone())
            .collect();
        Ok(baselines::encoding_efficiency(
            &mixture.tokenizer,
            &own,
            &mixture.categories,
        )?)
    }

    /// The estimate for a mixture.
    pub(crate) fn predict(&self, mixture: &Mixture) -> Result<Vec<f64>> {
        Ok(self.model.predict(&self.efficiency(mixture)?)?)
    }
}

/// Trains a tokenizer of `vocabulary` merges on `sources` in the proportions `shares` and attacks it with every
/// method: the linear program on its first `merges` merges, the baselines on the whole vocabulary.
pub(crate) fn run(
    pool: &Pool,
    sources: &[&Source],
    shares: &[f64],
    vocabulary: usize,
    merges: Option<usize>,
    tee: Option<&TeeBaseline>,
    rng: &mut impl Rng,
) -> Result<Trial> {
    let mixture = pool.train(sources, shares, vocabulary, rng)?;
    let start = Instant::now();
    let (_, estimate) = infer(&mixture, merges)?;
    let seconds = start.elapsed().as_secs_f64();
    let n = sources.len();
    let truth = &mixture.truth;
    let lp = log10_mse(&estimate.byte_shares(), truth)?;
    let tee = tee.map(|tee| Ok(log10_mse(&tee.predict(&mixture)?, truth)?));
    let tc = baselines::token_classification(&mixture.tokenizer, &mixture.categories)?;
    let log10_mse = vec![
        Some(lp),
        tee.transpose().map_err(|error: anyhow::Error| error)?,
        Some(log10_mse(&tc, truth)?),
        Some(log10_mse(&baselines::random(n, rng)?, truth)?),
        Some(log10_mse(&baselines::uniform(n), truth)?),
    ];
    Ok(Trial {
        categories: mixture.names,
        estimate: estimate.byte_shares(),
        truth: mixture.truth,
        log10_mse,
        training_bytes: mixture.training_bytes,
        merges: estimate.merges,
        rows: estimate.rows,
        seconds,
    })
}
