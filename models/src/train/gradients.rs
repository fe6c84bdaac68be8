//! Gradients of a whole network by parameter path: sum, norm, and clipping over all of them together.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::weights::Path;
use crate::{Error, Result};

/// The gradients of a network's parameters, flattened, by the path of the parameter (`layers.0.weight`).
#[derive(Clone, Debug, Default)]
pub struct Gradients {
    by_path: BTreeMap<String, Tensor<1>>,
}

/// Sums over more elements than this are taken in rows of this length. burn-flex sums long tensors in parallel, in an
/// order that changes from run to run; a sum of rows has one order, and is more exact.
const ROW: usize = 1 << 16;

impl Gradients {
    /// Names the gradients of a module. Parameters without a gradient are left out.
    pub fn new<M: Module>(model: &M, gradients: GradientsParams) -> Self {
        let mut visitor = Collector {
            path: Path::default(),
            gradients,
            by_path: BTreeMap::new(),
        };
        model.visit(&mut visitor);
        Self {
            by_path: visitor.by_path,
        }
    }

    /// Paths of the parameters that have a gradient, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.by_path.keys().map(String::as_str)
    }

    /// The gradient of a parameter, flattened in row-major order.
    pub fn get(&self, path: &str) -> Option<&Tensor<1>> {
        self.by_path.get(path)
    }

    /// Takes a parameter's gradient out.
    pub(crate) fn take(&mut self, path: &str) -> Option<Tensor<1>> {
        self.by_path.remove(path)
    }

    /// All gradients times a number.
    pub fn scaled(self, factor: f64) -> Self {
        let scale = |(path, gradient): (String, Tensor<1>)| (path, gradient * factor);
        Self {
            by_path: self.by_path.into_iter().map(scale).collect(),
        }
    }

    /// The sum of the gradients of both; what only one of them has is taken as it is.
    pub fn plus(mut self, other: Self) -> Self {
        for (path, gradient) in other.by_path {
            let sum = match self.by_path.remove(&path) {
                Some(own) => own + gradient,
                None => gradient,
            };
            self.by_path.insert(path, sum);
        }
        self
    }

    /// Only the gradients of parameters whose path `keep` accepts.
    pub fn filtered(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.by_path.retain(|path, _| keep(path));
        self
    }

    /// The Euclidean norm of all gradients together.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the device cannot be read.
    pub fn norm(&self) -> Result<f64> {
        let squares: Vec<_> = self.by_path.values().cloned().map(sum_of_squares).collect();
        if squares.is_empty() {
            return Ok(0.0);
        }
        // One reading for all parameters: every one waits for the device.
        let squares = to_f64(Tensor::cat(squares, 0))?;
        Ok(squares.iter().sum::<f64>().sqrt())
    }

    /// Scales the gradients so that their `norm` is at most about `max`, as `torch.nn.utils.clip_grad_norm_`: by
    /// `max / (norm + 1e-6)` if that is below 1.
    pub fn clipped(self, norm: f64, max: f64) -> Self {
        let factor = max / (norm + 1e-6);
        match factor < 1.0 {
            true => self.scaled(factor),
            false => self,
        }
    }
}

/// A tensor's values in main memory.
pub(crate) fn to_f64<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f64>> {
    let failed = |error: String| Error::InvalidInput {
        reason: format!("reading a tensor back: {error}"),
    };
    let data = tensor
        .try_into_data()
        .map_err(|e| failed(format!("{e:?}")))?;
    data.try_to_vec_as::<f64>()
        .map_err(|e| failed(format!("{e:?}")))
}

fn sum_of_squares(values: Tensor<1>) -> Tensor<1> {
    let [length] = values.dims();
    let squares = values.square();
    let rows = length / ROW;
    if rows < 2 {
        return squares.sum();
    }
    let whole = squares
        .clone()
        .slice_dim(0, 0..rows * ROW)
        .reshape([rows, ROW]);
    let sum = whole.sum_dim(1).sum();
    match rows * ROW == length {
        true => sum,
        false => sum + squares.slice_dim(0, rows * ROW..length).sum(),
    }
}

struct Collector {
    path: Path,
    gradients: GradientsParams,
    by_path: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.by_path
                .insert(self.path.to_string(), gradient.reshape([-1]));
        }
    }
}
