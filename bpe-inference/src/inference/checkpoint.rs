//! The state of an inference between rounds, on disk.

use std::hash::Hasher;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{InferenceConfig, Program, StabilityPoint, StopReason};
use crate::error::{Error, Result};
use crate::lp::LpState;
use crate::trace::{Delta, PairTrace, write_whole};

const WHAT: &str = "inference checkpoint";
const MAGIC: &[u8; 8] = b"BPEINF\x00\x01";
/// Version of what follows the checksum.
const VERSION: u32 = 2;
/// Magic and checksum; the version is the first that the checksum covers, so that damage is not taken for another version.
const FRAME: usize = 8 + 8;
/// Where the state begins.
const STATE: usize = FRAME + 4;

/// Everything that the next round depends on.
#[derive(Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) fingerprint: u64,
    pub(super) program: Program,
    pub(super) stage_steps: usize,
    pub(super) alpha: Vec<f64>,
    pub(super) warm: Option<LpState>,
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) rounds: usize,
    pub(super) finished_stages: usize,
    pub(super) stop: StopReason,
    pub(super) moves: Vec<f64>,
    pub(super) stability: Vec<StabilityPoint>,
}

/// Identifies the input of a run: its trace, the settings that steer it, and its starting weights.
pub(super) fn fingerprint(
    trace: &PairTrace,
    config: &InferenceConfig,
    steps: usize,
    alpha: &[f64],
) -> u64 {
    let mut hash = Xxh3::new();
    hash_trace(trace, &mut hash);
    // A run that was stopped for time may go on with more of it.
    let mut config = config.clone();
    config.stop.time = None;
    hash.write(format!("{config:?} {steps}").as_bytes());
    for weight in alpha {
        hash.write_u64(weight.to_bits());
    }
    hash.finish()
}

fn hash_trace(trace: &PairTrace, hash: &mut Xxh3) {
    for category in trace.categories() {
        hash.write(category.name.as_bytes());
        hash.write_u64(category.bytes);
        hash.write_u64(category.initial_pairs);
    }
    for &(left, right) in trace.pairs() {
        hash.write_u64(u64::from(left) << 32 | u64::from(right));
    }
    let mut changes = |deltas: &[Delta]| {
        for delta in deltas {
            hash.write_u32(delta.pair);
            hash.write_u16(delta.category);
            hash.write_i64(delta.delta);
        }
        hash.write_u64(deltas.len() as u64);
    };
    changes(trace.initial());
    for t in 0..trace.steps() {
        changes(trace.deltas(t));
    }
}

impl Checkpoint {
    /// Writes the state; a crash leaves the old one whole.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let state = postcard::to_allocvec(self)
            .map_err(|error| Error::io(path, std::io::Error::other(error)))?;
        let body = [&VERSION.to_le_bytes()[..], &state].concat();
        let sum = xxh3_64(&body).to_le_bytes();
        write_whole(path, &[&MAGIC[..], &sum, &body].concat())
    }

    /// Reads a state back and checks that it belongs to the run with this fingerprint, which is one of `trace`.
    pub(super) fn load(path: &Path, fingerprint: u64, trace: &PairTrace) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        let broken = |offset: usize, reason: &str| Error::Parse {
            format: WHAT,
            offset: offset as u64,
            reason: reason.into(),
        };
        let mismatch = |expected: String, found: String| Error::VersionMismatch {
            what: WHAT,
            expected,
            found,
        };
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| broken(0, "the first 8 bytes are not those of such a file"))?;
        let (sum, body) = rest
            .split_first_chunk::<8>()
            .ok_or_else(|| broken(bytes.len(), "the file ends early"))?;
        if *sum != xxh3_64(body).to_le_bytes() {
            return Err(broken(8, "the checksum does not fit: the file is damaged"));
        }
        let (version, state) = body
            .split_first_chunk::<4>()
            .ok_or_else(|| broken(bytes.len(), "the file ends early"))?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            let versions = [VERSION, version].map(|version| format!("version {version}"));
            let [expected, found] = versions;
            return Err(mismatch(expected, found));
        }
        let state: Self = postcard::from_bytes(state)
            .map_err(|error| broken(STATE, &format!("not the state of an inference: {error}")))?;
        if state.fingerprint != fingerprint {
            let inputs =
                [fingerprint, state.fingerprint].map(|input| format!("input {input:016x}"));
            let [expected, found] = inputs;
            return Err(mismatch(expected, found));
        }
        if !state.is_consistent(trace) {
            return Err(broken(
                STATE,
                "the parts of the state do not belong together",
            ));
        }
        Ok(state)
    }

    /// Whether the parts have the sizes that the run relies on, and bounds are numbers.
    fn is_consistent(&self, trace: &PairTrace) -> bool {
        let n = trace.categories().len();
        let lp = self.program.lp();
        self.program.belongs_to(trace)
            && self.stage_steps <= trace.steps()
            && self.alpha.len() == n
            && self.alpha.iter().all(|x| x.is_finite())
            && self.lower.is_finite()
            && !self.upper.is_nan()
            && self.stability.iter().all(|point| point.bytes.len() == n)
            && self.warm.as_ref().is_none_or(|state| {
                state.alpha.len() == n
                    && state.v_step.len() <= lp.steps()
                    && state.v_pair.len() <= lp.pairs()
                    && state.dual.len() <= lp.rows()
            })
    }
}
