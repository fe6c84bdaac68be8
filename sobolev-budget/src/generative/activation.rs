//! Activations. Softplus, `ln(1 + e^x)`, takes most of the time of a network on the processor when it goes through the functions of the C library,
//! so that there it is computed here, with its slope, by arithmetic that the compiler turns into vector instructions.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;

/// The slope of [`leaky_relu`] below 0.
pub(super) const LEAK: f64 = 0.2;

/// `x` from 0 on and `0.2 x` below.
pub(super) fn leaky_relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let slope = leaky_slope(&x);
    x * slope
}

/// The derivative of [`leaky_relu`], off autodiff.
pub(super) fn leaky_slope<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    let below = x.clone().without_autodiff().lower_elem(0.0);
    below.float() * (LEAK - 1.0) + 1.0
}

/// `ln(1 + e^x)`, differentiable once.
pub(super) fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if x.device() == burn::tensor::Device::flex() {
        return match x.is_tracked() {
            true => processor::tracked(x),
            false => processor::value(x),
        };
    }
    // One pass forward and one backward; burn's own softplus takes six.
    log_sigmoid(x.neg()).neg()
}

#[cfg(feature = "flex")]
mod processor {
    use burn::tensor::{Tensor, TensorData};

    /// `e^-87` is the smallest power that is not subnormal in 32 bits.
    const LOWEST: f32 = -87.0;
    /// `1.5 * 2^23`: a small number added to it is rounded to an integer, which stands in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    /// `ln 2` in two parts, the first of few bits.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

    /// Softplus off autodiff.
    pub(super) fn value<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        let device = x.device();
        let mut data = x.into_data();
        match data.as_mut_slice::<f32>() {
            Ok(numbers) => numbers.iter_mut().for_each(|x| *x = softplus(*x)[0]),
            Err(_) => {
                let numbers = data.iter::<f32>().map(|x| softplus(x)[0]).collect();
                data = TensorData::new::<f32, _>(numbers, data.shape().clone());
            }
        }
        Tensor::from_data(data, &device)
    }

    /// Softplus with its slope on autodiff: `f(x) + s (x' - x)` at `x' = x`, where all but `x'` is constant.
    pub(super) fn tracked<const D: usize>(x: Tensor<D>) -> Tensor<D> {
        let here = x.clone().without_autodiff();
        let device = here.device();
        let data = here.clone().into_data();
        let (mut values, mut slopes) = (Vec::new(), Vec::new());
        let mut fill = |numbers: &[f32]| {
            values = vec![0.0; numbers.len()];
            slopes = vec![0.0; numbers.len()];
            let places = values.iter_mut().zip(&mut slopes).zip(numbers);
            places.for_each(|((value, slope), &x)| [*value, *slope] = softplus(x));
        };
        match data.as_slice::<f32>() {
            Ok(numbers) => fill(numbers),
            Err(_) => fill(&data.iter::<f32>().collect::<Vec<f32>>()),
        }
        let tensor = |numbers| {
            let data = TensorData::new(numbers, data.shape().clone());
            Tensor::<D>::from_data(data, &device)
        };
        (x - here) * tensor(slopes) + tensor(values)
    }

    /// `ln(1 + e^x)` and its derivative `1 / (1 + e^-x)`, to a few units in the last place.
    #[inline(always)]
    fn softplus(x: f32) -> [f32; 2] {
        let e = exponential(-x.abs());
        let part = 1.0 / (1.0 + e);
        let slope = if x >= 0.0 { part } else { e * part };
        // Not a number stays so, which `max` would not see to.
        let linear = if x > 0.0 { x } else { 0.0 };
        [linear + logarithm(e), slope]
    }

    /// `e^x` for `x` up to 0; below -87 it is `e^-87`.
    #[inline(always)]
    fn exponential(x: f32) -> f32 {
        let x = if x < LOWEST { LOWEST } else { x };
        let rounded = x * std::f32::consts::LOG2_E + ROUNDER;
        let whole = rounded - ROUNDER;
        let rest = x - whole * LN_2[0] - whole * LN_2[1];
        let series = [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
        let value = series
            .iter()
            .fold(1.0 / 720.0, |sum, factor| sum * rest + factor);
        let exponent = rounded.to_bits().wrapping_sub(ROUNDER.to_bits());
        value * f32::from_bits(exponent.wrapping_add(127) << 23)
    }

    /// `ln(1 + y)` for `y` from 0 to 1, by `2 artanh(y / (2 + y))`.
    #[inline(always)]
    fn logarithm(y: f32) -> f32 {
        let z = y / (2.0 + y);
        let square = z * z;
        let series = [1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 0.2, 1.0 / 3.0, 1.0];
        let sum = series
            .iter()
            .fold(1.0 / 13.0, |sum, factor| sum * square + factor);
        2.0 * z * sum
    }

    #[cfg(test)]
    mod tests {
        use burn::tensor::{Device, Tensor};

        #[test]
        fn gradient_is_the_slope_in_every_layout() {
            let rows = [[-3.0_f32, 0.0, 0.5], [2.0, -40.0, 30.0]];
            let x = Tensor::<2>::from_floats(rows, &Device::flex());
            let x = x.transpose().autodiff().require_grad();
            let y = super::super::softplus(x.clone());
            let gradient = x.grad(&(y.clone() * 2.0).sum().backward());
            let found = gradient.unwrap().into_data();
            let slopes = rows.map(|row| row.map(|x| 2.0 * super::softplus(x)[1]));
            let slopes = Tensor::<2>::from_floats(slopes, &Device::flex());
            assert_eq!(found, slopes.transpose().into_data());
            let plain = super::value(x.without_autodiff()).into_data();
            assert_eq!(y.without_autodiff().into_data(), plain);
        }

        #[test]
        fn value_and_slope_are_those_of_the_library() {
            for i in -4_000..=4_000 {
                let x = i as f32 / 40.0;
                let exact = f64::from(x);
                let [value, slope] = super::softplus(x).map(f64::from);
                let expected = exact.max(0.0) + (-exact.abs()).exp().ln_1p();
                let expected_slope = 1.0 / (1.0 + (-exact).exp());
                assert!(
                    (value - expected).abs() <= 3e-7 * expected + 1e-37,
                    "{x}: {value}, {expected}"
                );
                assert!(
                    (slope - expected_slope).abs() <= 3e-7 * expected_slope + 1e-37,
                    "{x}: {slope}"
                );
            }
            assert!(super::softplus(f32::NAN)[0].is_nan());
            assert_eq!(super::softplus(f32::INFINITY), [f32::INFINITY, 1.0]);
        }
    }
}
