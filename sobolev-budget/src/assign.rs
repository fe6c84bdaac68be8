//! Closest points: the exact nearest element of a map for every point of a measure, and the moments that a step needs.
//!
//! A tree of boxes over the elements finds the nearest. From sweep to sweep each point remembers its element and a lower bound on its
//! distance to all elements that do not touch it; while the map moves little, the bound proves that the nearest element is still the old
//! one or one that touches it, and the tree is not asked.

use rayon::prelude::*;

use crate::Measure;
use crate::elements::Elements;

/// A projection of a point on an element: barycentric coordinates of the foot, and the square of the distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Foot {
    pub(crate) element: u32,
    pub(crate) share: [f64; 3],
    pub(crate) square: f64,
}

/// How distances are weighed: by `|r|^p`, and what majorises that near the present distances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    /// The exponent p.
    pub(crate) exponent: f64,
    /// Distances below this count as this large in weights, if p is less than 2.
    pub(crate) floor: f64,
}

impl Loss {
    /// `|r|^p`.
    pub(crate) fn value(self, square: f64) -> f64 {
        if self.exponent == 2.0 {
            square
        } else {
            square.powf(self.exponent / 2.0)
        }
    }

    /// The factor of `|r|^2` in the quadratic that touches `|r|^p` here, `(p/2) |r|^(p-2)`.
    fn weight(self, square: f64) -> f64 {
        if self.exponent == 2.0 {
            1.0
        } else {
            let square = if self.exponent < 2.0 {
                square.max(self.floor * self.floor)
            } else {
                square
            };
            self.exponent / 2.0 * square.powf(self.exponent / 2.0 - 1.0)
        }
    }
}

/// Where nearest elements are looked for.
#[derive(Clone, Default)]
pub(crate) enum Place {
    /// Here, by a tree.
    #[default]
    Host,
    /// On a device, by trying all.
    #[cfg(feature = "burn")]
    Device(burn::tensor::Device),
}

impl Place {
    /// Two candidates for each point, if they are not found here.
    pub(crate) fn candidates(
        &self,
        measure: &Measure,
        elements: &Elements,
        map: &[f64],
    ) -> Option<Vec<[u32; 2]>> {
        match self {
            Self::Host => {
                let _ = (measure, elements, map);
                None
            }
            #[cfg(feature = "burn")]
            Self::Device(device) => {
                let n = measure.dimension();
                Some(crate::device::nearest_two(
                    measure.points(),
                    elements,
                    map,
                    n,
                    device,
                ))
            }
        }
    }
}

/// What is known of each point between sweeps.
pub(crate) struct Assignment {
    elements: Vec<u32>,
    /// Lower bounds on the distance to elements that do not touch the present one; negative if nothing is known.
    bounds: Vec<f64>,
    /// The map that the bounds were made for; empty before the first pass.
    map: Vec<f64>,
    /// Points of the last pass whose element was proven to be near the old one, without the tree.
    kept: usize,
}

/// Sums over points, by element: what the quadratic model of the loss is made of.
pub(crate) struct Moments {
    /// The loss, the sum of `w |r|^p`.
    pub(crate) loss: f64,
    /// The sum of `w c |r|^2`, where `c |r|^2` is the model of `|r|^p` up to a constant.
    pub(crate) model: f64,
    /// For each element the sums of `w c b_i b_j` (lower triangle by rows), then of `w c b_i x` for each vertex.
    pub(crate) sums: Vec<f64>,
}

impl Assignment {
    pub(crate) fn new(points: usize) -> Self {
        Self {
            elements: vec![0; points],
            bounds: vec![-1.0; points],
            map: Vec::new(),
            kept: 0,
        }
    }

    /// How many points the last pass kept without asking the tree.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Finds the nearest elements of a map, and sums what the next step needs.
    pub(crate) fn update(
        &mut self,
        measure: &Measure,
        elements: &Elements,
        map: &[f64],
        loss: Loss,
        place: &Place,
    ) -> Moments {
        if let Some(candidates) = place.candidates(measure, elements, map) {
            // Nearby elements are compared here, in 64 bits; the bounds are not needed.
            let search = Search::<0>::new(elements, map, measure.dimension());
            self.elements
                .par_iter_mut()
                .zip(&candidates)
                .enumerate()
                .for_each(|(index, (nearest, pair))| {
                    *nearest = search.better(measure.point(index), *pair).element
                });
            self.map.clear();
            self.map.extend_from_slice(map);
            self.bounds.fill(f64::INFINITY);
        }
        match measure.dimension() {
            1 => self.pass::<1>(measure, elements, map, loss),
            2 => self.pass::<2>(measure, elements, map, loss),
            3 => self.pass::<3>(measure, elements, map, loss),
            4 => self.pass::<4>(measure, elements, map, loss),
            5 => self.pass::<5>(measure, elements, map, loss),
            6 => self.pass::<6>(measure, elements, map, loss),
            8 => self.pass::<8>(measure, elements, map, loss),
            10 => self.pass::<10>(measure, elements, map, loss),
            _ => self.pass::<0>(measure, elements, map, loss),
        }
    }

    fn pass<const N: usize>(
        &mut self,
        measure: &Measure,
        elements: &Elements,
        map: &[f64],
        loss: Loss,
    ) -> Moments {
        let n = measure.dimension();
        let search = Search::<N>::new(elements, map, n);
        // Before the first pass no bound holds.
        let moved = if self.map.is_empty() {
            f64::INFINITY
        } else {
            largest_move(&self.map, map, n)
        };
        let width = elements.width();
        let size = width * (width + 1) / 2 + width * n;
        // As many parts as memory allows, whatever the number of threads, so that sums do not depend on it.
        let parts = ((1 << 23) / (size * elements.len()))
            .clamp(1, 64)
            .min(measure.len().div_ceil(1024));
        let length = measure.len().div_ceil(parts);
        let sums: Vec<(Moments, usize)> = (
            measure.points().par_chunks(length * n),
            measure.weights().par_chunks(length),
            self.elements.par_chunks_mut(length),
            self.bounds.par_chunks_mut(length),
        )
            .into_par_iter()
            .map(|(points, weights, nearest, bounds)| {
                let mut moments = Moments {
                    loss: 0.0,
                    model: 0.0,
                    sums: vec![0.0; size * elements.len()],
                };
                let mut kept = 0;
                for (((point, &weight), nearest), bound) in
                    points.chunks_exact(n).zip(weights).zip(nearest).zip(bounds)
                {
                    let mut foot = search.around(point, *nearest);
                    *bound -= moved;
                    if foot.square.sqrt() < *bound {
                        kept += 1;
                        // What does not touch the new element may have touched the old one, which the bound leaves out.
                        if foot.element != *nearest {
                            *bound = -1.0;
                        }
                    } else {
                        search.nearest(point, &mut foot);
                        let distance = foot.square.sqrt();
                        // Along a straight map the next element that does not touch is farther by this much. Only what outlives some
                        // moves of the last size is worth a second search.
                        let gap = (foot.square + search.extent * search.extent).sqrt() - distance;
                        *bound = if 4.0 * moved < gap {
                            search.bound(point, foot.element, distance + gap)
                        } else {
                            -1.0
                        };
                    }
                    *nearest = foot.element;
                    moments.add(point, weight, &foot, width, size, loss);
                }
                (moments, kept)
            })
            .collect();
        self.kept = sums.iter().map(|(_, kept)| kept).sum();
        self.map.clear();
        self.map.extend_from_slice(map);
        Moments::total(sums.into_iter().map(|(moments, _)| moments))
    }
}

impl Moments {
    fn add(
        &mut self,
        point: &[f64],
        weight: f64,
        foot: &Foot,
        width: usize,
        size: usize,
        loss: Loss,
    ) {
        self.loss += weight * loss.value(foot.square);
        let weight = weight * loss.weight(foot.square);
        self.model += weight * foot.square;
        let n = point.len();
        let begin = foot.element as usize * size;
        let (products, vectors) =
            self.sums[begin..begin + size].split_at_mut(width * (width + 1) / 2);
        let mut place = 0;
        for i in 0..width {
            let scaled = weight * foot.share[i];
            for j in 0..=i {
                products[place] += scaled * foot.share[j];
                place += 1;
            }
            for (v, x) in vectors[i * n..(i + 1) * n].iter_mut().zip(point) {
                *v += scaled * x;
            }
        }
    }

    fn total(parts: impl Iterator<Item = Self>) -> Self {
        parts
            .reduce(|mut total, part| {
                total.loss += part.loss;
                total.model += part.model;
                for (t, p) in total.sums.iter_mut().zip(&part.sums) {
                    *t += p;
                }
                total
            })
            .unwrap_or(Self {
                loss: 0.0,
                model: 0.0,
                sums: Vec::new(),
            })
    }
}

/// The largest distance between nodes of two maps.
fn largest_move(old: &[f64], new: &[f64], n: usize) -> f64 {
    old.chunks_exact(n)
        .zip(new.chunks_exact(n))
        .map(|(a, b)| square_distance(a, b))
        .fold(0.0, f64::max)
        .sqrt()
}

/// Segments in the form in which they are projected on.
fn packed(elements: &Elements, map: &[f64], n: usize) -> Vec<f64> {
    if elements.width() != 2 {
        return Vec::new();
    }
    let mut packed = Vec::with_capacity(elements.len() * (2 * n + 1));
    for element in 0..elements.len() {
        let [a, b] = [0, 1].map(|i| &map[elements.vertices(element)[i] as usize * n..][..n]);
        packed.extend_from_slice(a);
        packed.extend(a.iter().zip(b).map(|(a, b)| b - a));
        let square = square_distance(a, b);
        packed.push(if square > 0.0 { 1.0 / square } else { 0.0 });
    }
    packed
}

fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The elements of one map, ready for questions. `N` is the number of coordinates where it is small and known, else 0.
pub(crate) struct Search<'a, const N: usize> {
    elements: &'a Elements,
    map: &'a [f64],
    n: usize,
    /// For each branch of the tree the lower corner of its box, then the upper.
    boxes: Vec<f64>,
    /// The mean length of an element's box, a unit of length for the bounds.
    extent: f64,
    /// Of segments one after the other: the first vertex, the side, and one by the square of its length (0 for points).
    segments: Vec<f64>,
}

impl<'a, const N: usize> Search<'a, N> {
    pub(crate) fn new(elements: &'a Elements, map: &'a [f64], n: usize) -> Self {
        let tree = elements.tree();
        let mut boxes = vec![0.0; tree.branches().len() * 2 * n];
        let mut extent = 0.0;
        for (place, branch) in tree.branches().iter().enumerate().rev() {
            let mut low = vec![f64::INFINITY; n];
            let mut high = vec![f64::NEG_INFINITY; n];
            if branch.second == 0 {
                for &element in &tree.order()[branch.begin as usize..branch.end as usize] {
                    let mut corner = 0.0f64;
                    let vertices = elements.vertices(element as usize);
                    let first = &map[vertices[0] as usize * n..][..n];
                    for &node in vertices {
                        let value = &map[node as usize * n..][..n];
                        corner = corner.max(square_distance(first, value));
                        for axis in 0..n {
                            low[axis] = low[axis].min(value[axis]);
                            high[axis] = high[axis].max(value[axis]);
                        }
                    }
                    extent += corner.sqrt();
                }
            } else {
                for child in [place + 1, branch.second as usize] {
                    for axis in 0..n {
                        low[axis] = low[axis].min(boxes[child * 2 * n + axis]);
                        high[axis] = high[axis].max(boxes[child * 2 * n + n + axis]);
                    }
                }
            }
            boxes[place * 2 * n..][..n].copy_from_slice(&low);
            boxes[place * 2 * n + n..][..n].copy_from_slice(&high);
        }
        Self {
            elements,
            map,
            n,
            boxes,
            extent: extent / elements.len() as f64,
            segments: packed(elements, map, n),
        }
    }

    /// The number of coordinates, which the compiler knows where `N` is not 0.
    #[inline(always)]
    fn n(&self) -> usize {
        if N > 0 { N } else { self.n }
    }

    /// The nearest of two elements and those that touch them.
    pub(crate) fn better(&self, point: &[f64], pair: [u32; 2]) -> Foot {
        let [first, second] = pair.map(|element| self.around(point, element));
        if first.square <= second.square {
            first
        } else {
            second
        }
    }

    /// The nearest of an element and those that touch it.
    #[inline]
    pub(crate) fn around(&self, point: &[f64], element: u32) -> Foot {
        let neighbours = self.elements.neighbours(element as usize);
        let mut best = self.project(point, neighbours[0]);
        for &other in &neighbours[1..] {
            let foot = self.project(point, other);
            if foot.square < best.square {
                best = foot;
            }
        }
        best
    }

    /// The nearest element, if it is nearer than `best`.
    pub(crate) fn nearest(&self, point: &[f64], best: &mut Foot) {
        let mut square = best.square;
        self.descend(point, &mut square, |element, square| {
            let foot = self.project(point, element);
            if foot.square < *square {
                *square = foot.square;
                *best = foot;
            }
        });
    }

    /// A lower bound, at most `most`, on the distance to all elements that do not touch this one.
    fn bound(&self, point: &[f64], element: u32, most: f64) -> f64 {
        let touching = self.elements.neighbours(element as usize);
        let mut square = most * most;
        self.descend(point, &mut square, |other, square| {
            if !touching.contains(&other) {
                *square = square.min(self.project(point, other).square);
            }
        });
        // Rounding may not turn a bound into a lie.
        square.sqrt() * (1.0 - 1e-12)
    }

    /// Visits the elements of all leaves whose box is nearer than `square`, which `visit` lowers on the way; near boxes first.
    #[inline]
    fn descend(&self, point: &[f64], square: &mut f64, mut visit: impl FnMut(u32, &mut f64)) {
        let tree = self.elements.tree();
        let branches = tree.branches();
        let mut stack = [(0u32, 0.0f64); 64];
        let mut depth = 0;
        let mut at = 0u32;
        let mut distance = self.box_square(point, 0);
        loop {
            if distance < *square {
                let branch = branches[at as usize];
                if branch.second == 0 {
                    for &element in &tree.order()[branch.begin as usize..branch.end as usize] {
                        visit(element, square);
                    }
                } else {
                    let (first, second) = (at + 1, branch.second);
                    let (near, far) = (
                        self.box_square(point, first),
                        self.box_square(point, second),
                    );
                    let ((next, close), other) = if near <= far {
                        ((first, near), (second, far))
                    } else {
                        ((second, far), (first, near))
                    };
                    stack[depth] = other;
                    depth += 1;
                    at = next;
                    distance = close;
                    continue;
                }
            }
            if depth == 0 {
                return;
            }
            depth -= 1;
            (at, distance) = stack[depth];
        }
    }

    /// The square of the distance to a branch's box.
    #[inline(always)]
    fn box_square(&self, point: &[f64], branch: u32) -> f64 {
        let n = self.n();
        let corners = &self.boxes[branch as usize * 2 * n..][..2 * n];
        let mut sum = 0.0;
        for axis in 0..n {
            let x = point[axis];
            let outside = (corners[axis] - x).max(x - corners[n + axis]).max(0.0);
            sum += outside * outside;
        }
        sum
    }

    #[inline(always)]
    fn value(&self, node: u32) -> &[f64] {
        let n = self.n();
        &self.map[node as usize * n..][..n]
    }

    /// The closest point of an element.
    #[inline(always)]
    pub(crate) fn project(&self, point: &[f64], element: u32) -> Foot {
        if !self.segments.is_empty() {
            return self.packed_segment(point, element);
        }
        let (share, square) = match self.elements.vertices(element as usize) {
            [a, b, c, ..] => self.triangle(point, *a, *b, *c),
            [a, ..] => ([1.0, 0.0, 0.0], square_distance(point, self.value(*a))),
            [] => ([0.0; 3], f64::INFINITY),
        };
        Foot {
            element,
            share,
            square,
        }
    }

    /// The closest point of a segment, from its packed form.
    #[inline(always)]
    fn packed_segment(&self, point: &[f64], element: u32) -> Foot {
        let n = self.n();
        let size = 2 * n + 1;
        let packed = &self.segments[element as usize * size..][..size];
        let (a, v, point) = (&packed[..n], &packed[n..2 * n], &point[..n]);
        let mut along = 0.0;
        for axis in 0..n {
            along += v[axis] * (point[axis] - a[axis]);
        }
        let t = (along * packed[2 * n]).clamp(0.0, 1.0);
        let mut square = 0.0;
        for axis in 0..n {
            let r = point[axis] - a[axis] - t * v[axis];
            square += r * r;
        }
        Foot {
            element,
            share: [1.0 - t, t, 0.0],
            square,
        }
    }

    /// How far along a segment the closest point lies, and the square of the distance to it.
    #[inline(always)]
    fn segment(&self, point: &[f64], a: u32, b: u32) -> (f64, f64) {
        let n = self.n();
        let (a, b, point) = (self.value(a), self.value(b), &point[..n]);
        let (mut along, mut length) = (0.0, 0.0);
        for axis in 0..n {
            let v = b[axis] - a[axis];
            along += v * (point[axis] - a[axis]);
            length += v * v;
        }
        let t = if length > 0.0 {
            (along / length).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let mut square = 0.0;
        for axis in 0..n {
            let r = point[axis] - a[axis] - t * (b[axis] - a[axis]);
            square += r * r;
        }
        (t, square)
    }

    /// The barycentric coordinates of the closest point of a triangle, and the square of the distance to it.
    #[inline]
    fn triangle(&self, point: &[f64], a: u32, b: u32, c: u32) -> ([f64; 3], f64) {
        let n = self.n();
        let (pa, pb, pc, x) = (self.value(a), self.value(b), self.value(c), &point[..n]);
        let (mut uu, mut uv, mut vv, mut uy, mut vy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for axis in 0..n {
            let (u, v, y) = (pb[axis] - pa[axis], pc[axis] - pa[axis], x[axis] - pa[axis]);
            uu += u * u;
            uv += u * v;
            vv += v * v;
            uy += u * y;
            vy += v * y;
        }
        let determinant = uu * vv - uv * uv;
        if determinant > 1e-14 * (uu + vv) * (uu + vv) {
            let s = (vv * uy - uv * vy) / determinant;
            let t = (uu * vy - uv * uy) / determinant;
            if s >= 0.0 && t >= 0.0 && s + t <= 1.0 {
                let mut square = 0.0;
                for axis in 0..n {
                    let r =
                        x[axis] - pa[axis] - s * (pb[axis] - pa[axis]) - t * (pc[axis] - pa[axis]);
                    square += r * r;
                }
                return ([1.0 - s - t, s, t], square);
            }
        }
        let (t, mut square) = self.segment(point, a, b);
        let mut share = [1.0 - t, t, 0.0];
        let (t, other) = self.segment(point, b, c);
        if other < square {
            (share, square) = ([0.0, 1.0 - t, t], other);
        }
        let (t, other) = self.segment(point, c, a);
        if other < square {
            (share, square) = ([t, 0.0, 1.0 - t], other);
        }
        (share, square)
    }
}
