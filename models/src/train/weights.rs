//! Everything that a network remembers - weights, and buffers such as the running statistics of batch norm - by path,
//! exactly as it is stored, out of a module and back into it.

use std::collections::BTreeMap;
use std::fmt;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Int, Tensor, TensorData};

use crate::{Error, Result};

/// Where a traversal of a module is: names of fields and indices, joined by dots.
#[derive(Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Float and integer tensors of a module by path.
pub(crate) type Weights = BTreeMap<String, TensorData>;

/// Reads a module's tensors.
pub(crate) fn read<M: Module>(model: &M) -> Result<Weights> {
    // A running state hands out its last but one value until it is synchronised, which `valid` does.
    drop(model.valid());
    let mut reader = Reader {
        path: Path::default(),
        weights: Ok(Weights::new()),
    };
    model.visit(&mut reader);
    reader.weights
}

/// Puts tensors into a module, which must have the same ones. The error is a reason for the caller to complete.
pub(crate) fn write<M: Module>(model: M, weights: Weights) -> Result<M, String> {
    let mut writer = Writer {
        path: Path::default(),
        weights,
        problem: None,
    };
    let model = model.map(&mut writer);
    match (writer.problem, writer.weights.keys().next()) {
        (Some(problem), _) => Err(problem),
        (None, Some(path)) => Err(format!("the network has no tensor `{path}`")),
        (None, None) => Ok(model),
    }
}

/// The first float tensor with a value that is NaN or infinite, and that value.
pub(crate) fn find_non_finite(weights: &Weights) -> Option<(&str, f64)> {
    weights.iter().find_map(|(path, data)| {
        if !data.dtype().is_float() {
            return None;
        }
        let value = data.iter::<f64>().find(|value| !value.is_finite())?;
        Some((path.as_str(), value))
    })
}

/// Paths of the float tensors that a gradient can move.
pub(crate) fn trainable_paths<M: Module>(model: &M) -> Vec<String> {
    let mut visitor = TrainablePaths {
        path: Path::default(),
        paths: Vec::new(),
    };
    model.visit(&mut visitor);
    visitor.paths
}

/// Switches gradients on or off for the parameters of these paths.
pub(crate) fn set_require_grad<M: Module>(model: M, paths: &[String], required: bool) -> M {
    model.map(&mut RequireGrad {
        path: Path::default(),
        paths,
        required,
    })
}

struct Reader {
    path: Path,
    weights: Result<Weights>,
}

impl Reader {
    fn add(&mut self, data: Result<TensorData, impl fmt::Debug>) {
        let Ok(weights) = &mut self.weights else {
            return;
        };
        let path = self.path.to_string();
        match data {
            Ok(data) => {
                weights.insert(path, data);
            }
            Err(error) => {
                self.weights = Err(Error::InvalidInput {
                    reason: format!("reading the tensor `{path}` back: {error:?}"),
                });
            }
        }
    }
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.add(param.base().try_into_data());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.add(param.base().try_into_data());
    }
}

struct Writer {
    path: Path,
    weights: Weights,
    problem: Option<String>,
}

impl Writer {
    /// The tensor for the current place, if it fits there.
    fn take(&mut self, shape: &[usize], dtype: DType) -> Option<TensorData> {
        let path = self.path.to_string();
        let problem = match self.weights.remove(&path) {
            None => format!("the tensor `{path}` is missing"),
            Some(data) if data.shape().as_slice() != shape => {
                let found = data.shape().as_slice();
                format!("the tensor `{path}` has the shape {found:?}, the network needs {shape:?}")
            }
            Some(data) if data.dtype() != dtype => {
                let found = data.dtype();
                format!("the tensor `{path}` has the type {found:?}, the network {dtype:?}")
            }
            Some(data) => return Some(data),
        };
        self.problem.get_or_insert(problem);
        None
    }
}

impl ModuleMapper for Writer {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|old| match self.take(&old.dims(), old.dtype()) {
            Some(data) => {
                let new = Tensor::from_data(data, (&old.device(), old.dtype()));
                new.set_require_grad(old.is_require_grad())
            }
            None => old,
        })
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        param.map(|old| match self.take(&old.dims(), old.dtype()) {
            Some(data) => Tensor::from_data(data, (&old.device(), old.dtype())),
            None => old,
        })
    }
}

struct TrainablePaths {
    path: Path,
    paths: Vec<String>,
}

impl ModuleVisitor for TrainablePaths {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.base().is_require_grad() {
            self.paths.push(self.path.to_string());
        }
    }
}

struct RequireGrad<'p> {
    path: Path,
    paths: &'p [String],
    required: bool,
}

impl ModuleMapper for RequireGrad<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.paths.contains(&self.path.to_string()) {
            true => param.set_require_grad(self.required),
            false => param,
        }
    }
}
