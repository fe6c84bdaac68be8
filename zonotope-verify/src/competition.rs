//! The files of the verification competition VNN-COMP: lists of instances in, results and counterexamples out.
//!
//! An instance is a network, a specification and a time limit. Its result file begins with one of the words of [`Outcome`]; behind
//! `sat` comes the counterexample, as assignments to `X_i` and `Y_j` (VNN-LIB 1.0) or tensor by tensor (VNN-LIB 2.0, section 5.3 of its
//! standard). `sat` says that the negated property can be satisfied, so that it does *not* hold.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::file;
use crate::vnnlib::{Declarations, TensorDeclaration};

/// Longer lists are refused.
const MAX_FILE: u64 = 64 << 20;

/// What is known about an instance in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// There is a counterexample: the property does not hold.
    Sat,
    /// There is none: the property is proven.
    Unsat,
    /// Neither was found.
    Unknown,
    /// Neither was found in time.
    Timeout,
    /// The instance could not be worked on.
    Error,
}

impl Outcome {
    /// The word in result files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sat => "sat",
            Self::Unsat => "unsat",
            Self::Unknown => "unknown",
            Self::Timeout => "timeout",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

impl FromStr for Outcome {
    type Err = Error;

    /// Also reads `holds` and `violated`, the words of the contest of 2021.
    fn from_str(word: &str) -> Result<Self> {
        match word {
            "sat" | "violated" => Ok(Self::Sat),
            "unsat" | "holds" => Ok(Self::Unsat),
            "unknown" => Ok(Self::Unknown),
            "timeout" => Ok(Self::Timeout),
            "error" => Ok(Self::Error),
            _ => Err(Error::InvalidConfig {
                field: "outcome",
                reason: format!("`{word}` is none of the contest's words"),
            }),
        }
    }
}

/// An input and the outputs that the network computes for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Counterexample {
    /// The input, row-major.
    pub input: Vec<f64>,
    /// Its outputs, row-major.
    pub output: Vec<f64>,
}

impl Counterexample {
    /// The assignments in VNN-LIB 1.0: `((X_0 0.5)`, a line a number, `(Y_1 2.0))`. All digits that tell a number from its neighbours.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if there are no inputs, or a number is not finite.
    pub fn to_vnnlib(&self) -> Result<String> {
        self.check()?;
        let assign =
            |letter: char| move |(index, x): (usize, &f64)| format!("({letter}_{index} {x:?})");
        let inputs = self.input.iter().enumerate().map(assign('X'));
        let outputs = self.output.iter().enumerate().map(assign('Y'));
        Ok(format!(
            "({})\n",
            inputs.chain(outputs).collect::<Vec<_>>().join("\n")
        ))
    }

    /// The tensors in VNN-LIB 2.0: name, type and shape as the specification declares them, then a line a number.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] as [`Counterexample::to_vnnlib`]; [`Error::ShapeMismatch`] if a tensor has another size.
    pub fn to_vnnlib2(&self, declarations: &Declarations) -> Result<String> {
        self.check()?;
        let mut text = String::new();
        for (tensor, numbers) in [
            (&declarations.input, &self.input),
            (&declarations.output, &self.output),
        ] {
            append_tensor(&mut text, tensor, numbers)?;
        }
        Ok(text)
    }

    fn check(&self) -> Result<()> {
        let invalid = |reason: String| {
            Err(Error::InvalidConfig {
                field: "counterexample",
                reason,
            })
        };
        if self.input.is_empty() {
            return invalid("it has no inputs".to_owned());
        }
        match self
            .input
            .iter()
            .chain(&self.output)
            .find(|x| !x.is_finite())
        {
            Some(x) => invalid(format!("it has the number {x}")),
            None => Ok(()),
        }
    }
}

fn append_tensor(text: &mut String, tensor: &TensorDeclaration, numbers: &[f64]) -> Result<()> {
    if tensor.shape.iter().product::<usize>() != numbers.len() {
        return Err(Error::ShapeMismatch {
            layer: format!("counterexample, tensor {}", tensor.name),
            expected: format!("the shape {:?}", tensor.shape),
            found: format!("{} numbers", numbers.len()),
        });
    }
    let shape = tensor
        .shape
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",");
    // Writing to a text cannot fail.
    let _ = writeln!(text, "{} {} [{shape}]", tensor.name, tensor.element);
    for x in numbers {
        let _ = writeln!(text, "{x:?}");
    }
    Ok(())
}

/// The text of a result file.
///
/// With the declarations of a VNN-LIB 2.0 file the counterexample is written in that version. Without a counterexample, and for every
/// outcome but [`Outcome::Sat`], the file has one line.
///
/// # Errors
///
/// Those of [`Counterexample::to_vnnlib`] and [`Counterexample::to_vnnlib2`].
pub fn result_text(
    outcome: Outcome,
    counterexample: Option<&Counterexample>,
    declarations: Option<&Declarations>,
) -> Result<String> {
    let example = match (
        counterexample.filter(|_| outcome == Outcome::Sat),
        declarations,
    ) {
        (None, _) => String::new(),
        (Some(example), None) => example.to_vnnlib()?,
        (Some(example), Some(declarations)) => example.to_vnnlib2(declarations)?,
    };
    Ok(format!("{outcome}\n{example}"))
}

/// Writes a result file: [`result_text`].
///
/// # Errors
///
/// [`Error::Io`], and those of [`result_text`].
pub fn write_result(
    path: impl AsRef<Path>,
    outcome: Outcome,
    counterexample: Option<&Counterexample>,
    declarations: Option<&Declarations>,
) -> Result<()> {
    file::write(
        path.as_ref(),
        result_text(outcome, counterexample, declarations)?,
    )
}

/// A line of `instances.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The ONNX file; with `.gz` if only that exists.
    pub network: PathBuf,
    /// The VNN-LIB file; with `.gz` if only that exists.
    pub spec: PathBuf,
    /// The time limit in seconds.
    pub timeout: f64,
}

/// Reads a list of instances, a line each: network, specification, seconds. Paths are relative to the list's folder.
///
/// # Errors
///
/// [`Error::Io`], also for text that is not UTF-8; [`Error::InvalidConfig`], with the line, for what is no instance: fewer than three
/// fields, a limit that is no positive number, an open quotation mark.
pub fn read_instances(path: impl AsRef<Path>) -> Result<Vec<Instance>> {
    let path = path.as_ref();
    let text = String::from_utf8(file::read(path, MAX_FILE)?).map_err(|error| Error::Io {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error()),
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut instances = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let wrong = |reason: String| Error::InvalidConfig {
            field: "instances",
            reason: format!("{}, line {}: {reason}", path.display(), index + 1),
        };
        let fields =
            split_csv(line).ok_or_else(|| wrong("a quotation mark is not closed".to_owned()))?;
        // Further fields are of later contests.
        let [network, spec, timeout, ..] = fields.as_slice() else {
            return Err(wrong(format!(
                "expected network, specification and seconds, found {} fields",
                fields.len()
            )));
        };
        let seconds = timeout
            .parse()
            .ok()
            .filter(|&seconds: &f64| seconds.is_finite() && seconds > 0.0);
        let timeout = seconds
            .ok_or_else(|| wrong(format!("expected a number of seconds, found `{timeout}`")))?;
        let resolve = |name: &str| packed_if_only_that(folder.join(name));
        instances.push(Instance {
            network: resolve(network),
            spec: resolve(spec),
            timeout,
        });
    }
    Ok(instances)
}

/// The path, or the one with `.gz` if that is the one with a file.
fn packed_if_only_that(path: PathBuf) -> PathBuf {
    let mut packed = path.clone().into_os_string();
    packed.push(".gz");
    let packed = PathBuf::from(packed);
    if !path.exists() && packed.exists() {
        packed
    } else {
        path
    }
}

/// The fields of a line, without blanks around them; quotation marks may surround a field and are doubled inside. None if one is open.
fn split_csv(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => fields.last_mut()?.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut()?.push(other),
        }
    }
    (!quoted).then(|| fields.iter().map(|field| field.trim().to_owned()).collect())
}

/// A line of `results.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultRow {
    /// The benchmark that the instance belongs to.
    pub category: String,
    /// The network as the list of instances names it.
    pub network: String,
    /// The specification as the list of instances names it.
    pub spec: String,
    /// Seconds of preparation, which do not count.
    pub preparation: f64,
    /// The outcome.
    pub outcome: Outcome,
    /// Seconds that the verification took.
    pub seconds: f64,
}

/// The line without its end: category, network, specification, preparation, outcome, seconds.
impl fmt::Display for ResultRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [category, network, spec] =
            [&self.category, &self.network, &self.spec].map(|field| csv_field(field));
        let Self {
            preparation,
            outcome,
            seconds,
            ..
        } = self;
        write!(
            formatter,
            "{category},{network},{spec},{preparation:.3},{outcome},{seconds:.3}"
        )
    }
}

fn csv_field(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

/// Writes `results.csv`, without a heading, as the contest's scripts have it.
///
/// # Errors
///
/// [`Error::Io`].
pub fn write_results(path: impl AsRef<Path>, rows: &[ResultRow]) -> Result<()> {
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    file::write(path.as_ref(), lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_where_no_quotation_marks_are() {
        let split = |line| split_csv(line).unwrap();
        assert_eq!(
            split("a.onnx, b.vnnlib ,116"),
            ["a.onnx", "b.vnnlib", "116"]
        );
        assert_eq!(split("\"a, \"\"b\"\"\",c"), ["a, \"b\"", "c"]);
        assert_eq!(split(""), [""]);
        assert_eq!(split_csv("\"a,b"), None);
        for field in ["plain", "with, comma", "with \"marks\""] {
            assert_eq!(split_csv(&csv_field(field)).unwrap(), [field]);
        }
    }
}
