//! The update rules: how one parameter moves, given its gradient and what the optimiser remembers of it.
//!
//! They are functions of tensors, without hidden state, and follow PyTorch's `torch.optim` number by number. burn's own
//! SGD, Adam and AdamW do too (within 3e-7 of the same vectors as the tests here), but keep the momentum buffer
//! private, and take the powers of Adam's betas in 32 bits.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Stochastic gradient descent, as `torch.optim.SGD`.
///
/// With the gradient `g`, the parameter `p`, and the momentum buffer `u`:
/// `d = g + weight_decay * p`; `u = momentum * u + (1 - dampening) * d`, on the first step `u = d`;
/// `p -= lr * u`, with Nesterov's look-ahead `p -= lr * (d + momentum * u)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// How much of the buffer remains in each step, from 0 up to but not including 1. Default 0: no buffer.
    pub momentum: f64,
    /// The part of a gradient that does not enter the buffer, from 0 to 1. Default 0. The first step ignores it.
    pub dampening: f64,
    /// Nesterov's look-ahead, which needs momentum. Default off. PyTorch refuses it together with dampening; here
    /// the formulas above hold.
    pub nesterov: bool,
    /// L2 penalty, added to the gradient before the momentum. Default 0.
    pub weight_decay: f64,
}

/// Adam, as `torch.optim.Adam`, or with decoupled decay as `torch.optim.AdamW`.
///
/// With the gradient `g`, the parameter `p`, and at step `t` from 1:
/// `m = beta1 * m + (1 - beta1) * g`; `v = beta2 * v + (1 - beta2) * g²`;
/// `p -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + epsilon)`.
/// Weight decay is added to `g` as in [`Sgd`], or, decoupled, takes `p *= 1 - lr * weight_decay` before the step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Decay of the mean of gradients, from 0 up to but not including 1. Default 0.9.
    pub beta1: f64,
    /// Decay of the mean of squared gradients, from 0 up to but not including 1. Default 0.999.
    pub beta2: f64,
    /// Added to the root of the mean square. Default 1e-8.
    pub epsilon: f64,
    /// Weight decay. Default 0.
    pub weight_decay: f64,
}

/// What Adam remembers of a parameter.
#[derive(Clone, Debug)]
pub struct AdamState<const D: usize> {
    /// Steps that were done.
    pub time: u64,
    /// Mean of gradients, without bias correction.
    pub first: Tensor<D>,
    /// Mean of squared gradients, without bias correction.
    pub second: Tensor<D>,
}

impl Sgd {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`].
    pub fn validate(&self) -> Result<()> {
        check("momentum", self.momentum, self.momentum < 1.0)?;
        check("dampening", self.dampening, self.dampening <= 1.0)?;
        check("weight_decay", self.weight_decay, true)?;
        if self.nesterov && self.momentum == 0.0 {
            return Err(invalid("nesterov", "it needs momentum above 0".to_owned()));
        }
        Ok(())
    }

    /// One step: the new parameter and, if there is momentum, the new buffer. `buffer` is none on the first step.
    ///
    /// All tensors have one shape and lie on one device, without autodiff.
    pub fn step<const D: usize>(
        &self,
        lr: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        buffer: Option<Tensor<D>>,
    ) -> (Tensor<D>, Option<Tensor<D>>) {
        let gradient = penalised(gradient, &parameter, self.weight_decay);
        if self.momentum == 0.0 {
            return (parameter - gradient * lr, None);
        }
        let buffer = match buffer {
            Some(buffer) => buffer * self.momentum + gradient.clone() * (1.0 - self.dampening),
            None => gradient.clone(),
        };
        let direction = match self.nesterov {
            true => gradient + buffer.clone() * self.momentum,
            false => buffer.clone(),
        };
        (parameter - direction * lr, Some(buffer))
    }
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
        }
    }
}

impl Adam {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`].
    pub fn validate(&self) -> Result<()> {
        check("beta1", self.beta1, self.beta1 < 1.0)?;
        check("beta2", self.beta2, self.beta2 < 1.0)?;
        check("epsilon", self.epsilon, true)?;
        check("weight_decay", self.weight_decay, true)
    }

    /// One step: the new parameter and the new state. `state` is none on the first step; `decoupled` makes it AdamW.
    ///
    /// All tensors have one shape and lie on one device, without autodiff.
    pub fn step<const D: usize>(
        &self,
        lr: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamState<D>>,
        decoupled: bool,
    ) -> (Tensor<D>, AdamState<D>) {
        let (parameter, gradient) = match decoupled {
            true if self.weight_decay == 0.0 => (parameter, gradient),
            true => (parameter * (1.0 - lr * self.weight_decay), gradient),
            false => {
                let gradient = penalised(gradient, &parameter, self.weight_decay);
                (parameter, gradient)
            }
        };
        let first = gradient.clone() * (1.0 - self.beta1);
        let second = gradient.square() * (1.0 - self.beta2);
        let state = match state {
            Some(state) => AdamState {
                time: state.time.saturating_add(1),
                first: state.first * self.beta1 + first,
                second: state.second * self.beta2 + second,
            },
            None => AdamState {
                time: 1,
                first,
                second,
            },
        };
        let power = |beta: f64| beta.powf(state.time as f64);
        let rate = lr / (1.0 - power(self.beta1));
        let root = state.second.clone().sqrt() / (1.0 - power(self.beta2)).sqrt();
        let parameter = parameter - state.first.clone() / (root + self.epsilon) * rate;
        (parameter, state)
    }
}

/// The gradient of the loss plus half of `decay` times the parameter's square.
fn penalised<const D: usize>(gradient: Tensor<D>, parameter: &Tensor<D>, decay: f64) -> Tensor<D> {
    match decay == 0.0 {
        true => gradient,
        false => gradient + parameter.clone() * decay,
    }
}

fn check(field: &str, value: f64, below_bound: bool) -> Result<()> {
    match value.is_finite() && value >= 0.0 && below_bound {
        true => Ok(()),
        false => Err(invalid(field, format!("{value} is out of range"))),
    }
}

fn invalid(field: &str, reason: String) -> Error {
    Error::InvalidConfig {
        field: field.to_owned(),
        reason,
    }
}
