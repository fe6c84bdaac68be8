//! Random halves of a text.

use rand::Rng;
use rand::seq::SliceRandom;

/// Splits a text at random into two halves of equally many blocks of `lines` lines each (at least 1; the first half has the odd
/// block). Both keep the order of the text.
///
/// Use it, with blocks of 8 lines, to get a part to train on and a part to count on. Prefixes will not do: neighbouring parts of a
/// corpus differ, and repeated ones are in both or in none (section 5.2 of the design).
pub fn split_blocks(text: &str, lines: usize, rng: &mut impl Rng) -> (String, String) {
    let lines = lines.max(1);
    let mut blocks = Vec::new();
    let (mut start, mut end, mut held) = (0, 0, 0);
    for line in text.split_inclusive('\n') {
        end += line.len();
        held += 1;
        if held == lines {
            blocks.push(&text[start..end]);
            (start, held) = (end, 0);
        }
    }
    if start < end {
        blocks.push(&text[start..end]);
    }
    let firsts = blocks.len().div_ceil(2);
    let mut in_first: Vec<bool> = (0..blocks.len()).map(|k| k < firsts).collect();
    in_first.shuffle(rng);
    let half = |which: bool| {
        let chosen = blocks.iter().zip(&in_first).filter(|(_, is)| **is == which);
        chosen.map(|(block, _)| *block).collect::<String>()
    };
    (half(true), half(false))
}
