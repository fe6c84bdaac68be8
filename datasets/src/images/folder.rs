//! Image folders: PNG and JPEG files in a folder for each class, in a directory or a tar archive.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Cursor, Read as _, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use image::{DynamicImage, ImageDecoder as _, ImageReader, Limits};
use rayon::prelude::*;

use super::{ImageSet, ImageShape};
use crate::error::{Error, Result};
use crate::listing::files_below;

/// How to read an image folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderConfig {
    /// Take so many images of each class at most, the first by name; default `None`, all.
    pub per_class: Option<usize>,
    /// What pixels become; default [`Colour::Rgb`].
    pub colour: Colour,
}

/// What the pixels of an image file become. Where an image is transparent, white shows through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// One channel: luminance.
    Grey,
    /// Three channels: red, green, blue.
    #[default]
    Rgb,
}

/// A directory or tar archive of images, sorted by class.
///
/// The layout is `CLASS/FILE`, or `PART/CLASS/FILE` with parts called `train`, `test`, `val`, `valid` or `validation`;
/// folders above that are allowed as long as all images share them. Files with the endings `.png`, `.jpg` and `.jpeg` (in
/// any case) are images; others, and hidden ones, are passed over. Classes are numbered in the order of their
/// names, over all parts together.
#[derive(Debug)]
pub struct ImageFolder {
    path: PathBuf,
    classes: Vec<String>,
    /// By part; under the empty name where there are no parts.
    parts: BTreeMap<String, Vec<Entry>>,
}

/// An image file.
#[derive(Debug)]
struct Entry {
    name: String,
    class: u32,
    place: Place,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Archive { offset: u64, bytes: u64 },
}

/// Names of folders that are parts of a set and not classes.
const PARTS: [&str; 5] = ["train", "test", "val", "valid", "validation"];
const SUFFIXES: [&str; 3] = [".png", ".jpg", ".jpeg"];
/// Images that are read, then decoded together.
const BATCH: usize = 512;
/// What the decoder of one image may take, in bytes.
const MAX_IMAGE: u64 = 1 << 28;
/// What all pixels may take, in bytes.
const MAX_PIXELS: usize = 1 << 34;

impl FolderConfig {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`FolderConfig::per_class`].
    pub fn with_per_class(mut self, count: usize) -> Self {
        self.per_class = Some(count);
        self
    }

    /// Sets [`FolderConfig::colour`].
    pub fn with_colour(mut self, colour: Colour) -> Self {
        self.colour = colour;
        self
    }
}

impl Colour {
    fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

impl ImageFolder {
    /// Looks at what is in a directory, or in a tar archive that is not compressed. Reads no image.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Archive`] and [`Error::UnsafeEntry`] for archives that are damaged, or hold an image as a
    /// link or twice; [`Error::Malformed`] if an image lies elsewhere than the layout allows, or there is none.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let files = if path.is_dir() {
            let files = files_below(&path, &[""])?.into_iter();
            let place = |(name, path)| (name, Place::File(path));
            files
                .filter(|(name, _)| is_image(name))
                .map(place)
                .collect()
        } else {
            archive_images(&path)?
        };
        Self::sort(path, files)
    }

    /// The names of the classes, sorted.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The names of the parts, such as `test` and `train`; empty if there is one part without a name.
    pub fn parts(&self) -> Vec<&str> {
        let names = self.parts.keys().map(String::as_str);
        names.filter(|name| !name.is_empty()).collect()
    }

    /// Reads a part, or with `None` a folder that has no parts: class after class, each in the order of its files'
    /// names.
    ///
    /// # Errors
    /// [`Error::UnknownPart`]; [`Error::Io`]; [`Error::Malformed`] for a file that is not an image;
    /// [`Error::ImageSize`] if the images are not all of one size; those of [`ImageSet::new`].
    pub fn read(&self, part: Option<&str>, config: &FolderConfig) -> Result<ImageSet> {
        let entries = self.parts.get(part.unwrap_or_default());
        let entries = entries.ok_or_else(|| Error::UnknownPart {
            path: self.path.clone(),
            name: part.unwrap_or("all of it").to_owned(),
            known: match self.parts()[..] {
                [] => "one part without a name".to_owned(),
                ref names => names.join(", "),
            },
        })?;
        let mut counts = vec![0; self.classes.len()];
        let entries: Vec<&Entry> = entries
            .iter()
            .filter(|entry| {
                let count = &mut counts[entry.class as usize];
                *count += 1;
                config.per_class.is_none_or(|most| *count <= most)
            })
            .collect();
        let (shape, pixels) = self.pixels(&entries, config.colour)?;
        let labels = entries.iter().map(|entry| entry.class).collect();
        ImageSet::new(shape, pixels, labels, self.classes.clone())
    }

    /// Sorts files by part, class and name.
    fn sort(path: PathBuf, files: BTreeMap<String, Place>) -> Result<Self> {
        let malformed = |reason: String| Error::Malformed {
            path: path.clone(),
            reason,
        };
        let mut located = Vec::new();
        let mut root: Option<Location<'_>> = None;
        for name in files.keys() {
            let location = Location::of(name)
                .ok_or_else(|| malformed(format!("the image `{name}` is in no class's folder")))?;
            let first = *root.get_or_insert(location);
            if first.above != location.above || first.part.is_some() != location.part.is_some() {
                let reason = format!(
                    "the images are not all laid out alike: `{name}`, but also `{}`",
                    first.name
                );
                return Err(malformed(reason));
            }
            located.push(location);
        }
        if located.is_empty() {
            return Err(malformed("there is no PNG or JPEG file".to_owned()));
        }
        let classes: BTreeSet<&str> = located.iter().map(|location| location.class).collect();
        let classes: Vec<String> = classes.into_iter().map(str::to_owned).collect();
        let order = located.iter().map(|location| {
            let class = classes.partition_point(|class| class.as_str() < location.class);
            (location.part.unwrap_or_default().to_owned(), class as u32)
        });
        let order: Vec<(String, u32)> = order.collect();
        let mut parts: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for ((name, place), (part, class)) in files.into_iter().zip(order) {
            parts
                .entry(part)
                .or_default()
                .push(Entry { name, class, place });
        }
        // Names are sorted already, but a class `a` comes before `a-b` although `a-b/` comes before `a/`.
        for entries in parts.values_mut() {
            entries.sort_by_key(|entry| entry.class);
        }
        Ok(Self {
            path,
            classes,
            parts,
        })
    }

    /// Decodes images, several at a time.
    fn pixels(&self, entries: &[&Entry], colour: Colour) -> Result<(ImageShape, Vec<u8>)> {
        let archive = || File::open(&self.path).map_err(Error::io("read", &self.path));
        let mut archive = match entries.first().map(|entry| &entry.place) {
            Some(Place::Archive { .. }) => Some(archive()?),
            _ => None,
        };
        let span = tracing::info_span!("read images", position = 0_u64, length = entries.len());
        let _inside = span.enter();
        let mut shape = None;
        let mut pixels = Vec::new();
        for (batch, entries) in entries.chunks(BATCH).enumerate() {
            let files: Vec<(PathBuf, Vec<u8>)> = entries
                .iter()
                .map(|entry| Ok((self.shown(entry), self.bytes(entry, archive.as_mut())?)))
                .collect::<Result<_>>()?;
            let size = match shape {
                Some(ImageShape { width, height, .. }) => (width, height),
                None => dimensions(&files[0].1, &files[0].0)?,
            };
            let made = ImageShape {
                channels: colour.channels(),
                height: size.1,
                width: size.0,
            };
            shape = Some(made);
            let all = made
                .values()
                .checked_mul(entries.len().max(1) + batch * BATCH);
            if all.is_none_or(|bytes| bytes > MAX_PIXELS) {
                return Err(Error::InvalidImages {
                    reason: format!(
                        "the pixels of {} take over {MAX_PIXELS} bytes",
                        self.path.display()
                    ),
                });
            }
            let decoded: Vec<Vec<u8>> = files
                .par_iter()
                .map(|(path, bytes)| decode(bytes, path, size, colour))
                .collect::<Result<_>>()?;
            pixels.extend(decoded.into_iter().flatten());
            span.record("position", batch * BATCH + entries.len());
        }
        shape
            .map(|shape| (shape, pixels))
            .ok_or_else(|| Error::InvalidImages {
                reason: format!("no image of {} is wanted", self.path.display()),
            })
    }

    /// A path for messages.
    fn shown(&self, entry: &Entry) -> PathBuf {
        match &entry.place {
            Place::File(path) => path.clone(),
            Place::Archive { .. } => self.path.join(&entry.name),
        }
    }

    fn bytes(&self, entry: &Entry, archive: Option<&mut File>) -> Result<Vec<u8>> {
        match (&entry.place, archive) {
            (&Place::Archive { offset, bytes }, Some(archive)) => {
                let mut contents = Vec::new();
                archive
                    .seek(SeekFrom::Start(offset))
                    .and_then(|_| archive.take(bytes).read_to_end(&mut contents))
                    .map_err(Error::io("read", &self.path))?;
                Ok(contents)
            }
            _ => {
                let path = self.shown(entry);
                std::fs::read(&path).map_err(Error::io("read", path))
            }
        }
    }
}

/// Where a file lies: `above/part/class/file`.
#[derive(Clone, Copy)]
struct Location<'a> {
    name: &'a str,
    above: &'a str,
    part: Option<&'a str>,
    class: &'a str,
}

impl<'a> Location<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let (folder, _) = name.rsplit_once('/')?;
        let (above, class) = folder.rsplit_once('/').unwrap_or(("", folder));
        let (further, last) = above.rsplit_once('/').unwrap_or(("", above));
        let part = PARTS.contains(&last).then_some(last);
        Some(Self {
            name,
            above: if part.is_some() { further } else { above },
            part,
            class,
        })
    }
}

fn is_image(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    !file.starts_with('.') && SUFFIXES.iter().any(|suffix| file.ends_with(suffix))
}

/// The images of a tar archive by name, and where their bytes lie.
fn archive_images(path: &Path) -> Result<BTreeMap<String, Place>> {
    let damaged = |error: std::io::Error| Error::archive(path, error);
    let refused = |entry: &str, reason| Error::UnsafeEntry {
        path: path.to_owned(),
        entry: entry.to_owned(),
        reason,
    };
    let file = File::open(path).map_err(Error::io("read", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut images = BTreeMap::new();
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let name = slashed(&String::from_utf8_lossy(&entry.path_bytes()));
        let kind = entry.header().entry_type();
        if kind.is_dir() || !is_image(&name) {
            continue;
        }
        if !(kind.is_file() || kind.is_contiguous()) {
            return Err(refused(&name, "it is a link or a special file"));
        }
        let (offset, bytes) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(bytes).is_none_or(|end| end > length) {
            return Err(Error::archive(
                path,
                format!("it is cut off within `{name}`"),
            ));
        }
        let place = Place::Archive { offset, bytes };
        if images.insert(name.clone(), place).is_some() {
            return Err(refused(&name, "it comes twice"));
        }
    }
    Ok(images)
}

/// A path with `/` between its names and without `.` components.
fn slashed(path: &str) -> String {
    let names = Path::new(path).components().filter_map(|name| match name {
        Component::Normal(name) => Some(name.to_string_lossy()),
        _ => None,
    });
    names.collect::<Vec<_>>().join("/")
}

/// Width and height of an image.
fn dimensions(bytes: &[u8], path: &Path) -> Result<(usize, usize)> {
    let (width, height) = decoder(bytes, path)?.dimensions();
    Ok((width as usize, height as usize))
}

/// The pixels of an image, which must be `size`: channel, row, column.
fn decode(bytes: &[u8], path: &Path, size: (usize, usize), colour: Colour) -> Result<Vec<u8>> {
    let decoder = decoder(bytes, path)?;
    let (width, height) = decoder.dimensions();
    let found = (width as usize, height as usize);
    if found != size {
        return Err(Error::ImageSize {
            path: path.to_owned(),
            expected: size,
            found,
        });
    }
    let image = DynamicImage::from_decoder(decoder).map_err(|error| not_an_image(path, error))?;
    let image = if image.color().has_alpha() {
        DynamicImage::ImageRgb8(on_white(image))
    } else {
        image
    };
    Ok(match colour {
        Colour::Grey => image.into_luma8().into_raw(),
        Colour::Rgb => {
            let interleaved = image.into_rgb8().into_raw();
            let channel = |channel| interleaved.iter().skip(channel).step_by(3).copied();
            (0..3).flat_map(channel).collect()
        }
    })
}

fn decoder<'a>(bytes: &'a [u8], path: &Path) -> Result<impl image::ImageDecoder + 'a> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_IMAGE);
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.limits(limits);
    reader
        .with_guessed_format()
        .map_err(Error::io("read", path))?
        .into_decoder()
        .map_err(|error| not_an_image(path, error))
}

/// A transparent image on a white ground.
fn on_white(image: DynamicImage) -> image::RgbImage {
    let image = image.into_rgba8();
    image::RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0.map(u32::from);
        let mix = |value: u32| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        image::Rgb([red, green, blue].map(mix))
    })
}

fn not_an_image(path: &Path, error: image::ImageError) -> Error {
    Error::Malformed {
        path: path.to_owned(),
        reason: format!("not an image that can be read: {error}"),
    }
}
