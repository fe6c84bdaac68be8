//! Zonotopes of pre-activations: sets that keep the linear correlations among all neurons of a layer (the paper's section 3, its
//! improved DeepZ).
//!
//! A zonotope is `Z(c, G) = { c + G xi : xi in [-1, 1]^m }`. Affine maps carry one over exactly; a ReLU encloses every unstable neuron
//! in a strip around a line of slope `u / (u - l)`, which costs it one new generator, and where tighter bounds `l, u` are known from
//! elsewhere (*side boxes*), both the slope and the strip are theirs. The image then holds everything that the network can reach,
//! though not the image of the whole zonotope.
//!
//! Arithmetic is 64-bit with all rounding accounted for: what is stored is `c`, `G` and a radius `e >= 0`, and the set that is meant is
//! `{ c + G xi + d : xi in [-1, 1]^m, |d| <= e }`. `c` and `G` are always finite; what overflows makes the radius of its row infinite,
//! and bounds on it infinite, never NaN.

use burn::config::Config;

use crate::affine::AffineMap;
use crate::error::{Error, Result};
use crate::interval::{Bounds, check_input};
use crate::network::{Enclosure, Network};
use crate::partition::Rows;
use crate::rounding::{Accumulator, UNDERFLOW, UNIT, add_up, enclose, gamma, mul_up, sum_up, up};
use crate::spec::InputBox;

/// A zonotope with a rounding radius: `{ c + G xi + d : xi in [-1, 1]^m, |d| <= e }` in `n` dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Zonotope {
    center: Vec<f64>,
    /// `n x m`, row-major.
    generators: Vec<f64>,
    /// Number of generators, `m`.
    count: usize,
    rounding: Vec<f64>,
}

/// How zonotopes are propagated.
#[derive(Config, Debug, PartialEq)]
pub struct ZonotopeConfig {
    /// Most generators a neuron: a hidden layer of `n` neurons with more than `order n` generators is reduced to `order n`
    /// ([`Zonotope::reduce`]). `None` never reduces. Default: 100.
    #[config(default = "Some(100)")]
    pub order: Option<usize>,
}

impl ZonotopeConfig {
    /// The zonotopes `Z_1 .. Z_L` of the pre-activations, the last of which are the outputs, for all inputs in the box.
    ///
    /// `side` holds proven bounds of the hidden layers `z_1 .. z_{L-1}`, such as those of
    /// [`interval_bounds`](crate::interval::interval_bounds); bounds of the outputs may follow and are not used. Without side boxes this
    /// is DeepZ.
    ///
    /// Takes one `n_i x n_{i-1}` by `n_{i-1} x m` matrix product a layer, and the memory of all the generators: `n_i m` numbers a
    /// layer, where `m` is the number of inputs plus the unstable neurons so far.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the box or the side boxes do not fit the network, [`Error::InvalidConfig`] for an order of 0,
    /// [`Error::Internal`] if a side box contradicts a zonotope.
    pub fn propagate(
        &self,
        network: &Network,
        input: &InputBox,
        side: Option<&[Bounds]>,
    ) -> Result<Vec<Zonotope>> {
        self.propagate_until(network, input, side, || false)
    }

    /// [`propagate`](Self::propagate), with the zonotopes of no further layer once `stop` says so.
    pub(crate) fn propagate_until(
        &self,
        network: &Network,
        input: &InputBox,
        side: Option<&[Bounds]>,
        stop: impl Fn() -> bool,
    ) -> Result<Vec<Zonotope>> {
        check_input(network, input)?;
        let hidden = network.maps().len() - 1;
        if let Some(side) = side.filter(|side| side.len() != hidden && side.len() != hidden + 1) {
            return Err(Error::ShapeMismatch {
                layer: "side boxes".to_owned(),
                expected: format!("bounds of {hidden} hidden layers"),
                found: side.len().to_string(),
            });
        }
        if self.order == Some(0) {
            return Err(Error::InvalidConfig {
                field: "order",
                reason: "must be at least 1".to_owned(),
            });
        }
        let mut zonotopes: Vec<Zonotope> = Vec::with_capacity(hidden + 1);
        for (index, map) in network.maps().iter().enumerate() {
            if stop() {
                break;
            }
            let zonotope = match zonotopes.last() {
                None => Zonotope::from_box(input).affine(map),
                Some(before) => {
                    let layer = format!("hidden layer {index}");
                    before
                        .activated(side.map(|side| &side[index - 1]), &layer)?
                        .affine(map)
                }
            };
            // The outputs need no reduction: nothing follows them.
            zonotopes.push(match self.order {
                Some(order) if index < hidden => zonotope.reduce(order),
                _ => zonotope,
            });
        }
        Ok(zonotopes)
    }
}

/// The zonotopes of all pre-activations with default settings: see [`ZonotopeConfig::propagate`].
///
/// # Errors
///
/// Those of [`ZonotopeConfig::propagate`].
pub fn zonotope_bounds(
    network: &Network,
    input: &InputBox,
    side: Option<&[Bounds]>,
) -> Result<Vec<Zonotope>> {
    ZonotopeConfig::new().propagate(network, input, side)
}

impl Zonotope {
    /// The box of inputs: one generator for every input that is not fixed.
    #[must_use]
    pub fn from_box(input: &InputBox) -> Self {
        let sides: Vec<Enclosure> = input
            .lower()
            .iter()
            .zip(input.upper())
            .map(|(&l, &u)| enclose(l, u))
            .collect();
        // A radius can overflow (a box of the whole range of numbers); it then goes where infinities are expected.
        let free: Vec<usize> = (0..sides.len())
            .filter(|&j| sides[j].radius > 0.0 && sides[j].radius.is_finite())
            .collect();
        let mut generators = vec![0.0; sides.len() * free.len()];
        for (column, &j) in free.iter().enumerate() {
            generators[j * free.len() + column] = sides[j].radius;
        }
        let rounding = sides
            .iter()
            .map(|x| if x.radius.is_finite() { 0.0 } else { x.radius })
            .collect();
        Self {
            center: sides.iter().map(|x| x.value).collect(),
            generators,
            count: free.len(),
            rounding,
        }
    }

    /// Number of neurons, `n`.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.center.len()
    }

    /// Number of generators, `m`.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The centre `c`: `n` numbers.
    #[must_use]
    pub fn center(&self) -> &[f64] {
        &self.center
    }

    /// Row `j` of the generators: what each of the `m` generators does to neuron `j`.
    #[must_use]
    pub fn row(&self, j: usize) -> &[f64] {
        &self.generators[j * self.count..(j + 1) * self.count]
    }

    /// The rounding radius `e`: `n` numbers, infinite where something overflowed.
    #[must_use]
    pub fn rounding(&self) -> &[f64] {
        &self.rounding
    }

    /// A view by rows.
    pub(crate) fn rows(&self) -> Rows<'_> {
        Rows {
            center: &self.center,
            generators: &self.generators,
            count: self.count,
            rounding: &self.rounding,
        }
    }

    /// The interval hull, `c_j +- (sum_k |G_jk| + e_j)`, rounded outward.
    #[must_use]
    pub fn interval_hull(&self) -> Bounds {
        let sides: Vec<Enclosure> = (0..self.dimension())
            .map(|j| Enclosure {
                value: self.center[j],
                radius: add_up(self.reach(j), self.rounding[j]),
            })
            .collect();
        Bounds::around(&sides)
    }

    /// A certified lower bound of `min a.z`, which is `a.c - ||G^T a||_1 - |a|.e`; minus infinity where something overflowed.
    ///
    /// # Panics
    ///
    /// If `a` has not `n` numbers.
    #[must_use]
    pub fn minimum(&self, a: &[f64]) -> f64 {
        assert_eq!(a.len(), self.dimension(), "a coefficient a neuron");
        let mut sum = Accumulator::default();
        let gamma = gamma(self.dimension());
        for (j, &a) in a.iter().enumerate().filter(|(_, a)| **a != 0.0) {
            sum.add_product(a, self.center[j]);
            // The rounding of G^T a, a sum of at most n products in each of its m entries, is gamma_n |a|.|G| 1 in total.
            let error = add_up(self.rounding[j], mul_up(gamma, self.reach(j)));
            sum.add_error(mul_up(a.abs(), error));
        }
        sum.add_error(2.0 * UNDERFLOW * (self.count * self.dimension()) as f64);
        sum.add(-sum_up(self.loads(a).into_iter().map(f64::abs)));
        sum.lower()
    }

    /// The point at which `a.z` is least: `c - G sign(G^T a)`, up to rounding.
    ///
    /// # Panics
    ///
    /// If `a` has not `n` numbers.
    #[must_use]
    pub fn minimiser(&self, a: &[f64]) -> Vec<f64> {
        assert_eq!(a.len(), self.dimension(), "a coefficient a neuron");
        let signs: Vec<f64> = self
            .loads(a)
            .into_iter()
            .map(|load| if load == 0.0 { 0.0 } else { load.signum() })
            .collect();
        let moved = |j: usize| {
            self.row(j)
                .iter()
                .zip(&signs)
                .map(|(g, sign)| g * sign)
                .sum::<f64>()
        };
        (0..self.dimension())
            .map(|j| self.center[j] - moved(j))
            .collect()
    }

    /// The projection to some of the neurons, in the order given: `Z(c_g, G_g)`.
    ///
    /// # Panics
    ///
    /// If a neuron does not exist.
    #[must_use]
    pub fn project(&self, neurons: &[usize]) -> Self {
        Self {
            center: neurons.iter().map(|&j| self.center[j]).collect(),
            generators: neurons.iter().flat_map(|&j| self.row(j)).copied().collect(),
            count: self.count,
            rounding: neurons.iter().map(|&j| self.rounding[j]).collect(),
        }
    }

    /// A zonotope that holds `relu(z)` for every `z` of this one that lies in the side box, if there is one.
    ///
    /// Bounds `l, u` are those of the interval hull and the side box together. Neurons that are on stay, neurons that are off become 0,
    /// and an unstable one gets `lambda z + mu` with `lambda = u / (u - l)` and a new generator `mu`, the half-height of the strip that
    /// holds `relu(z) - lambda z`. Its rounding does no harm: every slope in `[0, 1]` gives a valid strip, and `mu` is computed upward
    /// for the slope at hand.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the side box has another size, [`Error::Internal`] if it does not meet the interval hull.
    pub fn relu(&self, side: Option<&Bounds>) -> Result<Self> {
        self.activated(side, "side box")
    }

    /// A larger zonotope with at most `order n` generators, if there are more (otherwise the same): the `(order - 1) n` generators with
    /// the largest `||g||_1 - ||g||_inf` stay, and the sum of the others' absolute values becomes one generator a neuron. Those are the
    /// generators that are nearest to the axes, whose boxes lose least.
    ///
    /// An order of 0 counts as 1, the interval hull.
    #[must_use]
    pub fn reduce(&self, order: usize) -> Self {
        let (n, m, order) = (self.dimension(), self.count, order.max(1));
        if m <= n.saturating_mul(order) {
            return self.clone();
        }
        let (mut sums, mut largest) = (vec![0.0; m], vec![0.0_f64; m]);
        for row in self.generators.chunks(m) {
            for (k, g) in row.iter().enumerate() {
                sums[k] += g.abs();
                largest[k] = largest[k].max(g.abs());
            }
        }
        // An overflowed sum is no number after the subtraction; `total_cmp` orders that too, and any choice is sound.
        let score = |k: usize| sums[k] - largest[k];
        let mut ranked: Vec<usize> = (0..m).collect();
        ranked.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
        let mut keep = vec![false; m];
        for &k in &ranked[..(order - 1) * n] {
            keep[k] = true;
        }
        let kept: Vec<usize> = (0..m).filter(|&k| keep[k]).collect();
        let count = kept.len() + n;
        let mut generators = vec![0.0; n * count];
        let mut rounding = self.rounding.clone();
        for (j, row) in generators.chunks_mut(count).enumerate() {
            let old = self.row(j);
            for (new, &k) in row.iter_mut().zip(&kept) {
                *new = old[k];
            }
            let rest = sum_up((0..m).filter(|&k| !keep[k]).map(|k| old[k].abs()));
            if rest.is_finite() {
                row[kept.len() + j] = rest;
            } else {
                rounding[j] = f64::INFINITY;
            }
        }
        Self {
            center: self.center.clone(),
            generators,
            count,
            rounding,
        }
    }

    /// A box as a zonotope without generators, in which nothing is known of how neurons depend on each other.
    pub(crate) fn without_generators(bounds: &Bounds) -> Self {
        let sides = bounds.lower().iter().zip(bounds.upper());
        let sides = sides.map(|(&l, &u)| enclose(l, u));
        let (center, rounding) = sides.map(|side| (side.value, side.radius)).unzip();
        Self {
            center,
            generators: Vec::new(),
            count: 0,
            rounding,
        }
    }

    /// The image under an affine map.
    pub(crate) fn affine(&self, map: &AffineMap) -> Self {
        let point: Vec<Enclosure> = self
            .center
            .iter()
            .zip(&self.rounding)
            .map(|(&value, &radius)| Enclosure { value, radius })
            .collect();
        let image = map.apply(&point);
        let products = map.generators(&self.generators, self.count);
        Self {
            center: image.iter().map(|x| x.value).collect(),
            generators: products.value,
            count: self.count,
            rounding: image
                .iter()
                .zip(&products.error)
                .map(|(x, &error)| add_up(x.radius, error))
                .collect(),
        }
    }

    /// The interval hull together with a side box: the bounds that decide which neurons are stable, here and wherever the zonotope is
    /// used afterwards.
    ///
    /// # Errors
    ///
    /// Those of [`Bounds::intersect`].
    pub fn bounds(&self, side: Option<&Bounds>, layer: &str) -> Result<Bounds> {
        let hull = self.interval_hull();
        match side {
            Some(side) => hull.intersect(side, layer),
            None => Ok(hull),
        }
    }

    fn activated(&self, side: Option<&Bounds>, layer: &str) -> Result<Self> {
        let bounds = self.bounds(side, layer)?;
        let unstable = bounds.unstable();
        let (n, m) = (self.dimension(), self.count);
        let count = m + unstable.len();
        let mut image = Self {
            center: vec![0.0; n],
            generators: vec![0.0; n * count],
            count,
            rounding: vec![0.0; n],
        };
        for j in (0..n).filter(|&j| !bounds.is_off(j) && !bounds.is_unstable(j)) {
            image.center[j] = self.center[j];
            image.rounding[j] = self.rounding[j];
            image.generators[j * count..j * count + m].copy_from_slice(self.row(j));
        }
        for (column, &j) in unstable.iter().enumerate() {
            let row = &mut image.generators[j * count..(j + 1) * count];
            let (center, rounding) =
                self.strip(j, bounds.lower()[j], bounds.upper()[j], m + column, row);
            image.center[j] = center;
            image.rounding[j] = rounding;
        }
        Ok(image)
    }

    /// Neuron `j` after its ReLU, given that it lies in `[l, u]`: fills the row of generators, `column` being the new one, and returns
    /// centre and radius.
    fn strip(&self, j: usize, l: f64, u: f64, column: usize, row: &mut [f64]) -> (f64, f64) {
        if u == f64::INFINITY {
            return (0.0, f64::INFINITY);
        }
        // Without a lower bound the strip is that of the slope 0.
        let slope = if l.is_finite() && self.rounding[j].is_finite() {
            (u / (u - l)).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let slope = if slope.is_nan() { 0.0 } else { slope };
        // relu(z) - slope z lies between 0 and the larger of its values at l and u.
        let at_lower = if slope == 0.0 { 0.0 } else { mul_up(slope, -l) };
        let half = up(0.5 * at_lower.max(mul_up(add_up(1.0, -slope), u)));
        if !half.is_finite() {
            return (0.0, f64::INFINITY);
        }
        let mut center = Accumulator::default();
        center.add_product(slope, self.center[j]);
        center.add(half);
        if slope > 0.0 {
            for (new, &old) in row.iter_mut().zip(self.row(j)) {
                *new = slope * old;
            }
            center.add_error(mul_up(slope, self.rounding[j]));
            // The rounding of `slope G_jk`, summed over k.
            let lost = mul_up(UNIT, mul_up(slope, self.reach(j)));
            center.add_error(add_up(lost, UNDERFLOW * self.count as f64));
        }
        row[column] = half;
        let center = center.enclosure();
        (center.value, center.radius)
    }

    /// `sum_k |G_jk|`, rounded up.
    fn reach(&self, j: usize) -> f64 {
        sum_up(self.row(j).iter().map(|g| g.abs()))
    }

    /// `G^T a`.
    fn loads(&self, a: &[f64]) -> Vec<f64> {
        let mut loads = vec![0.0; self.count];
        for (j, &a) in a.iter().enumerate().filter(|(_, a)| **a != 0.0) {
            for (load, g) in loads.iter_mut().zip(self.row(j)) {
                *load += a * g;
            }
        }
        loads
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::rounding::exact::integer;

    /// Numbers below are multiples of 2^UNITS.
    const UNITS: i32 = -100;

    /// A multiple of 2^-10 of at most 24 bits, of either sign.
    fn short(rng: &mut ChaCha8Rng) -> f64 {
        let size = f64::from(rng.random_range(0..1_u32 << 24))
            * 2.0_f64.powi(rng.random_range(-10..=0) - 14);
        let size = (size * 1024.0).round() / 1024.0;
        if rng.random() { size } else { -size }
    }

    fn exact(x: f64) -> i128 {
        integer(x, UNITS)
    }

    /// At both ends of the interval the strip is as high as it must be, so a rounding error that is not accounted for shows.
    #[test]
    fn the_strip_of_a_relu_holds_both_ends() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut checked = 0;
        for _ in 0..20_000 {
            let m = rng.random_range(1..6);
            let generators: Vec<f64> = (0..m).map(|_| short(&mut rng)).collect();
            let rounding = [0.0, short(&mut rng).abs()][rng.random_range(0..2)];
            let radius = generators.iter().map(|g| g.abs()).sum::<f64>() + rounding;
            // Also intervals that lie nearly on one side, where the strip is thin and the slope near 0 or 1.
            let share =
                [0.9, 0.999, 0.99999][rng.random_range(0..3)] * rng.random_range(-1.0..1.0_f64);
            let center = (share * radius * 1024.0).round() / 1024.0;
            let (l, u) = (center - radius, center + radius);
            if !(l < 0.0 && u > 0.0) {
                continue;
            }
            checked += 1;
            let zonotope = Zonotope {
                center: vec![center],
                generators: generators.clone(),
                count: m,
                rounding: vec![rounding],
            };
            let side = Bounds::new(vec![l], vec![u]).unwrap();
            let image = zonotope.relu(Some(&side)).unwrap();
            let (row, half) = image.row(0).split_at(m);
            assert!(half[0] <= 0.5 * u * -l / (u - l) * (1.0 + 1e-14) + 1e-15 * u);
            assert!(image.rounding()[0] <= rounding + 1e-14 * radius);
            for (end, sign) in [(l, -1), (u, 1)] {
                // All of `relu(z) - G' xi - c'` must lie within the new generator and the radius.
                let moved: i128 = generators
                    .iter()
                    .zip(row)
                    .map(|(g, new)| exact(*new) * sign * g.signum() as i128)
                    .sum();
                let distance =
                    (exact(end.max(0.0)) - moved - exact(image.center()[0])).abs() - exact(half[0]);
                let radius = image.rounding()[0] * 2.0_f64.powi(-UNITS);
                assert!(
                    distance <= radius.floor() as i128,
                    "[{l}, {u}]: {distance} units, {radius} allowed"
                );
            }
        }
        assert!(checked > 15_000);
    }

    #[test]
    fn the_minimum_is_not_above_the_exact_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..3_000 {
            let (n, m) = (rng.random_range(1..40), rng.random_range(1..4));
            let mut draw = |count: usize| -> Vec<f64> {
                (0..count)
                    .map(|_| short(&mut rng) * short(&mut rng))
                    .collect()
            };
            let (a, center, generators) = (draw(n), draw(n), draw(n * m));
            let rounding: Vec<f64> = draw(n).into_iter().map(f64::abs).collect();
            let units = |x: f64| integer(x, -20);
            let along = |column: usize| -> i128 {
                (0..n)
                    .map(|j| units(a[j]) * units(generators[j * m + column]))
                    .sum()
            };
            let mut least: i128 = -(0..m).map(|k| along(k).abs()).sum::<i128>();
            let mut size = -least;
            for j in 0..n {
                let (a, c, e) = (units(a[j]), units(center[j]), units(rounding[j]));
                least += a * c - a.abs() * e;
                size += (a * c).abs() + a.abs() * e;
                size += (0..m)
                    .map(|k| (a * units(generators[j * m + k])).abs())
                    .sum::<i128>();
            }
            let zonotope = Zonotope {
                center,
                generators,
                count: m,
                rounding,
            };
            let minimum = (zonotope.minimum(&a) * 2.0_f64.powi(40)).floor() as i128;
            assert!(
                minimum <= least,
                "crossed by {} units of {size}",
                minimum - least
            );
            let slack = 2 + (1e-14 * size as f64) as i128;
            assert!(
                least - minimum <= slack,
                "{} units lost of {size}",
                least - minimum
            );
        }
    }
}
