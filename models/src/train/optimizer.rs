//! Steps a whole module and keeps, by parameter path, what the update rule remembers.
//!
//! burn's `ModuleOptimizer` keys its state by parameter ids, which are drawn anew in every process, loads it through
//! the default device, and starts silently afresh where a record does not fit. Here state has names, and loading is
//! strict.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::gradients::Gradients;
use super::kernels::{Adam, AdamState, Sgd};
use super::weights::Path;
use crate::{Error, Result};

/// An update rule with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Stochastic gradient descent with or without momentum.
    Sgd(Sgd),
    /// Adam; weight decay is an L2 penalty.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    AdamW(Adam),
}

/// Which parameters decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecayScope {
    /// All of them, as PyTorch does unless told otherwise.
    #[default]
    All,
    /// Those with two axes or more: no biases, no gains of norms.
    Matrices,
}

/// Steps modules by a [`Method`], with state by parameter path.
#[derive(Clone, Debug)]
pub struct Optimizer {
    method: Method,
    scope: DecayScope,
    slots: BTreeMap<String, Slot>,
}

/// What an optimiser remembers of one parameter, in main memory: vectors in the parameter's row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterState {
    /// SGD's momentum buffer.
    Momentum(TensorData),
    /// Adam's moments, without bias correction.
    Moments {
        /// Steps that were done.
        time: u64,
        /// Mean of gradients.
        first: TensorData,
        /// Mean of squared gradients.
        second: TensorData,
    },
}

/// Boxed, since a tensor's handle takes hundreds of bytes.
#[derive(Clone, Debug)]
enum Slot {
    Momentum(Box<Tensor<1>>),
    Moments(Box<AdamState<1>>),
}

impl Method {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`].
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Sgd(sgd) => sgd.validate(),
            Self::Adam(adam) | Self::AdamW(adam) => adam.validate(),
        }
    }

    fn without_decay(mut self) -> Self {
        match &mut self {
            Self::Sgd(sgd) => sgd.weight_decay = 0.0,
            Self::Adam(adam) | Self::AdamW(adam) => adam.weight_decay = 0.0,
        }
        self
    }
}

impl Optimizer {
    /// An optimiser that has not stepped yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`].
    pub fn new(method: Method, scope: DecayScope) -> Result<Self> {
        method.validate()?;
        Ok(Self {
            method,
            scope,
            slots: BTreeMap::new(),
        })
    }

    /// One step at a learning rate. Parameters without a gradient stay as they are.
    pub fn step<M: Module>(&mut self, lr: f64, model: M, gradients: Gradients) -> M {
        model.map(&mut Stepper {
            path: Path::default(),
            optimizer: self,
            lr,
            gradients,
        })
    }

    /// What is remembered, by parameter path: nothing for parameters that have not had a gradient, nor for SGD
    /// without momentum.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the device cannot be read.
    pub fn state(&self) -> Result<BTreeMap<String, ParameterState>> {
        let states = self.slots.iter().map(|(path, slot)| {
            let data = |tensor: &Tensor<1>| {
                tensor.try_to_data().map_err(|error| Error::InvalidInput {
                    reason: format!("reading the optimiser's state of `{path}` back: {error:?}"),
                })
            };
            let state = match slot {
                Slot::Momentum(buffer) => ParameterState::Momentum(data(buffer)?),
                Slot::Moments(moments) => ParameterState::Moments {
                    time: moments.time,
                    first: data(&moments.first)?,
                    second: data(&moments.second)?,
                },
            };
            Ok((path.clone(), state))
        });
        states.collect()
    }

    /// The optimiser with this state of a model's parameters, on the parameters' devices.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the state is another method's, of parameters that the model does not have, or of
    /// another length or type than the parameter.
    pub fn with_state<M: Module>(
        mut self,
        model: &M,
        states: BTreeMap<String, ParameterState>,
    ) -> Result<Self> {
        let mut placer = Placer {
            path: Path::default(),
            method: self.method,
            states,
            slots: Ok(BTreeMap::new()),
        };
        model.visit(&mut placer);
        self.slots = placer
            .slots
            .map_err(|reason| Error::InvalidInput { reason })?;
        match placer.states.keys().next() {
            None => Ok(self),
            Some(path) => Err(Error::InvalidInput {
                reason: format!(
                    "optimiser state for `{path}`, which is no parameter of the network"
                ),
            }),
        }
    }
}

struct Stepper<'o> {
    path: Path,
    optimizer: &'o mut Optimizer,
    lr: f64,
    gradients: Gradients,
}

impl ModuleMapper for Stepper<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.to_string();
        let Some(gradient) = self.gradients.take(&path) else {
            return param;
        };
        let method = match self.optimizer.scope {
            DecayScope::Matrices if D < 2 => self.optimizer.method.without_decay(),
            _ => self.optimizer.method,
        };
        let slots = &mut self.optimizer.slots;
        let slot = slots.remove(&path);
        param.map(|tensor| {
            let shape = tensor.shape();
            let strategy = tensor.gradient_checkpointing_strategy();
            let require_grad = tensor.is_require_grad();
            let (flat, slot) = step(
                method,
                self.lr,
                tensor.inner().reshape([-1]),
                gradient,
                slot,
            );
            if let Some(slot) = slot {
                slots.insert(path, slot);
            }
            let tensor: Tensor<D> = flat.reshape(shape);
            // A new leaf with the training state of the old one.
            match strategy {
                Some(strategy) => Tensor::from_inner(tensor)
                    .with_gradient_checkpointing_strategy(strategy)
                    .set_require_grad(require_grad),
                None => tensor,
            }
        })
    }
}

fn step(
    method: Method,
    lr: f64,
    parameter: Tensor<1>,
    gradient: Tensor<1>,
    slot: Option<Slot>,
) -> (Tensor<1>, Option<Slot>) {
    match method {
        Method::Sgd(sgd) => {
            let buffer = match slot {
                Some(Slot::Momentum(buffer)) => Some(*buffer),
                _ => None,
            };
            let (parameter, buffer) = sgd.step(lr, parameter, gradient, buffer);
            (
                parameter,
                buffer.map(|buffer| Slot::Momentum(Box::new(buffer))),
            )
        }
        Method::Adam(adam) | Method::AdamW(adam) => {
            let moments = match slot {
                Some(Slot::Moments(moments)) => Some(*moments),
                _ => None,
            };
            let decoupled = matches!(method, Method::AdamW(_));
            let (parameter, moments) = adam.step(lr, parameter, gradient, moments, decoupled);
            (parameter, Some(Slot::Moments(Box::new(moments))))
        }
    }
}

/// Puts loaded state beside the parameters it belongs to.
struct Placer {
    path: Path,
    method: Method,
    states: BTreeMap<String, ParameterState>,
    slots: Result<BTreeMap<String, Slot>, String>,
}

impl ModuleVisitor for Placer {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.to_string();
        let (Ok(slots), Some(state)) = (&mut self.slots, self.states.remove(&path)) else {
            return;
        };
        match place(self.method, state, param.base().inner()) {
            Ok(slot) => {
                slots.insert(path, slot);
            }
            Err(problem) => self.slots = Err(format!("optimiser state for `{path}`: {problem}")),
        }
    }
}

fn place<const D: usize>(
    method: Method,
    state: ParameterState,
    parameter: Tensor<D>,
) -> Result<Slot, String> {
    let length = parameter.shape().num_elements();
    let vector = |data: TensorData| match data.shape().as_slice() == [length]
        && data.dtype() == parameter.dtype()
    {
        true => Ok(Tensor::from_data(
            data,
            (&parameter.device(), parameter.dtype()),
        )),
        false => Err(format!(
            "{:?} values of type {:?} for {length} of type {:?}",
            data.shape().as_slice(),
            data.dtype(),
            parameter.dtype()
        )),
    };
    match (method, state) {
        (Method::Sgd(sgd), ParameterState::Momentum(buffer)) if sgd.momentum != 0.0 => {
            Ok(Slot::Momentum(Box::new(vector(buffer)?)))
        }
        (
            Method::Adam(_) | Method::AdamW(_),
            ParameterState::Moments {
                time,
                first,
                second,
            },
        ) if time > 0 => Ok(Slot::Moments(Box::new(AdamState {
            time,
            first: vector(first)?,
            second: vector(second)?,
        }))),
        _ => Err("it is not of this method".to_owned()),
    }
}
