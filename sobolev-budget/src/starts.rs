//! Where descents begin: the problem has many local minima, and each kind of start finds some that others miss.

use std::f64::consts::TAU;

use faer::{Mat, Side};
use rand::RngExt as _;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::domain::Domain;
use crate::{Grid, Measure};

/// Which starts are tried; the best result wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// Starts along the principal axes, with smooth noise that differs from one to the next. Default 2.
    pub principal: usize,
    /// Whether to begin with a tenth of the budget and raise it in steps of a fifth. Default true.
    pub continuation: bool,
    /// For each number, that many centres are placed by k-means, and for curves joined twice: along the longest path of their minimum
    /// spanning tree, and along a short tour. Default 30 and 50.
    pub centres: Vec<usize>,
    /// How many of the best go on to the finest grid, if they are within a twentieth of the best. Default 2.
    pub finalists: usize,
}

impl Default for Starts {
    fn default() -> Self {
        Self {
            principal: 2,
            continuation: true,
            centres: vec![30, 50],
            finalists: 2,
        }
    }
}

impl Starts {
    /// One start along the principal axes, for measures whose fit is not in doubt.
    #[must_use]
    pub fn single() -> Self {
        Self {
            principal: 1,
            continuation: false,
            centres: Vec::new(),
            finalists: 1,
        }
    }

    /// None but those that the caller gives.
    #[must_use]
    pub fn given() -> Self {
        Self {
            principal: 0,
            ..Self::single()
        }
    }
}

/// The domain laid along the principal axes: as long as a uniform measure of the same variance, rings with the same variance.
pub(crate) fn principal(measure: &Measure, grid: Grid, index: usize, seed: u64) -> Vec<f64> {
    let n = measure.dimension();
    let (mean, axes) = principal_axes(measure);
    let axis = |i: usize| {
        axes.get(i)
            .map_or((0.0, &[][..]), |(deviation, axis)| (*deviation, &axis[..]))
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(index as u64));
    let waves = Waves::new(grid.domain(), n, &mut rng);
    // Noise of a twentieth of the largest deviation, so that no start sits on a saddle.
    let noise = if index == 0 {
        0.01
    } else {
        0.05 * index as f64
    } * axis(0).0;
    let mut map = Vec::with_capacity(grid.len() * n);
    for node in 0..grid.len() {
        let s = grid.parameters(node);
        let line = |t: f64| 12f64.sqrt() * (t - 0.5);
        let ring = |t: f64| {
            let (sin, cos) = (TAU * t).sin_cos();
            [2f64.sqrt() * cos, 2f64.sqrt() * sin]
        };
        let along: Vec<f64> = match grid.domain() {
            Domain::Interval | Domain::Square | Domain::Cube => {
                s.iter().map(|t| line(*t)).collect()
            }
            Domain::Circle => ring(s[0]).to_vec(),
            Domain::Cylinder => {
                let [x, y] = ring(s[1]);
                vec![line(s[0]), x, y]
            }
            Domain::Torus => {
                let ([x, y], [across, up]) = (ring(s[0]), ring(s[1]));
                let radius = 1.0 + 0.35 * across;
                vec![radius * x, radius * y, up]
            }
        };
        let mut value = mean.clone();
        for (i, amount) in along.iter().enumerate() {
            let (deviation, direction) = axis(i);
            for (v, d) in value.iter_mut().zip(direction) {
                *v += amount * deviation * d;
            }
        }
        for (v, w) in value.iter_mut().zip(waves.at(&s)) {
            *v += noise * w;
        }
        map.extend(value);
    }
    map
}

/// Curves through the centres of clusters: each with the name of how they were joined.
pub(crate) fn through_centres(
    measure: &Measure,
    grid: Grid,
    count: usize,
    seed: u64,
) -> Vec<(String, Vec<f64>)> {
    let n = measure.dimension();
    let closed = match grid.domain() {
        Domain::Interval => false,
        Domain::Circle => true,
        _ => return Vec::new(),
    };
    let centres = k_means(measure, count, seed);
    let centres: Vec<&[f64]> = centres.chunks_exact(n).collect();
    if centres.len() < 3 {
        return Vec::new();
    }
    let tour = short_tour(&centres);
    let mut orders = vec![(format!("tree{count}"), longest_path(&centres))];
    if closed {
        orders = vec![(format!("tour{count}"), tour)];
    } else {
        orders.push((format!("tour{count}"), opened(&centres, tour)));
    }
    orders
        .into_iter()
        .map(|(name, order)| {
            let corners: Vec<&[f64]> = order.iter().map(|&i| centres[i]).collect();
            (name, along(&corners, closed, grid, n))
        })
        .collect()
}

/// The mean, and the principal axes with the deviations along them, the largest first.
fn principal_axes(measure: &Measure) -> (Vec<f64>, Vec<(f64, Vec<f64>)>) {
    let n = measure.dimension();
    let covariance = measure.covariance();
    let matrix = Mat::from_fn(n, n, |i, j| covariance[i * n + j]);
    let mut axes = Vec::new();
    if let Ok(eigen) = matrix.self_adjoint_eigen(Side::Lower) {
        for i in (0..n).rev() {
            let mut axis: Vec<f64> = eigen.U().col(i).iter().copied().collect();
            // The sign is arbitrary; the same data should give the same start.
            let largest = axis
                .iter()
                .fold(0.0f64, |a, b| if b.abs() > a.abs() { *b } else { a });
            if largest < 0.0 {
                axis.iter_mut().for_each(|x| *x = -*x);
            }
            axes.push((eigen.S()[i].max(0.0).sqrt(), axis));
        }
    }
    (measure.mean(), axes)
}

/// A random smooth map: a few cosines along each axis, weaker the faster they swing.
struct Waves {
    /// Frequency along each axis, phase, and amplitude of each coordinate.
    waves: Vec<(Vec<f64>, f64, Vec<f64>)>,
}

impl Waves {
    fn new(domain: Domain, n: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut waves = Vec::new();
        for _ in 0..6 {
            let mut total = 0.0;
            let frequency: Vec<f64> = domain
                .periodic()
                .iter()
                .map(|periodic| {
                    let turns = rng.random_range(1..=4) as f64;
                    total += turns;
                    turns * if *periodic { TAU } else { TAU / 2.0 }
                })
                .collect();
            let phase = TAU * rng.random::<f64>();
            let amplitude = (0..n)
                .map(|_| (2.0 * rng.random::<f64>() - 1.0) / total)
                .collect();
            waves.push((frequency, phase, amplitude));
        }
        Self { waves }
    }

    fn at(&self, s: &[f64]) -> Vec<f64> {
        let mut sum = vec![0.0; self.waves[0].2.len()];
        for (frequency, phase, amplitude) in &self.waves {
            let angle: f64 = frequency.iter().zip(s).map(|(f, s)| f * s).sum::<f64>() + phase;
            for (s, a) in sum.iter_mut().zip(amplitude) {
                *s += a * angle.cos();
            }
        }
        sum
    }
}

/// At most 5000 points, enough for a few dozen centres.
const CLUSTERED: usize = 5000;

/// Centres by k-means++ and Lloyd's method, empty ones left out.
fn k_means(measure: &Measure, count: usize, seed: u64) -> Vec<f64> {
    let n = measure.dimension();
    let measure = measure.thinned(CLUSTERED, seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let mut centres: Vec<f64> = measure.point(rng.random_range(0..measure.len())).to_vec();
    let mut nearest = vec![f64::INFINITY; measure.len()];
    while centres.len() < count * n {
        let last = centres[centres.len() - n..].to_vec();
        let mut total = 0.0;
        for (index, d) in nearest.iter_mut().enumerate() {
            *d = d.min(square(measure.point(index), &last));
            total += measure.weights()[index] * *d;
        }
        if total.is_nan() || total <= 0.0 {
            break;
        }
        let mut mark = rng.random::<f64>() * total;
        let chosen = (0..measure.len())
            .find(|&index| {
                mark -= measure.weights()[index] * nearest[index];
                mark <= 0.0
            })
            .unwrap_or(measure.len() - 1);
        centres.extend_from_slice(measure.point(chosen));
    }
    for _ in 0..25 {
        let mut sums = vec![0.0; centres.len()];
        let mut masses = vec![0.0; centres.len() / n];
        for index in 0..measure.len() {
            let point = measure.point(index);
            let best = centres
                .chunks_exact(n)
                .map(|centre| square(point, centre))
                .enumerate()
                .fold(
                    (0, f64::INFINITY),
                    |best, (i, d)| if d < best.1 { (i, d) } else { best },
                )
                .0;
            let weight = measure.weights()[index];
            masses[best] += weight;
            for (s, x) in sums[best * n..].iter_mut().zip(point) {
                *s += weight * x;
            }
        }
        centres = sums
            .chunks_exact(n)
            .zip(&masses)
            .filter(|(_, mass)| **mass > 0.0)
            .flat_map(|(sum, mass)| sum.iter().map(move |s| s / mass))
            .collect();
    }
    centres
}

fn length(a: &[f64], b: &[f64]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// The longest path within the minimum spanning tree.
fn longest_path(centres: &[&[f64]]) -> Vec<usize> {
    let count = centres.len();
    // Prim's method.
    let mut parent = vec![0; count];
    let mut reach: Vec<f64> = centres.iter().map(|c| length(centres[0], c)).collect();
    let mut within = vec![false; count];
    within[0] = true;
    let mut edges = vec![Vec::new(); count];
    for _ in 1..count {
        let next =
            (0..count)
                .filter(|&i| !within[i])
                .fold(None, |best: Option<usize>, i| match best {
                    Some(b) if reach[b] <= reach[i] => Some(b),
                    _ => Some(i),
                });
        let Some(next) = next else { break };
        within[next] = true;
        edges[next].push(parent[next]);
        edges[parent[next]].push(next);
        for i in 0..count {
            let d = length(centres[next], centres[i]);
            if !within[i] && d < reach[i] {
                reach[i] = d;
                parent[i] = next;
            }
        }
    }
    // The farthest from anywhere is one end; the farthest from there is the other.
    let far = |from: usize| -> (usize, Vec<usize>) {
        let mut distance = vec![f64::INFINITY; count];
        let mut before = vec![from; count];
        distance[from] = 0.0;
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            for &next in &edges[at] {
                if distance[next].is_infinite() {
                    distance[next] = distance[at] + length(centres[at], centres[next]);
                    before[next] = at;
                    open.push(next);
                }
            }
        }
        let end = (0..count).fold(from, |best, i| {
            if distance[i] > distance[best] {
                i
            } else {
                best
            }
        });
        (end, before)
    };
    let (start, _) = far(0);
    let (end, before) = far(start);
    let mut path = vec![end];
    while path[path.len() - 1] != start {
        path.push(before[path[path.len() - 1]]);
    }
    path
}

/// A tour through all centres, from the nearest to the nearest and then with pairs of edges exchanged while that shortens it.
fn short_tour(centres: &[&[f64]]) -> Vec<usize> {
    let count = centres.len();
    let mut tour = vec![0];
    let mut left: Vec<usize> = (1..count).collect();
    while !left.is_empty() {
        let at = centres[tour[tour.len() - 1]];
        let place = (0..left.len()).fold(0, |best, i| {
            if length(at, centres[left[i]]) < length(at, centres[left[best]]) {
                i
            } else {
                best
            }
        });
        tour.push(left.remove(place));
    }
    let d = |a: usize, b: usize| length(centres[a], centres[b]);
    let mut improved = true;
    while improved {
        improved = false;
        for i in 0..count - 1 {
            for j in i + 2..count {
                if i == 0 && j == count - 1 {
                    continue;
                }
                let (a, b) = (tour[i], tour[i + 1]);
                let (c, e) = (tour[j], tour[(j + 1) % count]);
                if d(a, c) + d(b, e) < d(a, b) + d(c, e) - 1e-12 {
                    tour[i + 1..=j].reverse();
                    improved = true;
                }
            }
        }
    }
    tour
}

/// A tour without its longest edge.
fn opened(centres: &[&[f64]], mut tour: Vec<usize>) -> Vec<usize> {
    let count = tour.len();
    let edge = |i: usize| length(centres[tour[i]], centres[tour[(i + 1) % count]]);
    let longest = (0..count).fold(0, |best, i| if edge(i) > edge(best) { i } else { best });
    tour.rotate_left((longest + 1) % count);
    tour
}

/// Nodes at equal distances along a polygon.
fn along(corners: &[&[f64]], closed: bool, grid: Grid, n: usize) -> Vec<f64> {
    let edges = if closed {
        corners.len()
    } else {
        corners.len() - 1
    };
    let corner = |i: usize| corners[i % corners.len()];
    let steps: Vec<f64> = (0..edges)
        .map(|i| length(corner(i), corner(i + 1)))
        .collect();
    let total: f64 = steps.iter().sum();
    let mut map = Vec::with_capacity(grid.len() * n);
    let (mut edge, mut before) = (0, 0.0);
    for node in 0..grid.len() {
        let at = total * node as f64 / grid.cells(0) as f64;
        while edge + 1 < edges && before + steps[edge] < at {
            before += steps[edge];
            edge += 1;
        }
        let t = if steps[edge] > 0.0 {
            ((at - before) / steps[edge]).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let (a, b) = (corner(edge), corner(edge + 1));
        map.extend(a.iter().zip(b).map(|(a, b)| a + t * (b - a)));
    }
    map
}
