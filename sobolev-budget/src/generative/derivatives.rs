//! Exact derivatives of a generator, to measure by and to penalise.

use burn::tensor::Tensor;

use super::generator::{Generator, Jets};
use super::host;

/// Squared norms of the second derivatives at every latent, summed over outputs, `[batch]` each.
#[derive(Clone, Debug)]
pub struct SecondNorms {
    /// `|D^2 G|^2`, the sum of the squares of all second partial derivatives.
    pub frobenius: Tensor<1>,
    /// `|tr D^2 G|^2`, the square of the Laplacian.
    pub trace: Tensor<1>,
}

impl SecondNorms {
    /// The mean over `v ~ N(0, I)` of `|D^2 G [v, v]|^2`, which a [`SobolevPenalty`](super::SobolevPenalty) of order 2 estimates.
    pub fn mean_along_directions(&self) -> Tensor<1> {
        self.trace.clone() + self.frobenius.clone() * 2.0
    }
}

/// The Jacobian at every latent, `[batch, n, m]`, by a backward pass for each output.
pub fn jacobian<G: Generator>(generator: &G, latents: Tensor<2>) -> Tensor<3> {
    let generator = generator.valid();
    let [count, m] = latents.dims();
    let latents = latents.without_autodiff();
    let gradients = (0..generator.outputs()).map(|output| {
        let z = latents.clone().autodiff().require_grad();
        let sum = generator
            .forward(z.clone())
            .slice_dim(1, output..output + 1)
            .sum();
        // Without a path from the latents to the output there is nothing to go back along.
        let gradient = match sum.is_tracked() {
            true => z.grad_remove(&mut sum.backward()),
            false => None,
        };
        gradient
            .unwrap_or_else(|| latents.zeros_like())
            .reshape([count, 1, m])
    });
    Tensor::cat(gradients.collect(), 1)
}

/// `|DG|^2` (Frobenius) at every latent, `[batch]`, by m forward passes; differentiable in the weights.
pub fn jacobian_norms<G: Jets>(generator: &G, latents: Tensor<2>) -> Tensor<1> {
    let squares = (0..generator.latents()).map(|i| {
        let direction = axes(&latents, &[i]);
        row_squares(generator.jet(latents.clone(), direction).first)
    });
    sum(squares, &latents)
}

/// Squared norms of the second derivatives at every latent, by m (m + 1) / 2 forward passes; differentiable in the weights.
pub fn second_norms<G: Jets>(generator: &G, latents: Tensor<2>) -> SecondNorms {
    let m = generator.latents();
    let along = |axis: &[usize]| {
        let direction = axes(&latents, axis);
        generator.jet(latents.clone(), direction).second
    };
    let pure: Vec<Tensor<2>> = (0..m).map(|i| along(&[i])).collect();
    let pairs = (0..m).flat_map(|i| (0..i).map(move |j| (i, j)));
    // D^2 G [e_i, e_j] out of the second derivatives along e_i + e_j, e_i and e_j; it stands in the matrix twice.
    let mixed = pairs
        .map(|(i, j)| (along(&[i, j]) - pure[i].clone() - pure[j].clone()) / 2.0)
        .map(|entry| row_squares(entry) * 2.0);
    let diagonal = pure.iter().cloned().map(row_squares);
    let laplacian = pure.iter().cloned().reduce(|a, b| a + b);
    SecondNorms {
        frobenius: sum(diagonal.chain(mixed), &latents),
        trace: sum(laplacian.map(row_squares).into_iter(), &latents),
    }
}

/// The sum of some unit vectors, for every latent.
fn axes(latents: &Tensor<2>, which: &[usize]) -> Tensor<2> {
    let [count, m] = latents.dims();
    let row = (0..m).map(|i| f32::from(u8::from(which.contains(&i))));
    host::rows(row.collect(), m, &latents.device()).expand([count, m])
}

fn row_squares(rows: Tensor<2>) -> Tensor<1> {
    rows.square().sum_dim(1).squeeze_dim(1)
}

fn sum(parts: impl Iterator<Item = Tensor<1>>, latents: &Tensor<2>) -> Tensor<1> {
    let [count, _] = latents.dims();
    let zero = Tensor::zeros([count], &latents.device());
    parts.fold(zero, |sum, part| sum + part)
}
