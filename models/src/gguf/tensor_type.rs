//! How tensors are stored, and the way back to 32-bit numbers.
//!
//! Quantised types cut rows into blocks with a scale, and some with a minimum, of their own. The order of the
//! operations in 32 bits is that of the Python package `gguf`, so that results are the same to the last bit.

use std::fmt;

use half::f16;
use half::slice::HalfFloatSliceExt;

/// The type of a tensor's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorType {
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point of IEEE 754.
    F16,
    /// The upper half of 32-bit floating point.
    Bf16,
    /// Blocks of 32: a scale, 4 bits a value from -8.
    Q4_0,
    /// Blocks of 32: a scale and a minimum, 4 bits a value.
    Q4_1,
    /// Blocks of 32: a scale, 5 bits a value from -16.
    Q5_0,
    /// Blocks of 32: a scale and a minimum, 5 bits a value.
    Q5_1,
    /// Blocks of 32: a scale, 8 bits a value.
    Q8_0,
    /// Blocks of 256: a scale, 16 scales of 8 bits, 6 bits a value from -32.
    Q6K,
    /// A type that cannot be read, by its number in the format.
    Unsupported(u32),
}

impl TensorType {
    /// The type of this number.
    pub fn from_number(number: u32) -> Self {
        match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            14 => Self::Q6K,
            30 => Self::Bf16,
            other => Self::Unsupported(other),
        }
    }

    /// Values in a block; 1 where values stand alone or the type is unsupported.
    pub fn block(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 | Self::Unsupported(_) => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q6K => 256,
        }
    }

    /// Bytes that so many values take, or nothing if they do not fill blocks or the type is unsupported.
    pub fn bytes(self, values: usize) -> Option<usize> {
        let block = match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q6K => 210,
            Self::Unsupported(_) => return None,
        };
        let whole = values.is_multiple_of(self.block());
        (values / self.block()).checked_mul(block).filter(|_| whole)
    }

    /// The values in `bytes`, or nothing if those are not whole blocks or the type is unsupported. Values may be NaN or
    /// infinite where a scale is.
    pub fn dequantize(self, bytes: &[u8]) -> Option<Vec<f32>> {
        match self {
            Self::F32 => blocks(bytes, |block, [out]| *out = f32::from_le_bytes(*block)),
            Self::F16 => float16(bytes),
            Self::Bf16 => blocks(bytes, |&[low, high], [out]| {
                *out = f32::from_le_bytes([0, 0, low, high]);
            }),
            Self::Q4_0 => blocks(bytes, q4_0),
            Self::Q4_1 => blocks(bytes, q4_1),
            Self::Q5_0 => blocks(bytes, q5_0),
            Self::Q5_1 => blocks(bytes, q5_1),
            Self::Q8_0 => blocks(bytes, q8_0),
            Self::Q6K => blocks(bytes, q6_k),
            Self::Unsupported(_) => None,
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q6K => "Q6_K",
            Self::Unsupported(number) => match name(*number) {
                Some(name) => name,
                None => return write!(f, "the unknown type {number}"),
            },
        })
    }
}

/// Names of the types that are known but not supported.
fn name(number: u32) -> Option<&'static str> {
    Some(match number {
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return None,
    })
}

/// Applies a kernel to each block of `BYTES` bytes, which writes `VALUES` values.
fn blocks<const BYTES: usize, const VALUES: usize>(
    bytes: &[u8],
    kernel: impl Fn(&[u8; BYTES], &mut [f32; VALUES]),
) -> Option<Vec<f32>> {
    let (blocks, []) = bytes.as_chunks::<BYTES>() else {
        return None;
    };
    let mut values = vec![0.0; blocks.len() * VALUES];
    let (outputs, _) = values.as_chunks_mut::<VALUES>();
    for (block, out) in blocks.iter().zip(outputs) {
        kernel(block, out);
    }
    Some(values)
}

/// All values at once: processors have instructions for it.
fn float16(bytes: &[u8]) -> Option<Vec<f32>> {
    let (numbers, []) = bytes.as_chunks::<2>() else {
        return None;
    };
    let halves: Vec<f16> = numbers
        .iter()
        .map(|&number| f16::from_le_bytes(number))
        .collect();
    let mut values = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut values);
    Some(values)
}

fn scale(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

/// The values of a nibble each: first the lower ones of all bytes, then the upper ones.
fn nibbles(packed: &[u8], out: &mut [f32; 32], value: impl Fn(usize, u8) -> f32) {
    let (low, high) = out.split_at_mut(16);
    for (i, ((&byte, low), high)) in packed.iter().zip(low).zip(high).enumerate() {
        *low = value(i, byte & 15);
        *high = value(i + 16, byte >> 4);
    }
}

/// A nibble with the fifth bit that stands in bit `i` of `high`.
fn five_bits(high: u32, i: usize, nibble: u8) -> i8 {
    (nibble | (((high >> i) & 1) as u8) << 4) as i8
}

fn q4_0(&[d0, d1, ref packed @ ..]: &[u8; 18], out: &mut [f32; 32]) {
    let d = scale(d0, d1);
    nibbles(packed, out, |_, q| d * f32::from(q as i8 - 8));
}

fn q4_1(&[d0, d1, m0, m1, ref packed @ ..]: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (scale(d0, d1), scale(m0, m1));
    nibbles(packed, out, |_, q| d * f32::from(q) + m);
}

fn q5_0(&[d0, d1, h0, h1, h2, h3, ref packed @ ..]: &[u8; 22], out: &mut [f32; 32]) {
    let d = scale(d0, d1);
    let high = u32::from_le_bytes([h0, h1, h2, h3]);
    nibbles(packed, out, |i, q| {
        d * f32::from(five_bits(high, i, q) - 16)
    });
}

fn q5_1(&[d0, d1, m0, m1, h0, h1, h2, h3, ref packed @ ..]: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (scale(d0, d1), scale(m0, m1));
    let high = u32::from_le_bytes([h0, h1, h2, h3]);
    nibbles(packed, out, |i, q| d * f32::from(five_bits(high, i, q)) + m);
}

fn q8_0(&[d0, d1, ref quantised @ ..]: &[u8; 34], out: &mut [f32; 32]) {
    let d = scale(d0, d1);
    for (&q, out) in quantised.iter().zip(out) {
        *out = f32::from(q as i8) * d;
    }
}

/// The block is two halves of 128 values: 64 bytes with four lower bits each, 32 bytes with two upper bits each.
fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (lower, rest) = block.split_at(128);
    let (upper, rest) = rest.split_at(64);
    let (scales, d) = rest.split_at(16);
    let d = scale(d[0], d[1]);
    let (rows, _) = out.as_chunks_mut::<32>();
    for (row, out) in rows.iter_mut().enumerate() {
        let (half, row_of_half) = (row / 4, row % 4);
        let (shift, column) = (row_of_half / 2 * 4, row_of_half % 2 * 32);
        let lower = &lower[half * 64 + column..][..32];
        let upper = &upper[half * 32..][..32];
        let scales = [scales[row * 2], scales[row * 2 + 1]].map(|s| d * f32::from(s as i8));
        for (i, out) in out.iter_mut().enumerate() {
            let bits = ((lower[i] >> shift) & 15) | (((upper[i] >> (row_of_half * 2)) & 3) << 4);
            *out = scales[i / 16] * f32::from(bits as i8 - 32);
        }
    }
}
