//! Domains of maps, and uniform grids on them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Where a map is defined. Every axis is an interval `[0, 1]` or a circle of length 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// `[0, 1]`: curves with two ends.
    Interval,
    /// A circle: closed curves.
    Circle,
    /// `[0, 1]^2`: surfaces with an edge.
    Square,
    /// An interval times a circle: tubes.
    Cylinder,
    /// A circle times a circle: closed surfaces of the shape of a ring.
    Torus,
    /// `[0, 1]^3`; maps from it are known at their nodes only.
    Cube,
}

impl Domain {
    /// All domains.
    pub const ALL: [Self; 6] = [
        Self::Interval,
        Self::Circle,
        Self::Square,
        Self::Cylinder,
        Self::Torus,
        Self::Cube,
    ];

    /// The number of axes, m.
    #[must_use]
    pub fn dimension(self) -> usize {
        self.periodic().len()
    }

    /// For each axis, whether it is a circle.
    #[must_use]
    pub fn periodic(self) -> &'static [bool] {
        match self {
            Self::Interval => &[false],
            Self::Circle => &[true],
            Self::Square => &[false, false],
            Self::Cylinder => &[false, true],
            Self::Torus => &[true, true],
            Self::Cube => &[false, false, false],
        }
    }

    /// Its name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Cylinder => "cylinder",
            Self::Torus => "torus",
            Self::Cube => "cube",
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Domain {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|domain| domain.name() == name)
            .ok_or_else(|| format!("no domain `{name}`; there are interval, circle, square, cylinder, torus and cube"))
    }
}

/// A uniform grid on a domain: the same number of nodes along every axis, in row-major order (the last axis is contiguous).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    domain: Domain,
    side: usize,
}

impl Grid {
    /// The largest number of nodes of a grid, `2^24`.
    pub const MOST_NODES: usize = 1 << 24;

    /// A grid of `side` nodes along each axis.
    ///
    /// # Errors
    /// [`Error::TooFewNodes`] if `side` is less than 2, or less than 3 where an axis is a circle; [`Error::Parameter`] if there would be more than
    /// [`MOST_NODES`](Self::MOST_NODES).
    pub fn new(domain: Domain, side: usize) -> Result<Self> {
        let needed = if domain.periodic().contains(&true) {
            3
        } else {
            2
        };
        if side < needed {
            return Err(Error::TooFewNodes {
                needed,
                found: side,
            });
        }
        let nodes = side.checked_pow(domain.dimension() as u32);
        if nodes.is_none_or(|nodes| nodes > Self::MOST_NODES) {
            return Err(Error::Parameter {
                name: "the number of nodes along an axis",
                requirement: "such that the grid has at most 2^24 nodes",
                found: side as f64,
            });
        }
        Ok(Self { domain, side })
    }

    /// The domain.
    #[must_use]
    pub fn domain(self) -> Domain {
        self.domain
    }

    /// The nodes along each axis.
    #[must_use]
    pub fn side(self) -> usize {
        self.side
    }

    /// The number of nodes.
    #[must_use]
    pub fn len(self) -> usize {
        self.side.pow(self.domain.dimension() as u32)
    }

    /// Whether there are no nodes; never true.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.side == 0
    }

    /// The distance of neighbouring nodes along an axis.
    #[must_use]
    pub fn spacing(self, axis: usize) -> f64 {
        if self.domain.periodic()[axis] {
            1.0 / self.side as f64
        } else {
            1.0 / (self.side - 1) as f64
        }
    }

    /// The parameters of a node.
    #[must_use]
    pub fn parameters(self, node: usize) -> Vec<f64> {
        let m = self.domain.dimension();
        (0..m)
            .map(|axis| {
                let place = node / self.stride(axis) % self.side;
                place as f64 * self.spacing(axis)
            })
            .collect()
    }

    /// The number of nodes between neighbours along an axis.
    pub(crate) fn stride(self, axis: usize) -> usize {
        self.side.pow((self.domain.dimension() - 1 - axis) as u32)
    }

    /// The cells between nodes along an axis.
    pub(crate) fn cells(self, axis: usize) -> usize {
        if self.domain.periodic()[axis] {
            self.side
        } else {
            self.side - 1
        }
    }

    /// The node at these places along the axes, which count on around circles.
    pub(crate) fn node(self, places: &[usize]) -> usize {
        places
            .iter()
            .enumerate()
            .map(|(axis, place)| place % self.side * self.stride(axis))
            .sum()
    }
}
