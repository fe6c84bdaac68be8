//! Adam for a whole module, with a state that can be saved: burn's own keys it by ids that every process draws anew.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

use super::{host, weights};

/// Keeps a weight that never had a gradient from 0 / 0.
const EPSILON: f64 = 1e-8;

/// Adam (Kingma and Ba, arXiv 1412.6980) with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101).
pub(crate) struct Adam {
    rate: f64,
    betas: [f64; 2],
    decay: f64,
    steps: u64,
    /// Means of the gradients and of their squares, flattened, in the order of the module.
    moments: Vec<[Tensor<1>; 2]>,
}

impl Adam {
    /// For a module that has not been stepped yet.
    pub(crate) fn new<M: Module>(module: &M, rate: f64, betas: [f64; 2], decay: f64) -> Self {
        struct Zeros(Vec<[Tensor<1>; 2]>);
        impl ModuleVisitor for Zeros {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let zeros = param.val().without_autodiff().zeros_like().reshape([-1]);
                self.0.push([zeros.clone(), zeros]);
            }
        }
        let mut zeros = Zeros(Vec::new());
        module.visit(&mut zeros);
        Self {
            rate,
            betas,
            decay,
            steps: 0,
            moments: zeros.0,
        }
    }

    /// The module after a step against the gradient of a loss. A parameter without a gradient only decays.
    pub(crate) fn step<M: Module>(&mut self, module: M, loss: &Tensor<1>) -> M {
        let gradients = GradientsParams::from_grads(loss.backward(), &module);
        self.steps += 1;
        module.map(&mut Stepper {
            adam: self,
            gradients,
            next: 0,
        })
    }

    /// Steps done, and the moments.
    pub(crate) fn state(&self) -> (u64, Vec<Vec<f32>>) {
        let moments = self.moments.iter().flatten().cloned();
        (self.steps, moments.map(host::numbers).collect())
    }

    /// Takes up a state of the same module. The caller sees to it that the lengths are those that [`state`](Self::state) gives.
    pub(crate) fn restore(&mut self, steps: u64, moments: Vec<Vec<f32>>) {
        self.steps = steps;
        for (slot, numbers) in self.moments.iter_mut().flatten().zip(moments) {
            *slot = Tensor::from_data(TensorData::new(numbers, slot.shape()), &slot.device());
        }
    }
}

struct Stepper<'a> {
    adam: &'a mut Adam,
    gradients: GradientsParams,
    next: usize,
}

impl ModuleMapper for Stepper<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let slot = self.next;
        self.next += 1;
        let gradient = self.gradients.remove::<D>(param.id);
        let adam = &mut *self.adam;
        weights::replace(param, |old| {
            let kept = match adam.decay > 0.0 {
                true => old * (1.0 - adam.rate * adam.decay),
                false => old,
            };
            match gradient {
                None => kept,
                Some(gradient) => {
                    let direction = adam.direction(slot, gradient.reshape([-1]));
                    let shape = kept.shape();
                    kept - (direction * adam.rate).reshape(shape)
                }
            }
        })
    }
}

impl Adam {
    /// The normalised mean gradient of a parameter, after its moments have taken in the gradient.
    fn direction(&mut self, slot: usize, gradient: Tensor<1>) -> Tensor<1> {
        let mix =
            |old: &Tensor<1>, new: Tensor<1>, beta: f64| old.clone() * beta + new * (1.0 - beta);
        let [first, second] = &mut self.moments[slot];
        *first = mix(first, gradient.clone(), self.betas[0]);
        *second = mix(second, gradient.square(), self.betas[1]);
        // The moments start at 0, which the first steps correct for.
        let correct = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let scale = second.clone() / correct(self.betas[1]);
        first.clone() / correct(self.betas[0]) / (scale.sqrt() + EPSILON)
    }
}
