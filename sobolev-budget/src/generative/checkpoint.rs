//! The file from which a fit resumes: a line that names the format, a line of JSON, and numbers of 32 bits, little-endian.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::fit::{FitRow, NeuralFitConfig};
use crate::{Error, Result};

/// The first line.
const FORMAT: &str = "sobolev-budget neural fit 1\n";

/// What makes two runs the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    config: NeuralFitConfig,
    /// A hash of the points.
    points: u64,
}

/// What a checkpoint holds.
pub(crate) struct Saved {
    /// Steps done.
    pub(crate) step: usize,
    pub(crate) adam_steps: u64,
    pub(crate) history: Vec<FitRow>,
    /// The weights, two moments for each, and the latents.
    pub(crate) numbers: Vec<Vec<f32>>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    identity: Identity,
    step: usize,
    adam_steps: u64,
    history: Vec<FitRow>,
    /// Lengths of the lists that follow.
    lengths: Vec<usize>,
}

impl Identity {
    pub(crate) fn new(config: &NeuralFitConfig, points: &[f32]) -> Self {
        Self {
            config: config.clone(),
            points: hash(points),
        }
    }
}

/// Writes a checkpoint beside the previous one and moves it into its place.
pub(crate) fn save(path: &Path, identity: &Identity, saved: Saved) -> Result<()> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let header = Header {
        identity: identity.clone(),
        step: saved.step,
        adam_steps: saved.adam_steps,
        history: saved.history,
        lengths: saved.numbers.iter().map(Vec::len).collect(),
    };
    let header = serde_json::to_string(&header).map_err(|error| io(error.into()))?;
    let mut contents = format!("{FORMAT}{header}\n").into_bytes();
    let numbers = saved.numbers.iter().flatten();
    contents.extend(numbers.flat_map(|number| number.to_le_bytes()));
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(&contents).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// Reads the checkpoint of a run whose lists of numbers have these lengths, if there is one.
pub(crate) fn load(path: &Path, identity: &Identity, lengths: &[usize]) -> Result<Option<Saved>> {
    let contents = match fs::read(path) {
        Ok(contents) => contents,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let wrong = |reason: String| Error::Read {
        path: path.to_owned(),
        reason,
    };
    let other = |reason: &str| Error::Checkpoint {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let rest = contents
        .strip_prefix(FORMAT.as_bytes())
        .ok_or_else(|| wrong("it is no checkpoint of a neural fit".to_owned()))?;
    let end = rest
        .iter()
        .position(|&byte| byte == b'\n')
        .ok_or_else(|| wrong("it ends in its header".to_owned()))?;
    let header: Header = serde_json::from_slice(&rest[..end])
        .map_err(|error| wrong(format!("in its header: {error}")))?;
    if header.identity.config != identity.config {
        return Err(other("its settings differ"));
    }
    if header.identity.points != identity.points {
        return Err(other("its points differ"));
    }
    if header.lengths != lengths {
        return Err(other("its network or its number of points differs"));
    }
    if header.step > identity.config.steps {
        return Err(wrong(format!("it is at step {}", header.step)));
    }
    let numbers = split(&rest[end + 1..], lengths).map_err(wrong)?;
    Ok(Some(Saved {
        step: header.step,
        adam_steps: header.adam_steps,
        history: header.history,
        numbers,
    }))
}

/// Lists of numbers out of bytes that must be just as many.
fn split(bytes: &[u8], lengths: &[usize]) -> Result<Vec<Vec<f32>>, String> {
    let expected = 4 * lengths.iter().sum::<usize>();
    if bytes.len() != expected {
        let found = bytes.len();
        return Err(format!("{found} bytes of numbers, not {expected}"));
    }
    let (words, _) = bytes.as_chunks::<4>();
    let mut numbers = words.iter().map(|&word| f32::from_le_bytes(word));
    let lists: Vec<Vec<f32>> = lengths
        .iter()
        .map(|&length| numbers.by_ref().take(length).collect())
        .collect();
    match lists.iter().flatten().all(|number| number.is_finite()) {
        true => Ok(lists),
        false => Err("a number is not finite".to_owned()),
    }
}

/// FNV-1a (Fowler, Noll and Vo) of the bytes: the standard library's hash may change between versions.
fn hash(numbers: &[f32]) -> u64 {
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
