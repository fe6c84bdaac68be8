//! Writes a specification in VNN-LIB 1.0, with all digits of its numbers.

use std::fmt::Write as _;

use super::number::exact_text;
use crate::error::{Error, Result};
use crate::spec::{HalfSpace, InputBox, Spec, UnsafeCase};

/// The text of a specification.
pub(super) fn text(spec: &Spec) -> Result<String> {
    let invalid = |reason: &str| Error::InvalidConfig {
        field: "specification",
        reason: reason.to_owned(),
    };
    let first = spec
        .cases
        .first()
        .ok_or_else(|| invalid("there are no cases to write"))?;
    let sizes = spec
        .cases
        .iter()
        .flat_map(|case| &case.outputs)
        .map(|half_space| half_space.coefficients.len())
        .next();
    let (inputs, outputs) = (first.input.len(), sizes.unwrap_or(1));
    spec.check_sizes(inputs, outputs)?;
    let finite = |half_space: &HalfSpace| {
        half_space
            .coefficients
            .iter()
            .chain([&half_space.bound])
            .all(|x| x.is_finite())
    };
    if !spec.cases.iter().flat_map(|case| &case.outputs).all(finite) {
        return Err(invalid("a half-space has a number that is not finite"));
    }

    let mut lines = Vec::new();
    lines.extend((0..inputs).map(|index| format!("(declare-const X_{index} Real)")));
    lines.extend((0..outputs).map(|index| format!("(declare-const Y_{index} Real)")));
    let one_box = spec.cases.iter().all(|case| case.input == first.input);
    if one_box {
        lines.extend(bounds(&first.input).map(|bound| format!("(assert {bound})")));
    }
    lines.push("(assert (or".to_owned());
    for case in &spec.cases {
        lines.push(disjunct(case, !one_box));
    }
    lines.push("))\n".to_owned());
    Ok(lines.join("\n"))
}

fn disjunct(case: &UnsafeCase, with_box: bool) -> String {
    let mut parts: Vec<String> = if with_box {
        bounds(&case.input).collect()
    } else {
        Vec::new()
    };
    parts.extend(case.outputs.iter().map(comparison));
    format!("    (and {})", parts.join(" "))
}

fn bounds(input: &InputBox) -> impl Iterator<Item = String> {
    let pairs = input.lower().iter().zip(input.upper()).enumerate();
    pairs.flat_map(|(index, (&lower, &upper))| {
        [
            format!("(>= X_{index} {})", exact_text(lower)),
            format!("(<= X_{index} {})", exact_text(upper)),
        ]
    })
}

fn comparison(half_space: &HalfSpace) -> String {
    let terms = half_space
        .coefficients
        .iter()
        .enumerate()
        .filter(|(_, coefficient)| **coefficient != 0.0);
    let mut sum = String::new();
    let mut count = 0;
    for (index, &coefficient) in terms {
        count += 1;
        let separator = if sum.is_empty() { "" } else { " " };
        // Writing to a text cannot fail.
        let _ = if coefficient == 1.0 {
            write!(sum, "{separator}Y_{index}")
        } else {
            write!(sum, "{separator}(* {} Y_{index})", exact_text(coefficient))
        };
    }
    let sum = match count {
        0 => "0".to_owned(),
        1 => sum,
        _ => format!("(+ {sum})"),
    };
    format!("(<= {sum} {})", exact_text(half_space.bound))
}
