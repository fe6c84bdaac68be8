//! From logits to the next token.
//!
//! A distribution is changed in the order of `transformers`: repetition penalty, temperature, top-k, top-p, min-p. Where
//! tokens tie, the rules are spelt out here, so that results do not depend on the order of a sort.

use std::collections::BTreeSet;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the next token is chosen. The default is greedy: the most probable token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Logits are divided by this; 0, the default, chooses the most probable token, of several the one with the lowest
    /// number.
    pub temperature: f64,
    /// Only the so many most probable tokens, with all that tie with the last of them.
    pub top_k: Option<usize>,
    /// Only the most probable tokens that together have at least this probability: the fewest that have it. Of tokens
    /// that tie, those with lower numbers go first.
    pub top_p: Option<f64>,
    /// Only tokens with at least this share of the probability of the most probable.
    pub min_p: Option<f64>,
    /// Logits of tokens that are in the text already are divided by this if positive and multiplied if negative; 1, the
    /// default, changes nothing.
    pub repetition_penalty: f64,
}

/// A token that can come next, with its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The token.
    pub token: u32,
    /// Its probability among all candidates.
    pub probability: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: 1.0,
        }
    }
}

impl Sampling {
    /// The most probable token.
    pub fn greedy() -> Self {
        Self::default()
    }

    /// A random token; 1 for the model's own distribution.
    pub fn temperature(temperature: f64) -> Self {
        Self {
            temperature,
            ..Self::default()
        }
    }

    /// Only the `k` most probable tokens.
    pub fn with_top_k(self, k: usize) -> Self {
        Self {
            top_k: Some(k),
            ..self
        }
    }

    /// Only the most probable tokens that together have the probability `p`.
    pub fn with_top_p(self, p: f64) -> Self {
        Self {
            top_p: Some(p),
            ..self
        }
    }

    /// Only tokens with at least the share `p` of the highest probability.
    pub fn with_min_p(self, p: f64) -> Self {
        Self {
            min_p: Some(p),
            ..self
        }
    }

    /// With a penalty on tokens that are in the text already.
    pub fn with_repetition_penalty(self, penalty: f64) -> Self {
        Self {
            repetition_penalty: penalty,
            ..self
        }
    }

    /// Checks that every setting is in its range.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] naming the setting: the temperature must be at least 0, `top_k` at least 1, `top_p` in
    /// (0, 1], `min_p` in [0, 1], and the penalty positive.
    pub fn validate(&self) -> Result<()> {
        let share = |p: f64| (0.0..=1.0).contains(&p);
        let checks = [
            ("temperature", self.temperature, self.temperature >= 0.0),
            ("top_k", 0.0, self.top_k != Some(0)),
            (
                "top_p",
                self.top_p.unwrap_or(1.0),
                self.top_p.is_none_or(|p| share(p) && p > 0.0),
            ),
            (
                "min_p",
                self.min_p.unwrap_or(0.0),
                self.min_p.is_none_or(share),
            ),
            (
                "repetition_penalty",
                self.repetition_penalty,
                self.repetition_penalty > 0.0,
            ),
        ];
        match checks
            .into_iter()
            .find(|&(_, value, fits)| !(fits && value.is_finite()))
        {
            None => Ok(()),
            Some((field, value, _)) => Err(Error::InvalidConfig {
                field: field.to_owned(),
                reason: format!("{value} is out of range"),
            }),
        }
    }

    /// All tokens that can come next, by number; one, if the choice is greedy. `text` is what came before.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if a logit is NaN or infinity, or all are minus infinity (which some may be), and those
    /// of [`Self::validate`].
    pub fn candidates(&self, logits: &[f32], text: &[u32]) -> Result<Vec<Candidate>> {
        self.validate()?;
        check(logits)?;
        let mut scores: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        self.penalise(&mut scores, text);
        if self.temperature == 0.0 {
            let token = argmax(&scores) as u32;
            let probability = 1.0;
            return Ok(vec![Candidate { token, probability }]);
        }
        let highest = scores[argmax(&scores)];
        let mut weights: Vec<(u32, f64)> = (0..)
            .zip(scores)
            .map(|(token, score)| (token, ((score - highest) / self.temperature).exp()))
            .filter(|&(_, weight)| weight > 0.0)
            .collect();
        if let Some(k) = self.top_k.filter(|&k| k < weights.len()) {
            keep_top_k(&mut weights, k);
        }
        if let Some(p) = self.top_p.filter(|&p| p < 1.0) {
            keep_top_p(&mut weights, p);
        }
        if let Some(p) = self.min_p {
            // The highest weight is 1.
            weights.retain(|&(_, weight)| weight >= p);
        }
        let total: f64 = weights.iter().map(|&(_, weight)| weight).sum();
        let candidate = |(token, weight)| Candidate {
            token,
            probability: weight / total,
        };
        Ok(weights.into_iter().map(candidate).collect())
    }

    /// The next token. Draws one number from the generator, none if the choice is greedy.
    ///
    /// # Errors
    ///
    /// As [`Self::candidates`].
    pub fn sample(&self, logits: &[f32], text: &[u32], rng: &mut impl Rng) -> Result<u32> {
        let candidates = self.candidates(logits, text)?;
        let mut left = match candidates.len() {
            1 => 0.0,
            _ => rng.random::<f64>(),
        };
        let mut token = 0;
        for candidate in candidates {
            token = candidate.token;
            left -= candidate.probability;
            if left < 0.0 {
                break;
            }
        }
        Ok(token)
    }

    fn penalise(&self, scores: &mut [f64], text: &[u32]) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        let seen: BTreeSet<u32> = text.iter().copied().collect();
        for token in seen {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = match *score < 0.0 {
                    true => *score * self.repetition_penalty,
                    false => *score / self.repetition_penalty,
                };
            }
        }
    }
}

/// The natural logarithm of a token's probability by these logits, as they are.
pub(crate) fn log_probability(logits: &[f32], token: u32) -> f32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits
        .iter()
        .map(|&logit| f64::from(logit - highest).exp())
        .sum();
    (f64::from(logits[token as usize] - highest) - total.ln()) as f32
}

/// Keeps all that are not below the k-th highest.
fn keep_top_k(weights: &mut Vec<(u32, f64)>, k: usize) {
    let mut sorted: Vec<f64> = weights.iter().map(|&(_, weight)| weight).collect();
    let (_, &mut threshold, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
    weights.retain(|&(_, weight)| weight >= threshold);
}

/// Keeps the highest whose sum reaches the share `p` of the sum of all.
fn keep_top_p(weights: &mut Vec<(u32, f64)>, p: f64) {
    let wanted = p * weights.iter().map(|&(_, weight)| weight).sum::<f64>();
    // Stable: of equal weights, the token with the lower number comes first.
    weights.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let mut sum = 0.0;
    let enough = weights.iter().position(|&(_, weight)| {
        sum += weight;
        sum >= wanted
    });
    weights.truncate(enough.map_or(weights.len(), |last| last + 1));
    weights.sort_unstable_by_key(|&(token, _)| token);
}

/// The first of the highest.
fn argmax(scores: &[f64]) -> usize {
    let mut best = 0;
    for (at, &score) in scores.iter().enumerate() {
        if score > scores[best] {
            best = at;
        }
    }
    best
}

fn check(logits: &[f32]) -> Result<()> {
    let wrong = |reason: String| Err(Error::InvalidInput { reason });
    let bad = |logit: &f32| logit.is_nan() || *logit == f32::INFINITY;
    if let Some(token) = logits.iter().position(bad) {
        return wrong(format!("the logit of token {token} is {}", logits[token]));
    }
    match logits.iter().any(|logit| logit.is_finite()) {
        true => Ok(()),
        false => wrong("no token has a finite logit".to_owned()),
    }
}
