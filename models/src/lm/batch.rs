//! Sequences of tokens of different lengths as one padded batch.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::LmConfig;
use crate::{Error, Result};

/// Which end of shorter sequences is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Before the sequence: all end at the same place, as generation wants it.
    Left,
    /// After the sequence: all begin at the same place.
    Right,
}

/// Where the tokens of a batch are, and where only filling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Padding {
    time: usize,
    /// The tokens of every sequence.
    tokens: Vec<Range<usize>>,
}

/// Sequences of tokens, filled to the same length. None is empty.
///
/// Filling is never seen by a token and does not count as a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    /// Row-major `[batch, time]`; filling is token 0.
    tokens: Vec<u32>,
    padding: Padding,
}

impl Padding {
    /// Sequences of these lengths, filled on one side to the length of the longest.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if there is no sequence or an empty one.
    pub fn new(lengths: &[usize], side: Side) -> Result<Self> {
        let time = lengths.iter().copied().max().unwrap_or(0);
        if let Some(row) = lengths.iter().position(|&length| length == 0) {
            return Err(invalid(format!("sequence {row} is empty")));
        }
        if time == 0 {
            return Err(invalid("a batch without sequences".to_owned()));
        }
        let place = |&length: &usize| match side {
            Side::Left => time - length..time,
            Side::Right => 0..length,
        };
        Ok(Self {
            time,
            tokens: lengths.iter().map(place).collect(),
        })
    }

    /// Sequences of equal length without filling.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if there is no sequence or they are empty.
    pub fn full(batch: usize, time: usize) -> Result<Self> {
        Self::new(&vec![time; batch], Side::Right)
    }

    /// Number of sequences.
    pub fn batch(&self) -> usize {
        self.tokens.len()
    }

    /// Length of the longest sequence, which all others are filled to.
    pub fn time(&self) -> usize {
        self.time
    }

    /// Where every sequence's tokens are.
    pub fn tokens(&self) -> &[Range<usize>] {
        &self.tokens
    }
}

impl TokenBatch {
    /// Puts sequences together.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if there is no sequence or an empty one.
    pub fn new<S: AsRef<[u32]>>(sequences: &[S], side: Side) -> Result<Self> {
        let lengths: Vec<usize> = sequences.iter().map(|s| s.as_ref().len()).collect();
        let padding = Padding::new(&lengths, side)?;
        let mut tokens = vec![0; padding.batch() * padding.time];
        let rows = tokens.chunks_exact_mut(padding.time);
        for ((row, sequence), place) in rows.zip(sequences).zip(&padding.tokens) {
            row[place.clone()].copy_from_slice(sequence.as_ref());
        }
        Ok(Self { tokens, padding })
    }

    /// A batch of one sequence.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if it is empty.
    pub fn single(sequence: &[u32]) -> Result<Self> {
        Self::new(&[sequence], Side::Right)
    }

    /// Where the tokens are.
    pub fn padding(&self) -> &Padding {
        &self.padding
    }

    /// The sequences without filling.
    pub fn sequences(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        let rows = self.tokens.chunks_exact(self.padding.time);
        rows.zip(&self.padding.tokens)
            .map(|(row, place)| &row[place.clone()])
    }

    /// The tokens on a device, `[batch, time]`, with token 0 as filling.
    pub fn to_tensor(&self, device: &Device) -> Tensor<2, Int> {
        let tokens: Vec<i32> = self.tokens.iter().map(|&token| token as i32).collect();
        let shape = [self.padding.batch(), self.padding.time];
        Tensor::from_data(TensorData::new(tokens, shape), device)
    }

    /// Checks that a model has all these tokens and that no sequence is longer than its context.
    ///
    /// # Errors
    ///
    /// [`Error::TokenOutOfRange`], with the position in its sequence, and [`Error::InvalidInput`].
    pub fn validate(&self, config: &LmConfig) -> Result<()> {
        for (row, sequence) in self.sequences().enumerate() {
            check_tokens(sequence, config.vocabulary)?;
            if sequence.len() > config.context {
                return Err(invalid(format!(
                    "sequence {row} has {} tokens, more than the context of {}",
                    sequence.len(),
                    config.context
                )));
            }
        }
        Ok(())
    }
}

/// Checks that a vocabulary has all these tokens.
pub(super) fn check_tokens(tokens: &[u32], vocabulary: usize) -> Result<()> {
    match tokens
        .iter()
        .position(|&token| token as usize >= vocabulary)
    {
        None => Ok(()),
        Some(position) => Err(Error::TokenOutOfRange {
            token: tokens[position],
            position,
            vocabulary,
        }),
    }
}

pub(super) fn invalid(reason: String) -> Error {
    Error::InvalidInput { reason }
}
