//! Loss and accuracy over a data set, in batches and without autodiff.

use burn::module::Module;
use burn::tensor::Tensor;

use super::gradients::to_f64;
use super::loss::Labels;
use crate::{Error, Result};

/// How well a classifier or language model predicts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean cross entropy of the positions that count, in nats.
    pub loss: f64,
    /// Part of them whose label has the largest logit.
    pub accuracy: f64,
    /// How many they are.
    pub positions: usize,
}

/// Evaluates a model on `samples` samples, `batch_size` at a time: `forward` takes the model in validation mode, off
/// autodiff, and the indices of a batch, and gives logits `[positions, classes]` with their labels.
///
/// # Errors
///
/// [`Error::InvalidInput`] if there are no samples, the batch size is 0, or logits and labels do not fit together;
/// [`Error::NonFiniteOutput`] if a logit or a loss is NaN or infinite; the errors of `forward`.
pub fn evaluate<M: Module>(
    model: &M,
    samples: usize,
    batch_size: usize,
    mut forward: impl FnMut(&M, &[usize]) -> Result<(Tensor<2>, Labels)>,
) -> Result<Evaluation> {
    if samples == 0 || batch_size == 0 {
        return Err(Error::InvalidInput {
            reason: format!("nothing to evaluate: {samples} samples in batches of {batch_size}"),
        });
    }
    let model = model.valid();
    let indices: Vec<usize> = (0..samples).collect();
    let (mut loss, mut correct, mut positions) = (0.0, 0, 0);
    for batch in indices.chunks(batch_size) {
        let (logits, labels) = forward(&model, batch)?;
        correct += labels.correct(logits.clone())?;
        let losses = to_f64(labels.cross_entropies(logits, 0.0)?)?;
        if let Some(index) = losses.iter().position(|loss| !loss.is_finite()) {
            return Err(Error::NonFiniteOutput {
                what: "losses",
                index,
                value: losses[index],
            });
        }
        loss += losses.iter().sum::<f64>();
        positions += labels.counted();
    }
    Ok(Evaluation {
        loss: loss / positions as f64,
        accuracy: correct as f64 / positions as f64,
        positions,
    })
}
