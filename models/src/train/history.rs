//! What happened in a training run: numbers of every step and every epoch.

/// The numbers of a run so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// One record a step.
    pub steps: Vec<StepRecord>,
    /// One record a finished epoch.
    pub epochs: Vec<EpochRecord>,
}

/// The numbers of an optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRecord {
    /// The step, from 0.
    pub step: u64,
    /// The epoch it lies in, from 0.
    pub epoch: u64,
    /// Mean loss of its samples, before the step.
    pub loss: f64,
    /// Euclidean norm of the gradient of all trained parameters, before clipping.
    pub gradient_norm: f64,
    /// The learning rate.
    pub rate: f64,
}

/// The numbers of an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochRecord {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Steps that were done at its end, from the start of the run.
    pub steps: u64,
    /// Mean of its steps' losses.
    pub loss: f64,
    /// What the callback found, by name.
    pub evaluation: Vec<(String, f64)>,
}

impl History {
    /// Mean loss of the steps of an epoch, 0 if there are none.
    pub(crate) fn mean_loss(&self, epoch: u64) -> f64 {
        let steps = self
            .steps
            .iter()
            .rev()
            .take_while(|record| record.epoch == epoch);
        let (sum, count) = steps.fold((0.0, 0_u64), |(sum, count), r| (sum + r.loss, count + 1));
        sum / count.max(1) as f64
    }
}
