//! NumPy files: a matrix and a vector that are read in blocks, so that they need not fit into memory.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::dataset::{RowBlocks, Visitor};
use crate::error::{Error, Result};

/// Rows of a block.
const BLOCK: usize = 4096;
/// The longest header that is read.
const LONGEST_HEADER: usize = 1 << 16;

/// A design matrix and a response in two `.npy` files, of 64-bit or 32-bit floats in C order. The files are opened anew for every pass and must not change.
#[derive(Clone, Debug)]
pub struct NpyRows {
    x: Array,
    y: Array,
}

#[derive(Clone, Debug)]
struct Array {
    path: PathBuf,
    /// Where numbers begin.
    start: u64,
    shape: Vec<usize>,
    /// 4 or 8.
    width: usize,
    little: bool,
}

impl NpyRows {
    /// Reads the headers: `x` must have two axes, `y` one (or a second of length 1), with as many rows.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`], [`Error::ShapeMismatch`].
    pub fn open(x: impl AsRef<Path>, y: impl AsRef<Path>) -> Result<Self> {
        let (x, y) = (Array::open(x.as_ref())?, Array::open(y.as_ref())?);
        if x.shape.len() != 2 {
            return Err(x.bad("an array of two axes", format!("{} axes", x.shape.len())));
        }
        if !matches!(y.shape[..], [_] | [_, 1]) {
            return Err(y.bad("an array of one axis", format!("the shape {:?}", y.shape)));
        }
        if y.shape[0] != x.shape[0] {
            return Err(Error::ShapeMismatch {
                what: "responses",
                expected: x.shape[0],
                found: y.shape[0],
            });
        }
        Ok(Self { x, y })
    }
}

impl RowBlocks for NpyRows {
    fn rows(&self) -> usize {
        self.x.shape[0]
    }

    fn columns(&self) -> usize {
        self.x.shape[1]
    }

    fn visit(&self, visitor: &mut Visitor<'_>) -> Result<()> {
        let (mut x_file, mut y_file) = (self.x.reader()?, self.y.reader()?);
        let mut left = self.rows();
        while left > 0 {
            let rows = left.min(BLOCK);
            let x = self.x.read(&mut x_file, rows * self.columns())?;
            let y = self.y.read(&mut y_file, rows)?;
            visitor(&x, &y)?;
            left -= rows;
        }
        Ok(())
    }
}

impl Array {
    fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        let bad = |expected: &str, found: String| Error::Format {
            file: path.display().to_string(),
            line: 0,
            expected: expected.to_owned(),
            found,
        };
        let mut magic = [0; 8];
        file.read_exact(&mut magic).map_err(io)?;
        if &magic[..6] != b"\x93NUMPY" {
            return Err(bad("a NumPy file", format!("the bytes {:?}", &magic[..6])));
        }
        let length = match magic[6] {
            1 => {
                let mut bytes = [0; 2];
                file.read_exact(&mut bytes).map_err(io)?;
                usize::from(u16::from_le_bytes(bytes))
            }
            2 | 3 => {
                let mut bytes = [0; 4];
                file.read_exact(&mut bytes).map_err(io)?;
                u32::from_le_bytes(bytes) as usize
            }
            version => return Err(bad("format version 1 to 3", format!("version {version}"))),
        };
        if length > LONGEST_HEADER {
            return Err(bad(
                "a header of at most 65,536 bytes",
                format!("{length} bytes"),
            ));
        }
        let mut header = vec![0; length];
        file.read_exact(&mut header).map_err(io)?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let value = |key: &str| {
            header
                .split_once(&format!("'{key}':"))
                .map(|(_, rest)| rest.trim_start())
        };
        let kind = value("descr")
            .and_then(|rest| rest.split('\'').nth(1))
            .unwrap_or("");
        let (little, width) = match kind {
            "<f8" => (true, 8_usize),
            ">f8" => (false, 8),
            "<f4" => (true, 4),
            ">f4" => (false, 4),
            _ => {
                return Err(bad(
                    "numbers of type <f8, >f8, <f4 or >f4",
                    format!("`{kind}`"),
                ));
            }
        };
        if !value("fortran_order").is_some_and(|rest| rest.starts_with("False")) {
            return Err(bad("numbers in C order", "Fortran order".to_owned()));
        }
        let inside = value("shape")
            .and_then(|rest| rest.strip_prefix('('))
            .and_then(|rest| rest.split(')').next());
        let shape: Option<Vec<usize>> = inside.and_then(|inside| {
            inside
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| part.parse().ok())
                .collect()
        });
        let shape = shape
            .filter(|shape| !shape.is_empty())
            .ok_or_else(|| bad("a shape", header.clone()))?;
        let start = file.stream_position().map_err(io)?;
        let found = file
            .get_ref()
            .metadata()
            .map_err(io)?
            .len()
            .saturating_sub(start);
        let expected = shape
            .iter()
            .try_fold(width, |product, size| product.checked_mul(*size));
        if expected.is_none_or(|expected| found < expected as u64) {
            return Err(bad(
                &format!("numbers for the shape {shape:?}"),
                format!("{found} bytes"),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            start,
            shape,
            width,
            little,
        })
    }

    fn bad(&self, expected: &str, found: String) -> Error {
        Error::Format {
            file: self.path.display().to_string(),
            line: 0,
            expected: expected.to_owned(),
            found,
        }
    }

    fn reader(&self) -> Result<BufReader<File>> {
        let io = |source| Error::Io {
            path: self.path.clone(),
            source,
        };
        let mut file = BufReader::with_capacity(1 << 20, File::open(&self.path).map_err(io)?);
        file.seek(SeekFrom::Start(self.start)).map_err(io)?;
        Ok(file)
    }

    fn read(&self, file: &mut BufReader<File>, count: usize) -> Result<Vec<f64>> {
        let mut bytes = vec![0; count * self.width];
        file.read_exact(&mut bytes).map_err(|source| Error::Io {
            path: self.path.clone(),
            source,
        })?;
        let wide = |chunk: &[u8]| {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            if self.little {
                f64::from_le_bytes(word)
            } else {
                f64::from_be_bytes(word)
            }
        };
        let narrow = |chunk: &[u8]| {
            let mut word = [0; 4];
            word.copy_from_slice(chunk);
            f64::from(if self.little {
                f32::from_le_bytes(word)
            } else {
                f32::from_be_bytes(word)
            })
        };
        Ok(if self.width == 8 {
            bytes.chunks_exact(8).map(wide).collect()
        } else {
            bytes.chunks_exact(4).map(narrow).collect()
        })
    }
}
