//! Constants of a graph: initializers, `Constant` nodes, and reorderings of both, with the numbers that the file states.

use std::rc::Rc;

use super::proto::{self, Tensor};
use super::shape::{self, Shape};

/// Why a constant cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// The file contradicts itself.
    Damaged(String),
    /// The file is right, but says something that is not understood.
    Unsupported(String),
    /// The number at an index is NaN or infinite.
    NonFinite(usize),
}

/// A constant array. Copies share the numbers.
#[derive(Debug, Clone)]
pub(super) struct Constant {
    pub(super) shape: Shape,
    data: Data,
}

#[derive(Debug, Clone)]
enum Data {
    Float(Rc<Vec<f32>>),
    Int(Rc<Vec<i64>>),
}

impl Constant {
    /// Reads the numbers of a tensor.
    pub(super) fn read(tensor: &Tensor) -> Result<Self, Unusable> {
        if tensor.data_location.unwrap_or(0) != 0 {
            return Err(Unusable::Unsupported(
                "its numbers lie in another file (external data)".to_owned(),
            ));
        }
        let shape = shape::from_dims(&tensor.dims)?;
        let count = shape::count(&shape)?;
        let data_type = tensor.data_type.unwrap_or(0);
        let data = match data_type {
            proto::FLOAT => Data::Float(Rc::new(numbers(
                tensor,
                count,
                &tensor.float_data,
                f32::from_le_bytes,
            )?)),
            proto::DOUBLE => {
                let wide = numbers(tensor, count, &tensor.double_data, f64::from_le_bytes)?;
                Data::Float(Rc::new(
                    wide.into_iter().map(narrow).collect::<Result<_, _>>()?,
                ))
            }
            proto::INT64 => Data::Int(Rc::new(numbers(
                tensor,
                count,
                &tensor.int64_data,
                i64::from_le_bytes,
            )?)),
            proto::INT32 => {
                let narrow = numbers(tensor, count, &tensor.int32_data, i32::from_le_bytes)?;
                Data::Int(Rc::new(narrow.into_iter().map(i64::from).collect()))
            }
            proto::BOOL => {
                let bytes = numbers(tensor, count, &tensor.int32_data, |[byte]: [u8; 1]| {
                    i32::from(byte)
                })?;
                Data::Int(Rc::new(
                    bytes.into_iter().map(|byte| i64::from(byte != 0)).collect(),
                ))
            }
            other => {
                return Err(Unusable::Unsupported(format!(
                    "its numbers have the type {} ({other}); float32, and float64 that loses nothing in float32, are understood",
                    proto::type_name(other)
                )));
            }
        };
        Ok(Self { shape, data })
    }

    pub(super) fn from_floats(shape: Shape, numbers: Vec<f32>) -> Self {
        Self {
            shape,
            data: Data::Float(Rc::new(numbers)),
        }
    }

    pub(super) fn from_ints(shape: Shape, numbers: Vec<i64>) -> Self {
        Self {
            shape,
            data: Data::Int(Rc::new(numbers)),
        }
    }

    /// The numbers, all of them finite.
    pub(super) fn floats(&self) -> Result<&[f32], Unusable> {
        match &self.data {
            Data::Float(numbers) => match numbers.iter().position(|x| !x.is_finite()) {
                Some(index) => Err(Unusable::NonFinite(index)),
                None => Ok(numbers),
            },
            Data::Int(_) => Err(Unusable::Unsupported(
                "integers where real numbers are expected".to_owned(),
            )),
        }
    }

    pub(super) fn ints(&self) -> Result<&[i64], Unusable> {
        match &self.data {
            Data::Int(numbers) => Ok(numbers),
            Data::Float(_) => Err(Unusable::Unsupported(
                "real numbers where integers are expected".to_owned(),
            )),
        }
    }

    pub(super) fn count(&self) -> usize {
        match &self.data {
            Data::Float(numbers) => numbers.len(),
            Data::Int(numbers) => numbers.len(),
        }
    }

    /// The same numbers in another shape of the same size.
    pub(super) fn reshaped(&self, shape: Shape) -> Self {
        Self {
            shape,
            data: self.data.clone(),
        }
    }

    /// The numbers in another order: number `j` is the present number `order[j]`.
    pub(super) fn reordered(&self, shape: Shape, order: &[usize]) -> Self {
        let data = match &self.data {
            Data::Float(numbers) => {
                Data::Float(Rc::new(order.iter().map(|&from| numbers[from]).collect()))
            }
            Data::Int(numbers) => {
                Data::Int(Rc::new(order.iter().map(|&from| numbers[from]).collect()))
            }
        };
        Self { shape, data }
    }
}

/// The numbers of a tensor, from its raw bytes or from the field of its type.
fn numbers<T: Copy, const N: usize>(
    tensor: &Tensor,
    count: usize,
    typed: &[T],
    from_bytes: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, Unusable> {
    let Some(raw) = tensor
        .raw_data
        .as_ref()
        .filter(|raw| typed.is_empty() && (count > 0 || !raw.is_empty()))
    else {
        return if typed.len() == count {
            Ok(typed.to_vec())
        } else {
            Err(Unusable::Damaged(format!(
                "a shape of {count} numbers, but {} numbers",
                typed.len()
            )))
        };
    };
    let (chunks, rest) = raw.as_chunks::<N>();
    if chunks.len() != count || !rest.is_empty() {
        return Err(Unusable::Damaged(format!(
            "a shape of {count} numbers of {N} bytes, but {} bytes",
            raw.len()
        )));
    }
    Ok(chunks.iter().map(|&bytes| from_bytes(bytes)).collect())
}

/// The 32-bit number that is the 64-bit one, where there is one.
fn narrow(wide: f64) -> Result<f32, Unusable> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whether anything was lost is what is checked"
    )]
    let narrow = wide as f32;
    if f64::from(narrow) == wide || wide.is_nan() {
        Ok(narrow)
    } else {
        Err(Unusable::Unsupported(format!(
            "the 64-bit number {wide} has no exact 32-bit form"
        )))
    }
}
