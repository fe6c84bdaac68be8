//! The ladder of thresholds, and what it implies about how far two neighbouring tables can be apart.
//!
//! At level `l` of `0..=N` (`N = k+a-1`) rows with a leverage above `tau_l` are removed, then rows with a residual above `rho_l`. The thresholds rise
//! so fast that what one changed row does at level `l` is allowed at level `l+1`; from that everything else follows (design, sections 2.4, 2.5,
//! 2.9 and 10; the numbers of the lemmas are those of the guide).

use serde::{Deserialize, Serialize};

use crate::Adjacency;
use crate::error::{Error, Result};

/// Allowance for the error of computed shapes, in trace norm: of two tables.
pub(crate) const SHAPE_ALLOWANCE: f64 = 1e-8;
/// Allowance for the error of computed coefficients, relative to [`Ladder::center_shift`]: of two tables, twice over.
pub(crate) const CENTER_ALLOWANCE: f64 = 1e-6;

/// Residual bounds whose squares, and those of all thresholds that follow from them, neither overflow nor vanish.
pub(crate) const RESIDUAL_BOUNDS: std::ops::RangeInclusive<f64> = 1e-100..=1e100;

/// What a ladder is made from. All of it is public.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LadderInput {
    /// `L`: leverages up to this pass at every level. In (0, 1).
    pub leverage_bound: f64,
    /// `R`: residuals up to this size pass at every level, in units of the response. In [1e-100, 1e100].
    pub residual_bound: f64,
    /// `k`: a table whose score reaches it is always refused; at most so many rows are ever removed. At least 1.
    pub score_cap: usize,
    /// `a`: weights are averages over so many levels. At least 1.
    pub window: usize,
    /// Which tables are neighbours.
    pub adjacency: Adjacency,
    /// `xi`: the largest relative error of computed leverages and residuals that the thresholds make up for. 0 for exact arithmetic.
    pub relative_error: f64,
}

/// The thresholds of all levels, and the bounds of lemmas 5 and 6.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "StoredLadder")]
pub struct Ladder {
    input: LadderInput,
    /// `tau_0..=tau_{N+1}`
    leverage: Vec<f64>,
    /// `rho_0..=rho_{N+1}`
    residual: Vec<f64>,
    tau_star: f64,
    rho_star: f64,
    kappa: f64,
    gamma: f64,
    center_shift: f64,
}

/// What a ladder is computed from.
#[derive(Deserialize)]
struct StoredLadder {
    input: LadderInput,
}

impl TryFrom<StoredLadder> for Ladder {
    type Error = String;

    fn try_from(stored: StoredLadder) -> Result<Self, String> {
        let ladder = Self::new(stored.input).map_err(|error| error.to_string())?;
        ladder.ok_or_else(|| "the leverage bound is too large for so many levels".to_owned())
    }
}

impl Ladder {
    /// Computes the thresholds. `None` if the leverage bound is too large for so many levels: then some division of the proof has no positive
    /// denominator, or rounding could no longer be made up for.
    ///
    /// # Errors
    /// [`Error::BadParameter`] for bounds, caps, windows or errors without a meaning.
    pub fn new(input: LadderInput) -> Result<Option<Self>> {
        check(&input)?;
        Ok(Self::try_new(input))
    }

    pub(crate) fn try_new(input: LadderInput) -> Option<Self> {
        let LadderInput {
            leverage_bound,
            residual_bound,
            score_cap: k,
            window: a,
            adjacency,
            relative_error: xi,
        } = input;
        // Lemma 5 needs weights of neighbours to be close: 1/L - 2k - a > k + 1.
        if 1.0 / leverage_bound - (3 * k + a) as f64 <= 1.0 {
            return None;
        }
        let widened = 1.0 + 2.0 * xi;
        let mut leverage = vec![leverage_bound];
        let mut residual = vec![residual_bound];
        for level in 0..k + a {
            let tau = leverage[level];
            let next = widened * widened * tau / positive(1.0 - widened * tau)?;
            // Lemma 1: rows beside C number at most m, and their leverage with respect to C is at most t.
            let m = (level + 1).min(k) as f64;
            let reach = widened * next;
            let t = reach / positive(1.0 - m * reach)?;
            let left = positive(1.0 - m * t)?;
            if xi > left / 20.0 {
                return None;
            }
            let own = match adjacency {
                Adjacency::Replace => 1.0 + t,
                Adjacency::AddRemove => 1.0,
            };
            leverage.push(next);
            residual.push(residual[level] * own / left * (1.0 + 6.0 * xi / left));
        }
        let last = leverage.len() - 1;
        let reach = widened * leverage[last];
        let tau_star = reach / positive(1.0 - k as f64 * reach)?;
        let before = (k - 1) as f64;
        let rho_star = residual[last] * (1.0 + before * tau_star);
        let changed = match adjacency {
            Adjacency::Replace => 2.0,
            Adjacency::AddRemove => 1.0,
        };
        let kappa = before / a as f64 + changed;
        let (shape, center) = if xi > 0.0 {
            (SHAPE_ALLOWANCE, CENTER_ALLOWANCE)
        } else {
            (0.0, 0.0)
        };
        // The allowance is for errors in either table's own norm, and the other's is larger by up to 1 + gamma.
        let exact = kappa * tau_star;
        let gamma = exact + shape * (1.0 + exact);
        if gamma >= 1.0 || !rho_star.is_finite() {
            return None;
        }
        let center_shift = tau_star.sqrt() * rho_star * kappa / (1.0 - tau_star) * (1.0 + center);
        Some(Self {
            input,
            leverage,
            residual,
            tau_star,
            rho_star,
            kappa,
            gamma,
            center_shift,
        })
    }

    /// What it was made from.
    #[must_use]
    pub fn input(&self) -> &LadderInput {
        &self.input
    }

    /// The number of levels, `k + a`.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.input.score_cap + self.input.window
    }

    /// `tau_l`, for `l` up to `N+1`, which no table is filtered with.
    ///
    /// # Panics
    /// If there is no such level.
    #[must_use]
    pub fn leverage_threshold(&self, level: usize) -> f64 {
        self.leverage[level]
    }

    /// `rho_l`, for `l` up to `N+1`.
    ///
    /// # Panics
    /// If there is no such level.
    #[must_use]
    pub fn residual_threshold(&self, level: usize) -> f64 {
        self.residual[level]
    }

    /// `tau*`: rows of positive weight in either of two neighbours have at most this leverage with respect to the rows of weight 1 in both.
    #[must_use]
    pub fn tau_star(&self) -> f64 {
        self.tau_star
    }

    /// `rho*`: the largest residual with respect to the weighted fit, among the rows of lemma 6.
    #[must_use]
    pub fn rho_star(&self) -> f64 {
        self.rho_star
    }

    /// `kappa`: by how much the weights of two neighbours with scores below `k` can differ in sum (lemma 4).
    #[must_use]
    pub fn kappa(&self) -> f64 {
        self.kappa
    }

    /// `gamma`: by how much their second moments can differ, `|S^{-1/2} S' S^{-1/2} - 1|` in trace norm (lemma 5).
    #[must_use]
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// `Delta`: by how much their coefficients can differ, in the norm of either second moments (lemma 6). In units of the response.
    #[must_use]
    pub fn center_shift(&self) -> f64 {
        self.center_shift
    }
}

fn positive(value: f64) -> Option<f64> {
    (value > 0.0).then_some(value)
}

fn check(input: &LadderInput) -> Result<()> {
    let bad = |name, value, reason| {
        Err(Error::BadParameter {
            name,
            value,
            reason,
        })
    };
    if !(input.leverage_bound > 0.0 && input.leverage_bound < 1.0) {
        return bad(
            "leverage_bound",
            input.leverage_bound,
            "must lie between 0 and 1",
        );
    }
    if !RESIDUAL_BOUNDS.contains(&input.residual_bound) {
        return bad(
            "residual_bound",
            input.residual_bound,
            "must lie between 1e-100 and 1e100",
        );
    }
    if input.score_cap == 0 {
        return bad("score_cap", 0.0, "must be at least 1");
    }
    if input.window == 0 {
        return bad("window", 0.0, "must be at least 1");
    }
    if input.score_cap.max(input.window) > 1 << 24 {
        return bad(
            "score_cap or window",
            input.score_cap.max(input.window) as f64,
            "too many levels",
        );
    }
    if !(0.0..0.05).contains(&input.relative_error) {
        return bad(
            "relative_error",
            input.relative_error,
            "must lie between 0 and 0.05",
        );
    }
    Ok(())
}
