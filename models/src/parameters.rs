//! The weights of any network as values: read from a module, computed with, put back, saved.
//!
//! Methods that treat a whole network as one point of a vector space (a step of gradient descent, the distance of two
//! trained networks, a permuted or merged copy) work on [`Parameters`]: an ordered list of named tensors that belong to
//! no graph. Names are the paths through the module, `layer1.0.conv1.weight`.
//!
//! ```
//! use burn::tensor::Device;
//! use fire_assay_models::parameters::Parameters;
//! # #[cfg(all(feature = "vision", feature = "flex"))] {
//! use fire_assay_models::vision::{MlpConfig, Network};
//!
//! let device = Device::flex();
//! let a = Network::new(MlpConfig::new([1, 4, 4], 3), 1, &device)?;
//! let b = Network::new(MlpConfig::new([1, 4, 4], 3), 2, &device)?;
//! let (of_a, of_b) = (Parameters::of(&a), Parameters::of(&b));
//! let middle = of_a.scaled(0.5).add_scaled(&of_b, 0.5)?;
//! let merged = middle.put_into(a)?;
//! assert_eq!(Parameters::of(&merged).difference(&middle)?.norm()?, 0.0);
//! # }
//! # Ok::<(), fire_assay_models::Error>(())
//! ```

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};

use crate::tensors::{HostTensor, Safetensors, TensorSource, write_safetensors};
use crate::{Error, Result};

/// Named tensors, in the order in which a module holds them, outside of any graph.
///
/// Cloning is cheap: the tensors are shared until one of them is changed.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    entries: Vec<Entry>,
    /// Name to position in `entries`.
    positions: HashMap<String, usize>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    /// Row-major.
    values: Tensor<1>,
}

/// Whether a tensor of this name is a buffer (a running statistic of batch normalisation, under the names that both
/// burn and PyTorch give them) and not a trained parameter.
pub fn is_buffer(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    matches!(last, "running_mean" | "running_var")
}

impl Parameters {
    /// The trained parameters of a module: all its floating-point tensors but the [buffers](is_buffer).
    pub fn of<M: Module>(module: &M) -> Self {
        Self::read(module, |name| !is_buffer(name))
    }

    /// The [buffers](is_buffer) of a module.
    pub fn buffers_of<M: Module>(module: &M) -> Self {
        Self::read(module, is_buffer)
    }

    /// Parameters and buffers of a module: all that an evaluation depends on.
    pub fn all_of<M: Module>(module: &M) -> Self {
        Self::read(module, |_| true)
    }

    /// The gradients of a module's trained parameters after a backward pass; zero where the pass left none.
    pub fn gradients_of<M: Module>(module: &M, gradients: &Gradients) -> Self {
        struct Collector<'a> {
            path: Vec<String>,
            gradients: &'a Gradients,
            found: Parameters,
        }
        impl ModuleVisitor for Collector<'_> {
            fn enter_module(&mut self, name: &str, _: &str) {
                self.path.push(name.to_owned());
            }

            fn exit_module(&mut self, _: &str, _: &str) {
                self.path.pop();
            }

            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let name = self.path.join(".");
                if !is_buffer(&name) {
                    let value = param.val();
                    let gradient = value.grad(self.gradients);
                    let plain = gradient.unwrap_or_else(|| value.without_autodiff().zeros_like());
                    self.found.push(name, plain);
                }
            }
        }
        let mut collector = Collector {
            path: Vec::new(),
            gradients,
            found: Self::default(),
        };
        module.visit(&mut collector);
        collector.found
    }

    /// Tensors from main memory, put on a device.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if a name comes twice.
    pub fn from_host(tensors: &[(String, HostTensor)], device: &Device) -> Result<Self> {
        let mut parameters = Self::default();
        for (name, tensor) in tensors {
            if parameters.positions.contains_key(name) {
                return Err(wrong(name, "comes twice"));
            }
            let values = Tensor::<1>::from_floats(tensor.values(), device);
            parameters.push_flat(name.clone(), tensor.shape().to_vec(), values);
        }
        Ok(parameters)
    }

    /// The tensors in main memory.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the device's data cannot be read.
    pub fn to_host(&self) -> Result<Vec<(String, HostTensor)>> {
        let one = |entry: &Entry| {
            let values = HostTensor::from_tensor(&entry.values)?;
            Ok((entry.name.clone(), values.reshaped(entry.shape.clone())?))
        };
        self.entries.iter().map(one).collect()
    }

    /// Reads all tensors of a safetensors file, in the order of their names.
    ///
    /// # Errors
    ///
    /// Those of [`Safetensors::open`] and of [`TensorSource::read`].
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let file = Safetensors::open(path)?;
        let names = file.names().into_iter();
        let tensors: Result<Vec<_>> = names
            .map(|name| file.read(&name).map(|tensor| (name, tensor)))
            .collect();
        Self::from_host(&tensors?, device)
    }

    /// Writes a safetensors file.
    ///
    /// # Errors
    ///
    /// Those of [`write_safetensors`] and [`Parameters::to_host`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_safetensors(path, &self.to_host()?, &[])
    }

    /// A module with these tensors in the place of its own. They must be all of the module's trained parameters, all of
    /// its buffers, or both; what is not here keeps its value.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] naming a tensor that only one side has or whose shape differs.
    pub fn put_into<M: Module>(&self, module: M) -> Result<M> {
        let theirs = Self::all_of(&module);
        for buffers in [false, true] {
            let here = self.entries.iter().any(|e| is_buffer(&e.name) == buffers);
            let mut wanted = theirs
                .entries
                .iter()
                .filter(|e| is_buffer(&e.name) == buffers);
            if let Some(entry) = wanted.find(|e| here && !self.positions.contains_key(&e.name)) {
                return Err(wrong(&entry.name, "is missing"));
            }
        }
        self.put_some_into(module)
    }

    /// A module with these tensors in the place of its own, which may be any part of the module's.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] naming a tensor that the module does not have or whose shape differs.
    pub fn put_some_into<M: Module>(&self, module: M) -> Result<M> {
        struct Putter<'a> {
            path: Vec<String>,
            values: &'a Parameters,
        }
        impl ModuleMapper for Putter<'_> {
            fn enter_module(&mut self, name: &str, _: &str) {
                self.path.push(name.to_owned());
            }

            fn exit_module(&mut self, _: &str, _: &str) {
                self.path.pop();
            }

            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let Some(entry) = self.values.entry(&self.path.join(".")) else {
                    return param;
                };
                param.map(|old| {
                    let device = old.device().without_autodiff();
                    let new = entry.values.clone().to_device(&device).reshape(old.dims());
                    match old.is_autodiff() {
                        true => Tensor::from_inner(new).set_require_grad(old.is_require_grad()),
                        false => new,
                    }
                })
            }
        }
        let theirs = Self::all_of(&module);
        for entry in &self.entries {
            match theirs.entry(&entry.name) {
                None => return Err(wrong(&entry.name, "is not one of the module's")),
                Some(own) => entry.expect_shape(&own.shape)?,
            }
        }
        Ok(module.map(&mut Putter {
            path: Vec::new(),
            values: self,
        }))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of values of all tensors together.
    pub fn count(&self) -> usize {
        let counts = self
            .entries
            .iter()
            .map(|e| e.shape.iter().product::<usize>());
        counts.sum()
    }

    /// Names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// Shape of a tensor, or nothing if there is none of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entry(name).map(|entry| entry.shape.as_slice())
    }

    /// A tensor's values in row-major order, or nothing if there is none of this name.
    pub fn values(&self, name: &str) -> Option<Tensor<1>> {
        self.entry(name).map(|entry| entry.values.clone())
    }

    /// A tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if there is none of this name or it does not have `D` axes.
    pub fn tensor<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        let entry = self.entry(name).ok_or_else(|| wrong(name, "is missing"))?;
        match <[usize; D]>::try_from(entry.shape.as_slice()) {
            Ok(shape) => Ok(entry.values.clone().reshape(shape)),
            Err(_) => Err(wrong(
                name,
                format!("has {} axes, not {D}", entry.shape.len()),
            )),
        }
    }

    /// The same with one tensor replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if there is none of this name or its shape differs.
    pub fn with_tensor<const D: usize>(mut self, name: &str, tensor: Tensor<D>) -> Result<Self> {
        let position = self
            .positions
            .get(name)
            .ok_or_else(|| wrong(name, "is missing"))?;
        let entry = &mut self.entries[*position];
        entry.expect_shape(&tensor.dims())?;
        entry.values = flat(tensor);
        Ok(self)
    }

    /// The tensors whose names are accepted.
    pub fn select(&self, accept: impl Fn(&str) -> bool) -> Self {
        let mut selected = Self::default();
        for entry in self.entries.iter().filter(|entry| accept(&entry.name)) {
            selected.push_flat(
                entry.name.clone(),
                entry.shape.clone(),
                entry.values.clone(),
            );
        }
        selected
    }

    /// The same on another device.
    pub fn to_device(&self, device: &Device) -> Self {
        self.map(|_, values| values.to_device(device))
    }

    /// Every tensor replaced by a function of its name and its values, which come flat and must keep their number.
    pub fn map(&self, mut function: impl FnMut(&str, Tensor<1>) -> Tensor<1>) -> Self {
        let mut mapped = self.clone();
        for entry in &mut mapped.entries {
            entry.values = function(&entry.name, entry.values.clone());
        }
        mapped
    }

    /// Every tensor replaced by a function of its name, its values and the other's values of the same name.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] naming a tensor that only one side has or whose shape differs.
    pub fn zip(
        &self,
        other: &Self,
        mut function: impl FnMut(&str, Tensor<1>, Tensor<1>) -> Tensor<1>,
    ) -> Result<Self> {
        self.expect_same_layout(other)?;
        Ok(self.map(|name, mine| {
            let theirs = &other.entries[other.positions[name]].values;
            function(name, mine, theirs.clone())
        }))
    }

    /// All values times a factor.
    pub fn scaled(&self, factor: f64) -> Self {
        self.map(|_, values| values.mul_scalar(factor))
    }

    /// `self + factor * other`.
    ///
    /// # Errors
    ///
    /// Those of [`Parameters::zip`].
    pub fn add_scaled(&self, other: &Self, factor: f64) -> Result<Self> {
        self.zip(other, |_, mine, theirs| mine + theirs.mul_scalar(factor))
    }

    /// `self - other`.
    ///
    /// # Errors
    ///
    /// Those of [`Parameters::zip`].
    pub fn difference(&self, other: &Self) -> Result<Self> {
        self.zip(other, |_, mine, theirs| mine - theirs)
    }

    /// Inner product of all values. Each tensor's part is summed on its device, the parts in 64 bits.
    ///
    /// # Errors
    ///
    /// Those of [`Parameters::zip`], and [`Error::InvalidInput`] if the device's data cannot be read.
    pub fn dot(&self, other: &Self) -> Result<f64> {
        self.expect_same_layout(other)?;
        let part = |entry: &Entry| {
            let theirs = &other.entries[other.positions[&entry.name]].values;
            (entry.values.clone() * theirs.clone()).sum()
        };
        let parts: Vec<Tensor<1>> = self.entries.iter().map(part).collect();
        if parts.is_empty() {
            return Ok(0.0);
        }
        let parts = HostTensor::from_tensor(&Tensor::cat(parts, 0))?;
        Ok(parts.values().iter().map(|&part| f64::from(part)).sum())
    }

    /// Euclidean norm of all values together.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if the device's data cannot be read.
    pub fn norm(&self) -> Result<f64> {
        Ok(self.dot(self)?.sqrt())
    }

    /// Checks that both have tensors of the same names and shapes.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] naming a tensor that only one side has or whose shape differs.
    pub fn expect_same_layout(&self, other: &Self) -> Result<()> {
        for entry in &self.entries {
            let theirs = other.entry(&entry.name);
            let theirs = theirs.ok_or_else(|| wrong(&entry.name, "is missing in the second"))?;
            theirs.expect_shape(&entry.shape)?;
        }
        match other
            .names()
            .find(|name| !self.positions.contains_key(*name))
        {
            Some(name) => Err(wrong(name, "is missing in the first")),
            None => Ok(()),
        }
    }

    fn read<M: Module>(module: &M, accept: impl Fn(&str) -> bool) -> Self {
        struct Reader<A> {
            path: Vec<String>,
            accept: A,
            found: Parameters,
        }
        impl<A: Fn(&str) -> bool> ModuleVisitor for Reader<A> {
            fn enter_module(&mut self, name: &str, _: &str) {
                self.path.push(name.to_owned());
            }

            fn exit_module(&mut self, _: &str, _: &str) {
                self.path.pop();
            }

            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let name = self.path.join(".");
                if (self.accept)(&name) {
                    self.found.push(name, param.val());
                }
            }
        }
        let mut reader = Reader {
            path: Vec::new(),
            accept,
            found: Self::default(),
        };
        module.visit(&mut reader);
        reader.found
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.positions
            .get(name)
            .map(|&position| &self.entries[position])
    }

    fn push<const D: usize>(&mut self, name: String, tensor: Tensor<D>) {
        self.push_flat(name, tensor.dims().to_vec(), flat(tensor));
    }

    fn push_flat(&mut self, name: String, shape: Vec<usize>, values: Tensor<1>) {
        self.positions.insert(name.clone(), self.entries.len());
        self.entries.push(Entry {
            name,
            shape,
            values,
        });
    }
}

impl Entry {
    fn expect_shape(&self, expected: &[usize]) -> Result<()> {
        match self.shape == expected {
            true => Ok(()),
            false => Err(wrong(
                &self.name,
                format!("has the shape {:?}, expected {expected:?}", self.shape),
            )),
        }
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let count = tensor.shape().num_elements();
    tensor.without_autodiff().reshape([count])
}

fn wrong(name: &str, reason: impl Into<String>) -> Error {
    Error::Parameter {
        name: name.to_owned(),
        reason: reason.into(),
    }
}
