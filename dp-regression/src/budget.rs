//! What is promised, to whom, and by what.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::accounting::gdp;
use crate::error::{Error, Result};

/// Which tables are neighbours: those whose outputs must be hard to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adjacency {
    /// Tables of the same, public, number of rows that differ in one row.
    Replace,
    /// Tables of which one is the other and one row more. The number of rows is private.
    AddRemove,
}

impl fmt::Display for Adjacency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replace => "replace",
            Self::AddRemove => "add-remove",
        })
    }
}

/// `(epsilon, delta)`: for neighbouring tables and every set of outputs, `P(out in T) <= exp(epsilon) P'(out in T) + delta`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredBudget")]
pub struct PrivacyBudget {
    epsilon: f64,
    delta: f64,
}

#[derive(Deserialize)]
struct StoredBudget {
    epsilon: f64,
    delta: f64,
}

impl TryFrom<StoredBudget> for PrivacyBudget {
    type Error = Error;

    fn try_from(stored: StoredBudget) -> Result<Self> {
        Self::new(stored.epsilon, stored.delta)
    }
}

impl PrivacyBudget {
    /// A budget with both parts positive.
    ///
    /// # Errors
    /// [`Error::BadParameter`] if `epsilon` is not in (0, 1000] or `delta` not in (0, 1). A warning is logged for an `epsilon` above 20, which
    /// protects hardly anybody.
    pub fn new(epsilon: f64, delta: f64) -> Result<Self> {
        if !(epsilon > 0.0 && epsilon <= 1000.0) {
            return Err(Error::BadParameter {
                name: "epsilon",
                value: epsilon,
                reason: "must lie in (0, 1000]",
            });
        }
        if !(delta > 0.0 && delta < 1.0) {
            return Err(Error::BadParameter {
                name: "delta",
                value: delta,
                reason: "must lie in (0, 1)",
            });
        }
        if epsilon > 20.0 {
            tracing::warn!(epsilon, "so large an epsilon protects hardly anybody");
        }
        Ok(Self { epsilon, delta })
    }

    /// `epsilon`.
    #[must_use]
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// `delta`.
    #[must_use]
    pub fn delta(&self) -> f64 {
        self.delta
    }

    /// The `mu` of Gaussian differential privacy that this budget allows.
    #[must_use]
    pub fn gdp_mu(&self) -> f64 {
        gdp::mu(self.epsilon, self.delta)
    }
}

impl fmt::Display for PrivacyBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {:e})", self.epsilon, self.delta)
    }
}

/// What a method promises about everything that it releases in one call.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Guarantee {
    /// `epsilon`; infinite for methods that promise nothing.
    pub epsilon: f64,
    /// `delta`; 0 for pure differential privacy, 1 for methods that promise nothing.
    pub delta: f64,
    /// Which tables are neighbours.
    pub adjacency: Adjacency,
    /// The method.
    pub mechanism: &'static str,
    /// The method is `mu`-Gaussian differentially private as well, if this is known.
    pub gdp_mu: Option<f64>,
    /// What a reader of the release has to know about it, if anything.
    pub caveat: Option<&'static str>,
}

impl Guarantee {
    /// Whether anything is promised.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.epsilon.is_finite() && self.delta < 1.0
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_private() {
            return write!(f, "{}: not private", self.mechanism);
        }
        write!(
            f,
            "{}: ({}, {:e})-differentially private, {} neighbours",
            self.mechanism, self.epsilon, self.delta, self.adjacency
        )?;
        if let Some(caveat) = self.caveat {
            write!(f, "; {caveat}")?;
        }
        Ok(())
    }
}
