//! Reads specifications in VNN-LIB 1.0 and 2.0, and writes them in 1.0.
//!
//! A VNN-LIB file describes inputs and outputs of a *violation*: its assertions together are what must never happen. They are brought
//! into disjunctive normal form, a [`Spec`]: every case is a box of inputs and a conjunction of half-spaces of outputs. Conditions on
//! inputs inside a disjunction narrow the box of its cases.
//!
//! Nothing is lost on the way from decimal to binary numbers. Where a bound has no exact 64-bit form it is rounded outward, so that the
//! box contains all inputs of the file and the half-spaces all its unsafe outputs: what is proven for the [`Spec`] holds for the file.
//! Strict inequalities are taken as their closures, which is the same direction, and [`Parsed::notes`] says so.
//!
//! ```
//! let text = "
//!     (declare-const X_0 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
//!     (assert (and (>= X_0 -0.1) (<= X_0 0.1)))   ; for these inputs ...
//!     (assert (<= Y_0 Y_1))                       ; ... class 0 must not fall behind class 1
//! ";
//! let parsed = zonotope_verify::vnnlib::parse(text)?;
//! assert_eq!((parsed.inputs, parsed.outputs), (1, 2));
//! assert_eq!(parsed.spec.cases[0].outputs[0].coefficients, [1.0, -1.0]);
//! # Ok::<(), zonotope_verify::Error>(())
//! ```

mod formula;
mod lexer;
mod normal;
mod number;
mod reader;
mod write;

use std::path::Path;

use crate::error::{Error, Result};
use crate::file;
use crate::spec::Spec;

/// How many cases a specification may have unless [`parse_with_limit`] says otherwise.
pub const DEFAULT_CLAUSES: usize = 10_000;

/// Longer files, packed or not, are refused.
const MAX_FILE: u64 = 256 << 20;

/// A specification, and what else the file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// What is to be proven.
    pub spec: Spec,
    /// Where the specification is not literally the file, for people to read. Always in the direction that a proof stays a proof.
    pub notes: Vec<String>,
    /// Number of inputs that are declared.
    pub inputs: usize,
    /// Number of outputs that are declared.
    pub outputs: usize,
    /// Names and shapes of input and output; VNN-LIB 2.0 only.
    pub declarations: Option<Declarations>,
}

/// The tensors of a network in VNN-LIB 2.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declarations {
    /// The input.
    pub input: TensorDeclaration,
    /// The output.
    pub output: TensorDeclaration,
}

/// A tensor as VNN-LIB 2.0 declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorDeclaration {
    /// Its name in the file.
    pub name: String,
    /// Type of its elements as it is written there, e.g. `float32` or `Real`.
    pub element: String,
    /// Its shape; none for a single number.
    pub shape: Vec<usize>,
}

/// Reads a specification from its text, with at most [`DEFAULT_CLAUSES`] cases.
///
/// # Errors
///
/// - [`Error::VnnlibSyntax`], with line and column;
/// - [`Error::VnnlibUnsupported`] for what is well formed but no union of boxes and half-spaces: products of variables, linear conditions
///   on several inputs, conditions that mix inputs and outputs, several networks; for numbers beyond the 64-bit range, and for
///   coefficients without an exact 64-bit form even after scaling by a power of ten;
/// - [`Error::MissingInputBound`], and [`Error::EmptyInputBox`] if no case has a box that is not empty;
/// - [`Error::TooManyClauses`]; [`Error::InvalidConfig`] if the assertions can never hold, whatever the network is.
pub fn parse(text: &str) -> Result<Parsed> {
    parse_with_limit(text, DEFAULT_CLAUSES)
}

/// Reads a specification with at most `limit` cases.
///
/// # Errors
///
/// Those of [`parse`].
pub fn parse_with_limit(text: &str, limit: usize) -> Result<Parsed> {
    let script = reader::read(text.strip_prefix('\u{feff}').unwrap_or(text))?;
    let normal = normal::cases(&script.condition, script.inputs, script.outputs, limit)?;
    let mut notes = script.notes;
    if normal.empty > 0 {
        notes.push(format!(
            "{} cases are about no input at all and are left out",
            normal.empty
        ));
    }
    let spec = Spec {
        cases: normal.cases,
    };
    Ok(Parsed {
        spec,
        notes,
        inputs: script.inputs,
        outputs: script.outputs,
        declarations: script.declarations,
    })
}

/// Reads a file, packed by gzip or not.
///
/// # Errors
///
/// [`Error::Io`], also for more than 256 MiB of text, for text that is not UTF-8, and for anything behind packed data; those of
/// [`parse`].
pub fn load(path: impl AsRef<Path>) -> Result<Parsed> {
    let path = path.as_ref();
    let bytes = file::read(path, MAX_FILE)?;
    let text = String::from_utf8(bytes).map_err(|error| Error::Io {
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error()),
    })?;
    parse(&text)
}

impl Spec {
    /// Reads a VNN-LIB file: the specification of [`load`].
    ///
    /// # Errors
    ///
    /// Those of [`load`].
    pub fn from_vnnlib(path: impl AsRef<Path>) -> Result<Self> {
        load(path).map(|parsed| parsed.spec)
    }

    /// The specification in VNN-LIB 1.0. All numbers are written in full, so that [`parse`] gives the same specification.
    ///
    /// A half-space without any coefficient that is not 0 is the one thing that does not come back: it holds always or never, and is
    /// decided when it is read.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] without cases or with numbers that are not finite, [`Error::ShapeMismatch`] if the cases are about
    /// networks of different sizes or do not say how many outputs there are.
    pub fn to_vnnlib(&self) -> Result<String> {
        write::text(self)
    }
}
