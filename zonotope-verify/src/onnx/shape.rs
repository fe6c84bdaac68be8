//! Shapes of arrays as ONNX has them, batch included: reading, broadcasting, transposing and reshaping them.

use super::constant::Unusable;

/// Sizes along the axes.
pub(super) type Shape = Vec<usize>;

/// More axes than any operator of a chain of layers has use for.
const MAX_RANK: usize = 8;

/// A file cannot ask for larger arrays than this: what is larger is out of reach of every verifier.
pub(super) const MAX_NUMBERS: usize = 1 << 22;

/// A shape from the numbers of a file.
pub(super) fn from_dims(dims: &[i64]) -> Result<Shape, Unusable> {
    if dims.len() > MAX_RANK {
        return Err(Unusable::Unsupported(format!(
            "{} axes, more than {MAX_RANK}",
            dims.len()
        )));
    }
    let size = |&dim| {
        usize::try_from(dim)
            .map_err(|_| Unusable::Damaged(format!("the shape {dims:?} has a negative size")))
    };
    dims.iter().map(size).collect()
}

/// How many numbers an array of the shape has.
pub(super) fn count(shape: &[usize]) -> Result<usize, Unusable> {
    // Zeros count last, so that 0 x 2^63 x 2^63 is no valid shape.
    let positive = shape.iter().filter(|&&size| size > 0);
    let product = positive
        .copied()
        .try_fold(1, usize::checked_mul)
        .filter(|&product| product <= usize::MAX >> 8);
    match product {
        Some(_) if shape.contains(&0) => Ok(0),
        Some(product) => Ok(product),
        None => Err(Unusable::Damaged(format!(
            "the shape {shape:?} is too large"
        ))),
    }
}

/// The shape of a value that is computed: neither empty nor too large to work with.
pub(super) fn of_value(shape: Shape) -> Result<Shape, Unusable> {
    match count(&shape)? {
        0 => Err(Unusable::Unsupported(format!(
            "the shape {shape:?} is empty"
        ))),
        numbers if numbers > MAX_NUMBERS => Err(Unusable::Unsupported(format!(
            "the shape {shape:?} has more than {MAX_NUMBERS} numbers"
        ))),
        _ => Ok(shape),
    }
}

/// Steps between neighbours along every axis of a row-major array.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// The shape that two shapes broadcast to (numpy's rule).
pub(super) fn broadcast(left: &[usize], right: &[usize]) -> Option<Shape> {
    let rank = left.len().max(right.len());
    let at = |shape: &[usize], axis: usize| {
        (axis + shape.len())
            .checked_sub(rank)
            .map_or(1, |own| shape[own])
    };
    (0..rank)
        .map(|axis| match (at(left, axis), at(right, axis)) {
            (a, b) if a == b => Some(a),
            (1, size) | (size, 1) => Some(size),
            _ => None,
        })
        .collect()
}

/// For every element of `to` the index of the element of `from` that is broadcast to it. `from` must broadcast to `to`.
pub(super) fn broadcast_indices(from: &[usize], to: &[usize]) -> Vec<usize> {
    let own = strides(from);
    let lead = to.len() - from.len();
    let steps: Vec<usize> = (0..to.len())
        .map(|axis| {
            if axis < lead || from[axis - lead] == 1 {
                0
            } else {
                own[axis - lead]
            }
        })
        .collect();
    walk(to, &steps)
}

/// The shape after a transposition, and for every element of it the index of the element that comes there.
pub(super) fn transposed(shape: &[usize], axes: &[usize]) -> (Shape, Vec<usize>) {
    let own = strides(shape);
    let result: Shape = axes.iter().map(|&axis| shape[axis]).collect();
    let steps: Vec<usize> = axes.iter().map(|&axis| own[axis]).collect();
    let order = walk(&result, &steps);
    (result, order)
}

/// The sums of steps over all positions of an array, in row-major order.
fn walk(shape: &[usize], steps: &[usize]) -> Vec<usize> {
    let mut indices = vec![0];
    for (&size, &step) in shape.iter().zip(steps) {
        indices = indices
            .iter()
            .flat_map(|&start| (0..size).map(move |position| start + position * step))
            .collect();
    }
    indices
}

/// An axis that may be counted from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Unusable> {
    let wide = i64::try_from(rank).ok().and_then(|rank| {
        if axis < 0 {
            axis.checked_add(rank)
        } else {
            Some(axis)
        }
    });
    let found = wide
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|&axis| axis < rank);
    found.ok_or_else(|| Unusable::Damaged(format!("axis {axis} of an array with {rank} axes")))
}

/// The axes of a transposition; none given: all, reversed.
pub(super) fn permutation(given: Option<&[i64]>, rank: usize) -> Result<Vec<usize>, Unusable> {
    let Some(given) = given else {
        return Ok((0..rank).rev().collect());
    };
    let axes: Vec<usize> = given
        .iter()
        .map(|&index| axis(index, rank))
        .collect::<Result<_, _>>()?;
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if sorted.into_iter().eq(0..rank) {
        Ok(axes)
    } else {
        Err(Unusable::Damaged(format!(
            "{given:?} is no order of {rank} axes"
        )))
    }
}

/// The target of a `Reshape`: 0 keeps a size (unless zeros are allowed), one -1 is worked out.
pub(super) fn reshape(
    shape: &[usize],
    target: &[i64],
    allow_zero: bool,
) -> Result<Shape, Unusable> {
    let wrong = || Unusable::Damaged(format!("the shape {shape:?} cannot become {target:?}"));
    if target.len() > MAX_RANK || target.iter().filter(|&&size| size == -1).count() > 1 {
        return Err(wrong());
    }
    let mut result = Vec::with_capacity(target.len());
    for (position, &size) in target.iter().enumerate() {
        result.push(match size {
            0 if !allow_zero => *shape.get(position).ok_or_else(wrong)?,
            -1 => 1,
            _ => usize::try_from(size).map_err(|_| wrong())?,
        });
    }
    let numbers = count(shape)?;
    let known = count(&result)?;
    if let Some(free) = target.iter().position(|&size| size == -1) {
        if known == 0 || !numbers.is_multiple_of(known) {
            return Err(wrong());
        }
        result[free] = numbers / known;
    } else if known != numbers {
        return Err(wrong());
    }
    Ok(result)
}

/// Removes axes of size 1: the given ones, or all.
pub(super) fn squeeze(shape: &[usize], axes: Option<&[i64]>) -> Result<Shape, Unusable> {
    let dropped: Vec<usize> = match axes {
        Some(axes) => axes
            .iter()
            .map(|&index| axis(index, shape.len()))
            .collect::<Result<_, _>>()?,
        None => (0..shape.len())
            .filter(|&index| shape[index] == 1)
            .collect(),
    };
    if let Some(&index) = dropped.iter().find(|&&index| shape[index] != 1) {
        return Err(Unusable::Damaged(format!(
            "axis {index} of the shape {shape:?} is not of size 1"
        )));
    }
    Ok((0..shape.len())
        .filter(|index| !dropped.contains(index))
        .map(|index| shape[index])
        .collect())
}

/// Inserts axes of size 1 at the given places of the result.
pub(super) fn unsqueeze(shape: &[usize], axes: &[i64]) -> Result<Shape, Unusable> {
    let rank = shape.len() + axes.len();
    if rank > MAX_RANK {
        return Err(Unusable::Unsupported(format!(
            "{rank} axes, more than {MAX_RANK}"
        )));
    }
    let mut inserted: Vec<usize> = axes
        .iter()
        .map(|&index| axis(index, rank))
        .collect::<Result<_, _>>()?;
    inserted.sort_unstable();
    inserted.dedup();
    if inserted.len() != axes.len() {
        return Err(Unusable::Damaged(format!(
            "the axes {axes:?} name one twice"
        )));
    }
    let mut kept = shape.iter();
    Ok((0..rank)
        .map(|index| {
            if inserted.contains(&index) {
                1
            } else {
                kept.next().copied().unwrap_or(1)
            }
        })
        .collect())
}

/// The two axes that `Flatten` leaves: everything before `at`, and everything from there on.
pub(super) fn flatten(shape: &[usize], at: i64) -> Result<Shape, Unusable> {
    let rank = shape.len();
    let at = if usize::try_from(at) == Ok(rank) {
        rank
    } else {
        axis(at, rank)?
    };
    Ok(vec![count(&shape[..at])?, count(&shape[at..])?])
}
