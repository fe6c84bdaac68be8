//! What a run shows on its way, what it is told, and what it returns.

use serde::{Deserialize, Serialize};

use super::history::History;
use super::optimizer::Optimizer;

/// What callbacks see.
#[derive(Debug)]
pub struct Progress<'r, M> {
    /// The network after the step, on autodiff; [`evaluate`](super::evaluate) takes it as it is.
    pub model: &'r M,
    /// The optimiser after the step.
    pub optimizer: &'r Optimizer,
    /// The numbers so far; the last of `history.steps` is this step.
    pub history: &'r History,
}

/// What the callback at an epoch's end says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpochEnd {
    /// Numbers for the history, by name.
    pub evaluation: Vec<(String, f64)>,
    /// Ends the training here.
    pub stop: bool,
}

/// The result of a run.
#[derive(Debug)]
pub struct Trained<M> {
    /// The network, on autodiff; `valid()` makes it ready for use.
    pub model: M,
    /// The optimiser with its state.
    pub optimizer: Optimizer,
    /// The numbers of all steps and epochs, those before a resumption included.
    pub history: History,
    /// Why it ended.
    pub end: End,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// All steps were done.
    Completed,
    /// A callback stopped it.
    Stopped,
}
