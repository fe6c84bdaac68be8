//! Batch normalisation's statistics as values: what a batch had, what a network keeps, and how the one becomes the other.
//!
//! A forward pass in training mode normalises with the batch's own mean and variance and changes nothing. Whoever trains
//! takes the [`BatchStatistics`] of the pass and hands them to [`Network::with_running_update`] (the exponential average
//! of training). After weights were merged or permuted the old averages mean nothing;
//! [`Network::recompute_running_statistics`] replaces them by the exact ones of given images
//! (REPAIR, Jordan et al. 2022, arXiv 2211.08403).

use burn::tensor::Tensor;

use super::Mode;
use super::network::Network;
use super::topology::Operation;
use crate::{Error, Result};

/// Mean and variance of the inputs of every batch normalisation over one or more batches, in order of evaluation.
#[derive(Clone, Debug, Default)]
pub struct BatchStatistics {
    /// One entry a layer.
    pub layers: Vec<LayerStatistics>,
}

/// Mean and variance of every channel.
#[derive(Clone, Debug)]
pub struct LayerStatistics {
    /// Name of the layer.
    pub name: String,
    /// Mean, `[channels]`.
    pub mean: Tensor<1>,
    /// Variance with the divisor `count` (biased), `[channels]`.
    pub variance: Tensor<1>,
    /// Values a channel: images times positions.
    pub count: usize,
}

/// How statistics are recomputed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recompute {
    /// One pass over the images in training mode: every layer sees inputs that earlier layers normalised by their batch.
    #[default]
    OnePass,
    /// One pass a layer: every layer sees inputs that earlier layers normalised with their new running statistics, as
    /// they will in evaluation. Exact, and as many times slower as there are layers.
    LayerByLayer,
}

impl BatchStatistics {
    /// Joins the statistics of further batches: what both together have, exactly.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the two are not of the same layers.
    pub fn join(self, other: Self) -> Result<Self> {
        if self.layers.is_empty() {
            return Ok(other);
        }
        if self.layers.len() != other.layers.len() {
            return Err(Error::InvalidInput {
                reason: format!("{} and {} layers", self.layers.len(), other.layers.len()),
            });
        }
        let pairs = self.layers.into_iter().zip(other.layers);
        let layers: Result<_> = pairs.map(|(a, b)| a.join(b)).collect();
        Ok(Self { layers: layers? })
    }
}

impl LayerStatistics {
    /// Of an activation `[batch, channels, height, width]`.
    pub(super) fn of(name: &str, values: Tensor<4>) -> Self {
        let [batch, channels, height, width] = values.dims();
        let count = batch * height * width;
        let rows = values
            .without_autodiff()
            .swap_dims(0, 1)
            .reshape([channels, count]);
        let mean = rows.clone().mean_dim(1);
        let variance = (rows - mean.clone()).square().mean_dim(1);
        Self {
            name: name.to_owned(),
            mean: mean.reshape([channels]),
            variance: variance.reshape([channels]),
            count,
        }
    }

    /// Variance with the divisor `count - 1`, which is what PyTorch keeps.
    pub fn unbiased_variance(&self) -> Tensor<1> {
        let count = self.count as f64;
        self.variance
            .clone()
            .mul_scalar(count / (count - 1.0).max(1.0))
    }

    /// Chan's update: no cancellation, however far apart the means are.
    fn join(self, other: Self) -> Result<Self> {
        if self.name != other.name || self.mean.dims() != other.mean.dims() {
            return Err(Error::InvalidInput {
                reason: format!("statistics of `{}` and of `{}`", self.name, other.name),
            });
        }
        let count = self.count + other.count;
        let (mine, theirs) = (
            self.count as f64 / count as f64,
            other.count as f64 / count as f64,
        );
        let apart = other.mean - self.mean.clone();
        let within = self.variance.mul_scalar(mine) + other.variance.mul_scalar(theirs);
        Ok(Self {
            name: self.name,
            mean: self.mean + apart.clone().mul_scalar(theirs),
            variance: within + apart.square().mul_scalar(mine * theirs),
            count,
        })
    }
}

impl Network {
    /// The network after its running statistics have moved towards a batch's, by the layers' momentum
    /// (`running = 0.9 running + 0.1 batch`, the variance unbiased): what PyTorch does in every training step.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the statistics are not of this network's layers.
    pub fn with_running_update(self, statistics: &BatchStatistics) -> Result<Self> {
        self.with_moved_statistics(statistics, |momentum| momentum)
    }

    /// The network with these in the place of its running statistics.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the statistics are not of this network's layers.
    pub fn with_running_statistics(self, statistics: &BatchStatistics) -> Result<Self> {
        self.with_moved_statistics(statistics, |_| 1.0)
    }

    /// The network with means of 0 and variances of 1.
    pub fn with_reset_statistics(mut self) -> Self {
        for node in self.batch_norms() {
            if let (Ok(mean), Ok(variance)) = (self.tensor::<1>(node, 2), self.tensor::<1>(node, 3))
            {
                self.set_vector(node, 2, mean.zeros_like());
                self.set_vector(node, 3, variance.ones_like());
            }
        }
        self
    }

    /// The network with the exact statistics of all given images together.
    ///
    /// `batches` starts the images over: it is called once ([`Recompute::OnePass`]) or once a layer.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if there are no images or they do not fit the network.
    pub fn recompute_running_statistics<I>(
        self,
        how: Recompute,
        mut batches: impl FnMut() -> I,
    ) -> Result<Self>
    where
        I: IntoIterator<Item = Tensor<4>>,
    {
        let none = || Error::InvalidInput {
            reason: "statistics of no images".to_owned(),
        };
        let mut network = self;
        if how == Recompute::OnePass {
            let plain = burn::module::Module::valid(&network);
            let mut all = BatchStatistics::default();
            for images in batches() {
                all = all.join(plain.logits_with_statistics(images)?.1)?;
            }
            let found = !all.layers.is_empty() || network.batch_norms().is_empty();
            return if found {
                network.with_running_statistics(&all)
            } else {
                Err(none())
            };
        }
        for node in network.batch_norms() {
            let plain = burn::module::Module::valid(&network);
            let mut all: Option<LayerStatistics> = None;
            for images in batches() {
                let batch = plain.statistics_at(node, images)?;
                all = Some(match all {
                    None => batch,
                    Some(all) => all.join(batch)?,
                });
            }
            let all = all.ok_or_else(none)?;
            network.set_vector(node, 3, all.unbiased_variance());
            network.set_vector(node, 2, all.mean);
        }
        Ok(network)
    }

    /// Statistics of what a layer reads in evaluation.
    fn statistics_at(&self, node: usize, images: Tensor<4>) -> Result<LayerStatistics> {
        let at = &self.topology().nodes()[node];
        let input = self.evaluate_until(at.inputs[0], images, Mode::Eval)?;
        Ok(LayerStatistics::of(&at.name, input.image(&at.name)?))
    }

    fn batch_norms(&self) -> Vec<usize> {
        let nodes = self.topology().nodes().iter().enumerate();
        nodes
            .filter(|(_, node)| matches!(node.operation, Operation::BatchNorm { .. }))
            .map(|(position, _)| position)
            .collect()
    }

    fn with_moved_statistics(
        mut self,
        statistics: &BatchStatistics,
        weight: impl Fn(f64) -> f64,
    ) -> Result<Self> {
        let nodes = self.batch_norms();
        if nodes.len() != statistics.layers.len() {
            return Err(Error::InvalidInput {
                reason: format!(
                    "statistics of {} layers for a network with {}",
                    statistics.layers.len(),
                    nodes.len()
                ),
            });
        }
        for (node, layer) in nodes.into_iter().zip(&statistics.layers) {
            let at = &self.topology().nodes()[node];
            let Operation::BatchNorm { momentum, .. } = at.operation else {
                continue;
            };
            if at.name != layer.name || at.shape[0] != layer.mean.dims()[0] {
                return Err(Error::InvalidInput {
                    reason: format!("statistics of `{}` for `{}`", layer.name, at.name),
                });
            }
            let weight = weight(momentum);
            for (n, new) in [(2, layer.mean.clone()), (3, layer.unbiased_variance())] {
                let old = self.tensor::<1>(node, n)?.without_autodiff();
                let moved = match weight == 1.0 {
                    true => new,
                    false => old.mul_scalar(1.0 - weight) + new.mul_scalar(weight),
                };
                self.set_vector(node, n, moved);
            }
        }
        Ok(self)
    }
}
