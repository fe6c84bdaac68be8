//! How probable given text is to a model.

use burn::module::Module;
use burn::tensor::Tensor;

use super::batch::{check_tokens, invalid};
use super::loss::{Targets, indices, log_probabilities};
use super::model::rows;
use super::{CausalLm, KvCache, Side, TokenBatch};
use crate::Result;
use crate::tensors::HostTensor;

/// Logits that are held at once, at most (but always those of one token).
const MAX_LOGITS: usize = 1 << 24;

/// Tokens that are read at once when prompts are scored, at most (but always one prompt).
const MAX_TOKENS: usize = 4096;

/// How probable a continuation is, token by token.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Log-probability, in nats, of every token given the prompt and the tokens before it.
    pub log_probabilities: Vec<f32>,
    /// Whether no other token is more probable anywhere: choosing greedily, the model writes this continuation.
    pub greedy: bool,
}

impl Score {
    /// Log-probability of the whole continuation, in nats.
    pub fn sum(&self) -> f64 {
        self.log_probabilities.iter().map(|&v| f64::from(v)).sum()
    }

    /// The same by its number of tokens.
    pub fn mean(&self) -> f64 {
        self.sum() / self.log_probabilities.len() as f64
    }
}

impl CausalLm {
    /// Log-probability, in nats, of every token of every sequence given the tokens before it, from the second on: a
    /// sequence of `n` tokens gives `n - 1` values. Its last token is not read, so that it may be the one behind a full
    /// context.
    ///
    /// # Errors
    ///
    /// Those of [`TokenBatch::validate`], and [`Error::InvalidInput`](crate::Error::InvalidInput) if no sequence has a
    /// second token.
    pub fn token_log_probabilities(&self, batch: &TokenBatch) -> Result<Vec<Vec<f32>>> {
        let (read, targets) = Targets::new(batch, None, self.config().vocabulary)?;
        let model = self.valid();
        let hidden = model.hidden(&read, None)?;
        let mut values = model.log_probabilities_at(hidden, &targets)?.into_iter();
        let mut next = |count| -> Vec<f32> {
            let next = values.by_ref().take(count);
            next.map(|(value, _)| value).collect()
        };
        Ok(batch.sequences().map(|s| next(s.len() - 1)).collect())
    }

    /// Mean negative log-probability, in nats per token, over all tokens that
    /// [`token_log_probabilities`](Self::token_log_probabilities) gives; its exponential is the perplexity.
    ///
    /// # Errors
    ///
    /// Those of [`token_log_probabilities`](Self::token_log_probabilities).
    pub fn mean_nll(&self, batch: &TokenBatch) -> Result<f64> {
        let values = self.token_log_probabilities(batch)?.concat();
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        Ok(-sum / values.len() as f64)
    }

    /// Log-probability, in nats, of one continuation after every prompt: the sum over the continuation's tokens if `sum`,
    /// else their mean.
    ///
    /// # Errors
    ///
    /// Those of [`score_tokens`](Self::score_tokens).
    pub fn score(&self, prompts: &TokenBatch, continuation: &[u32], sum: bool) -> Result<Vec<f32>> {
        let scores = self.score_tokens(prompts, continuation)?.into_iter();
        let one = |score: Score| if sum { score.sum() } else { score.mean() };
        Ok(scores.map(|score| one(score) as f32).collect())
    }

    /// How probable one continuation is after every prompt, token by token. What all prompts begin with is read once.
    ///
    /// # Errors
    ///
    /// Those of [`TokenBatch::validate`], and [`Error::InvalidInput`](crate::Error::InvalidInput) if the continuation is
    /// empty or a prompt with it exceeds the context.
    pub fn score_tokens(&self, prompts: &TokenBatch, continuation: &[u32]) -> Result<Vec<Score>> {
        prompts.validate(self.config())?;
        check_tokens(continuation, self.config().vocabulary)?;
        let Some((_, all_but_last)) = continuation.split_last() else {
            return Err(invalid("an empty continuation".to_owned()));
        };
        let model = self.valid();
        let prompts: Vec<&[u32]> = prompts.sequences().collect();
        let shared = shared_prefix(&prompts);
        let mut prefix = KvCache::new(self.config());
        if shared > 0 {
            model.hidden(
                &TokenBatch::single(&prompts[0][..shared])?,
                Some(&mut prefix),
            )?;
        }
        let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0) - shared;
        let at_once = (MAX_TOKENS / (longest + all_but_last.len())).max(1);
        let span = tracing::info_span!("score", position = 0_u64, length = prompts.len() as u64);
        let _entered = span.enter();
        let mut scores = Vec::with_capacity(prompts.len());
        for prompts in prompts.chunks(at_once) {
            let rests: Vec<Vec<u32>> = prompts
                .iter()
                .map(|prompt| [&prompt[shared..], all_but_last].concat())
                .collect();
            let rests = TokenBatch::new(&rests, Side::Right)?;
            let hidden = match shared {
                0 => model.hidden(&rests, None)?,
                _ => model.hidden(&rests, Some(&mut prefix.expand(prompts.len())?))?,
            };
            let time = rests.padding().time();
            let first = prompts
                .iter()
                .enumerate()
                .map(|(row, prompt)| row * time + prompt.len() - shared - 1);
            let targets = Targets {
                places: first
                    .flat_map(|first| first..first + continuation.len())
                    .collect(),
                tokens: continuation.repeat(prompts.len()),
            };
            let values = model.log_probabilities_at(hidden, &targets)?;
            scores.extend(values.chunks_exact(continuation.len()).map(|tokens| Score {
                log_probabilities: tokens.iter().map(|&(value, _)| value).collect(),
                greedy: tokens.iter().all(|&(_, best)| best),
            }));
            span.record("position", scores.len() as u64);
        }
        Ok(scores)
    }

    /// Log-probability of every target, and whether no other token is more probable there.
    fn log_probabilities_at(
        &self,
        hidden: Tensor<3>,
        targets: &Targets,
    ) -> Result<Vec<(f32, bool)>> {
        let device = hidden.device();
        let at_once = (MAX_LOGITS / self.config().vocabulary).max(1);
        let mut values = Vec::with_capacity(targets.tokens.len());
        let chunks = targets
            .places
            .chunks(at_once)
            .zip(targets.tokens.chunks(at_once));
        for (places, tokens) in chunks {
            let logits = self.output_rows(rows(hidden.clone(), places));
            let chosen = log_probabilities(logits, indices(tokens, &device));
            let chosen = HostTensor::from_tensor(&chosen)?;
            let (pairs, _) = chosen.values().as_chunks::<2>();
            values.extend(
                pairs
                    .iter()
                    .map(|&[value, relative]| (value, relative >= 0.0)),
            );
        }
        Ok(values)
    }
}

/// How many tokens all prompts begin with, leaving at least one of each; 0 for a single prompt.
fn shared_prefix(prompts: &[&[u32]]) -> usize {
    let [first, others @ ..] = prompts else {
        return 0;
    };
    let common = |other: &&[u32]| {
        let equal = first.iter().zip(*other).take_while(|(a, b)| a == b).count();
        equal.min(other.len() - 1).min(first.len() - 1)
    };
    others.iter().map(common).min().unwrap_or(0)
}
