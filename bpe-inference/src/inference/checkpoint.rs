//! The state of an inference between rounds, on disk.

use std::hash::Hasher;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{InferenceConfig, Program, StabilityPoint};
use crate::error::{Error, Result};
use crate::lp::LpState;
use crate::trace::{Delta, PairTrace};

const WHAT: &str = "inference checkpoint";
const MAGIC: &[u8; 8] = b"BPEINF\x00\x01";

/// Everything that the next round depends on.
#[derive(Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) fingerprint: u64,
    pub(super) program: Program,
    pub(super) alpha: Vec<f64>,
    pub(super) warm: Option<LpState>,
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) rounds: usize,
    pub(super) finished_stages: usize,
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
    /// Writes to a temporary file beside `path` and renames it, so that a crash leaves the old state whole.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let body = postcard::to_allocvec(self)
            .map_err(|error| Error::io(path, std::io::Error::other(error)))?;
        let partial = path.with_extension("partial");
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&partial)?;
            file.write_all(MAGIC)?;
            file.write_all(&xxh3_64(&body).to_le_bytes())?;
            file.write_all(&body)?;
            file.sync_all()?;
            std::fs::rename(&partial, path)
        };
        write().map_err(|error| Error::io(path, error))
    }

    /// Reads a state back and checks that it belongs to the run with this fingerprint.
    pub(super) fn load(path: &Path, fingerprint: u64) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
        let broken = |offset: u64, reason: &str| Error::Parse {
            format: WHAT,
            offset,
            reason: reason.into(),
        };
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| broken(0, "wrong magic or version"))?;
        let (sum, body) = rest
            .split_at_checked(8)
            .ok_or_else(|| broken(8, "file ends early"))?;
        if sum != xxh3_64(body).to_le_bytes() {
            return Err(broken(8, "checksum does not match: the file is damaged"));
        }
        let state: Self = postcard::from_bytes(body)
            .map_err(|error| broken(16, &format!("not a state of this version: {error}")))?;
        if state.fingerprint != fingerprint {
            return Err(Error::VersionMismatch {
                what: WHAT,
                expected: format!("input {fingerprint:016x}"),
                found: format!("input {:016x}", state.fingerprint),
            });
        }
        Ok(state)
    }
}
