//! Closest points on a device: all elements against all points, as matrix products. Worth it where there are many elements in many
//! dimensions, for which trees do not help.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::elements::Elements;

/// Entries of a matrix of distances that are held at once.
const TILE: usize = 1 << 22;

/// The nearest element of a map for each point, in 32 bits; the second nearest, too, as rounding may have swapped them.
///
/// With an element's first vertex a, its sides u and v, and y = x - a, all distances follow from the products of points with a, u and v.
pub(crate) fn nearest_two(
    points: &[f64],
    elements: &Elements,
    map: &[f64],
    n: usize,
    device: &Device,
) -> Vec<[u32; 2]> {
    let sides = Sides::new(elements, map, n, device);
    let rows = (TILE / elements.len()).max(1);
    let mut nearest = Vec::with_capacity(points.len() / n);
    for tile in points.chunks(rows * n) {
        let count = tile.len() / n;
        let tile: Vec<f32> = tile.iter().map(|x| *x as f32).collect();
        let squares = sides.squares(Tensor::from_data(TensorData::new(tile, [count, n]), device));
        let first = squares.clone().argmin(1);
        let without = squares.scatter(
            1,
            first.clone(),
            Tensor::full([count, 1], 1e30, device),
            burn::tensor::IndexingUpdateOp::Add,
        );
        let second = without.argmin(1);
        let host = |index: Tensor<2, Int>| -> Vec<u32> {
            index.into_data().iter::<i64>().map(|i| i as u32).collect()
        };
        nearest.extend(
            host(first)
                .into_iter()
                .zip(host(second))
                .map(|(a, b)| [a, b]),
        );
    }
    nearest
}

/// Elements as tensors: `[n, elements]` matrices and `[1, elements]` rows of their products.
struct Sides {
    width: usize,
    a: Tensor<2>,
    aa: Tensor<2>,
    /// Of segments and triangles.
    u: Option<Side>,
    /// Of triangles.
    v: Option<(Side, Tensor<2>)>,
}

/// One side from the first vertex, its product with that vertex and with itself.
struct Side {
    side: Tensor<2>,
    with_a: Tensor<2>,
    square: Tensor<2>,
}

impl Sides {
    fn new(elements: &Elements, map: &[f64], n: usize, device: &Device) -> Self {
        let count = elements.len();
        // The vertices by axis, as differences of what is exact on the host.
        let vertex = |corner: usize| -> Vec<f64> {
            let mut values = vec![0.0; n * count];
            for element in 0..count {
                let node = elements.vertices(element)[corner] as usize;
                for axis in 0..n {
                    values[axis * count + element] = map[node * n + axis];
                }
            }
            values
        };
        let tensor = |values: &[f64], rows: usize| -> Tensor<2> {
            let values: Vec<f32> = values.iter().map(|x| *x as f32).collect();
            Tensor::from_data(TensorData::new(values, [rows, count]), device)
        };
        let product = |x: &[f64], y: &[f64]| -> Tensor<2> {
            let mut sums = vec![0.0; count];
            for axis in 0..n {
                for element in 0..count {
                    sums[element] += x[axis * count + element] * y[axis * count + element];
                }
            }
            tensor(&sums, 1)
        };
        let a = vertex(0);
        let side = |corner: usize| -> Vec<f64> {
            vertex(corner).iter().zip(&a).map(|(b, a)| b - a).collect()
        };
        let built = |values: &[f64]| Side {
            side: tensor(values, n),
            with_a: product(values, &a),
            square: product(values, values),
        };
        let width = elements.width();
        let u = (width > 1).then(|| side(1));
        let v = (width > 2).then(|| side(2));
        Self {
            width,
            aa: product(&a, &a),
            v: v.as_ref()
                .zip(u.as_ref())
                .map(|(v, u)| (built(v), product(u, v))),
            u: u.as_ref().map(|u| built(u)),
            a: tensor(&a, n),
        }
    }

    /// The squares of the distances of points `[points, n]` to all elements.
    fn squares(&self, points: Tensor<2>) -> Tensor<2> {
        let own = points.clone().powi_scalar(2).sum_dim(1);
        let yy = own - points.clone().matmul(self.a.clone()) * 2.0 + self.aa.clone();
        let Some(u) = &self.u else { return yy };
        debug_assert!(self.width > 1);
        let uy = points.clone().matmul(u.side.clone()) - u.with_a.clone();
        let along_u = along(yy.clone(), uy.clone(), u.square.clone());
        let Some((v, uv)) = &self.v else {
            return along_u;
        };
        let vy = points.matmul(v.side.clone()) - v.with_a.clone();
        let along_v = along(yy.clone(), vy.clone(), v.square.clone());
        // The third side from the end of u: w = v - u, and y - u in the place of y.
        let ww = v.square.clone() - uv.clone() * 2.0 + u.square.clone();
        let wy = vy.clone() - uy.clone() - uv.clone() + u.square.clone();
        let from_u = yy.clone() - uy.clone() * 2.0 + u.square.clone();
        let along_w = along(from_u, wy, ww);
        let edges = along_u.min_pair(along_v).min_pair(along_w);
        // Inside, the foot is where both sides are met at right angles. Flat triangles have none.
        let determinant =
            (u.square.clone() * v.square.clone() - uv.clone().powi_scalar(2)).clamp_min(1e-30);
        let s = (uy.clone() * v.square.clone() - vy.clone() * uv.clone()) / determinant.clone();
        let t = (vy.clone() * u.square.clone() - uy.clone() * uv.clone()) / determinant;
        let outside = s
            .clone()
            .lower_elem(0.0)
            .bool_or(t.clone().lower_elem(0.0))
            .bool_or((s.clone() + t.clone()).greater_elem(1.0));
        let inner = (yy - s * uy - t * vy).clamp_min(0.0);
        inner.mask_where(outside, edges)
    }
}

/// The squares of distances to a side, from those to its beginning, the products with it and its square.
fn along(yy: Tensor<2>, uy: Tensor<2>, uu: Tensor<2>) -> Tensor<2> {
    let t = (uy.clone() / uu.clone().clamp_min(1e-30)).clamp(0.0, 1.0);
    (yy - t.clone() * uy * 2.0 + t.powi_scalar(2) * uu).clamp_min(0.0)
}
