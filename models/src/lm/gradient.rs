//! Gradients with respect to the choice of tokens.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;

use super::batch::invalid;
use super::loss::{cross_entropy, indices};
use super::model::rows;
use super::{CausalLm, TokenBatch};
use crate::Result;

impl CausalLm {
    /// How the loss of given tokens would change with the tokens before them: the gradient of minus the summed
    /// log-probability of `tokens[target]`, in nats, with respect to the one-hot rows of `tokens[free]`, `[free,
    /// vocabulary]`, on the model's device without autodiff.
    ///
    /// The gradient is taken with respect to the vectors of the free tokens and multiplied by the embedding matrix, which
    /// is the same and saves the product of one-hot rows and embedding. The model may be on any device; its weights get
    /// no gradients. A free token that is also a target is varied as input only.
    ///
    /// # Errors
    ///
    /// Those of [`TokenBatch::validate`], and [`Error::InvalidInput`](crate::Error::InvalidInput) if a range is empty or
    /// reaches beyond the tokens, or if the target includes the first token.
    pub fn one_hot_gradient(
        &self,
        tokens: &[u32],
        free: Range<usize>,
        target: Range<usize>,
    ) -> Result<Tensor<2>> {
        for (name, range) in [("free", &free), ("target", &target)] {
            if range.is_empty() || range.end > tokens.len() {
                let length = tokens.len();
                return Err(invalid(format!("the {name} tokens {range:?} of {length}")));
            }
        }
        if target.start == 0 {
            return Err(invalid("the first token cannot be a target".to_owned()));
        }
        let batch = TokenBatch::single(tokens)?;
        batch.validate(self.config())?;
        let model = self.valid();
        let device = model.device();
        let vectors = model
            .embed(batch.to_tensor(&device))
            .autodiff()
            .require_grad();
        let hidden = model.hidden_from_embeddings(vectors.clone(), None, None)?;
        let places: Vec<usize> = (target.start - 1..target.end - 1).collect();
        let logits = model.output_rows(rows(hidden, &places));
        let loss = cross_entropy(logits, indices(&tokens[target], &device));
        let mut gradients = loss.backward();
        let gradient = vectors
            .grad_remove(&mut gradients)
            .unwrap_or_else(|| vectors.inner().zeros_like());
        let [_, _, width] = gradient.dims();
        let gradient = gradient
            .narrow(1, free.start, free.len())
            .reshape([free.len(), width]);
        Ok(gradient.matmul(model.embedding_matrix().transpose()))
    }
}
