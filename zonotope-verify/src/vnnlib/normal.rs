//! Disjunctive normal form: every way in which a condition can hold as a box of inputs and a conjunction of half-spaces.

use std::collections::HashSet;

use super::formula::{Atom, Formula};
use crate::error::{Error, Result};
use crate::spec::{HalfSpace, InputBox, UnsafeCase};

/// Numbers that the boxes, and those that the half-spaces of all cases may have together: 128 MiB each.
const MAX_NUMBERS: usize = 1 << 24;

/// The cases of a condition.
pub(super) struct Normal {
    pub(super) cases: Vec<UnsafeCase>,
    /// How many more there were that no input can meet.
    pub(super) empty: usize,
}

/// The cases of a condition, `limit` at most. What holds in all of them comes first in each.
pub(super) fn cases(
    condition: &Formula,
    inputs: usize,
    outputs: usize,
    limit: usize,
) -> Result<Normal> {
    let mut common = Vec::new();
    let mut alternatives = Vec::new();
    split(condition, &mut common, &mut alternatives);
    let size = alternatives.iter().fold(
        Size {
            clauses: 1,
            atoms: 0,
        },
        |size, part| size.times(Size::of(part)),
    );
    if size.clauses > limit as u128 || size.atoms > MAX_NUMBERS as u128 {
        return Err(Error::TooManyClauses {
            found: usize::try_from(size.clauses).unwrap_or(usize::MAX),
            limit,
        });
    }
    if size.clauses == 0 {
        let reason = "its assertions can never hold, whatever the network computes".to_owned();
        return Err(Error::InvalidConfig {
            field: "specification",
            reason,
        });
    }
    check_bounds(condition, inputs)?;
    let mut clauses = vec![Vec::new()];
    for part in alternatives {
        clauses = product(clauses, expand(part));
    }
    let narrow = |clause: &[&Atom]| {
        clause
            .iter()
            .any(|atom| !matches!(atom, Atom::HalfSpace { .. }))
    };
    let boxes = clauses.iter().filter(|clause| narrow(clause)).count();
    let half_spaces = clauses
        .iter()
        .map(|clause| common.len() + clause.len())
        .sum::<usize>();
    for (count, size) in [(boxes, inputs), (half_spaces, outputs)] {
        if count.saturating_mul(size) > MAX_NUMBERS.max(size) {
            return Err(Error::TooManyClauses {
                found: clauses.len(),
                limit: MAX_NUMBERS / size,
            });
        }
    }
    build(&common, &clauses, inputs, outputs)
}

/// Takes the conditions that always hold out of a conjunction; what is left are disjunctions.
fn split<'a>(
    formula: &'a Formula,
    common: &mut Vec<&'a Atom>,
    alternatives: &mut Vec<&'a Formula>,
) {
    match formula {
        Formula::Atom(atom) => common.push(atom),
        Formula::All(parts) => parts
            .iter()
            .for_each(|part| split(part, common, alternatives)),
        // A disjunction of one is that one.
        Formula::Any(parts) if parts.len() == 1 => split(&parts[0], common, alternatives),
        Formula::Any(_) => alternatives.push(formula),
    }
}

/// Size of a disjunctive normal form, before it is made.
#[derive(Clone, Copy)]
struct Size {
    clauses: u128,
    /// Atoms in all clauses together.
    atoms: u128,
}

impl Size {
    fn of(formula: &Formula) -> Self {
        match formula {
            Formula::Atom(_) => Self {
                clauses: 1,
                atoms: 1,
            },
            Formula::All(parts) => parts.iter().map(Self::of).fold(
                Self {
                    clauses: 1,
                    atoms: 0,
                },
                |size, part| size.times(part),
            ),
            Formula::Any(parts) => parts.iter().map(Self::of).fold(
                Self {
                    clauses: 0,
                    atoms: 0,
                },
                |size, part| Self {
                    clauses: size.clauses.saturating_add(part.clauses),
                    atoms: size.atoms.saturating_add(part.atoms),
                },
            ),
        }
    }

    fn times(self, other: Self) -> Self {
        let left = self.atoms.saturating_mul(other.clauses);
        let right = other.atoms.saturating_mul(self.clauses);
        Self {
            clauses: self.clauses.saturating_mul(other.clauses),
            atoms: left.saturating_add(right),
        }
    }
}

type Clause<'a> = Vec<&'a Atom>;

fn expand(formula: &Formula) -> Vec<Clause<'_>> {
    match formula {
        Formula::Atom(atom) => vec![vec![atom]],
        Formula::All(parts) => parts.iter().fold(vec![Vec::new()], |clauses, part| {
            product(clauses, expand(part))
        }),
        Formula::Any(parts) => parts.iter().flat_map(expand).collect(),
    }
}

fn product<'a>(left: Vec<Clause<'a>>, right: Vec<Clause<'a>>) -> Vec<Clause<'a>> {
    match (left.as_slice(), right.as_slice()) {
        ([only], _) if only.is_empty() => right,
        (_, [only]) if only.is_empty() => left,
        _ => left
            .iter()
            .flat_map(|a| right.iter().map(move |b| [a.as_slice(), b].concat()))
            .collect(),
    }
}

/// Refuses a condition that cannot bound all inputs, before anything as large as the input is made.
fn check_bounds(condition: &Formula, inputs: usize) -> Result<()> {
    let (mut lower, mut upper) = (HashSet::new(), HashSet::new());
    collect_bounds(condition, &mut lower, &mut upper);
    for (bounded, side) in [(lower, "lower"), (upper, "upper")] {
        if bounded.len() < inputs {
            let index = (0..inputs)
                .find(|index| !bounded.contains(index))
                .unwrap_or(0);
            return Err(Error::MissingInputBound { index, side });
        }
    }
    Ok(())
}

fn collect_bounds(formula: &Formula, lower: &mut HashSet<usize>, upper: &mut HashSet<usize>) {
    match formula {
        Formula::Atom(Atom::Lower { input, .. }) => {
            lower.insert(*input);
        }
        Formula::Atom(Atom::Upper { input, .. }) => {
            upper.insert(*input);
        }
        Formula::Atom(Atom::HalfSpace { .. }) => {}
        Formula::All(parts) | Formula::Any(parts) => parts
            .iter()
            .for_each(|part| collect_bounds(part, lower, upper)),
    }
}

/// Bounds of all inputs, not necessarily of a box.
#[derive(Clone)]
struct Corners {
    lower: Vec<f64>,
    upper: Vec<f64>,
}

impl Corners {
    fn narrow(&mut self, atoms: &[&Atom]) {
        for atom in atoms {
            match **atom {
                Atom::Lower { input, bound } => self.lower[input] = self.lower[input].max(bound),
                Atom::Upper { input, bound } => self.upper[input] = self.upper[input].min(bound),
                Atom::HalfSpace { .. } => {}
            }
        }
    }

    fn input_box(&self) -> Result<InputBox> {
        let missing = |bounds: &[f64]| bounds.iter().position(|bound| bound.is_infinite());
        for (bounds, side) in [(&self.lower, "lower"), (&self.upper, "upper")] {
            if let Some(index) = missing(bounds) {
                return Err(Error::MissingInputBound { index, side });
            }
        }
        InputBox::new(self.lower.clone(), self.upper.clone())
    }
}

fn build(common: &[&Atom], clauses: &[Clause], inputs: usize, outputs: usize) -> Result<Normal> {
    let mut corners = Corners {
        lower: vec![f64::NEG_INFINITY; inputs],
        upper: vec![f64::INFINITY; inputs],
    };
    corners.narrow(common);
    // Most cases are about the common box and share it.
    let mut shared: Option<InputBox> = None;
    let mut cases = Vec::with_capacity(clauses.len());
    let mut first_empty = None;
    let mut empty = 0;
    for clause in clauses {
        let input = if clause
            .iter()
            .all(|atom| matches!(atom, Atom::HalfSpace { .. }))
        {
            match &shared {
                Some(input) => Ok(input.clone()),
                None => corners
                    .input_box()
                    .inspect(|input| shared = Some(input.clone())),
            }
        } else {
            let mut own = corners.clone();
            own.narrow(clause);
            own.input_box()
        };
        let input = match input {
            Ok(input) => input,
            Err(error @ Error::EmptyInputBox { .. }) => {
                empty += 1;
                first_empty.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let half_spaces = common
            .iter()
            .chain(clause)
            .filter_map(|atom| half_space(atom, outputs));
        cases.push(UnsafeCase {
            input,
            outputs: half_spaces.collect(),
        });
    }
    match first_empty {
        Some(error) if cases.is_empty() => Err(error),
        _ => Ok(Normal { cases, empty }),
    }
}

fn half_space(atom: &Atom, outputs: usize) -> Option<HalfSpace> {
    let Atom::HalfSpace {
        coefficients,
        bound,
    } = atom
    else {
        return None;
    };
    let mut dense = vec![0.0; outputs];
    for &(output, coefficient) in coefficients {
        dense[output] = coefficient;
    }
    Some(HalfSpace {
        coefficients: dense,
        bound: *bound,
    })
}
