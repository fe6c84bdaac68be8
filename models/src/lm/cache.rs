//! Keys and values of tokens that a model has already read.

use burn::tensor::{Int, Tensor, TensorData};

use super::batch::invalid;
use super::{LmConfig, Padding};
use crate::Result;

/// The keys and values of every block for the tokens read so far, so that later tokens need not read them again.
///
/// A cache belongs to the model that filled it and to one batch; [`clone`](Clone::clone) it to continue a text in two
/// ways (tensors are shared, not copied), and [`expand`](Self::expand) it to continue one text in many.
#[derive(Clone, Debug)]
pub struct KvCache {
    /// Keys (already rotated) and values of every block, each `[batch, key-value heads, length, head width]`.
    pub(super) blocks: Vec<Option<(Tensor<4>, Tensor<4>)>>,
    /// For every sequence, whether there is a token or filling.
    pub(super) tokens: Vec<Vec<bool>>,
}

impl KvCache {
    /// An empty cache; its batch is that of the first tokens it gets.
    pub fn new(config: &LmConfig) -> Self {
        Self {
            blocks: vec![None; config.layers],
            tokens: Vec::new(),
        }
    }

    /// Number of tokens per sequence, filling included.
    pub fn length(&self) -> usize {
        self.tokens.first().map_or(0, Vec::len)
    }

    /// Number of sequences; 0 if nothing was read yet.
    pub fn batch(&self) -> usize {
        self.tokens.len()
    }

    /// The cache of one sequence as that of `batch` equal ones, to continue it in different ways at once.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if this is not the cache of exactly one sequence or `batch`
    /// is 0.
    pub fn expand(&self, batch: usize) -> Result<Self> {
        if self.batch() != 1 {
            return Err(invalid(format!(
                "a cache of {} sequences cannot be expanded",
                self.batch()
            )));
        }
        self.select(&vec![0; batch])
    }

    /// The cache of some of the sequences, in this order; one may occur several times.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if there is no such sequence or none is asked for.
    pub fn select(&self, sequences: &[usize]) -> Result<Self> {
        if let Some(absent) = sequences.iter().find(|&&s| s >= self.batch()) {
            return Err(invalid(format!(
                "sequence {absent} of a cache of {}",
                self.batch()
            )));
        }
        if sequences.is_empty() {
            return Err(invalid("a batch without sequences".to_owned()));
        }
        let rows = |x: &Tensor<4>| match self.batch() {
            // A view; nothing is copied before more tokens come.
            1 => x.clone().expand([sequences.len() as i64, -1, -1, -1]),
            _ => {
                let indices: Vec<i32> = sequences.iter().map(|&s| s as i32).collect();
                let data = TensorData::new(indices, [sequences.len()]);
                x.clone()
                    .select(0, Tensor::<1, Int>::from_data(data, &x.device()))
            }
        };
        let block = |(keys, values): &(Tensor<4>, Tensor<4>)| (rows(keys), rows(values));
        Ok(Self {
            blocks: self.blocks.iter().map(|b| b.as_ref().map(block)).collect(),
            tokens: sequences.iter().map(|&s| self.tokens[s].clone()).collect(),
        })
    }

    /// Forgets everything after the first `length` places.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) if there are fewer.
    pub fn truncate(&mut self, length: usize) -> Result<()> {
        let found = self.length();
        if length > found {
            return Err(invalid(format!(
                "a cache of {found} tokens cannot be cut to {length}"
            )));
        }
        if length == 0 {
            self.blocks.fill(None);
            self.tokens.clear();
            return Ok(());
        }
        for (keys, values) in self.blocks.iter_mut().flatten() {
            *keys = keys.clone().narrow(2, 0, length);
            *values = values.clone().narrow(2, 0, length);
        }
        for row in &mut self.tokens {
            row.truncate(length);
        }
        Ok(())
    }

    /// Checks that a model's next tokens fit.
    pub(super) fn check(&self, config: &LmConfig, next: &Padding) -> Result<()> {
        if self.blocks.len() != config.layers {
            return Err(invalid(format!(
                "a cache of {} blocks for a model of {}",
                self.blocks.len(),
                config.layers
            )));
        }
        if self.batch() != 0 && self.batch() != next.batch() {
            return Err(invalid(format!(
                "{} sequences continue a cache of {}",
                next.batch(),
                self.batch()
            )));
        }
        Ok(())
    }
}
