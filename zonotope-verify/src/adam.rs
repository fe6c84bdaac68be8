//! Adam, and the best point of every row: what every ascent on a device shares.

use burn::Tensor;

/// Adam (Kingma and Ba, arXiv 1412.6980) for a list of matrices. Its factors `1 - beta` are put into the step instead of the sums.
#[derive(Debug, Clone)]
pub(crate) struct Adam {
    beta_1: f64,
    beta_2: f64,
    /// Keeps a number that never moved from 0 / 0.
    epsilon: f64,
    steps: i32,
    /// Discounted sums of the gradients and of their squares, matrix by matrix.
    sums: Vec<(Tensor<2>, Tensor<2>)>,
}

impl Adam {
    pub(crate) fn new(beta_1: f64, beta_2: f64, epsilon: f64) -> Self {
        Self {
            beta_1,
            beta_2,
            epsilon,
            steps: 0,
            sums: Vec::new(),
        }
    }

    /// `rate` times the normalised direction of every matrix, given all their gradients.
    pub(crate) fn directions(&mut self, gradients: Vec<Tensor<2>>, rate: f64) -> Vec<Tensor<2>> {
        self.sums = if self.sums.is_empty() {
            gradients
                .into_iter()
                .map(|gradient| (gradient.clone(), gradient.square()))
                .collect()
        } else {
            std::mem::take(&mut self.sums)
                .into_iter()
                .zip(gradients)
                .map(|((first, second), gradient)| {
                    (
                        first * self.beta_1 + gradient.clone(),
                        second * self.beta_2 + gradient.square(),
                    )
                })
                .collect()
        };
        self.steps = self.steps.saturating_add(1);
        let first_weight = (1.0 - self.beta_1) / (1.0 - self.beta_1.powi(self.steps));
        let second_weight = ((1.0 - self.beta_2) / (1.0 - self.beta_2.powi(self.steps))).sqrt();
        let length = rate * first_weight / second_weight;
        let epsilon = self.epsilon / second_weight;
        self.sums
            .iter()
            .map(|(first, second)| first.clone() * length / (second.clone().sqrt() + epsilon))
            .collect()
    }
}

/// The best point seen of every row, over a list of matrices with the same rows.
pub(crate) struct Best {
    points: Vec<Tensor<2>>,
    /// `[rows, 1]`
    values: Option<Tensor<2>>,
}

impl Best {
    /// Starts at a point whose value is not known yet: the first one that is kept replaces it.
    pub(crate) fn new(points: Vec<Tensor<2>>) -> Self {
        Self {
            points,
            values: None,
        }
    }

    /// Takes every row of a point whose value (`[rows, 1]`) is above the best so far.
    pub(crate) fn keep(&mut self, points: &[Tensor<2>], values: Tensor<2>) {
        self.values = Some(match self.values.take() {
            None => {
                self.points = points.to_vec();
                values
            }
            Some(old) => {
                let better = values.clone().greater(old.clone());
                for (best, point) in self.points.iter_mut().zip(points) {
                    let mask = better.clone().expand(point.dims());
                    *best = best.clone().mask_where(mask, point.clone());
                }
                old.mask_where(better, values)
            }
        });
    }

    /// The values of the best points, `[rows, 1]`, if one was kept.
    pub(crate) fn values(&self) -> Option<&Tensor<2>> {
        self.values.as_ref()
    }

    pub(crate) fn into_points(self) -> Vec<Tensor<2>> {
        self.points
    }
}
