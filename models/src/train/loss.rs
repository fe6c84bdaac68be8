//! Cross entropy: with labels, smoothed labels, soft labels, and positions that do not count.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

use super::gradients::to_f64;
use crate::{Error, Result};

/// The classes of some positions, checked once: samples of a classifier, or tokens of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// 0 where the position does not count.
    classes: Vec<i64>,
    counts: Vec<bool>,
    counted: usize,
    width: usize,
}

impl Labels {
    /// Labels below `classes`. Negative ones, such as PyTorch's -100, mark positions that do not count.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if a label is out of range or none counts.
    pub fn new(labels: &[i64], classes: usize) -> Result<Self> {
        let limit = i64::try_from(classes).unwrap_or(i64::MAX);
        if let Some(position) = labels.iter().position(|&label| label >= limit) {
            let label = labels[position];
            return Err(Error::InvalidInput {
                reason: format!("the label {label} at position {position} of {classes} classes"),
            });
        }
        let counts: Vec<bool> = labels.iter().map(|&label| label >= 0).collect();
        let counted = counts.iter().filter(|&&counts| counts).count();
        if counted == 0 {
            return Err(Error::InvalidInput {
                reason: format!("none of {} labels counts", labels.len()),
            });
        }
        Ok(Self {
            classes: labels.iter().map(|&label| label.max(0)).collect(),
            counts,
            counted,
            width: classes,
        })
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are no positions: never.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Number of positions that count.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// Mean cross entropy of logits of shape `[positions, classes]`, over the positions that count, in nats.
    ///
    /// With smoothing `s` (from 0 to 1) a label is worth `1 - s`, and `s` is spread over all classes, as in PyTorch.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the logits have another shape or `smoothing` is out of range.
    pub fn cross_entropy(&self, logits: Tensor<2>, smoothing: f64) -> Result<Tensor<1>> {
        let losses = self.cross_entropies(logits, smoothing)?;
        Ok(losses.sum() / self.counted as f64)
    }

    /// Cross entropy of every position, 0 where it does not count; otherwise as [`Self::cross_entropy`].
    ///
    /// # Errors
    ///
    /// As [`Self::cross_entropy`].
    pub fn cross_entropies(&self, logits: Tensor<2>, smoothing: f64) -> Result<Tensor<1>> {
        self.check(&logits)?;
        if !(0.0..=1.0).contains(&smoothing) {
            return Err(Error::InvalidInput {
                reason: format!("a label smoothing of {smoothing} is not between 0 and 1"),
            });
        }
        let device = logits.device();
        let positions = self.len();
        let log_probabilities = log_softmax(logits, 1);
        let classes = TensorData::new(self.classes.clone(), [positions, 1]);
        let classes = Tensor::<2, Int>::from_data(classes, &device);
        let mut losses = log_probabilities
            .clone()
            .gather(1, classes)
            .reshape([positions])
            .neg();
        if smoothing > 0.0 {
            let spread = log_probabilities.mean_dim(1).reshape([positions]).neg();
            losses = losses * (1.0 - smoothing) + spread * smoothing;
        }
        if self.counted == positions {
            return Ok(losses);
        }
        let counts: Vec<f32> = self.counts.iter().map(|&counts| counts.into()).collect();
        let dtype = losses.dtype();
        let counts = TensorData::new(counts, [positions]);
        Ok(losses * Tensor::from_data(counts, (&device, dtype)))
    }

    /// The number of positions that count whose largest logit is that of their label. Of equal logits the first wins.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the logits have another shape or cannot be read; [`Error::NonFiniteOutput`] if one of a
    /// position that counts is NaN or infinite, minus infinity excepted.
    pub fn correct(&self, logits: Tensor<2>) -> Result<usize> {
        self.check(&logits)?;
        let logits = to_f64(logits)?;
        let rows = logits
            .chunks(self.width)
            .zip(self.classes.iter().zip(&self.counts));
        let mut correct = 0;
        for (position, (row, (&class, _))) in rows.enumerate().filter(|(_, (_, (_, c)))| **c) {
            let wrong = |logit: &f64| logit.is_nan() || *logit == f64::INFINITY;
            if let Some(index) = row.iter().position(wrong) {
                return Err(Error::NonFiniteOutput {
                    what: "logits",
                    index: position * self.width + index,
                    value: row[index],
                });
            }
            let best = (0..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
            correct += usize::from(best as i64 == class);
        }
        Ok(correct)
    }

    fn check<const D: usize>(&self, logits: &Tensor<D>) -> Result<()> {
        let wanted = [self.len(), self.width];
        match logits.dims()[..] == wanted {
            true => Ok(()),
            false => Err(Error::InvalidInput {
                reason: format!(
                    "logits of shape {:?} for labels of {wanted:?}",
                    logits.dims()
                ),
            }),
        }
    }
}

/// Mean cross entropy of logits `[samples, classes]` with a distribution over the classes for every sample, in nats:
/// `-1/n Σᵢ Σ꜀ qᵢ꜀ log pᵢ꜀`. Gradients flow into both.
///
/// # Errors
///
/// [`Error::InvalidInput`] if the shapes differ or there are no samples.
pub fn soft_cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Result<Tensor<1>> {
    let [samples, _] = logits.dims();
    if logits.dims() != targets.dims() || samples == 0 {
        let (logits, targets) = (logits.dims(), targets.dims());
        return Err(Error::InvalidInput {
            reason: format!("logits of shape {logits:?} for soft labels of {targets:?}"),
        });
    }
    Ok((log_softmax(logits, 1) * targets).sum().neg() / samples as f64)
}
