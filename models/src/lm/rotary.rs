//! Rotary positions (Su et al., "RoFormer", arXiv 2104.09864) in the half-split form: the axes `i` and `i + r/2` of a
//! head's first `r` are rotated as a pair, by the position times the frequency `theta^(-2i/r)`.

use std::f64::consts::TAU;

use burn::tensor::{Device, Tensor, TensorData};

use super::config::RopeScaling;

/// Cosines and sines of a forward pass's positions, both `[batch or 1, time, 1, rotated / 2]`.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    cosines: Tensor<4>,
    sines: Tensor<4>,
}

impl Rotation {
    /// The rotation for these positions, one row for every sequence or one row for all.
    pub(super) fn new(positions: &[Vec<usize>], frequencies: &[f64], device: &Device) -> Self {
        let time = positions.first().map_or(0, Vec::len);
        let shape = [positions.len(), time, 1, frequencies.len()];
        let table = |of: fn(f64) -> f64| {
            let angles = positions.iter().flatten().flat_map(|&position| {
                let angle = move |&frequency: &f64| of(position as f64 * frequency) as f32;
                frequencies.iter().map(angle)
            });
            Tensor::from_data(TensorData::new(angles.collect(), shape), device)
        };
        Self {
            cosines: table(f64::cos),
            sines: table(f64::sin),
        }
    }

    /// Rotates queries or keys `[batch, time, heads, head width]`; axes beyond the rotated ones pass.
    pub(super) fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let width = x.dims()[3];
        let half = self.cosines.dims()[3];
        let (cosines, sines) = (self.cosines.clone(), self.sines.clone());
        let first = x.clone().narrow(3, 0, half);
        let second = x.clone().narrow(3, half, half);
        let mut parts = vec![
            first.clone() * cosines.clone() - second.clone() * sines.clone(),
            second * cosines + first * sines,
        ];
        if 2 * half < width {
            parts.push(x.narrow(3, 2 * half, width - 2 * half));
        }
        Tensor::cat(parts, 3)
    }
}

/// The angle per position of every pair of axes, in radians.
pub(super) fn frequencies(theta: f64, rotated: usize, scaling: &RopeScaling) -> Vec<f64> {
    let pairs = (0..rotated).step_by(2);
    pairs
        .map(|axis| theta.powf(-(axis as f64) / rotated as f64))
        .map(|frequency| match *scaling {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original,
            } => {
                // How often the pair turns within the context of pretraining decides.
                let turns = original as f64 * frequency / TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                frequency * (kept + (1.0 - kept) / factor)
            }
        })
        .collect()
}
