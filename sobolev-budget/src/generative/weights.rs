//! The float tensors of a module, in the order in which it is traversed: out of it, and back into it.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use super::host;

/// All weights, flattened.
pub(crate) fn read<M: Module>(module: &M) -> Vec<Vec<f32>> {
    struct Reader(Vec<Vec<f32>>);
    impl ModuleVisitor for Reader {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(host::numbers(param.val()));
        }
    }
    let mut reader = Reader(Vec::new());
    module.visit(&mut reader);
    reader.0
}

/// The module with other weights. The caller sees to it that there are as many as [`read`] gives.
pub(crate) fn write<M: Module>(module: M, weights: Vec<Vec<f32>>) -> M {
    struct Writer(std::vec::IntoIter<Vec<f32>>);
    impl ModuleMapper for Writer {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(weights) = self.0.next() else {
                return param;
            };
            replace(param, |old| {
                Tensor::from_data(TensorData::new(weights, old.shape()), &old.device())
            })
        }
    }
    module.map(&mut Writer(weights.into_iter()))
}

/// The module with every weight between plus and minus a bound.
pub(crate) fn clamp<M: Module>(module: M, bound: f64) -> M {
    struct Clamp(f64);
    impl ModuleMapper for Clamp {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            replace(param, |old| old.clamp(-self.0, self.0))
        }
    }
    module.map(&mut Clamp(bound))
}

/// Whether all weights are finite.
pub(crate) fn finite<M: Module>(module: &M) -> bool {
    read(module)
        .iter()
        .flatten()
        .all(|weight| weight.is_finite())
}

/// Exchanges a parameter's value, which is handed over and taken back without autodiff, for a new leaf that is trained as the old one was.
pub(crate) fn replace<const D: usize>(
    param: Param<Tensor<D>>,
    new: impl FnOnce(Tensor<D>) -> Tensor<D>,
) -> Param<Tensor<D>> {
    param.map(|old| {
        let (autodiff, trained) = (old.is_autodiff(), old.is_require_grad());
        let new = new(old.without_autodiff());
        match autodiff {
            true => new.autodiff().set_require_grad(trained),
            false => new,
        }
    })
}
