//! Random networks, boxes and points.

use rand::{Rng, RngExt};
use zonotope_verify::network::{Affine, Layer, Network};
use zonotope_verify::spec::InputBox;

/// Biases do not shrink or grow beyond this with the layers, to remain numbers of 32 bits.
const LARGEST_BIAS: f64 = 1e36;

/// A dense network with uniform weights of variance `scale^2 / fan-in`; `widths` from the input to the output.
///
/// The biases are scaled as the values of their layer are, so that a scale other than 1 makes every neuron small or large and none stable.
pub(crate) fn dense(widths: &[usize], scale: f64, rng: &mut impl Rng) -> Network {
    with_idle_neurons(widths, scale, 0.0, rng)
}

/// [`dense`], where a share of the neurons and outputs is idle: half of these are exactly zero, the others always on or always off.
pub(crate) fn with_idle_neurons(
    widths: &[usize],
    scale: f64,
    share: f64,
    rng: &mut impl Rng,
) -> Network {
    let mut layers = Vec::new();
    let mut size = 1.0;
    for pair in widths.windows(2) {
        let first = layers.is_empty();
        if !first {
            layers.push(Layer::Relu);
        }
        let deviation = scale * (3.0 / pair[0] as f64).sqrt();
        size = (size * scale).clamp(1.0 / LARGEST_BIAS, LARGEST_BIAS);
        let mut draw = |size: f64| ((2.0 * rng.random::<f64>() - 1.0) * size) as f32;
        let mut weight: Vec<f32> = (0..pair[0] * pair[1]).map(|_| draw(deviation)).collect();
        let mut bias: Vec<f32> = (0..pair[1]).map(|_| draw(0.3 * size)).collect();
        for (row, bias) in weight.chunks_mut(pair[0]).zip(&mut bias) {
            if share > 0.0 && rng.random::<f64>() < share {
                idle(row, bias, first, rng);
            }
        }
        layers.push(Layer::Affine(Affine {
            outputs: pair[1],
            inputs: pair[0],
            weight,
            bias,
        }));
    }
    Network::new(vec![widths[0]], layers).unwrap()
}

/// Makes a neuron's value zero, or gives it a sign that it never changes.
fn idle(row: &mut [f32], bias: &mut f32, first: bool, rng: &mut impl Rng) {
    let sign = match rng.random_range(0..4) {
        0 => 1.0,
        1 => -1.0,
        _ => 0.0,
    };
    if first {
        // Inputs have any sign; those of the tests are at most 3 in size.
        let reach = 4.0 * row.iter().map(|w| w.abs()).sum::<f32>();
        *bias = sign * (bias.abs() + reach);
        if sign == 0.0 {
            row.fill(0.0);
        }
    } else {
        // Behind a ReLU nothing is negative.
        row.iter_mut().for_each(|w| *w = sign * w.abs());
        *bias = sign * bias.abs();
    }
}

/// A box around a random centre.
pub(crate) fn random_box(inputs: usize, radius: f64, rng: &mut impl Rng) -> InputBox {
    let center: Vec<f64> = (0..inputs)
        .map(|_| 2.0 * rng.random::<f64>() - 1.0)
        .collect();
    InputBox::linf(&center, radius).unwrap()
}

/// Points of a box: all its corners if they are at most half of `count`, then points of which every number is anywhere between its
/// bounds or, for half of the points mostly, one of them.
pub(crate) fn points(input: &InputBox, count: usize, rng: &mut impl Rng) -> Vec<Vec<f64>> {
    let corners = match 1_usize.checked_shl(input.len() as u32) {
        Some(corners) if corners <= count / 2 => corners,
        _ => 0,
    };
    let place = |share: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let ends = input.lower().iter().zip(input.upper()).enumerate();
        ends.map(|(i, (l, u))| (l + (u - l) * share(i)).clamp(*l, *u))
            .collect()
    };
    let mut points: Vec<Vec<f64>> = (0..corners)
        .map(|corner| place(&|i| f64::from(u8::from(corner >> i & 1 == 1))))
        .collect();
    while points.len() < count {
        let rounded = if rng.random() { 0.9 } else { 0.0 };
        let shares: Vec<f64> = (0..input.len())
            .map(|_| {
                let share: f64 = rng.random();
                if rng.random::<f64>() < rounded {
                    share.round()
                } else {
                    share
                }
            })
            .collect();
        points.push(place(&|i| shares[i]));
    }
    points
}
