//! Text categories split into a half that tokenizers are trained on and a half that pairs are counted in.

use anyhow::{Context, Result, ensure};
use bpe_inference::pretokenizer::{TextPipeline, split_blocks};
use bpe_inference::{BpeTrainer, Category, MergeList, WordCounts};
use fire_assay_datasets::text::TextCategory;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rayon::prelude::*;

use crate::samples;

/// Lines that stay together when a text is split: neighbours are too alike to be independent samples.
const BLOCK_LINES: usize = 8;

/// One category of a pool.
pub(crate) struct Source {
    pub(crate) name: String,
    /// Blocks of the training half, to draw from.
    training: Vec<String>,
    training_bytes: usize,
    /// The counting half.
    pub(crate) counting: Category,
    /// The counting half again, in blocks, for the bootstrap.
    pub(crate) counting_blocks: Vec<WordCounts>,
}

/// Categories to draw mixtures from.
pub(crate) struct Pool {
    pub(crate) sources: Vec<Source>,
    pub(crate) pipeline: TextPipeline,
}

/// A tokenizer of known mixture and the categories to find it with.
pub(crate) struct Mixture {
    pub(crate) names: Vec<String>,
    /// True shares of bytes.
    pub(crate) truth: Vec<f64>,
    pub(crate) tokenizer: MergeList,
    pub(crate) categories: Vec<Category>,
    pub(crate) training_bytes: u64,
}

impl Pool {
    /// Splits every text, keeping at most `max_bytes` of each.
    pub(crate) fn split(
        texts: &[TextCategory],
        pipeline: TextPipeline,
        max_bytes: usize,
        rng: &mut impl Rng,
    ) -> Result<Self> {
        let mut halves = Vec::new();
        for text in texts {
            let kept = sample_lines(&text.text, max_bytes, rng);
            halves.push((text.name.clone(), split_blocks(&kept, BLOCK_LINES, rng)));
        }
        let sources = halves
            .into_par_iter()
            .map(|(name, (training, counting))| {
                let counting_blocks = blocks(&counting, samples::BLOCK_LINES)
                    .into_iter()
                    .map(|block| count(&pipeline, [block.as_str()]))
                    .collect::<Result<Vec<_>>>()?;
                let words = count(&pipeline, [counting.as_str()])?;
                Ok(Source {
                    counting: Category {
                        name: name.clone(),
                        words,
                        bytes: counting.len() as u64,
                    },
                    counting_blocks,
                    name,
                    training_bytes: training.len(),
                    training: blocks(&training, BLOCK_LINES),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { sources, pipeline })
    }

    /// Bytes of the counting halves, smallest and largest.
    pub(crate) fn counting_bytes(&self) -> (u64, u64) {
        let sizes = || self.sources.iter().map(|source| source.counting.bytes);
        (sizes().min().unwrap_or(0), sizes().max().unwrap_or(0))
    }

    /// Draws `n` of the categories.
    pub(crate) fn choose(&self, n: usize, rng: &mut impl Rng) -> Result<Vec<&Source>> {
        ensure!(
            (2..=self.sources.len()).contains(&n),
            "a mixture of {n} categories was asked for, and there are {}",
            self.sources.len()
        );
        let mut order: Vec<&Source> = self.sources.iter().collect();
        order.shuffle(rng);
        order.truncate(n);
        Ok(order)
    }

    /// Random blocks of each source's training half: as much text in the proportions `shares` as the halves hold
    /// without repeating any.
    pub(crate) fn draw<'s>(
        &self,
        sources: &[&'s Source],
        shares: &[f64],
        rng: &mut impl Rng,
    ) -> Vec<Vec<&'s str>> {
        let total = sources
            .iter()
            .zip(shares)
            .map(|(source, share)| source.training_bytes as f64 / share)
            .fold(f64::INFINITY, f64::min);
        sources
            .iter()
            .zip(shares)
            .map(|(source, share)| source.draw((share * total) as usize, rng))
            .collect()
    }

    /// Trains a tokenizer of `merges` merges on text that is drawn in the proportions `shares`.
    pub(crate) fn train(
        &self,
        sources: &[&Source],
        shares: &[f64],
        merges: usize,
        rng: &mut impl Rng,
    ) -> Result<Mixture> {
        let drawn = self.draw(sources, shares, rng);
        let bytes: Vec<u64> = drawn
            .iter()
            .map(|blocks| blocks.iter().map(|b| b.len() as u64).sum())
            .collect();
        let training_bytes: u64 = bytes.iter().sum();
        let words = count(&self.pipeline, drawn.into_iter().flatten())?;
        let (tokenizer, _) = BpeTrainer::new(merges).train(&words)?;
        Ok(Mixture {
            names: sources.iter().map(|source| source.name.clone()).collect(),
            truth: bytes
                .iter()
                .map(|&b| b as f64 / training_bytes as f64)
                .collect(),
            tokenizer,
            categories: sources
                .iter()
                .map(|source| source.counting.clone())
                .collect(),
            training_bytes,
        })
    }
}

impl Source {
    /// Random blocks of the training half, `bytes` bytes of them or just above.
    fn draw(&self, bytes: usize, rng: &mut impl Rng) -> Vec<&str> {
        let mut order: Vec<&str> = self.training.iter().map(String::as_str).collect();
        order.shuffle(rng);
        let mut taken = 0;
        order
            .into_iter()
            .take_while(|block| {
                let more = taken < bytes;
                taken += block.len();
                more
            })
            .collect()
    }
}

/// Counts the words of some pieces of text.
pub(crate) fn count<'t>(
    pipeline: &TextPipeline,
    pieces: impl IntoIterator<Item = &'t str>,
) -> Result<WordCounts> {
    let mut builder = WordCounts::builder(pipeline);
    for piece in pieces {
        builder.add_str(piece).context("counting words")?;
    }
    Ok(builder.finish()?)
}

/// Runs of `lines` lines, line ends kept.
fn blocks(text: &str, lines: usize) -> Vec<String> {
    let all: Vec<&str> = text.split_inclusive('\n').collect();
    all.chunks(lines).map(|chunk| chunk.concat()).collect()
}

/// At most `max_bytes` of a text, as randomly chosen runs of lines in their order: a prefix would be a biased sample.
fn sample_lines(text: &str, max_bytes: usize, rng: &mut impl Rng) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let all = blocks(text, BLOCK_LINES);
    let keep = max_bytes as f64 / text.len() as f64;
    all.into_iter().filter(|_| rng.random_bool(keep)).collect()
}
