//! Arrays of whole numbers from files of NumPy (`.npy`).

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

/// An array of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) shape: Vec<usize>,
    /// Row-major.
    pub(crate) values: Vec<u8>,
}

/// Reads an array of unsigned bytes.
pub(crate) fn read_bytes(path: &Path) -> Result<Bytes> {
    read(path, |file| {
        let array = Array::parse(file)?;
        ensure!(
            array.kind == 'u' && array.size == 1,
            "its elements are `{}{}`, not unsigned bytes (`u1`)",
            array.kind,
            array.size
        );
        Ok(Bytes {
            values: array.data.to_vec(),
            shape: array.shape,
        })
    })
}

/// Reads one axis of whole numbers of any size, none negative.
pub(crate) fn read_labels(path: &Path) -> Result<Vec<u32>> {
    read(path, |file| {
        let array = Array::parse(file)?;
        ensure!(
            array.shape.len() == 1,
            "it has {} axes instead of one",
            array.shape.len()
        );
        array.numbers()
    })
}

fn read<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    let file = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&file).with_context(|| {
        format!(
            "{}: not such an array of NumPy as is needed here",
            path.display()
        )
    })
}

/// An array with its elements as they stand in the file.
struct Array<'a> {
    /// `u` for unsigned numbers, `i` for others.
    kind: char,
    /// Bytes of an element.
    size: usize,
    big_endian: bool,
    shape: Vec<usize>,
    data: &'a [u8],
}

impl<'a> Array<'a> {
    fn parse(file: &'a [u8]) -> Result<Self> {
        let rest = file
            .strip_prefix(b"\x93NUMPY")
            .context("it does not begin as one")?;
        let (length, rest) = match *rest {
            [1, _, low, high, ref rest @ ..] => {
                (usize::from(u16::from_le_bytes([low, high])), rest)
            }
            [2 | 3, _, a, b, c, d, ref rest @ ..] => {
                (u32::from_le_bytes([a, b, c, d]) as usize, rest)
            }
            _ => bail!("its version is not 1, 2 or 3"),
        };
        let (header, data) = rest
            .split_at_checked(length)
            .context("its header is cut off")?;
        let header = std::str::from_utf8(header).context("its header is no text")?;
        let element =
            quoted(entry(header, "descr")?).context("its elements are not of one type")?;
        let fortran = entry(header, "fortran_order")?.starts_with("True");
        let shape = shape(entry(header, "shape")?)?;
        ensure!(
            !fortran || shape.len() < 2,
            "it is stored column by column; save it in C order"
        );
        let (order, element) = match element.strip_prefix(['<', '>', '|', '=']) {
            Some(rest) => (element.chars().next(), rest),
            None => (None, element),
        };
        let mut parts = element.chars();
        let kind = parts.next().unwrap_or(' ');
        let size = match (kind, parts.as_str()) {
            ('u' | 'i', "1") => 1,
            ('u' | 'i', "2") => 2,
            ('u' | 'i', "4") => 4,
            ('u' | 'i', "8") => 8,
            _ => bail!("its elements are `{element}`, not whole numbers"),
        };
        let wanted = shape
            .iter()
            .try_fold(size, |product: usize, &axis| product.checked_mul(axis));
        ensure!(
            wanted == Some(data.len()),
            "it has {} bytes behind its header, which a shape of {shape:?} does not fit",
            data.len()
        );
        Ok(Self {
            kind,
            size,
            big_endian: order == Some('>'),
            shape,
            data,
        })
    }

    fn numbers(&self) -> Result<Vec<u32>> {
        let number = |bytes: &[u8]| {
            let value = bytes
                .iter()
                .enumerate()
                .fold(0_u64, |value, (place, &byte)| {
                    let place = if self.big_endian {
                        bytes.len() - 1 - place
                    } else {
                        place
                    };
                    value | u64::from(byte) << (8 * place)
                });
            let negative = self.kind == 'i' && value >> (8 * self.size - 1) == 1;
            let value = u32::try_from(value).ok().filter(|_| !negative);
            value.context("an element is negative or too large")
        };
        self.data.chunks_exact(self.size).map(number).collect()
    }
}

/// What stands behind `'key':` in a header, a dictionary as Python writes it.
fn entry<'h>(header: &'h str, key: &str) -> Result<&'h str> {
    let behind = header
        .split_once(&format!("'{key}'"))
        .map(|(_, behind)| behind.trim_start());
    let value = behind.and_then(|behind| behind.strip_prefix(':'));
    Ok(value
        .with_context(|| format!("its header does not tell `{key}`"))?
        .trim_start())
}

fn quoted(text: &str) -> Option<&str> {
    let (inside, _) = text.strip_prefix('\'')?.split_once('\'')?;
    Some(inside)
}

fn shape(text: &str) -> Result<Vec<usize>> {
    let inside = text.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (inside, _) = inside.context("its shape is no tuple")?;
    let axes = inside
        .split(',')
        .map(str::trim)
        .filter(|axis| !axis.is_empty());
    axes.map(|axis| {
        axis.parse()
            .with_context(|| format!("`{axis}` is no length of an axis"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as NumPy writes it.
    fn file(element: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let mut header =
            format!("{{'descr': '{element}', 'fortran_order': False, 'shape': {shape}, }}");
        header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
        header.push('\n');
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn bytes_and_shapes_are_read() {
        let bytes = file("|u1", "(2, 3)", &[1, 2, 3, 4, 5, 6]);
        let array = Array::parse(&bytes).unwrap();
        assert_eq!(
            (array.shape, array.data),
            (vec![2, 3], &[1, 2, 3, 4, 5, 6][..])
        );
        let empty = file("|u1", "(0,)", &[]);
        assert_eq!(Array::parse(&empty).unwrap().shape, [0]);
    }

    #[test]
    fn whole_numbers_of_every_size_are_read() {
        let numbers = |element, data: &[u8]| {
            let shape = format!("({},)", data.len() / 2);
            Array::parse(&file(element, &shape, data))?.numbers()
        };
        assert_eq!(numbers("<i2", &[7, 0, 1, 1]).unwrap(), [7, 257]);
        assert_eq!(numbers(">u2", &[0, 7, 1, 1]).unwrap(), [7, 257]);
        assert!(numbers("<i2", &[255, 255]).is_err());
        let wide = file("<i8", "(1,)", &[9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Array::parse(&wide).unwrap().numbers().unwrap(), [9]);
        let huge = file("<i8", "(1,)", &[9, 0, 0, 0, 1, 0, 0, 0]);
        assert!(Array::parse(&huge).unwrap().numbers().is_err());
    }

    #[test]
    fn what_is_damaged_or_of_another_kind_is_refused() {
        let good = file("|u1", "(2, 2)", &[1, 2, 3, 4]);
        for length in 0..good.len() {
            assert!(Array::parse(&good[..length]).is_err(), "{length}");
        }
        let longer = [&good[..], &[5]].concat();
        let float = file("<f4", "(1,)", &[0; 4]);
        let object = file("|O", "(1,)", &[0; 8]);
        let negative = file("|u1", "(-1,)", &[0]);
        let huge = file("|u1", "(4294967296, 4294967296)", &[]);
        for bad in [longer, float, object, negative, huge] {
            assert!(Array::parse(&bad).is_err());
        }
    }
}
