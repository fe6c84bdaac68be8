//! A network: a [`Topology`] with weights on a device, as one burn module whose paths are the tensors' names.

use std::fmt;
use std::sync::Arc;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, ParamId,
};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

use super::config::NetworkConfig;
use super::topology::{Initial, TensorSpec, Topology};
use crate::parameters::{Parameters, is_buffer};
use crate::tensors::HostTensor;
use crate::{Error, Result};

/// An image classifier.
///
/// Its tensors have PyTorch's names and layouts: linear weights are `[out, in]`, convolutions `[out, in, kernel, kernel]`.
/// They are reached by name through [`Parameters`]. Running statistics are buffers: no gradient, and no training step
/// changes them unless [`Network::with_running_update`] is called.
#[derive(Clone)]
pub struct Network {
    config: NetworkConfig,
    topology: Arc<Topology>,
    tensors: Vec<Stored>,
}

/// A tensor of any number of axes.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    One(Param<Tensor<1>>),
    Two(Param<Tensor<2>>),
    Three(Param<Tensor<3>>),
    Four(Param<Tensor<4>>),
}

/// The same expression for a tensor of any number of axes.
macro_rules! stored {
    ($stored:expr, $param:ident => $result:expr) => {
        match $stored {
            Stored::One($param) => $result,
            Stored::Two($param) => $result,
            Stored::Three($param) => $result,
            Stored::Four($param) => $result,
        }
    };
    ($stored:expr, map $param:ident => $result:expr) => {
        match $stored {
            Stored::One($param) => Stored::One($result),
            Stored::Two($param) => Stored::Two($result),
            Stored::Three($param) => Stored::Three($result),
            Stored::Four($param) => Stored::Four($result),
        }
    };
}

impl Network {
    /// A new network. Its weights are drawn in main memory from the seed: they are the same on every device.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] naming the setting or the layer that makes no sense.
    pub fn new(config: impl Into<NetworkConfig>, seed: u64, device: &Device) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self::build(config.into(), device, |spec| {
            let count = spec.shape.iter().product();
            HostTensor::new(spec.shape.clone(), draw(spec.initial, count, &mut rng))
        })
    }

    /// A network with the tensors that a function gives for each that is needed.
    pub(super) fn build(
        config: NetworkConfig,
        device: &Device,
        mut tensor: impl FnMut(&TensorSpec) -> Result<HostTensor>,
    ) -> Result<Self> {
        let topology = config.topology()?;
        let mut tensors = Vec::with_capacity(topology.tensors().len());
        for spec in topology.tensors() {
            let values = tensor(spec)?;
            let data = TensorData::new(values.into_values(), spec.shape.clone());
            tensors.push(Stored::new(data, device, !is_buffer(&spec.name)));
        }
        Ok(Self {
            config,
            topology: Arc::new(topology),
            tensors,
        })
    }

    /// The configuration that it was made with.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// What it is made of.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Where its weights are.
    pub fn device(&self) -> Device {
        stored!(&self.tensors[0], param => param.lazy_device())
    }

    /// Its trained parameters; see [`Parameters::of`].
    pub fn parameters(&self) -> Parameters {
        Parameters::of(self)
    }

    /// The same network with other weights; see [`Parameters::put_into`].
    ///
    /// # Errors
    ///
    /// Those of [`Parameters::put_into`].
    pub fn with_parameters(&self, parameters: &Parameters) -> Result<Self> {
        parameters.put_into(self.clone())
    }

    /// Tensor `n` of a node, which must have this number of axes.
    pub(super) fn tensor<const D: usize>(&self, node: usize, n: usize) -> Result<Tensor<D>> {
        let at = &self.topology.nodes()[node];
        let position = *at.tensors.get(n).ok_or_else(|| Error::Parameter {
            name: at.name.clone(),
            reason: format!("has no tensor number {n}"),
        })?;
        let shape: [usize; D] = stored!(&self.tensors[position], param => param.dims().to_vec())
            .try_into()
            .map_err(|_| Error::Parameter {
                name: self.topology.tensors()[position].name.clone(),
                reason: format!("does not have {D} axes"),
            })?;
        Ok(stored!(&self.tensors[position], param => param.val().reshape(shape)))
    }

    /// Puts a value in the place of the vector that is tensor `n` of a node.
    pub(super) fn set_vector(&mut self, node: usize, n: usize, value: Tensor<1>) {
        let position = self.topology.nodes()[node].tensors[n];
        if let Stored::One(param) = &mut self.tensors[position] {
            *param = param.clone().map(|old| match old.is_autodiff() {
                true => Tensor::from_inner(value.without_autodiff()),
                false => value.without_autodiff(),
            });
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.topology
            .tensors()
            .iter()
            .map(|spec| spec.name.as_str())
    }
}

impl Stored {
    fn new(data: TensorData, device: &Device, trained: bool) -> Self {
        fn param<const D: usize>(
            data: TensorData,
            device: &Device,
            trained: bool,
        ) -> Param<Tensor<D>> {
            match trained {
                true => Param::from_data(data, device),
                false => Param::initialized(ParamId::new(), Tensor::from_data(data, device)),
            }
        }
        match data.shape().num_dims() {
            1 => Self::One(param(data, device, trained)),
            2 => Self::Two(param(data, device, trained)),
            3 => Self::Three(param(data, device, trained)),
            _ => Self::Four(param(data, device, trained)),
        }
    }
}

fn draw(initial: Initial, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let normal = |rng: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(rng) };
    let mut one = |_| match initial {
        Initial::Constant(value) => value as f32,
        Initial::Normal(deviation) => (deviation * normal(rng)) as f32,
        Initial::TruncatedNormal(deviation) => loop {
            let value = deviation * normal(rng);
            if value.abs() <= 2.0 {
                break value as f32;
            }
        },
        Initial::Uniform(bound) => rng.random_range(-bound..=bound) as f32,
    };
    (0..count).map(&mut one).collect()
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("config", &self.config)
            .field("parameters", &Module::num_params(self))
            .finish_non_exhaustive()
    }
}

/// Written by hand, and not derived, so that a parameter's path is its name in files.
impl Module for Network {
    fn collect_devices(&self, devices: Devices) -> Devices {
        let one =
            |devices, stored: &Stored| stored!(stored, param => param.collect_devices(devices));
        self.tensors.iter().fold(devices, one)
    }

    fn fork(self, device: &Device) -> Self {
        self.each(|stored| stored!(stored, map param => param.fork(device)))
    }

    fn to_device(self, device: &Device) -> Self {
        self.each(|stored| stored!(stored, map param => param.to_device(device)))
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        for (name, stored) in self.names().zip(&self.tensors) {
            name.split('.')
                .for_each(|part| visitor.enter_module(part, CONTAINER));
            stored!(stored, param => param.visit(visitor));
            name.rsplit('.')
                .for_each(|part| visitor.exit_module(part, CONTAINER));
        }
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        let topology = self.topology.clone();
        let mut names = topology.tensors().iter().map(|spec| spec.name.as_str());
        self.each(|stored| {
            let name = names.next().unwrap_or_default();
            name.split('.')
                .for_each(|part| mapper.enter_module(part, CONTAINER));
            let mapped = stored!(stored, map param => Module::map(param, mapper));
            name.rsplit('.')
                .for_each(|part| mapper.exit_module(part, CONTAINER));
            mapped
        })
    }

    fn train(self) -> Self {
        self.each(|stored| stored!(stored, map param => param.train()))
    }

    fn valid(&self) -> Self {
        self.clone()
            .each(|stored| stored!(stored, map param => param.valid()))
    }

    fn materialize(self) -> Self {
        self.each(|stored| stored!(stored, map param => param.materialize()))
    }
}

/// What a visitor is told about every part of a path.
const CONTAINER: &str = "Struct:Network";

impl Network {
    fn each(mut self, function: impl FnMut(Stored) -> Stored) -> Self {
        self.tensors = self.tensors.into_iter().map(function).collect();
        self
    }
}

impl ModuleDisplayDefault for Network {
    fn content(&self, content: Content) -> Option<Content> {
        content
            .add_formatted(&format!("{:?}", self.config))
            .optional()
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl ModuleDisplay for Network {}
