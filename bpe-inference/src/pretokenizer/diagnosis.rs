//! Which pretokenizer was a vocabulary made with?

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::marker::MARKER;
use super::{LineMode, TextPipeline};
use crate::merges::{MergeList, readable};

/// How well a pipeline explains a tokenizer's vocabulary: see [`diagnose`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PretokenizerScore {
    /// The pipeline's name, which parses as a [`TextPipeline`].
    pub name: String,
    /// Share of tokens that it leaves in one piece.
    pub share: f64,
    /// Share of random pairs of tokens that it leaves in one piece when they stand side by side: how little it forbids.
    pub laxity: f64,
    /// Tokens it would never let BPE make, readable, at most 20.
    pub falsified_by: Vec<String>,
}

/// Tokens that a pipeline may fail on, as a share, and still count as good as the best: vocabularies hold a few tokens that were
/// put in by hand.
const NEARLY: f64 = 2e-4;
/// Pairs of tokens by which laxity is measured.
const PAIRS: usize = 20_000;
/// Falsifying tokens that a score names.
const NAMED: usize = 20;

/// Scores pipelines by how many tokens of `list` they would let BPE make, best first. For the usual candidates pass
/// [`TextPipeline::presets`].
///
/// A token speaks against a pipeline if there is no text in which the token lies within one word: it is tried alone and with
/// letters, a full stop, a space or a contraction's end at its sides. It also speaks against a normalizer that would change it,
/// against line mode if something follows a line feed in it, and against SentencePiece's rules if they forbid
/// it. Spaces count as the pipeline spells them, the SentencePiece family as U+2581. Tokens that are not UTF-8 say nothing and are left
/// out.
///
/// The share of tokens left whole alone would always favour the laxest pipeline, since one that cuts nothing is never
/// wrong. A good explanation also forbids what does not occur. So the candidates whose share is within 0.0002 of the best are ordered by
/// [`laxity`](PretokenizerScore::laxity), the strictest first, and by their order in `candidates` where that is equal too; those
/// behind follow by share, and candidates that forbid nothing at all come last. The pairs for laxity are drawn from
/// the list's own tokens by a fixed rule.
pub fn diagnose(list: &MergeList, candidates: &[TextPipeline]) -> Vec<PretokenizerScore> {
    let tokens = texts(list);
    let pairs = pairs(&tokens);
    let mut scores: Vec<PretokenizerScore> = candidates
        .par_iter()
        .map(|candidate| score(candidate, &tokens, &pairs))
        .collect();
    let forbids = |score: &PretokenizerScore| score.laxity < 1.0;
    let telling = scores.iter().filter(|score| forbids(score));
    let best = telling.map(|score| score.share).fold(0.0, f64::max);
    let group = |score: &PretokenizerScore| match forbids(score) {
        true if score.share >= best - NEARLY => 0,
        true => 1,
        false => 2,
    };
    scores.sort_by(|a, b| {
        let within = match group(a) {
            0 => a.laxity.total_cmp(&b.laxity),
            _ => b.share.total_cmp(&a.share),
        };
        group(a).cmp(&group(b)).then(within)
    });
    scores
}

fn score(candidate: &TextPipeline, tokens: &[String], pairs: &[String]) -> PretokenizerScore {
    let falsifying: Vec<&String> = tokens
        .iter()
        .filter(|token| !can_be_made(candidate, token))
        .collect();
    let kept = pairs
        .iter()
        .filter(|pair| can_be_made(candidate, pair))
        .count();
    let falsified_by = falsifying.iter().take(NAMED);
    PretokenizerScore {
        name: candidate.to_string(),
        share: 1.0 - falsifying.len() as f64 / tokens.len().max(1) as f64,
        laxity: kept as f64 / pairs.len().max(1) as f64,
        falsified_by: falsified_by
            .map(|token| readable(token.as_bytes()))
            .collect(),
    }
}

/// The products of the list that are text.
fn texts(list: &MergeList) -> Vec<String> {
    let base = list.alphabet().base();
    list.tokens()
        .filter(|(id, _)| *id >= base)
        .filter_map(|(_, text)| String::from_utf8(text.into_owned()).ok())
        .collect()
}

/// Concatenations of two tokens, chosen by a multiplicative generator with a fixed start.
fn pairs(tokens: &[String]) -> Vec<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        &tokens[(state >> 33) as usize % tokens.len()]
    };
    let count = if tokens.is_empty() { 0 } else { PAIRS };
    (0..count)
        .map(|_| format!("{}{}", draw(), draw()))
        .collect()
}

/// Whether BPE could have made `token` behind this pipeline.
fn can_be_made(pipeline: &TextPipeline, token: &str) -> bool {
    let one_line = token.find('\n').is_none_or(|feed| feed + 1 == token.len());
    (one_line || pipeline.lines == LineMode::Document)
        && pipeline.normalizer.normalize(token) == token
        && pipeline.pairs.allows(token.as_bytes(), b"")
        && match pipeline.pretokenizer.needs_utf8() {
            false => fits_a_word(pipeline, token),
            true if token.contains(' ') => false,
            true => fits_a_word(pipeline, &token.replace(MARKER, " ")),
        }
}

/// Whether some text has a word of which `token` is a part.
fn fits_a_word(pipeline: &TextPipeline, token: &str) -> bool {
    const BEFORE: [&str; 5] = ["", "a", "A", ".", " "];
    const AFTER: [&str; 4] = ["", "a", "s", "ll"];
    BEFORE.iter().any(|before| {
        AFTER.iter().any(|after| {
            let text = format!("{before}{token}{after}");
            let (from, to) = (before.len(), before.len() + token.len());
            let mut inside = false;
            let scanned = pipeline.pretokenizer.pieces(&text, |start, end| {
                inside |= start <= from && to <= end;
            });
            scanned.is_ok() && inside
        })
    })
}
