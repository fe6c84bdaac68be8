//! Privacy noise: where randomness comes from, and how exact the distributions are.

mod exact;

use rand::rngs::SysRng;
use rand::{Rng as _, SeedableRng as _, TryRng as _};
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::linalg::double::Double;

/// How noise is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseKind {
    /// Exact samplers (C. Karney 2016) that compare random digits and never round, the result carried to some 100 bits and rounded once: there is
    /// nothing in the last digits that depends on the noise-free result (I. Mironov 2012). The default.
    #[default]
    Hardened,
    /// Ordinary samplers in 53 bits. Several times faster and distributed the same for all practical statistics, but the last digits of a release can
    /// give away what was rounded: for simulations.
    Fast,
}

impl NoiseKind {
    /// What a guarantee has to say about noise of this kind.
    pub(crate) fn caveat(self) -> Option<&'static str> {
        (self == Self::Fast).then_some("noise of 53 bits, whose last digits are not protected")
    }
}

/// A cryptographic generator (ChaCha, 20 rounds) for privacy noise, seeded by the operating system.
pub struct PrivacyRng {
    generator: ChaCha20Rng,
    seeded: bool,
}

impl std::fmt::Debug for PrivacyRng {
    /// Never shows the state: it would undo the noise.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivacyRng")
            .field("seeded", &self.seeded)
            .finish_non_exhaustive()
    }
}

impl PrivacyRng {
    /// A generator seeded by the operating system.
    ///
    /// # Errors
    /// [`Error::Randomness`] if the system gives no random numbers.
    pub fn from_os() -> Result<Self> {
        let mut seed = [0; 32];
        SysRng
            .try_fill_bytes(&mut seed)
            .map_err(|error| Error::Randomness {
                reason: error.to_string(),
            })?;
        Ok(Self {
            generator: ChaCha20Rng::from_seed(seed),
            seeded: false,
        })
    }

    /// A generator whose noise anybody can repeat: **a release with it protects nobody.** For simulations and tests.
    #[cfg(feature = "simulation")]
    #[must_use]
    pub fn insecure_seeded(seed: u64) -> Self {
        Self {
            generator: ChaCha20Rng::seed_from_u64(seed),
            seeded: true,
        }
    }

    /// Whether the seed is known, so that nothing is protected.
    #[must_use]
    pub fn is_seeded(&self) -> bool {
        self.seeded
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.generator.next_u64()
    }

    /// A uniform number in [0, 1) of 53 bits, for what is not released.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.word() >> 11) as f64 * (-53.0_f64).exp2()
    }

    /// A uniform whole number below `bound`, without bias; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Words beyond the last whole multiple of the bound are thrown away.
        let last = u64::MAX - (u64::MAX % bound + 1) % bound;
        loop {
            let word = self.word();
            if word <= last {
                return word % bound;
            }
        }
    }

    /// True with `probability`, rounded up by less than 2^-63.
    pub(crate) fn bernoulli_up(&mut self, probability: f64) -> bool {
        if probability >= 1.0 {
            return true;
        }
        // The product is exact; all floats from 2^53 on are whole.
        let threshold = (probability.max(0.0) * 64.0_f64.exp2()).ceil();
        u128::from(self.word()) < threshold as u128
    }

    /// A standard normal number.
    pub(crate) fn normal(&mut self, kind: NoiseKind) -> Double {
        match kind {
            NoiseKind::Hardened => exact::normal(self),
            NoiseKind::Fast => {
                let value: f64 = StandardNormal.sample(&mut self.generator);
                Double::from(value)
            }
        }
    }

    /// A Laplace number of scale 1: density `exp(-|x|)/2`.
    pub(crate) fn laplace(&mut self, kind: NoiseKind) -> Double {
        let size = match kind {
            NoiseKind::Hardened => exact::exponential(self),
            NoiseKind::Fast => {
                let value: f64 = Exp1.sample(&mut self.generator);
                Double::from(value)
            }
        };
        if self.word() & 1 == 0 { size } else { -size }
    }

    /// `value + scale * normal`, rounded once.
    pub(crate) fn add_normal(&mut self, value: f64, scale: f64, kind: NoiseKind) -> f64 {
        (Double::from(value) + self.normal(kind).scale(scale)).to_f64()
    }

    /// `value + scale * laplace`, rounded once.
    pub(crate) fn add_laplace(
        &mut self,
        value: impl Into<Double>,
        scale: f64,
        kind: NoiseKind,
    ) -> f64 {
        (value.into() + self.laplace(kind).scale(scale)).to_f64()
    }
}

/// Standard normal numbers as a release draws them, for checks of their distribution.
#[must_use]
pub fn standard_normals(rng: &mut PrivacyRng, kind: NoiseKind, count: usize) -> Vec<f64> {
    (0..count).map(|_| rng.normal(kind).to_f64()).collect()
}

/// Laplace numbers of scale 1 as a release draws them, for checks of their distribution.
#[must_use]
pub fn standard_laplaces(rng: &mut PrivacyRng, kind: NoiseKind, count: usize) -> Vec<f64> {
    (0..count).map(|_| rng.laplace(kind).to_f64()).collect()
}
