//! What a search has reached, in a file from which a later run goes on.
//!
//! ```text
//! magic (8 bytes) | version (u32) | keys of network, specification and settings (3 u64) | payload | XXH3-64 of all before (u64)
//! ```
//!
//! Numbers of the frame are little-endian; the payload is postcard's. A file appears under its name only when it is complete.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::attack::Attack;
use crate::branch::{DecisionSearch, InputSearch, Root};
use crate::certificate::Certificate;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::network::{Enclosure, Layer, Network};
use crate::report::Reason;
use crate::spec::{Spec, UnsafeCase};
use crate::verify::VerifierConfig;

const MAGIC: [u8; 8] = *b"ZVSEARCH";

/// Version of the payload; a change of what its numbers mean changes it too.
const VERSION: u32 = 3;

/// Bytes before the payload.
const HEAD: usize = 8 + 4 + 3 * 8;

/// What has been reached between two rounds of a search.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// What the attack found, for the first so many cases.
    pub(crate) attacks: Vec<Attack>,
    /// The cases that no more can be done for, by their numbers.
    pub(crate) settled: BTreeMap<usize, Settled>,
    /// Their proofs, and the bounds that those of open boxes rest on.
    pub(crate) certificate: Certificate,
    /// Open searches on inputs, by the number of the case.
    pub(crate) inputs: BTreeMap<usize, InputSearch>,
    /// Cases whose search on inputs gave up and that go on with activations, with what it had proven.
    pub(crate) turned: BTreeMap<usize, f64>,
    /// Open searches on activations, by the number of the first case over the box.
    pub(crate) boxes: BTreeMap<usize, BoxSearch>,
    /// What stopped the open searches in this run.
    #[serde(skip)]
    pub(crate) reasons: BTreeMap<usize, Reason>,
}

/// What is known about a case.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Settled {
    /// The proven lower bound of the distance.
    pub(crate) bound: f64,
    /// That before any branching.
    pub(crate) root_bound: f64,
    pub(crate) nodes: usize,
    pub(crate) proven: bool,
    /// What stopped the search.
    pub(crate) stopped: Option<Reason>,
}

/// The cases over one box that are left to branch on.
#[derive(Serialize, Deserialize)]
pub(crate) struct BoxSearch {
    /// The number of the relaxation in the certificate.
    pub(crate) relaxation: usize,
    /// Whether decisions tighten the layers behind them.
    pub(crate) refined: bool,
    pub(crate) rows: Vec<OpenCase>,
    /// Of every row the root.
    pub(crate) roots: Vec<Root>,
    /// The search; none before its first round.
    pub(crate) search: Option<DecisionSearch>,
}

/// A case that is left to branch on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OpenCase {
    pub(crate) case: usize,
    /// The combination of its half-spaces that is to be impossible: a weight each.
    pub(crate) weights: Vec<u16>,
    pub(crate) root_bound: f64,
}

impl Progress {
    /// Whether it can be about this network and these cases.
    fn fits(&self, network: &Network, cases: &[UnsafeCase]) -> bool {
        let known = |case: &usize| *case < cases.len();
        let hidden = network.hidden();
        let boxes = self.boxes.values().all(|open| {
            let rows = open.rows.iter().all(|row| {
                let case = cases.get(row.case);
                case.is_some_and(|case| row.weights.len() == case.outputs.len())
            });
            let search = open.search.as_ref();
            rows && open.rows.len() == open.roots.len()
                && open.relaxation < self.certificate.relaxations.len()
                && open.roots.iter().all(|root| root.fits(network, &hidden))
                && search.is_none_or(|search| search.fits(open.roots.len(), &hidden))
        });
        let inputs = network.inputs();
        self.attacks.len() <= cases.len()
            && self.settled.keys().all(known)
            && self.inputs.keys().all(known)
            && self.turned.keys().all(known)
            && self.inputs.values().all(|search| search.fits(inputs))
            && boxes
    }
}

/// What a checkpoint is about. Limits are no part of it: what they stopped may go on under others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    network: u64,
    spec: u64,
    settings: u64,
}

impl Key {
    pub(crate) fn new(network: &Network, spec: &Spec, config: &VerifierConfig) -> Self {
        let mut settings = config.clone();
        settings.timeout_seconds = None;
        settings.branch.nodes = 0;
        settings.branch.open = 0;
        Self {
            network: network_key(network),
            spec: key_of(spec),
            settings: key_of(&settings),
        }
    }

    fn parts(self) -> [(&'static str, u64); 3] {
        [
            ("network", self.network),
            ("specification", self.spec),
            ("settings", self.settings),
        ]
    }
}

/// A hash of what a value is as JSON; every type that is hashed so can be written.
fn key_of(value: &impl Serialize) -> u64 {
    serde_json::to_vec(value).map_or(0, |bytes| xxh3_64(&bytes))
}

fn network_key(network: &Network) -> u64 {
    let mut hash = Xxh3::new();
    sizes(&mut hash, network.input_shape());
    for layer in network.layers() {
        match layer {
            Layer::Affine(layer) => {
                sizes(&mut hash, &[0, layer.outputs, layer.inputs]);
                numbers(&mut hash, layer.weight.iter().chain(&layer.bias));
            }
            Layer::Conv2d(layer) => {
                sizes(&mut hash, &[1, layer.channels, layer.groups]);
                sizes(&mut hash, &layer.input);
                for pair in [layer.kernel, layer.stride, layer.dilation] {
                    sizes(&mut hash, &pair);
                }
                sizes(&mut hash, &layer.padding);
                numbers(&mut hash, layer.weight.iter().chain(&layer.bias));
            }
            Layer::AvgPool2d(layer) => {
                sizes(&mut hash, &[2, usize::from(layer.count_include_pad)]);
                sizes(&mut hash, &layer.input);
                sizes(&mut hash, &layer.kernel);
                sizes(&mut hash, &layer.stride);
                sizes(&mut hash, &layer.padding);
            }
            Layer::Scale(layer) => {
                sizes(&mut hash, &[3, layer.scale.len()]);
                for Enclosure { value, radius } in layer.scale.iter().chain(&layer.shift) {
                    hash.update(&value.to_le_bytes());
                    hash.update(&radius.to_le_bytes());
                }
            }
            Layer::Permute(order) => {
                sizes(&mut hash, &[4, order.len()]);
                sizes(&mut hash, order);
            }
            Layer::Relu => sizes(&mut hash, &[5]),
        }
    }
    hash.digest()
}

fn sizes(hash: &mut Xxh3, sizes: &[usize]) {
    for &size in sizes {
        hash.update(&(size as u64).to_le_bytes());
    }
}

fn numbers<'a>(hash: &mut Xxh3, numbers: impl Iterator<Item = &'a f32>) {
    for number in numbers {
        hash.update(&number.to_le_bytes());
    }
}

/// A search that is being made, beside the progress that it is no part of yet.
#[derive(Serialize, Deserialize)]
pub(crate) enum Current<I, D> {
    Nothing,
    /// On the inputs of a case.
    Inputs(usize, I),
    /// On activations, over the box of a case.
    Decisions(usize, D),
}

/// A search that is being made, to be written.
pub(crate) type Running<'a> = Current<&'a InputSearch, &'a DecisionSearch>;

/// The payload.
#[derive(Serialize, Deserialize)]
struct Snapshot<P, I, D> {
    progress: P,
    current: Current<I, D>,
}

/// Where checkpoints go, how often, and what they are about.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) every: Duration,
    pub(crate) key: Key,
}

/// Writes the checkpoints of a run.
pub(crate) struct Keeper<'a> {
    place: Option<&'a Place>,
    limits: &'a Limits,
    last: Instant,
    /// Whether the run's last checkpoint is written: what comes after it was cut short by a limit.
    sealed: bool,
}

impl<'a> Keeper<'a> {
    pub(crate) fn new(place: Option<&'a Place>, limits: &'a Limits) -> Self {
        Self {
            place,
            limits,
            last: Instant::now(),
            sealed: false,
        }
    }

    /// Writes the progress now.
    pub(crate) fn write(&mut self, progress: &Progress) -> Result<()> {
        match self.place {
            Some(place) if !self.sealed => {
                write(place, progress, Current::Nothing)?;
                self.last = Instant::now();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Writes the progress with the search that is being made, if it is time.
    pub(crate) fn tick(&mut self, progress: &Progress, current: Running<'_>) {
        let Some(place) = self.place.filter(|_| !self.sealed) else {
            return;
        };
        if self.last.elapsed() < place.every {
            return;
        }
        // A search need not end because a disk is full; the last checkpoint is another matter.
        if let Err(error) = write(place, progress, current) {
            tracing::warn!(%error, "no checkpoint was written");
        }
        self.last = Instant::now();
    }

    /// Writes the last checkpoint of the run if a limit is reached. What the run still does is hurried, and a later run does it better.
    pub(crate) fn seal(&mut self, progress: &Progress) -> Result<()> {
        if self.limits.reached().is_some() {
            self.write(progress)?;
            self.sealed = true;
        }
        Ok(())
    }

    /// Removes the file: the question is answered.
    pub(crate) fn remove(&self) -> Result<()> {
        match self.place {
            Some(place) if place.path.exists() => {
                fs::remove_file(&place.path).map_err(|source| io_error(&place.path, source))
            }
            _ => Ok(()),
        }
    }
}

fn write(place: &Place, progress: &Progress, current: Running<'_>) -> Result<()> {
    let path = &place.path;
    let mut bytes = Vec::with_capacity(HEAD);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    for (_, part) in place.key.parts() {
        bytes.extend(part.to_le_bytes());
    }
    let snapshot = Snapshot { progress, current };
    let mut bytes = postcard::to_extend(&snapshot, bytes)
        .map_err(|error| io_error(path, std::io::Error::other(error)))?;
    bytes.extend(xxh3_64(&bytes).to_le_bytes());

    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = path.with_file_name(name);
    let whole = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    whole().map_err(|source| {
        // What is left of a failed attempt is worth nothing; the first error is the one to report.
        let _ = fs::remove_file(&unfinished);
        io_error(path, source)
    })
}

/// The progress in a file, if it is about this search.
pub(crate) fn read(place: &Place, network: &Network, cases: &[UnsafeCase]) -> Result<Progress> {
    let path = &place.path;
    let bytes = fs::read(path).map_err(|source| io_error(path, source))?;
    let damaged = |reason: &str| Error::CheckpointFormat {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    if !bytes.starts_with(&MAGIC) {
        return Err(damaged("it does not begin as one"));
    }
    let version = bytes
        .get(8..)
        .and_then(|rest| rest.first_chunk())
        .map(|version| u32::from_le_bytes(*version));
    if let Some(version) = version.filter(|version| *version != VERSION) {
        return Err(damaged(&format!(
            "it is of version {version}, and {VERSION} is understood"
        )));
    }
    let (all, sum) = bytes
        .split_last_chunk()
        .filter(|(all, _)| all.len() >= HEAD)
        .ok_or_else(|| damaged("it ends too early"))?;
    if xxh3_64(all) != u64::from_le_bytes(*sum) {
        return Err(damaged("its checksum is another"));
    }
    let (head, payload) = all.split_at(HEAD);
    for ((what, expected), found) in place.key.parts().into_iter().zip(head[12..].chunks(8)) {
        if *found != expected.to_le_bytes() {
            return Err(Error::CheckpointMismatch {
                path: path.to_owned(),
                what,
            });
        }
    }
    let Snapshot::<Progress, InputSearch, DecisionSearch> {
        mut progress,
        current,
    } = postcard::from_bytes(payload).map_err(|error| damaged(&error.to_string()))?;
    match current {
        Current::Nothing => {}
        Current::Inputs(case, search) => {
            progress.inputs.insert(case, search);
        }
        Current::Decisions(first, search) => {
            if let Some(open) = progress.boxes.get_mut(&first) {
                open.search = Some(search);
            }
        }
    }
    if progress.fits(network, cases) {
        Ok(progress)
    } else {
        Err(damaged("what it holds does not fit together"))
    }
}

fn io_error(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}
