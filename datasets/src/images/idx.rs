//! IDX, the format of MNIST: a header of big-endian numbers, then bytes.
//!
//! A file begins with two zero bytes, the type of the values (8 for bytes, the only one read here) and the number of
//! axes; then comes the length of each axis in 32 bits, then the values, the last axis fastest. Images have three axes
//! (image, row, column) and so a header of 16 bytes, labels one axis and a header of 8. Files may be compressed with
//! gzip, whatever their names say.
//!
//! A header is not believed: memory is taken as bytes arrive, and a file that has fewer or more of them than its header
//! promises is refused.

use std::fs::File;
use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{ImageSet, ImageShape, TrainTest};
use crate::error::{Error, Result};

/// The first bytes of a file of images: zeros, bytes, three axes.
pub const IMAGES_MAGIC: [u8; 4] = [0, 0, 8, 3];
/// The first bytes of a file of labels: zeros, bytes, one axis.
pub const LABELS_MAGIC: [u8; 4] = [0, 0, 8, 1];

/// Grey images without labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Rows of every image.
    pub height: usize,
    /// Columns of every image.
    pub width: usize,
    /// All bytes: image, row, column.
    pub pixels: Vec<u8>,
}

impl Images {
    /// How many images there are.
    pub fn count(&self) -> usize {
        self.pixels.len() / (self.height * self.width)
    }
}

/// Images and their labels, from two files. `classes` are the names of the labels 0, 1, ...
///
/// # Errors
/// [`Error::Io`]; [`Error::WrongMagic`], [`Error::Truncated`] and [`Error::Malformed`] for files that are not IDX, too
/// short, or too long; [`Error::CountMismatch`] if there is not one label for each image; those of [`ImageSet::new`].
pub fn read(images: &Path, labels: &Path, classes: Vec<String>) -> Result<ImageSet> {
    Half::load(images.to_owned(), labels.to_owned())?.into_set(classes)
}

/// The four files of a folder with the names that MNIST gave them, `train-images-idx3-ubyte`,
/// `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each as it is or with `.gz`.
///
/// Classes are called `0`, `1`, ... up to the largest label, unless they are given.
///
/// # Errors
/// Those of [`read`]; [`Error::InvalidImages`] if test images are not as large as training images.
pub fn read_folder(folder: &Path, classes: Option<Vec<String>>) -> Result<TrainTest> {
    let load = |part: &str| {
        let file = |kind| present(folder, &format!("{part}-{kind}-ubyte"));
        Half::load(file("images-idx3"), file("labels-idx1"))
    };
    train_test(load("train")?, load("t10k")?, classes)
}

/// Reads images from the bytes of a file, which is called `path` in errors.
///
/// # Errors
/// Those of [`read`].
pub fn parse_images(bytes: &[u8], path: &Path) -> Result<Images> {
    images(bytes, path)
}

/// Reads labels from the bytes of a file, which is called `path` in errors.
///
/// # Errors
/// Those of [`read`].
pub fn parse_labels(bytes: &[u8], path: &Path) -> Result<Vec<u8>> {
    labels(bytes, path)
}

/// Images and labels that belong together, and where they come from.
pub(crate) struct Half {
    images: Images,
    images_path: PathBuf,
    labels: Vec<u8>,
    labels_path: PathBuf,
}

impl Half {
    fn load(images_path: PathBuf, labels_path: PathBuf) -> Result<Self> {
        Ok(Self {
            images: images(open(&images_path)?, &images_path)?,
            images_path,
            labels: labels(open(&labels_path)?, &labels_path)?,
            labels_path,
        })
    }

    /// From the bytes of two files; `name` is for errors.
    pub(crate) fn parse(image_bytes: &[u8], label_bytes: &[u8], name: &str) -> Result<Self> {
        let images_path = PathBuf::from(format!("{name}-images"));
        let labels_path = PathBuf::from(format!("{name}-labels"));
        Ok(Self {
            images: images(image_bytes, &images_path)?,
            images_path,
            labels: labels(label_bytes, &labels_path)?,
            labels_path,
        })
    }

    fn into_set(self, classes: Vec<String>) -> Result<ImageSet> {
        let Images {
            height,
            width,
            pixels,
        } = self.images;
        let count = pixels.len() / (height * width);
        if count != self.labels.len() {
            return Err(Error::CountMismatch {
                images_path: self.images_path,
                images: count,
                labels_path: self.labels_path,
                labels: self.labels.len(),
            });
        }
        let shape = ImageShape {
            channels: 1,
            height,
            width,
        };
        let labels = self.labels.into_iter().map(u32::from).collect();
        ImageSet::new(shape, pixels, labels, classes)
    }
}

/// Training and test images with the same classes.
pub(crate) fn train_test(
    train: Half,
    test: Half,
    classes: Option<Vec<String>>,
) -> Result<TrainTest> {
    let classes = classes.unwrap_or_else(|| {
        let largest = train.labels.iter().chain(&test.labels).max();
        let count = largest.map_or(0, |&label| usize::from(label) + 1);
        (0..count).map(|label| label.to_string()).collect()
    });
    TrainTest::new(train.into_set(classes.clone())?, test.into_set(classes)?)
}

/// The IDX files, not compressed, of images and labels of a set with one channel and at most 256 classes.
pub(crate) fn files(set: &ImageSet) -> (Vec<u8>, Vec<u8>) {
    let ImageShape { height, width, .. } = set.shape();
    let mut images = IMAGES_MAGIC.to_vec();
    for length in [set.len(), height, width] {
        images.extend((length as u32).to_be_bytes());
    }
    images.extend_from_slice(set.pixels());
    let mut labels = LABELS_MAGIC.to_vec();
    labels.extend((set.len() as u32).to_be_bytes());
    labels.extend(set.labels().iter().map(|&label| label as u8));
    (images, labels)
}

/// `name` in a folder, or `name.gz` if only that is there.
fn present(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(name);
    let compressed = folder.join(format!("{name}.gz"));
    if !plain.exists() && compressed.exists() {
        compressed
    } else {
        plain
    }
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    Ok(BufReader::new(file))
}

fn images(file: impl Read, path: &Path) -> Result<Images> {
    let Values { axes, bytes } = values(file, path, IMAGES_MAGIC)?;
    let [_, height, width] = axes;
    if height == 0 || width == 0 {
        return Err(malformed(
            path,
            format!("images of {height}x{width} pixels"),
        ));
    }
    Ok(Images {
        height,
        width,
        pixels: bytes,
    })
}

fn labels(file: impl Read, path: &Path) -> Result<Vec<u8>> {
    let Values { bytes, .. } = values::<1>(file, path, LABELS_MAGIC)?;
    Ok(bytes)
}

/// What an IDX file holds.
struct Values<const AXES: usize> {
    axes: [usize; AXES],
    bytes: Vec<u8>,
}

/// Reads a file that must begin with `magic`, which stands for `AXES` axes.
fn values<const AXES: usize>(file: impl Read, path: &Path, magic: [u8; 4]) -> Result<Values<AXES>> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let mut file = file;
    let mut start = Vec::new();
    read_up_to(&mut file, GZIP.len() as u64, &mut start, path)?;
    let compressed = start == GZIP;
    let file = Cursor::new(start).chain(file);
    if compressed {
        uncompressed(MultiGzDecoder::new(file), path, magic)
    } else {
        uncompressed(file, path, magic)
    }
}

fn uncompressed<const AXES: usize>(
    mut file: impl Read,
    path: &Path,
    magic: [u8; 4],
) -> Result<Values<AXES>> {
    let mut header = Vec::new();
    let length = 4 * (1 + AXES as u64);
    read_up_to(&mut file, length, &mut header, path)?;
    let (numbers, _) = header.as_chunks::<4>();
    let found = &header[..header.len().min(4)];
    if !magic.starts_with(found) {
        return Err(Error::WrongMagic {
            path: path.to_owned(),
            expected: magic,
            found: found.to_vec(),
        });
    }
    let truncated = |needed: u64, found: u64| Error::Truncated {
        path: path.to_owned(),
        needed,
        found,
    };
    if header.len() as u64 != length {
        return Err(truncated(length, header.len() as u64));
    }
    let axes: [u32; AXES] = std::array::from_fn(|axis| u32::from_be_bytes(numbers[1 + axis]));
    let wanted = axes
        .iter()
        .try_fold(1_u64, |product, &axis| product.checked_mul(axis.into()))
        .filter(|&wanted| usize::try_from(wanted).is_ok())
        .ok_or_else(|| malformed(path, format!("axes of {axes:?} values")))?;
    let mut bytes = Vec::new();
    // A byte more shows what stands behind the end, and takes gzip to the checksum at its own.
    read_up_to(&mut file, wanted.saturating_add(1), &mut bytes, path)?;
    match (bytes.len() as u64).cmp(&wanted) {
        std::cmp::Ordering::Less => Err(truncated(
            wanted.saturating_add(length),
            bytes.len() as u64 + length,
        )),
        std::cmp::Ordering::Greater => {
            let reason = format!("more than the {wanted} values that its header promises");
            Err(malformed(path, reason))
        }
        std::cmp::Ordering::Equal => Ok(Values {
            axes: axes.map(|axis| axis as usize),
            bytes,
        }),
    }
}

/// Appends at most `count` bytes of a file to `bytes`, whose memory grows with what is there.
fn read_up_to(file: &mut impl Read, count: u64, bytes: &mut Vec<u8>, path: &Path) -> Result<()> {
    match file.take(count).read_to_end(bytes) {
        Ok(_) => Ok(()),
        // A damaged or cut-off gzip stream.
        Err(error) if matches!(error.kind(), InvalidInput | InvalidData | UnexpectedEof) => Err(
            malformed(path, format!("it is compressed, and damaged: {error}")),
        ),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn malformed(path: &Path, reason: String) -> Error {
    Error::Malformed {
        path: path.to_owned(),
        reason,
    }
}
