//! The filter: which rows a table keeps at each level of the ladder, its score, and its weights.
//!
//! **Nothing here is private.** The functions exist for audits and for the release itself, which shows none of their results.
//!
//! # Why neighbours stay close
//!
//! Let `D'` be a neighbour of `D`, differing in row `j` (of `D`) and `j'` (of `D'`, if it has one). `A_l` are the rows kept at level `l`, `r_l` the
//! number removed, infinite where the filter gives up.
//!
//! *Lemma 1 (intertwining).* If `r_l(D) <= min(l, k-1)`, then `A_l(D) \ {j}` is contained in `A_{l+1}(D')` and `r_{l+1}(D') <= r_l(D) + 1`.
//! Leverages: taking `j` from a set whose leverages are at most `tau_l` raises them to at most `tau_l/(1-tau_l) = tau_{l+1}`, and a set whose
//! leverages pass is never touched by a loop that starts from a larger one, since removals only raise leverages. Residuals: put `C = A_l(D) \ {j}` and
//! let `B` be an active set of the second loop on `D'` that contains `C`; then `|B \ C| <= m = min(l+1, k)`, and rows of it have at most leverage `t`
//! with respect to `C`. From `S_C (beta_A - beta_B) = [j in A] x_j e_j(A) - sum over b in B\C of x_b e_b(B)`, every `i` in `C` has
//! `|e_i(B)| <= rho_l (1 + [j in A] t) + m t E`, with `E` the largest residual of `B`. If that were attained in `C`, then `E <= rho_{l+1}` and the
//! loop has stopped; so it never removes a row of `C`. This is why it removes *one* row at a time, the worst.
//!
//! *Lemma 2 (score).* `s = min {v < k : r_v <= v}`, or `k`, changes by at most one: from `r_v <= v` follows `r'_{v+1} <= v+1`.
//!
//! *Lemma 3 (nesting).* If `s = v < k`, lemma 1 with `D' = D` gives `A_v <= A_{v+1} <= ... <= A_N`, and `r_l <= v` for all `l >= v`.
//!
//! *Lemma 4 (weights).* `w_i` is the share of the levels `k..=N` that keep row `i`. If both scores are below `k`, entry levels of a row differ by at
//! most one, so rows other than `j` have `|w_i - w'_i| <= 1/a`, and only rows outside of `A_{k-1}`, at most `k-1`, differ:
//! `sum |w_i - w'_i| <= kappa = (k-1)/a + 2`, or `+ 1` if a row is added or removed.
//!
//! Lemmas 5 to 8 are about what is computed from the weights; they stand with [`Ladder`], [`rdp`](crate::accounting::rdp) and
//! [`refusal`](crate::refusal). The guide has the proofs in full.

use crate::dataset::Dataset;
use crate::error::Result;
use crate::ladder::Ladder;
use crate::ols::{Accuracy, Fit, exceeds};

/// The relative error that is assumed for a ladder made for exact arithmetic.
const DEFAULT_RELATIVE_ERROR: f64 = 1e-7;

/// The rows that a table loses at each level. Not private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelSets {
    removed: Vec<Option<Vec<usize>>>,
}

impl LevelSets {
    /// From the removed rows (ascending) of every level, `None` where the filter gave up.
    #[must_use]
    pub fn new(removed: Vec<Option<Vec<usize>>>) -> Self {
        Self { removed }
    }

    /// The removed rows of a level, ascending; `None` if the filter gave up there.
    ///
    /// # Panics
    /// If there is no such level.
    #[must_use]
    pub fn removed(&self, level: usize) -> Option<&[usize]> {
        self.removed[level].as_deref()
    }

    /// The number of levels.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.removed.len()
    }

    /// The score (lemma 2): the least level `v < score_cap` that removes at most `v` rows, or `score_cap`.
    #[must_use]
    pub fn score(&self, score_cap: usize) -> usize {
        let passes = |(v, removed): (usize, &Option<Vec<usize>>)| {
            removed
                .as_ref()
                .is_some_and(|removed| removed.len() <= v)
                .then_some(v)
        };
        self.removed
            .iter()
            .take(score_cap)
            .enumerate()
            .find_map(passes)
            .unwrap_or(score_cap)
    }

    /// The weights that are not 1, by row (lemma 4): one less the share of the levels from `score_cap` on that remove the row. Levels at which
    /// the filter gave up keep nothing; there are none if the score is below the cap.
    #[must_use]
    pub fn weights(&self, score_cap: usize) -> Vec<(usize, f64)> {
        let window = self.removed.len().saturating_sub(score_cap);
        let mut losses: Vec<(usize, usize)> = Vec::new();
        for row in self.removed.iter().skip(score_cap).flatten().flatten() {
            match losses.binary_search_by_key(row, |(row, _)| *row) {
                Ok(at) => losses[at].1 += 1,
                Err(at) => losses.insert(at, (*row, 1)),
            }
        }
        losses
            .into_iter()
            .map(|(row, lost)| (row, (window - lost) as f64 / window as f64))
            .collect()
    }
}

fn accuracy(ladder: &Ladder) -> Accuracy {
    let xi = ladder.input().relative_error;
    Accuracy {
        relative: if xi > 0.0 { xi } else { DEFAULT_RELATIVE_ERROR },
        residual: ladder.residual_threshold(0),
    }
}

/// All levels in one pass from the highest down (design, section 2.8).
///
/// Leverages that pass at `tau_l` are found from the set that passed at `tau_{l+1}`, residuals from the intersection with what was kept at the level
/// above; the leverage loop never looks at a set thinned by residuals, where leverages are higher. Takes a few passes over the table, and one more for
/// each removal; at most `k` rows are ever removed. Memory: 40 bytes a row.
///
/// # Errors
/// Those of reading the table. Too few rows, rank loss and too many outliers are no errors but levels without a set.
pub fn one_pass(data: &Dataset<'_>, ladder: &Ladder) -> Result<LevelSets> {
    Ok(levels_with_fit(data, ladder)?.0)
}

/// [`one_pass`], and the fit to the rows that leverages leave at the lowest level reached.
pub(crate) fn levels_with_fit<'a>(
    data: &'a Dataset<'a>,
    ladder: &Ladder,
) -> Result<(LevelSets, Option<Fit<'a>>)> {
    let levels = ladder.levels();
    let cap = ladder.input().score_cap;
    let mut sets = vec![None; levels];
    let Some(mut by_leverage) = Fit::without_dominating(
        data,
        ladder.leverage_threshold(levels - 1),
        cap,
        accuracy(ladder),
    )?
    else {
        return Ok((LevelSets::new(sets), None));
    };
    // The fit to the rows that residuals have left, from where it differs from the other on.
    let mut by_residual: Option<Fit<'_>> = None;
    // How far the pass comes is private, and logs are not.
    let _inside = tracing::info_span!("filter").entered();
    'levels: for level in (0..levels).rev() {
        if !leverage_loop(&mut by_leverage, ladder.leverage_threshold(level), cap)? {
            break;
        }
        let mut own = by_residual.take();
        if let Some(fit) = &mut own {
            let missing: Vec<usize> = by_leverage
                .removed()
                .iter()
                .copied()
                .filter(|row| fit.removed().binary_search(row).is_err())
                .collect();
            for row in missing {
                if fit.removed().len() == cap || !fit.remove(row)? {
                    break 'levels;
                }
            }
        }
        let threshold = ladder.residual_threshold(level);
        let active = own.as_ref().unwrap_or(&by_leverage);
        if !active.residuals_are_accurate() {
            break;
        }
        if exceeds(active.largest_residual().1, threshold) {
            let mut fit = own.unwrap_or_else(|| by_leverage.clone());
            if !residual_loop(&mut fit, threshold, cap)? {
                break;
            }
            own = Some(fit);
        }
        by_residual = own;
        sets[level] = Some(
            by_residual
                .as_ref()
                .unwrap_or(&by_leverage)
                .removed()
                .to_vec(),
        );
    }
    Ok((LevelSets::new(sets), Some(by_leverage)))
}

/// One level from scratch (design, section 2.4): the definition that [`one_pass`] is compared with. `None` if the filter gives up.
///
/// The two need not keep the same rows at every level, but both satisfy the lemmas.
///
/// # Errors
/// Those of reading the table.
pub fn from_scratch(
    data: &Dataset<'_>,
    ladder: &Ladder,
    level: usize,
) -> Result<Option<Vec<usize>>> {
    let cap = ladder.input().score_cap;
    let Some(mut fit) = Fit::without_dominating(
        data,
        ladder.leverage_threshold(level),
        cap,
        accuracy(ladder),
    )?
    else {
        return Ok(None);
    };
    let kept = leverage_loop(&mut fit, ladder.leverage_threshold(level), cap)?
        && residual_loop(&mut fit, ladder.residual_threshold(level), cap)?;
    Ok(kept.then(|| fit.removed().to_vec()))
}

/// [`from_scratch`] at every level.
///
/// # Errors
/// Those of reading the table.
pub fn all_from_scratch(data: &Dataset<'_>, ladder: &Ladder) -> Result<LevelSets> {
    (0..ladder.levels())
        .map(|level| from_scratch(data, ladder, level))
        .collect::<Result<_>>()
        .map(LevelSets::new)
}

/// Removes the row of highest leverage while that exceeds the threshold. The set that is left does not depend on the order. `false` if more than
/// `cap` rows would be gone, or the rest has no full rank.
fn leverage_loop(fit: &mut Fit<'_>, threshold: f64, cap: usize) -> Result<bool> {
    loop {
        let (row, leverage) = fit.highest_leverage();
        if !exceeds(leverage, threshold) {
            return Ok(true);
        }
        if fit.removed().len() == cap || !fit.remove(row)? {
            return Ok(false);
        }
    }
}

/// Removes the row of largest residual while that exceeds the threshold, one row at a time (lemma 1). `false` also where no precision is enough for
/// residuals.
fn residual_loop(fit: &mut Fit<'_>, threshold: f64, cap: usize) -> Result<bool> {
    loop {
        if !fit.residuals_are_accurate() {
            return Ok(false);
        }
        let (row, residual) = fit.largest_residual();
        if !exceeds(residual, threshold) {
            return Ok(true);
        }
        if fit.removed().len() == cap || !fit.remove(row)? {
            return Ok(false);
        }
    }
}

/// Least squares on a table less a few rows, with what decides whether rows are kept. Not private.
#[derive(Clone, Debug, PartialEq)]
pub struct NonPrivateDiagnostics {
    /// `h_i` of the rows that are left; -1 for the others.
    pub leverages: Vec<f64>,
    /// `e_i` of the rows that are left; 0 for the others.
    pub residuals: Vec<f64>,
    /// Least-squares coefficients of the rows that are left.
    pub coefficients: Vec<f64>,
}

/// Leverages, residuals and coefficients without the rows `removed` (in ascending order). `None` if the rest has no full rank. Not private.
///
/// # Errors
/// Those of reading the table.
pub fn diagnose(data: &Dataset<'_>, removed: &[usize]) -> Result<Option<NonPrivateDiagnostics>> {
    let accuracy = Accuracy {
        relative: 1e-9,
        residual: 0.0,
    };
    Ok(
        Fit::new(data, removed.to_vec(), accuracy)?.map(|fit| NonPrivateDiagnostics {
            leverages: fit.leverages().to_vec(),
            residuals: fit.residuals().to_vec(),
            coefficients: fit.coefficients(),
        }),
    )
}
