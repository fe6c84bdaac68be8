//! Proven bounds over many parts of the input box: a zonotope forward, CROWN backward for what it leaves open.
//!
//! The zonotope settles most neurons of a small part for the price of one matrix product a layer. Those that it leaves unstable are bounded once
//! more by CROWN, both signs as rows of one product a layer, and the zonotope goes on with the tighter bounds as its side boxes. The
//! outputs' rows are bounded by CROWN on the bounds so found.
//!
//! Search and check call the same functions, which compute the same numbers to the last bit on every processor (see
//! [`products`](crate::products)). All numbers are 64-bit; what rounding does to them is bounded as in [`certify`](crate::certify), with one
//! difference: what a multiplier of 1 may be wrong by is known a neuron, from the bounds of the layer before it, and shared by all rows.

use pulp::Arch;

use crate::affine::AffineMap;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::products::{Lines, absolute, multiply, relax, size};
use crate::rounding::{UNDERFLOW, UNIT, down, enclose, gamma, up};
use crate::spec::InputBox;

/// A network, prepared for bounds over parts of its input box.
#[derive(Debug)]
pub(crate) struct Boxes<'a> {
    arch: Arch,
    maps: Vec<Prepared<'a>>,
    /// Covers all the roundings that one summand of a bound goes through.
    gamma: f64,
}

/// An affine map with what its roundings need.
#[derive(Debug)]
struct Prepared<'a> {
    map: &'a AffineMap,
    bias: Vec<f64>,
    bias_radius: Vec<f64>,
    /// Of a sum over the map's inputs.
    forward: f64,
    /// Of a sum over the map's outputs.
    backward: f64,
    /// A factor that makes up for the rounding of sums of non-negative numbers over inputs or outputs.
    widen: f64,
}

/// Memory that is used again from one part to the next, and the state of the part that was entered last.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    layers: Vec<Layer>,
    /// What underflow may take from a row.
    floor: f64,
    /// Whether no bound overflowed; otherwise nothing is proven.
    finite: bool,
    input: Ends,
    /// All of them.
    inputs: Vec<usize>,
    /// Centre and generators behind the last ReLU, a row a neuron.
    point: Vec<f64>,
    /// The inputs that are not fixed, each of which has a generator.
    free: Vec<usize>,
    /// For every generator the shares that these inputs have in it.
    shares: Vec<f64>,
    /// Of every neuron behind the last ReLU: what it may be wrong by and what rounding makes of that in the next product, how large it may be
    /// in the zonotope, and how large it is by its bounds.
    spread: Vec<f64>,
    reach: Vec<f64>,
    magnitude: Vec<f64>,
    coefficients: Vec<f64>,
    product: Vec<f64>,
    rows: Vec<Row>,
}

/// The ends of the inputs' intervals.
#[derive(Debug, Default)]
struct Ends {
    lower: Vec<f64>,
    upper: Vec<f64>,
    magnitude: Vec<f64>,
}

/// One hidden layer, or the outputs, whose neurons count as on.
#[derive(Debug, Default)]
struct Layer {
    /// Centre and generators, a row a neuron.
    image: Vec<f64>,
    columns: usize,
    lower: Vec<f64>,
    upper: Vec<f64>,
    /// See [`Lines`].
    below: Vec<f64>,
    above: Vec<f64>,
    cost: Vec<f64>,
    error: Vec<f64>,
    /// What a neuron's value may be wrong by in the zonotope.
    rounding: Vec<f64>,
    /// The neurons that are not off, and those that can have either sign.
    live: Vec<usize>,
    unstable: Vec<usize>,
}

/// The sum of a row's bound so far.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    value: f64,
    slack: f64,
}

impl<'a> Boxes<'a> {
    pub(crate) fn new(network: &'a Network) -> Self {
        let maps: Vec<Prepared<'_>> = network.maps().iter().map(Prepared::new).collect();
        // A summand is rounded as a product, in the sum of its layer's row, and as that joins the others.
        let widest = maps
            .iter()
            .map(|map| map.map.inputs().max(map.map.outputs()))
            .max();
        let gamma = gamma(widest.unwrap_or(0) + 4 * maps.len() + 16);
        Self {
            arch: Arch::new(),
            maps,
            gamma,
        }
    }

    /// Multiplications that a part takes at least.
    pub(crate) fn size(&self) -> usize {
        self.maps
            .iter()
            .map(|map| map.map.inputs() * map.map.outputs())
            .sum()
    }

    /// Bounds all hidden layers over a part.
    ///
    /// # Errors
    ///
    /// [`Error::ShapeMismatch`] if the part does not fit the network, [`Error::Internal`] if two proven bounds contradict each other.
    pub(crate) fn enter(&self, part: &InputBox, space: &mut Workspace) -> Result<()> {
        let inputs = self.maps[0].map.inputs();
        if part.len() != inputs {
            return Err(Error::ShapeMismatch {
                layer: "input box".to_owned(),
                expected: format!("{inputs} inputs"),
                found: part.len().to_string(),
            });
        }
        let mut columns = space.start(part, &self.maps[0]);
        space.layers.resize_with(self.maps.len(), Layer::default);
        for (index, map) in self.maps.iter().enumerate() {
            let last = index + 1 == self.maps.len();
            let (before, rest) = space.layers.split_at_mut(index);
            let layer = &mut rest[0];
            let errors = [
                (&space.spread, &space.magnitude),
                (&space.reach, &space.magnitude),
            ];
            map.errors(self, columns, errors, layer);
            if last {
                layer.pass(map.map.outputs());
                break;
            }
            let live = match before.last() {
                Some(before) => &before.live,
                None => &space.inputs,
            };
            layer.columns = columns;
            layer.image.resize(map.map.outputs() * columns, 0.0);
            map.forward(self.arch, live, &space.point, columns, &mut layer.image);
            layer.hull(&map.bias);
            layer.open();
            if index > 0 && !layer.unstable.is_empty() {
                let count = map.both_signs(layer, &mut space.coefficients, &mut space.rows);
                self.backward(
                    before,
                    &space.input,
                    space.floor,
                    &mut space.coefficients,
                    &mut space.product,
                    &mut space.rows,
                );
                layer.tighten(&space.rows, count, index)?;
            }
            if !layer.is_finite() {
                space.finite = false;
                return Ok(());
            }
            let next = &self.maps[index + 1];
            space.floor += layer.settle() * 8.0 * (next.size() + 8.0) * UNDERFLOW;
            columns = space.activate(index, next.forward);
        }
        Ok(())
    }

    /// Proven lower bounds of `count` rows of linear functions of the outputs over the part that was entered last; `slopes` gets the
    /// coefficients of each row's linear lower bound by the inputs.
    pub(crate) fn bound(
        &self,
        rows: &[f64],
        count: usize,
        space: &mut Workspace,
        slopes: &mut Vec<f64>,
    ) -> Vec<f64> {
        slopes.clear();
        if !space.finite {
            slopes.resize(count * space.input.lower.len(), 0.0);
            return vec![f64::NEG_INFINITY; count];
        }
        space.coefficients.clear();
        space.coefficients.extend_from_slice(rows);
        space.rows.clear();
        space.rows.resize(count, Row::default());
        self.backward(
            &space.layers,
            &space.input,
            space.floor,
            &mut space.coefficients,
            &mut space.product,
            &mut space.rows,
        );
        slopes.extend_from_slice(&space.coefficients);
        space.rows.iter().map(|row| row.lower()).collect()
    }

    /// How much each input contributes to what the bound of a row loses over the part that was entered last: every unstable neuron loses
    /// what its line misses, and owes that to the inputs by their shares in its width.
    pub(crate) fn losses(&self, row: &[f64], space: &mut Workspace) -> Vec<f64> {
        let mut losses = vec![0.0; space.input.lower.len()];
        let count = space.free.len();
        if !space.finite || count == 0 {
            return losses;
        }
        space.share();
        let mut generators = space.shares.len();
        let mut rho = row.to_vec();
        for (index, map) in self.maps.iter().enumerate().skip(1).rev() {
            let mut c = vec![0.0; map.map.inputs()];
            map.backward(self.arch, &space.layers[index].live, &rho, &mut c);
            let layer = &space.layers[index - 1];
            generators -= layer.unstable.len() * count;
            let shares = space.shares[generators..].chunks_exact(count);
            for (&j, shares) in layer.unstable.iter().zip(shares) {
                let lost = if c[j] < 0.0 {
                    -c[j] * layer.cost[j]
                } else {
                    c[j] * layer.upper[j].min(-layer.lower[j])
                };
                for (&input, share) in space.free.iter().zip(shares) {
                    losses[input] += lost * share;
                }
            }
            for (j, c) in c.iter_mut().enumerate() {
                *c *= if *c < 0.0 {
                    layer.above[j]
                } else {
                    layer.below[j]
                };
            }
            rho = c;
        }
        losses
    }

    /// The outputs at some points (`count x inputs`, row by row), without a bound on their errors.
    pub(crate) fn values(&self, points: &[f64], count: usize) -> Vec<f64> {
        let inputs = self.maps[0].map.inputs();
        let mut point = vec![0.0; inputs * count];
        for (k, x) in points.chunks_exact(inputs).enumerate() {
            for (j, &x) in x.iter().enumerate() {
                point[j * count + k] = x;
            }
        }
        let mut live: Vec<usize> = (0..inputs).collect();
        for (index, map) in self.maps.iter().enumerate() {
            let mut image = vec![0.0; map.map.outputs() * count];
            map.forward(self.arch, &live, &point, count, &mut image);
            for (row, b) in image.chunks_exact_mut(count).zip(&map.bias) {
                for x in row {
                    *x += b;
                    if index + 1 < self.maps.len() {
                        *x = x.max(0.0);
                    }
                }
            }
            live.clear();
            live.extend(0..map.map.outputs());
            point = image;
        }
        let outputs = live.len();
        (0..count * outputs)
            .map(|at| point[at % outputs * count + at / outputs])
            .collect()
    }

    /// CROWN backward: from coefficients behind the ReLUs of the last of the layers to coefficients of the inputs, a row each.
    fn backward(
        &self,
        layers: &[Layer],
        input: &Ends,
        floor: f64,
        coefficients: &mut Vec<f64>,
        product: &mut Vec<f64>,
        rows: &mut [Row],
    ) {
        for (layer, map) in layers.iter().zip(&self.maps).rev() {
            let lines = Lines {
                below: &layer.below,
                above: &layer.above,
                cost: &layer.cost,
                bias: &map.bias,
                error: &layer.error,
            };
            relax(
                self.arch,
                coefficients,
                lines,
                |row, [gained, paid, wrong]| {
                    rows[row].value += gained - paid;
                    rows[row].slack += wrong + self.gamma * paid;
                },
            );
            product.resize(rows.len() * map.map.inputs(), 0.0);
            map.backward(self.arch, &layer.live, coefficients, product);
            std::mem::swap(coefficients, product);
        }
        for (row, a) in rows
            .iter_mut()
            .zip(coefficients.chunks_exact(input.lower.len()))
        {
            for (j, &a) in a.iter().enumerate() {
                row.value += (a * input.lower[j]).min(a * input.upper[j]);
                row.slack += self.gamma * a.abs() * input.magnitude[j];
            }
            // Slack is a sum of non-negative numbers, of no more terms than the value.
            row.slack = (row.slack + floor) * (1.0 + 4.0 * self.gamma) + UNDERFLOW;
        }
    }
}

impl<'a> Prepared<'a> {
    fn new(map: &'a AffineMap) -> Self {
        let (inputs, outputs) = (map.inputs(), map.outputs());
        Self {
            map,
            bias: map.bias().map(|b| b.value).collect(),
            bias_radius: map.bias().map(|b| b.radius).collect(),
            forward: gamma(inputs + 4),
            backward: gamma(outputs + 4),
            widen: 1.0 + gamma(2 * inputs.max(outputs) + 32),
        }
    }

    fn size(&self) -> f64 {
        (self.map.inputs() + self.map.outputs()) as f64
    }

    /// What the map's outputs may be wrong by in the zonotope, and what a multiplier of 1 on them may be wrong by.
    ///
    /// `exact` holds the inputs' spread and magnitude for the entries as they are stored, `radii` their reach and magnitude for the
    /// entries' radii.
    fn errors(
        &self,
        boxes: &Boxes<'_>,
        columns: usize,
        [exact, radii]: [(&Vec<f64>, &Vec<f64>); 2],
        layer: &mut Layer,
    ) {
        let outputs = self.map.outputs();
        layer.rounding.clear();
        layer.error.clear();
        match self.map.dense() {
            Some((entries, radius)) => {
                absolute(
                    boxes.arch,
                    entries,
                    (exact.0, exact.1),
                    |_, spread, size| {
                        layer.rounding.push(spread);
                        layer.error.push(self.backward * size);
                    },
                );
                if let Some(radius) = radius {
                    absolute(boxes.arch, radius, (radii.0, radii.1), |i, reach, size| {
                        layer.rounding[i] += reach;
                        layer.error[i] += size;
                    });
                }
            }
            None => {
                for i in 0..outputs {
                    let (mut rounding, mut error) = (0.0, 0.0);
                    for (j, w) in self.map.row(i) {
                        rounding += w.value.abs() * exact.0[j] + w.radius * radii.0[j];
                        error += (self.backward * w.value.abs() + w.radius) * exact.1[j];
                    }
                    layer.rounding.push(rounding);
                    layer.error.push(error);
                }
            }
        }
        let lost = UNDERFLOW * (self.map.inputs() * (columns + 4) + 16) as f64;
        for i in 0..outputs {
            let (bias, radius) = (self.bias[i].abs(), self.bias_radius[i]);
            layer.rounding[i] =
                (layer.rounding[i] + self.forward * bias + radius) * self.widen + lost;
            layer.error[i] = (layer.error[i] + boxes.gamma * bias + radius) * self.widen + lost;
        }
    }

    /// `W point` for the rows of the point that are live.
    fn forward(
        &self,
        arch: Arch,
        live: &[usize],
        point: &[f64],
        columns: usize,
        image: &mut [f64],
    ) {
        match self.map.dense() {
            Some((entries, _)) => {
                multiply(
                    arch,
                    (entries, self.map.inputs()),
                    live,
                    point,
                    columns,
                    image,
                );
            }
            None => {
                image.fill(0.0);
                for (i, out) in image.chunks_exact_mut(columns).enumerate() {
                    // The columns of a row and the live neurons are both in ascending order.
                    for (j, w) in self.map.row(i) {
                        if live.binary_search(&j).is_ok() {
                            for (sum, x) in out.iter_mut().zip(&point[j * columns..]) {
                                *sum += w.value * x;
                            }
                        }
                    }
                }
            }
        }
    }

    /// `rho W` for rows of multipliers, of which those of live neurons are taken.
    fn backward(&self, arch: Arch, live: &[usize], rho: &[f64], product: &mut [f64]) {
        let (inputs, outputs) = (self.map.inputs(), self.map.outputs());
        match self.map.dense() {
            Some((entries, _)) => multiply(arch, (rho, outputs), live, entries, inputs, product),
            None => {
                product.fill(0.0);
                for (rho, out) in rho
                    .chunks_exact(outputs)
                    .zip(product.chunks_exact_mut(inputs))
                {
                    for &i in live {
                        for (j, w) in self.map.row(i) {
                            out[j] += rho[i] * w.value;
                        }
                    }
                }
            }
        }
    }

    /// Rows for both signs of a layer's open neurons, as coefficients behind the ReLUs before it: first `z_j` of all, then `-z_j`.
    fn both_signs(&self, layer: &Layer, coefficients: &mut Vec<f64>, rows: &mut Vec<Row>) -> usize {
        let count = layer.unstable.len();
        coefficients.clear();
        coefficients.resize(2 * count * self.map.inputs(), 0.0);
        rows.clear();
        for sign in [1.0, -1.0] {
            for &neuron in &layer.unstable {
                let start = rows.len() * self.map.inputs();
                for (j, w) in self.map.row(neuron) {
                    coefficients[start + j] = sign * w.value;
                }
                rows.push(Row {
                    value: sign * self.bias[neuron],
                    slack: layer.error[neuron],
                });
            }
        }
        count
    }
}

impl Workspace {
    /// Centre, generators and sizes of the inputs; returns the number of columns.
    fn start(&mut self, part: &InputBox, map: &Prepared<'_>) -> usize {
        self.finite = true;
        self.floor = 0.0;
        let ends = part.lower().iter().zip(part.upper());
        let sides: Vec<_> = ends.clone().map(|(&l, &u)| enclose(l, u)).collect();
        self.inputs.clear();
        self.inputs.extend(0..sides.len());
        self.free.clear();
        self.free
            .extend((0..sides.len()).filter(|&j| sides[j].radius > 0.0));
        let columns = 1 + self.free.len();
        self.input.lower.clear();
        self.input.lower.extend_from_slice(part.lower());
        self.input.upper.clear();
        self.input.upper.extend_from_slice(part.upper());
        self.magnitude.clear();
        self.magnitude
            .extend(ends.map(|(l, u)| l.abs().max(u.abs())));
        self.input.magnitude.clone_from(&self.magnitude);
        self.point.clear();
        self.point.resize(sides.len() * columns, 0.0);
        self.reach.clear();
        let mut column = 0;
        for (row, side) in self.point.chunks_exact_mut(columns).zip(&sides) {
            row[0] = side.value;
            if side.radius > 0.0 {
                column += 1;
                row[column] = side.radius;
            }
            self.reach.push(up(side.value.abs() + side.radius));
        }
        self.spread.clear();
        self.spread
            .extend(self.reach.iter().map(|reach| map.forward * reach));
        // Weights times what underflow takes from an input.
        let size: f64 = self.magnitude.iter().sum();
        self.floor = 8.0 * (1.0 + size) * (map.size() + 8.0) * UNDERFLOW;
        columns
    }

    /// Gives every generator its shares of the free inputs: a free input's own belongs to it alone, that of an unstable neuron to the inputs as
    /// they contribute to the neuron's width.
    fn share(&mut self) {
        let count = self.free.len();
        self.shares.clear();
        self.shares.resize(count * count, 0.0);
        for input in 0..count {
            self.shares[input * count + input] = 1.0;
        }
        let mut sum = vec![0.0; count];
        for layer in &self.layers[..self.layers.len() - 1] {
            let known = self.shares.len();
            for &j in &layer.unstable {
                sum.fill(0.0);
                let row = &layer.image[j * layer.columns + 1..];
                for (g, shares) in row.iter().zip(self.shares[..known].chunks_exact(count)) {
                    for (sum, share) in sum.iter_mut().zip(shares) {
                        *sum += g.abs() * share;
                    }
                }
                let total: f64 = sum.iter().sum();
                self.shares.extend(sum.iter().map(|x| x / total));
            }
        }
    }

    /// The zonotope behind the ReLUs of a layer that is settled; returns the number of its columns.
    fn activate(&mut self, index: usize, gamma: f64) -> usize {
        let layer = &self.layers[index];
        let (n, before) = (layer.lower.len(), layer.columns);
        let columns = before + layer.unstable.len();
        let widen = 1.0 + 4.0 * crate::rounding::gamma(columns + 8);
        self.point.resize(n * columns, 0.0);
        for numbers in [&mut self.spread, &mut self.reach, &mut self.magnitude] {
            numbers.clear();
            numbers.resize(n, 0.0);
        }
        let mut column = before;
        for &j in &layer.live {
            let old = &layer.image[j * before..(j + 1) * before];
            let new = &mut self.point[j * columns..(j + 1) * columns];
            new[before..].fill(0.0);
            let own = layer.rounding[j];
            let rounding = if layer.cost[j] == 0.0 {
                new[..before].copy_from_slice(old);
                own
            } else {
                let (slope, half) = (layer.above[j], 0.5 * layer.cost[j]);
                for (new, &old) in new.iter_mut().zip(old) {
                    *new = slope * old;
                }
                new[0] += half;
                new[column] = half;
                column += 1;
                // One rounding of every product, one more of the centre.
                let rounded = 3.0 * UNIT * (size(&new[..before]) + half);
                (slope * own + rounded) * widen + UNDERFLOW * (before + 4) as f64
            };
            let reach = (size(new) + rounding) * widen;
            self.reach[j] = reach;
            self.spread[j] = rounding + gamma * reach;
            self.magnitude[j] = layer.upper[j].max(0.0);
        }
        columns
    }
}

impl Layer {
    /// Adds the bias to the centre and takes the interval hull.
    fn hull(&mut self, bias: &[f64]) {
        let widen = 1.0 + 4.0 * gamma(self.columns + 8);
        self.lower.clear();
        self.upper.clear();
        for ((row, b), rounding) in self
            .image
            .chunks_exact_mut(self.columns)
            .zip(bias)
            .zip(&self.rounding)
        {
            row[0] += b;
            let radius = (size(&row[1..]) + rounding) * widen;
            self.lower.push(down(row[0] - radius));
            self.upper.push(up(row[0] + radius));
        }
    }

    /// Notes the neurons that can have either sign.
    fn open(&mut self) {
        self.unstable.clear();
        let ends = self.lower.iter().zip(&self.upper).enumerate();
        self.unstable.extend(
            ends.filter(|(_, (l, u))| **l < 0.0 && **u > 0.0)
                .map(|(j, _)| j),
        );
    }

    /// Intersects the bounds with those of both signs of the open neurons.
    fn tighten(&mut self, rows: &[Row], count: usize, index: usize) -> Result<()> {
        for (row, &j) in self.unstable.iter().enumerate() {
            let (lower, upper) = (rows[row].lower(), -rows[count + row].lower());
            self.lower[j] = self.lower[j].max(lower);
            self.upper[j] = self.upper[j].min(upper);
            if self.lower[j] > self.upper[j] {
                return Err(Error::Internal {
                    layer: format!("hidden layer {index}"),
                    reason: format!(
                        "neuron {j} is proven to lie above {} and below {}",
                        self.lower[j], self.upper[j]
                    ),
                });
            }
        }
        Ok(())
    }

    fn is_finite(&self) -> bool {
        let mut ends = self.lower.iter().chain(&self.upper);
        ends.all(|end| end.is_finite())
    }

    /// Chooses the lines of every neuron, and returns what its neurons can reach in all.
    fn settle(&mut self) -> f64 {
        let n = self.lower.len();
        for numbers in [&mut self.below, &mut self.above, &mut self.cost] {
            numbers.clear();
            numbers.resize(n, 0.0);
        }
        self.live.clear();
        self.unstable.clear();
        let mut reach = 1.0;
        for j in 0..n {
            let (l, u) = (self.lower[j], self.upper[j]);
            reach += l.abs().max(u.abs());
            if u <= 0.0 {
                continue;
            }
            self.live.push(j);
            if l >= 0.0 {
                (self.below[j], self.above[j]) = (1.0, 1.0);
                continue;
            }
            self.unstable.push(j);
            // Any slope in [0, 1] gives a valid strip, so its rounding does no harm.
            let slope = (u / (u - l)).clamp(0.0, 1.0);
            self.below[j] = f64::from(u8::from(u > -l));
            self.above[j] = slope;
            // A multiplier is the rounded product of a coefficient and the slope: of its two ends the second is off by that.
            let at_lower = slope * -l;
            let at_upper = (1.0 - slope) * u + 2.0 * UNIT * slope * u;
            self.cost[j] = at_lower.max(at_upper) * (1.0 + 16.0 * UNIT) + UNDERFLOW;
        }
        reach
    }

    /// All neurons are passed on: the outputs.
    fn pass(&mut self, n: usize) {
        for (numbers, x) in [
            (&mut self.below, 1.0),
            (&mut self.above, 1.0),
            (&mut self.cost, 0.0),
        ] {
            numbers.clear();
            numbers.resize(n, x);
        }
        self.live.clear();
        self.live.extend(0..n);
    }
}

impl Row {
    /// A number that the row does not fall below; minus infinity where something overflowed.
    fn lower(&self) -> f64 {
        let lower = down(self.value - self.slack);
        if lower.is_finite() && self.slack.is_finite() {
            lower
        } else {
            f64::NEG_INFINITY
        }
    }
}
