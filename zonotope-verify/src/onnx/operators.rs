//! The operators: what each does to the shape of the value, and which layer it adds to the chain.

use super::constant::{Constant, Unusable};
use super::graph::{Argument, Call, Source};
use super::proto;
use super::shape::{self, Shape};
use crate::error::{Error, Result};
use crate::network::{Affine, AvgPool2d, Conv2d, Enclosure, Layer, Scale};

/// Relative error of one rounding to nearest in 64-bit arithmetic, `2^-53`.
const ROUNDING: f64 = f64::EPSILON / 2.0;

/// Numbers that a file can make the reader store, beyond four a byte of it. Small files must not fill the memory.
const FREE_NUMBERS: usize = 1 << 23;

/// Pairs of an input and an output that a layer, or several without a ReLU between them, may connect; and all layers together.
/// A few bytes can ask for a window as large as an image at every place of the image.
const MAX_CONNECTIONS: usize = 1 << 25;

const KNOWN: [&str; 21] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Constant",
    "Conv",
    "Div",
    "Dropout",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "Identity",
    "MatMul",
    "Mul",
    "Pad",
    "Relu",
    "Reshape",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
];

/// Whether there is a rule for the operator.
pub(super) fn is_known(op: &str) -> bool {
    KNOWN.contains(&op)
}

/// The layers so far, and the shape of the value behind them.
pub(super) struct Chain {
    opset: i64,
    shape: Shape,
    layers: Vec<Layer>,
    budget: usize,
    /// Connections of all layers so far.
    connections: usize,
    /// Size of the value behind the last ReLU, and how many of its numbers one number of the present value can depend on.
    block: (usize, usize),
    /// Zeros around the image that the next convolution has to add, and the error to report if none comes.
    zeros: Option<([usize; 4], Error)>,
    /// Whether the last layer came from a `Mul` alone, so that an `Add` behind it can join it exactly.
    open_product: bool,
}

impl Chain {
    /// A chain without layers for a file of `size` bytes.
    pub(super) fn new(opset: i64, shape: Shape, size: usize) -> Self {
        let budget = size.saturating_mul(4).saturating_add(FREE_NUMBERS);
        let inputs = shape.iter().product();
        Self {
            opset,
            shape,
            layers: Vec::new(),
            budget,
            connections: 0,
            block: (inputs, 1),
            zeros: None,
            open_product: false,
        }
    }

    /// The layers.
    pub(super) fn finish(self) -> Result<Vec<Layer>> {
        match self.zeros {
            Some((_, error)) => Err(error),
            None => Ok(self.layers),
        }
    }

    fn push(&mut self, layer: Layer) {
        self.layers.push(layer);
        self.open_product = false;
    }

    /// Numbers in the value.
    fn count(&self, call: &Call) -> Result<usize> {
        shape::count(&self.shape).map_err(|reason| call.error(reason))
    }

    /// Accounts for a layer of which each of `outputs` numbers depends on `taps` numbers.
    fn connect(&mut self, call: &Call, outputs: usize, taps: usize) -> Result<()> {
        let (inputs, before) = self.block;
        let through = before.saturating_mul(taps).min(inputs);
        let total = self
            .connections
            .saturating_add(outputs.saturating_mul(taps));
        if total.max(outputs.saturating_mul(through)) > MAX_CONNECTIONS {
            return Err(call.unsupported(format!(
                "the layers have more than {MAX_CONNECTIONS} connections"
            )));
        }
        self.connections = total;
        self.block.1 = through;
        Ok(())
    }

    /// Accounts for numbers that are to be stored.
    fn spend(&mut self, call: &Call, numbers: Option<usize>) -> Result<()> {
        match numbers.and_then(|numbers| self.budget.checked_sub(numbers)) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(call.unsupported("the layers need far more numbers than the file has")),
        }
    }
}

/// Adds the layer of a node that works on the value.
pub(super) fn apply(call: &Call, chain: &mut Chain) -> Result<()> {
    if call.op() != "Conv"
        && let Some((_, error)) = chain.zeros.take()
    {
        return Err(error);
    }
    match call.op() {
        "Relu" => {
            call.only(&[])?;
            chain.block = (chain.count(call)?, 1);
            chain.push(Layer::Relu);
            Ok(())
        }
        "Add" | "Sub" | "Mul" | "Div" => elementwise(call, chain),
        "Gemm" => gemm(call, chain),
        "MatMul" => matmul(call, chain),
        "Conv" => convolution(call, chain),
        "AveragePool" | "GlobalAveragePool" => average_pool(call, chain),
        "BatchNormalization" => batch_normalization(call, chain),
        "Pad" => pad(call, chain),
        "Gather" => gather(call, chain),
        "Transpose" => {
            let axes = transposition(call, chain.shape.len())?;
            transpose(call, chain, &axes)
        }
        _ => {
            chain.shape = reshaped(call, &chain.shape, chain.opset)?;
            Ok(())
        }
    }
}

/// The constant that a node makes of constants.
pub(super) fn constant<'a>(call: &Call<'a>, chain: &mut Chain) -> Result<Source<'a>> {
    if call.op() == "Constant" {
        return stated_constant(call);
    }
    let shapes_only = matches!(
        call.op(),
        "Identity" | "Dropout" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze"
    );
    if !shapes_only && call.op() != "Transpose" {
        return Err(
            call.unsupported("all its inputs are constants; run a constant folder over the file")
        );
    }
    let given = call.required(0)?;
    // Also a copy in another shape is one more copy of a stored tensor.
    chain.spend(call, Some(given.count()))?;
    if shapes_only {
        let shape = reshaped(call, &given.shape, chain.opset)?;
        return Ok(Source::Computed(given.reshaped(shape)));
    }
    let axes = transposition(call, given.shape.len())?;
    let (shape, order) = shape::transposed(&given.shape, &axes);
    Ok(Source::Computed(given.reordered(shape, &order)))
}

/// The value of a `Constant` node.
fn stated_constant<'a>(call: &Call<'a>) -> Result<Source<'a>> {
    call.only(&[
        "value",
        "value_float",
        "value_floats",
        "value_int",
        "value_ints",
    ])?;
    if let Some(tensor) = call
        .attribute("value", None)?
        .and_then(|found| found.t.as_deref())
    {
        return Ok(Source::Stored(tensor));
    }
    let constant = if let Some(found) = call.attribute("value_floats", None)? {
        Constant::from_floats(vec![found.floats.len()], found.floats.clone())
    } else if let Some(ints) = call.ints("value_ints")? {
        Constant::from_ints(vec![ints.len()], ints.to_vec())
    } else if call
        .attribute("value_float", Some(proto::attribute_type::FLOAT))?
        .is_some()
    {
        Constant::from_floats(Vec::new(), vec![call.float("value_float", 0.0)?])
    } else if call
        .attribute("value_int", Some(proto::attribute_type::INT))?
        .is_some()
    {
        Constant::from_ints(Vec::new(), vec![call.int("value_int", 0)?])
    } else {
        return Err(call.damaged("it has no value"));
    };
    Ok(Source::Computed(constant))
}

/// The shape behind an operator that leaves the numbers and their order alone.
fn reshaped(call: &Call, shape: &[usize], opset: i64) -> Result<Shape> {
    let fails = |reason: Unusable| call.error(reason);
    // Axes were an attribute before operator set 13 and are an input since.
    let axes = || match call.constant_ints(1)? {
        Some(axes) => Ok(Some(axes)),
        None => Ok::<_, Error>(call.ints("axes")?.map(<[i64]>::to_vec)),
    };
    match call.op() {
        "Identity" => {
            call.only(&[])?;
            Ok(shape.to_vec())
        }
        "Dropout" => {
            call.only(&["ratio", "seed", "is_test"])?;
            let training = call
                .constant_ints(2)?
                .is_some_and(|flags| flags.iter().any(|&flag| flag != 0));
            if training || (opset < 7 && call.int("is_test", 0)? == 0) {
                return Err(call.unsupported("it is in training mode"));
            }
            Ok(shape.to_vec())
        }
        "Flatten" => {
            call.only(&["axis"])?;
            shape::flatten(shape, call.int("axis", 1)?).map_err(fails)
        }
        "Reshape" => {
            call.only(&["shape", "allowzero"])?;
            let target = match call.constant_ints(1)? {
                Some(target) => target,
                None => call
                    .ints("shape")?
                    .ok_or_else(|| call.damaged("it has no target shape"))?
                    .to_vec(),
            };
            shape::reshape(shape, &target, call.int("allowzero", 0)? != 0).map_err(fails)
        }
        "Squeeze" => {
            call.only(&["axes"])?;
            shape::squeeze(shape, axes()?.as_deref()).map_err(fails)
        }
        "Unsqueeze" => {
            call.only(&["axes"])?;
            let axes = axes()?.ok_or_else(|| call.damaged("it has no axes"))?;
            shape::unsqueeze(shape, &axes).map_err(fails)
        }
        _ => Err(call.unsupported("it cannot work on this input")),
    }
}

/// The order of axes of a `Transpose`.
fn transposition(call: &Call, rank: usize) -> Result<Vec<usize>> {
    call.only(&["perm"])?;
    shape::permutation(call.ints("perm")?, rank).map_err(|reason| call.error(reason))
}

fn transpose(call: &Call, chain: &mut Chain, axes: &[usize]) -> Result<()> {
    let count = chain.count(call)?;
    chain.spend(call, Some(count))?;
    let (shape, order) = shape::transposed(&chain.shape, axes);
    chain.shape = shape;
    if !order.iter().copied().eq(0..count) {
        chain.push(Layer::Permute(order));
    }
    Ok(())
}

/// `Gather` along the one axis that is longer than 1, with every index once: a reordering.
fn gather(call: &Call, chain: &mut Chain) -> Result<()> {
    call.only(&["axis"])?;
    let axis = shape::axis(call.int("axis", 0)?, chain.shape.len())
        .map_err(|reason| call.error(reason))?;
    let reorders = "only a reordering of a vector is understood";
    if call.argument(0) != Argument::Value {
        return Err(call.unsupported(reorders));
    }
    let indices = call.required(1)?;
    let count = chain.count(call)?;
    if chain.shape[axis] != count || indices.shape != [count] {
        return Err(call.unsupported(reorders));
    }
    let order = call.constant_ints(1)?.unwrap_or_default();
    let order: Option<Vec<usize>> = order
        .iter()
        .map(|&index| shape::axis(index, count).ok())
        .collect();
    let mut sorted = order.clone().unwrap_or_default();
    sorted.sort_unstable();
    match order {
        Some(order) if sorted.into_iter().eq(0..count) => {
            chain.spend(call, Some(count))?;
            chain.push(Layer::Permute(order));
            Ok(())
        }
        _ => Err(call.unsupported(reorders)),
    }
}

/// A number for every element of the value, which must not widen by it.
fn broadcast_to_value(
    call: &Call,
    chain: &mut Chain,
    position: usize,
    constant: &Constant,
) -> Result<Vec<f32>> {
    let numbers = call.floats(position, constant)?;
    let count = chain.count(call)?;
    let shape = shape::broadcast(&chain.shape, &constant.shape).ok_or_else(|| {
        call.mismatch(
            format!("a constant that broadcasts to {:?}", chain.shape),
            format!("{:?}", constant.shape),
        )
    })?;
    if shape::count(&shape).map_err(|reason| call.error(reason))? != count {
        return Err(call.unsupported(format!(
            "it widens the shape {:?} to {shape:?}",
            chain.shape
        )));
    }
    chain.spend(call, count.checked_mul(2))?;
    let indices = shape::broadcast_indices(&constant.shape, &shape);
    chain.shape = shape;
    Ok(indices.into_iter().map(|index| numbers[index]).collect())
}

/// Sum, difference, product and quotient with a constant.
fn elementwise(call: &Call, chain: &mut Chain) -> Result<()> {
    call.only(&[])?;
    let value_first = call.argument(0) == Argument::Value;
    let position = usize::from(value_first);
    let constant = call.required(position)?;
    let joins = chain.open_product;
    let numbers = broadcast_to_value(call, chain, position, &constant)?;
    let exact = |number: f64| {
        numbers
            .iter()
            .map(|_| Enclosure::exact(number))
            .collect::<Vec<_>>()
    };
    let each = |function: fn(f64) -> Enclosure| {
        numbers
            .iter()
            .map(|&x| function(f64::from(x)))
            .collect::<Vec<_>>()
    };
    let (scale, shift) = match (call.op(), value_first) {
        ("Mul", _) => (each(Enclosure::exact), exact(0.0)),
        ("Div", true) => {
            if let Some(index) = numbers.iter().position(|&x| x == 0.0) {
                return Err(call.unsupported(format!("the divisor of element {index} is zero")));
            }
            (each(reciprocal), exact(0.0))
        }
        ("Div", false) => return Err(call.unsupported("only constants can be divisors")),
        ("Sub", false) => (exact(-1.0), each(Enclosure::exact)),
        ("Sub", true) => (exact(1.0), each(|x| Enclosure::exact(-x))),
        _ => (exact(1.0), each(Enclosure::exact)),
    };
    // s x + 0 and then 1 x + b is s x + b: no rounding is involved.
    let adds = call.op() == "Add" || (call.op() == "Sub" && value_first);
    match chain.layers.last_mut() {
        Some(Layer::Scale(product)) if joins && adds => {
            product.shift = shift;
            chain.open_product = false;
        }
        _ => {
            chain.push(Layer::Scale(Scale { scale, shift }));
            chain.open_product = call.op() == "Mul";
        }
    }
    Ok(())
}

/// `1 / x`, rounded once: off by half a unit in the last place at most.
fn reciprocal(x: f64) -> Enclosure {
    let value = 1.0 / x;
    // The residual of a quotient of normal numbers is exact in a fused multiply-add.
    let exact = value.mul_add(x, -1.0) == 0.0;
    Enclosure {
        value,
        radius: if exact {
            0.0
        } else {
            2.0 * ROUNDING * value.abs()
        },
    }
}

/// A constant matrix, as it is stored or transposed.
struct Matrix<'a> {
    numbers: &'a [f32],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> Matrix<'a> {
    /// The matrix of a two-dimensional constant.
    fn new(numbers: &'a [f32], shape: [usize; 2], transposed: bool) -> Self {
        let [rows, columns] = if transposed {
            [shape[1], shape[0]]
        } else {
            shape
        };
        Self {
            numbers,
            rows,
            columns,
            transposed,
        }
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        if self.transposed {
            self.numbers[column * self.rows + row]
        } else {
            self.numbers[row * self.columns + column]
        }
    }
}

/// The side on which the constant matrix stands.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

/// The dense layer of a product of the value, a matrix too, with a constant matrix; `others` is the value's size along the axis that
/// takes no part.
fn product(
    call: &Call,
    chain: &mut Chain,
    matrix: &Matrix,
    side: Side,
    others: usize,
    bias: Option<Vec<f32>>,
) -> Result<()> {
    let (inner, outer) = match side {
        Side::Left => (matrix.columns, matrix.rows),
        Side::Right => (matrix.rows, matrix.columns),
    };
    let (inputs, outputs) = (inner.checked_mul(others), outer.checked_mul(others));
    let numbers = inputs
        .zip(outputs)
        .and_then(|(inputs, outputs)| inputs.checked_mul(outputs));
    chain.spend(call, numbers)?;
    let (Some(inputs), Some(outputs)) = (inputs, outputs) else {
        return Err(call.unsupported("the product is too large"));
    };
    chain.connect(call, outputs, inputs)?;
    let mut weight = vec![0.0; inputs * outputs];
    for other in 0..others {
        for out in 0..outer {
            for of in 0..inner {
                let (row, column, number) = match side {
                    Side::Right => (other * outer + out, other * inner + of, matrix.at(of, out)),
                    Side::Left => (
                        out * others + other,
                        of * others + other,
                        matrix.at(out, of),
                    ),
                };
                weight[row * inputs + column] = number;
            }
        }
    }
    let bias = bias.unwrap_or_else(|| vec![0.0; outputs]);
    chain.push(Layer::Affine(Affine {
        outputs,
        inputs,
        weight,
        bias,
    }));
    Ok(())
}

/// `alpha A B + beta C` with `A` or `B` constant, and `C` constant.
fn gemm(call: &Call, chain: &mut Chain) -> Result<()> {
    call.only(&["alpha", "beta", "transA", "transB"])?;
    let alpha = call.float("alpha", 1.0)?;
    let beta = call.float("beta", 1.0)?;
    if !alpha.is_finite() || !beta.is_finite() {
        return Err(call.unsupported(format!("alpha = {alpha}, beta = {beta}")));
    }
    let flags = [call.int("transA", 0)? != 0, call.int("transB", 0)? != 0];
    let (side, value) = if call.argument(0) == Argument::Value {
        (Side::Right, 0)
    } else {
        (Side::Left, 1)
    };
    if chain.shape.len() != 2 || call.argument(value) != Argument::Value {
        return Err(call.unsupported(format!("the shape {:?} is no matrix A or B", chain.shape)));
    }
    if flags[value] {
        transpose(call, chain, &[1, 0])?;
    }
    let constant = call.required(1 - value)?;
    let numbers = call.floats(1 - value, &constant)?;
    let [rows, columns] = constant.shape[..] else {
        return Err(call.mismatch("a matrix", format!("{:?}", constant.shape)));
    };
    let matrix = Matrix::new(numbers, [rows, columns], flags[1 - value]);
    let (inner, others, shape) = match side {
        Side::Right => (
            chain.shape[1],
            chain.shape[0],
            vec![chain.shape[0], matrix.columns],
        ),
        Side::Left => (
            chain.shape[0],
            chain.shape[1],
            vec![matrix.rows, chain.shape[1]],
        ),
    };
    check_inner(call, &matrix, side, inner)?;
    chain.shape = shape::of_value(shape).map_err(|reason| call.error(reason))?;
    let summand = if beta == 0.0 { None } else { call.constant(2)? };
    let summand = match &summand {
        Some(summand) => Some(broadcast_to_value(call, chain, 2, summand)?),
        None => None,
    };
    if alpha == 1.0 && (beta == 1.0 || summand.is_none()) {
        return product(call, chain, &matrix, side, others, summand);
    }
    product(call, chain, &matrix, side, others, None)?;
    // Products of two 32-bit numbers are exact in 64 bits.
    let count = chain.count(call)?;
    chain.spend(call, count.checked_mul(2))?;
    let scale = vec![Enclosure::exact(f64::from(alpha)); count];
    let shift = match summand {
        Some(numbers) => numbers
            .iter()
            .map(|&x| Enclosure::exact(f64::from(beta) * f64::from(x)))
            .collect(),
        None => vec![Enclosure::exact(0.0); count],
    };
    chain.push(Layer::Scale(Scale { scale, shift }));
    Ok(())
}

fn check_inner(call: &Call, matrix: &Matrix, side: Side, inner: usize) -> Result<()> {
    let own = if side == Side::Right {
        matrix.rows
    } else {
        matrix.columns
    };
    if own == inner {
        Ok(())
    } else {
        Err(call.mismatch(
            format!("a matrix for {inner} numbers"),
            format!("one for {own}"),
        ))
    }
}

/// A product with a constant matrix or vector, by numpy's rules for missing axes.
fn matmul(call: &Call, chain: &mut Chain) -> Result<()> {
    call.only(&[])?;
    let (side, position) = if call.argument(0) == Argument::Value {
        (Side::Right, 1)
    } else {
        (Side::Left, 0)
    };
    let constant = call.required(position)?;
    let numbers = call.floats(position, &constant)?;
    if constant.shape.is_empty() || chain.shape.is_empty() {
        return Err(call.damaged("a factor without axes"));
    }
    let lead = constant.shape.len().saturating_sub(2);
    if constant.shape[..lead].iter().any(|&size| size != 1) {
        return Err(call.unsupported(format!(
            "the constant is no single matrix: {:?}",
            constant.shape
        )));
    }
    // A vector is a row on the left and a column on the right; its axis is missing from the result.
    let matrix_shape = match (&constant.shape[lead..], side) {
        ([length], Side::Left) => [1, *length],
        ([length], Side::Right) => [*length, 1],
        (shape, _) => [shape[0], shape[1]],
    };
    let matrix = Matrix::new(numbers, matrix_shape, false);
    let constant_is_vector = constant.shape.len() == 1;
    let value = chain.shape.clone();
    let (inner, others, mut shape) = match side {
        // Every axis but the last counts rows.
        Side::Right => {
            let (&inner, rows) = value.split_last().unwrap_or((&1, &[]));
            (
                inner,
                chain.count(call)? / inner.max(1),
                [rows, &[matrix.columns][..]].concat(),
            )
        }
        Side::Left if value.len() == 1 => (value[0], 1, vec![matrix.rows]),
        Side::Left => {
            let [batch @ .., inner, columns] = value.as_slice() else {
                return Err(call.damaged("a factor without axes"));
            };
            if batch.iter().any(|&size| size != 1) {
                return Err(call.unsupported(format!("the value is no single matrix: {value:?}")));
            }
            (
                *inner,
                *columns,
                [batch, &[matrix.rows, *columns][..]].concat(),
            )
        }
    };
    check_inner(call, &matrix, side, inner)?;
    if constant_is_vector {
        let axis = match side {
            Side::Right => shape.len() - 1,
            Side::Left => shape.len() - if value.len() == 1 { 1 } else { 2 },
        };
        shape.remove(axis);
    }
    // Leading axes of the constant are ones; the result has as many as the longer of the two.
    let own_rank = value.len().max(2);
    if constant.shape.len() > own_rank {
        let extra = constant.shape.len() - own_rank;
        shape.splice(0..0, std::iter::repeat_n(1, extra));
    }
    product(call, chain, &matrix, side, others, None)?;
    chain.shape = shape::of_value(shape).map_err(|reason| call.error(reason))?;
    Ok(())
}

/// Channels, height and width of an image with a batch of one; a row of numbers a channel is an image of height 1.
fn image(call: &Call, chain: &Chain) -> Result<([usize; 3], usize)> {
    match chain.shape[..] {
        [1, channels, height, width] => Ok(([channels, height, width], 2)),
        [1, channels, width] => Ok(([channels, 1, width], 1)),
        _ => Err(call.unsupported(format!(
            "the shape {:?} is no batch of one image with one or two axes",
            chain.shape
        ))),
    }
}

/// How a window slides: everything but its size.
struct Slide {
    stride: [usize; 2],
    padding: [usize; 4],
    dilation: [usize; 2],
}

/// Strides, padding and dilation of a node, for an image with `axes` axes that already has `zeros` around it.
fn slide(
    call: &Call,
    axes: usize,
    input: [usize; 3],
    kernel: [usize; 2],
    zeros: [usize; 4],
) -> Result<Slide> {
    let pair = |name: &str| -> Result<[usize; 2]> {
        match sizes(call, name, axes, 1)?.as_deref() {
            None => Ok([1, 1]),
            Some([only]) => Ok([1, *only]),
            Some(both) => Ok([both[0], both[1]]),
        }
    };
    let (stride, dilation) = (pair("strides")?, pair("dilations")?);
    let padded = [
        input[1] + zeros[0] + zeros[2],
        input[2] + zeros[1] + zeros[3],
    ];
    let mode = call
        .text("auto_pad")?
        .unwrap_or_else(|| "NOTSET".to_owned());
    let stated = sizes(call, "pads", 2 * axes, 0)?;
    let own = match (mode.as_str(), stated.as_deref()) {
        ("NOTSET" | "", None) | ("VALID", _) => [0; 4],
        ("NOTSET" | "", Some([left, right])) => [0, *left, 0, *right],
        ("NOTSET" | "", Some(pads)) => [pads[0], pads[1], pads[2], pads[3]],
        ("SAME_UPPER" | "SAME_LOWER", _) if dilation != [1, 1] => {
            return Err(call.unsupported("auto_pad and dilations together"));
        }
        ("SAME_UPPER" | "SAME_LOWER", _) => {
            let mut own = [0; 4];
            for axis in 2 - axes..2 {
                let windows = padded[axis].div_ceil(stride[axis]);
                let reach = (windows.max(1) - 1) * stride[axis] + kernel[axis];
                let total = reach.saturating_sub(padded[axis]);
                let (small, large) = (total / 2, total - total / 2);
                (own[axis], own[axis + 2]) = if mode == "SAME_UPPER" {
                    (small, large)
                } else {
                    (large, small)
                };
            }
            own
        }
        (other, _) => return Err(call.unsupported(format!("auto_pad = {other}"))),
    };
    let padding = [0, 1, 2, 3].map(|side| own[side] + zeros[side]);
    Ok(Slide {
        stride,
        padding,
        dilation,
    })
}

/// A list of sizes from an attribute, each at least `least` and none absurd.
fn sizes(call: &Call, name: &str, length: usize, least: usize) -> Result<Option<Vec<usize>>> {
    let Some(ints) = call.ints(name)? else {
        return Ok(None);
    };
    let fits = |&size: &usize| (least..=shape::MAX_NUMBERS).contains(&size);
    let sizes: Option<Vec<usize>> = ints
        .iter()
        .map(|&size| usize::try_from(size).ok().filter(fits))
        .collect();
    match sizes {
        Some(sizes) if sizes.len() == length => Ok(Some(sizes)),
        _ => Err(call.unsupported(format!("{name} = {ints:?}"))),
    }
}

/// Sets the shape to the output of windows over an image, with `taps` numbers in a window.
fn image_shape(
    call: &Call,
    chain: &mut Chain,
    axes: usize,
    output: [usize; 3],
    taps: usize,
) -> Result<()> {
    let [channels, height, width] = output;
    if height == 0 || width == 0 {
        return Err(call.mismatch("a window that fits the padded input", "one that is larger"));
    }
    let shape = if axes == 2 {
        vec![1, channels, height, width]
    } else {
        vec![1, channels, width]
    };
    chain.shape = shape::of_value(shape).map_err(|reason| call.error(reason))?;
    let count = chain.count(call)?;
    chain.connect(call, count, taps)
}

fn convolution(call: &Call, chain: &mut Chain) -> Result<()> {
    call.only(&[
        "auto_pad",
        "dilations",
        "group",
        "kernel_shape",
        "pads",
        "strides",
    ])?;
    if call.argument(0) != Argument::Value {
        return Err(call.unsupported("its kernel is not constant"));
    }
    let (input, axes) = image(call, chain)?;
    let constant = call.required(1)?;
    let weight = call.floats(1, &constant)?;
    let (channels, mixed, kernel) = match constant.shape[..] {
        [channels, mixed, height, width] if axes == 2 => (channels, mixed, [height, width]),
        [channels, mixed, width] if axes == 1 => (channels, mixed, [1, width]),
        _ => {
            return Err(call.mismatch(
                format!("a kernel with {} axes", axes + 2),
                format!("{:?}", constant.shape),
            ));
        }
    };
    let groups = usize::try_from(call.int("group", 1)?).unwrap_or(0);
    let fits = groups > 0 && channels % groups == 0 && mixed.checked_mul(groups) == Some(input[0]);
    if !fits || kernel.contains(&0) || channels == 0 {
        let found = format!("a kernel {:?} and {groups} groups", constant.shape);
        return Err(call.mismatch(format!("a kernel for {} channels", input[0]), found));
    }
    if let Some(stated) = sizes(call, "kernel_shape", axes, 1)?
        && stated != constant.shape[2..]
    {
        return Err(call.mismatch(
            format!("a kernel of {stated:?}"),
            format!("{:?}", constant.shape),
        ));
    }
    let zeros = chain.zeros.take().map_or([0; 4], |(zeros, _)| zeros);
    let Slide {
        stride,
        padding,
        dilation,
    } = slide(call, axes, input, kernel, zeros)?;
    let bias = match call.constant(2)? {
        Some(bias) if bias.shape == [channels] => call.floats(2, &bias)?.to_vec(),
        Some(bias) => {
            return Err(call.mismatch(
                format!("a bias of {channels} numbers"),
                format!("{:?}", bias.shape),
            ));
        }
        None => vec![0.0; channels],
    };
    chain.spend(call, weight.len().checked_add(channels))?;
    let layer = Conv2d {
        input,
        channels,
        kernel,
        stride,
        padding,
        dilation,
        groups,
        weight: weight.to_vec(),
        bias,
    };
    let taps = mixed.saturating_mul(kernel[0]).saturating_mul(kernel[1]);
    image_shape(call, chain, axes, layer.output(), taps)?;
    chain.push(Layer::Conv2d(layer));
    Ok(())
}

fn average_pool(call: &Call, chain: &mut Chain) -> Result<()> {
    let (input, axes) = image(call, chain)?;
    if call.op() == "GlobalAveragePool" {
        call.only(&[])?;
        let kernel = [input[1], input[2]];
        let layer = AvgPool2d {
            input,
            kernel,
            stride: [1, 1],
            padding: [0; 4],
            count_include_pad: false,
        };
        image_shape(call, chain, axes, layer.output(), kernel[0] * kernel[1])?;
        chain.push(Layer::AvgPool2d(layer));
        return Ok(());
    }
    call.only(&[
        "auto_pad",
        "ceil_mode",
        "count_include_pad",
        "dilations",
        "kernel_shape",
        "pads",
        "strides",
    ])?;
    let kernel = sizes(call, "kernel_shape", axes, 1)?
        .ok_or_else(|| call.damaged("it has no kernel_shape"))?;
    let kernel = if axes == 2 {
        [kernel[0], kernel[1]]
    } else {
        [1, kernel[0]]
    };
    let Slide {
        stride,
        padding,
        dilation,
    } = slide(call, axes, input, kernel, [0; 4])?;
    if dilation != [1, 1] {
        return Err(call.unsupported(format!("dilations = {dilation:?}")));
    }
    if call.int("ceil_mode", 0)? != 0 {
        for axis in [0, 1] {
            let length = input[axis + 1] + padding[axis] + padding[axis + 2];
            if length.saturating_sub(kernel[axis]) % stride[axis] != 0 {
                return Err(call.unsupported("ceil_mode where it adds a window"));
            }
        }
    }
    let count_include_pad = call.int("count_include_pad", 0)? != 0;
    let layer = AvgPool2d {
        input,
        kernel,
        stride,
        padding,
        count_include_pad,
    };
    image_shape(call, chain, axes, layer.output(), kernel[0] * kernel[1])?;
    chain.push(Layer::AvgPool2d(layer));
    Ok(())
}

/// Zeros around an image, which the convolution behind it takes over.
fn pad(call: &Call, chain: &mut Chain) -> Result<()> {
    call.only(&["mode", "pads", "value"])?;
    let only_zeros = "only zeros around an image right before a convolution are understood";
    let rank = chain.shape.len();
    let pads = match call.constant_ints(1)? {
        Some(pads) => pads,
        None => call
            .ints("pads")?
            .ok_or_else(|| call.damaged("it has no pads"))?
            .to_vec(),
    };
    let value = match call.constant(2)? {
        Some(constant) => call.floats(2, &constant)?.first().copied().unwrap_or(0.0),
        None => call.float("value", 0.0)?,
    };
    let constant_mode = call.text("mode")?.is_none_or(|mode| mode == "constant");
    // The list may be for some axes only; those come as a fourth input.
    let axes: Vec<usize> = match call.constant_ints(3)? {
        Some(axes) => {
            let axes: Result<_, Unusable> =
                axes.iter().map(|&axis| shape::axis(axis, rank)).collect();
            axes.map_err(|reason| call.error(reason))?
        }
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() || value != 0.0 || !constant_mode || axes.len() > rank {
        return Err(call.unsupported(only_zeros));
    }
    let mut before = vec![0; rank];
    let mut after = vec![0; rank];
    for (position, &axis) in axes.iter().enumerate() {
        let size = |pad: i64| {
            usize::try_from(pad)
                .ok()
                .filter(|&pad| pad <= shape::MAX_NUMBERS)
        };
        let (Some(first), Some(last)) = (size(pads[position]), size(pads[position + axes.len()]))
        else {
            return Err(call.unsupported(only_zeros));
        };
        (before[axis], after[axis]) = (first, last);
    }
    if before.iter().chain(&after).all(|&pad| pad == 0) {
        return Ok(());
    }
    let (_, axes) = image(call, chain)?;
    if before[..2].iter().chain(&after[..2]).any(|&pad| pad > 0) {
        return Err(call.unsupported(only_zeros));
    }
    let zeros = match axes {
        2 => [before[2], before[3], after[2], after[3]],
        _ => [0, before[2], 0, after[2]],
    };
    chain.zeros = Some((zeros, call.unsupported(only_zeros)));
    Ok(())
}

/// `scale (x - mean) / sqrt(var + epsilon) + bias`, a channel at a time: factors and summands with their rounding errors.
fn batch_normalization(call: &Call, chain: &mut Chain) -> Result<()> {
    call.only(&["epsilon", "momentum", "spatial", "training_mode", "is_test"])?;
    if call.int("training_mode", 0)? != 0 || (chain.opset < 7 && call.int("is_test", 0)? == 0) {
        return Err(call.unsupported("it is in training mode"));
    }
    if call.int("spatial", 1)? != 1 || chain.shape.len() < 2 || call.argument(0) != Argument::Value
    {
        return Err(call.unsupported("only one mean and variance a channel are understood"));
    }
    let channels = chain.shape[1];
    let parameters = |position: usize| -> Result<Vec<f64>> {
        let constant = call.required(position)?;
        if constant.shape != [channels] {
            let found = format!("{:?}", constant.shape);
            return Err(call.mismatch(format!("{channels} numbers"), found));
        }
        let numbers = call.floats(position, &constant)?;
        Ok(numbers.iter().map(|&x| f64::from(x)).collect())
    };
    let (scale, bias) = (parameters(1)?, parameters(2)?);
    let (mean, variance) = (parameters(3)?, parameters(4)?);
    let epsilon = f64::from(call.float("epsilon", 1e-5)?);
    let mut rows = Vec::with_capacity(channels);
    for (channel, ((scale, bias), (mean, variance))) in scale
        .iter()
        .zip(&bias)
        .zip(mean.iter().zip(&variance))
        .enumerate()
    {
        let row = normalization(*scale, *bias, *mean, *variance, epsilon);
        rows.push(row.ok_or_else(|| {
            let reason = format!("channel {channel}: variance + epsilon is not positive");
            call.unsupported(reason)
        })?);
    }
    let count = chain.count(call)?;
    chain.spend(call, count.checked_mul(2))?;
    let inner: usize = chain.shape[2..].iter().product();
    let (scale, shift) = (0..count)
        .map(|index| rows[index / inner % channels])
        .unzip();
    chain.push(Layer::Scale(Scale { scale, shift }));
    Ok(())
}

/// Factor and summand of one channel. All numbers but the epsilon come from 32 bits, so nothing under- or overflows here.
pub(crate) fn normalization(
    scale: f64,
    bias: f64,
    mean: f64,
    variance: f64,
    epsilon: f64,
) -> Option<(Enclosure, Enclosure)> {
    let total = variance + epsilon;
    if !(total > 0.0 && total.is_finite()) {
        return None;
    }
    // The sum's error halves under the root; root and quotient add one rounding each: 2.5 roundings, and 4 with room for their
    // products.
    let factor = scale / total.sqrt();
    let factor_radius = 4.0 * ROUNDING * factor.abs();
    // The product adds one rounding to the four of the factor, the difference one of its own.
    let moved = mean * factor;
    let summand = bias - moved;
    let summand_radius = (6.0 * moved.abs() + 2.0 * summand.abs()) * ROUNDING;
    Some((
        Enclosure {
            value: factor,
            radius: factor_radius,
        },
        Enclosure {
            value: summand,
            radius: summand_radius,
        },
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Exact sums and products of doubles as unevaluated sums: `a + b` and `a b` without error.
    fn two_sum(a: f64, b: f64) -> (f64, f64) {
        let sum = a + b;
        let part = sum - a;
        (sum, (a - (sum - part)) + (b - part))
    }

    proptest! {
        #[test]
        fn reciprocals_are_enclosed(x in any::<f32>().prop_filter("a divisor", |x| x.is_finite() && *x != 0.0)) {
            let x = f64::from(x);
            let found = reciprocal(x);
            // |1 - x q| <= |x| radius says that 1 / x is within the radius; the residual is exact.
            let residual = found.value.mul_add(x, -1.0).abs();
            prop_assert!(residual <= x.abs() * found.radius * (1.0 + 4.0 * ROUNDING));
            prop_assert!(found.radius <= found.value.abs() * f64::EPSILON);
        }

        #[test]
        fn normalizations_are_enclosed(
            scale in -4.0f32..4.0, bias in -4.0f32..4.0, mean in -9.0f32..9.0,
            variance in 0.0f32..5.0, epsilon in 1e-9f32..1e-2,
        ) {
            let [scale, bias, mean, variance, epsilon] = [scale, bias, mean, variance, epsilon].map(f64::from);
            let (factor, summand) = normalization(scale, bias, mean, variance, epsilon).unwrap();
            prop_assert!(factor.radius <= 1e-15 * factor.value.abs());
            // The exact factor f has f^2 (variance + epsilon) = scale^2. At both ends of the enclosure the residual of that equation
            // must have different signs; it is computed in twice the precision.
            let (total, total_error) = two_sum(variance, epsilon);
            let residual = |f: f64| {
                let square = f * f;
                let square_error = f.mul_add(f, -square);
                let left = square * total;
                let left_error = square.mul_add(total, -left) + square_error * total + square * total_error;
                let right = scale * scale;
                let right_error = scale.mul_add(scale, -right);
                (left - right) + (left_error - right_error)
            };
            let size = factor.value.abs();
            prop_assert!(residual(size - factor.radius) <= 0.0 && residual(size + factor.radius) >= 0.0);
            // Given the factor, the summand is bias - mean f; the ends of f give the ends that must be covered.
            for f in [factor.value - factor.radius, factor.value + factor.radius] {
                let product = mean * f;
                let product_error = mean.mul_add(f, -product);
                let (difference, difference_error) = two_sum(bias, -product);
                let off = (difference - summand.value) + (difference_error - product_error);
                prop_assert!(off.abs() <= summand.radius * (1.0 + 1e-9), "{off} {summand:?}");
            }
        }
    }

    #[test]
    fn reciprocals_of_powers_of_two_are_exact() {
        for exponent in -149..128 {
            let x = 2.0f64.powi(exponent);
            assert_eq!(reciprocal(-x), Enclosure::exact(-(2.0f64.powi(-exponent))));
        }
    }
}
