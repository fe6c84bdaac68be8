//! Conditions on inputs and outputs: linear terms, comparisons of them, and their conjunctions and disjunctions.

use super::lexer::Place;
use super::number::Number;
use crate::error::Result;

/// An input or output of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Variable {
    Input(usize),
    Output(usize),
}

/// `constant + sum coefficient * variable`.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    pub(super) constant: Number,
    pub(super) terms: Vec<(Variable, Number)>,
}

impl Linear {
    pub(super) fn constant(constant: Number) -> Self {
        Self {
            constant,
            terms: Vec::new(),
        }
    }

    pub(super) fn variable(variable: Variable) -> Self {
        Self {
            constant: Number::ZERO,
            terms: vec![(variable, Number::ONE)],
        }
    }

    pub(super) fn negated(mut self) -> Self {
        self.constant = -self.constant;
        for (_, coefficient) in &mut self.terms {
            *coefficient = -*coefficient;
        }
        self
    }

    pub(super) fn plus(mut self, other: Self) -> Self {
        self.constant = self.constant.add(other.constant);
        self.terms.extend(other.terms);
        self
    }

    pub(super) fn times(mut self, factor: Number) -> Self {
        self.constant = self.constant.multiply(factor);
        for (_, coefficient) in &mut self.terms {
            *coefficient = coefficient.multiply(factor);
        }
        self
    }

    /// Every variable once, without those that cancel.
    fn collected(mut self) -> Self {
        self.terms.sort_by_key(|&(variable, _)| variable);
        let mut terms: Vec<(Variable, Number)> = Vec::with_capacity(self.terms.len());
        for (variable, coefficient) in self.terms {
            match terms.last_mut() {
                Some((last, sum)) if *last == variable => *sum = sum.add(coefficient),
                _ => terms.push((variable, coefficient)),
            }
        }
        terms.retain(|(_, coefficient)| coefficient.exact() != Some(0.0));
        Self {
            constant: self.constant,
            terms,
        }
    }
}

/// What one comparison says.
#[derive(Debug, Clone)]
pub(super) enum Atom {
    /// An input is at least a number.
    Lower { input: usize, bound: f64 },
    /// An input is at most a number.
    Upper { input: usize, bound: f64 },
    /// `sum coefficient * output <= bound`.
    HalfSpace {
        coefficients: Vec<(usize, f64)>,
        bound: f64,
    },
}

/// A condition.
#[derive(Debug, Clone)]
pub(super) enum Formula {
    Atom(Atom),
    /// All of them hold; without any: always.
    All(Vec<Formula>),
    /// One of them holds; without any: never.
    Any(Vec<Formula>),
}

impl Formula {
    /// `difference <= 0`; every number is rounded in the direction in which the condition holds more often.
    pub(super) fn at_most_zero(difference: Linear, place: Place) -> Result<Self> {
        let Linear { constant, terms } = difference.collected();
        if !constant.is_finite() || !terms.iter().all(|(_, coefficient)| coefficient.is_finite()) {
            return Err(place.unsupported("a number beyond the 64-bit range"));
        }
        match terms.as_slice() {
            [] => Ok(if constant.lower <= 0.0 {
                Self::All(Vec::new())
            } else {
                Self::Any(Vec::new())
            }),
            &[(Variable::Input(input), coefficient)] => {
                Self::input_bound(input, coefficient, constant, place)
            }
            terms => {
                let mut outputs = Vec::with_capacity(terms.len());
                for &(variable, coefficient) in terms {
                    match variable {
                        Variable::Output(output) => outputs.push((output, coefficient)),
                        Variable::Input(_)
                            if terms
                                .iter()
                                .any(|(other, _)| matches!(other, Variable::Output(_))) =>
                        {
                            return Err(
                                place.unsupported("a condition on inputs and outputs together")
                            );
                        }
                        Variable::Input(_) => {
                            return Err(place.unsupported("a condition on several inputs together"));
                        }
                    }
                }
                Self::half_space(&outputs, constant, place)
            }
        }
    }

    fn input_bound(
        input: usize,
        coefficient: Number,
        constant: Number,
        place: Place,
    ) -> Result<Self> {
        let positive = coefficient.lower > 0.0;
        if !positive && coefficient.upper >= 0.0 {
            return Err(place.unsupported("a coefficient that cannot be told from 0"));
        }
        let quotient = (-constant).divide(coefficient);
        let bound = if positive {
            quotient.upper
        } else {
            quotient.lower
        };
        if !bound.is_finite() {
            return Err(place.unsupported("a number beyond the 64-bit range"));
        }
        let bound = bound + 0.0;
        Ok(Self::Atom(if positive {
            Atom::Upper { input, bound }
        } else {
            Atom::Lower { input, bound }
        }))
    }

    fn half_space(terms: &[(usize, Number)], constant: Number, place: Place) -> Result<Self> {
        let exact: Option<Vec<_>> = terms
            .iter()
            .map(|&(output, number)| Some((output, number.exact()?)))
            .collect();
        if let Some(coefficients) = exact {
            let bound = (-constant).upper + 0.0;
            return Ok(Self::Atom(Atom::HalfSpace {
                coefficients,
                bound,
            }));
        }
        // Coefficients like 0.1 are integers after a multiplication by a power of ten, which changes nothing.
        let scaled = || {
            let last = terms
                .iter()
                .map(|(_, number)| number.last_place())
                .try_fold(0, |least, own| Some(own?.min(least)))?;
            let places = last.checked_neg().filter(|&places| places <= 15)?;
            let coefficients: Option<Vec<_>> = terms
                .iter()
                .map(|&(output, number)| Some((output, number.scaled_integer(places)?)))
                .collect();
            let power = Number::parse(&format!("1e{places}")).ok()?;
            let exact_bound = (-constant).scaled_integer(places);
            let bound = exact_bound.unwrap_or_else(|| (-constant).multiply(power).upper) + 0.0;
            Some(Atom::HalfSpace {
                coefficients: coefficients?,
                bound,
            })
        };
        scaled()
            .map(Self::Atom)
            .ok_or_else(|| place.unsupported("a coefficient without an exact 64-bit form"))
    }
}
