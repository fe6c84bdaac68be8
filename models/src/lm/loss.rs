//! Cross entropy of the next token, to train on.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::batch::invalid;
use super::model::rows;
use super::{CausalLm, TokenBatch};
use crate::Result;

impl CausalLm {
    /// Mean negative log-probability, in nats, of the tokens given those before them: the loss that language models are
    /// trained on, a tensor of one value that can be differentiated if the model is on an autodiff device.
    ///
    /// The first token of a sequence has nothing before it and does not count, nor does filling. A mask, one entry per
    /// token of every sequence (without filling), says which of the others count; without one, all do. The output layer
    /// works only on the places that predict a token that counts.
    ///
    /// # Errors
    ///
    /// Those of [`TokenBatch::validate`], and [`Error::InvalidInput`](crate::Error::InvalidInput) if the mask does not
    /// fit the batch or nothing counts.
    pub fn loss(&self, batch: &TokenBatch, mask: Option<&[Vec<bool>]>) -> Result<Tensor<1>> {
        let targets = Targets::new(batch, mask)?;
        let hidden = self.hidden(batch, None)?;
        let device = hidden.device();
        let logits = self.output_rows(rows(hidden, &targets.places));
        let sum = cross_entropy(logits, indices(&targets.tokens, &device));
        Ok(sum / targets.tokens.len() as f64)
    }
}

/// The tokens of a batch that are to be predicted.
pub(super) struct Targets {
    /// Where in `batch * time` each is predicted.
    pub(super) places: Vec<usize>,
    pub(super) tokens: Vec<u32>,
}

impl Targets {
    pub(super) fn new(batch: &TokenBatch, mask: Option<&[Vec<bool>]>) -> Result<Self> {
        let padding = batch.padding();
        let lengths = || batch.sequences().map(<[u32]>::len);
        if mask.is_some_and(|mask| !mask.iter().map(Vec::len).eq(lengths())) {
            return Err(invalid(
                "the mask has other lengths than the sequences".to_owned(),
            ));
        }
        let (mut places, mut tokens) = (Vec::new(), Vec::new());
        for (row, (sequence, range)) in batch.sequences().zip(padding.tokens()).enumerate() {
            for t in 1..sequence.len() {
                if mask.is_none_or(|mask| mask[row][t]) {
                    places.push(row * padding.time() + range.start + t - 1);
                    tokens.push(sequence[t]);
                }
            }
        }
        match places.is_empty() {
            true => Err(invalid("no token to predict".to_owned())),
            false => Ok(Self { places, tokens }),
        }
    }
}

/// Log-probabilities of one token per row of logits `[n, vocabulary]`: `[n, 1]`, outside of any autodiff graph.
pub(super) fn log_probabilities(logits: Tensor<2>, tokens: Tensor<1, Int>) -> Tensor<2> {
    let logits = logits.inner();
    let probabilities = softmax(logits.clone(), 1);
    log_chosen(logits, &probabilities, tokens.unsqueeze_dim(1))
}

/// The sum of minus the log-probabilities of one token per row of logits `[n, vocabulary]`.
///
/// Where it is differentiated, the gradient is put in directly: probabilities less the one-hot rows. Backends have a
/// fast softmax, and derive a slow gradient of the logarithm of it.
pub(super) fn cross_entropy(logits: Tensor<2>, tokens: Tensor<1, Int>) -> Tensor<1> {
    let plain = logits.clone().inner();
    let tokens: Tensor<2, Int> = tokens.inner().unsqueeze_dim(1);
    let probabilities = softmax(plain.clone(), 1);
    let value = log_chosen(plain, &probabilities, tokens.clone())
        .sum()
        .neg();
    if !logits.is_autodiff() {
        return value;
    }
    let minus_one = Tensor::full(tokens.dims(), -1.0, &probabilities.device());
    let gradient = probabilities.scatter(1, tokens, minus_one, IndexingUpdateOp::Add);
    // Linear in the logits, so its gradient is that constant; less itself, so its value is 0.
    let slope = (logits * gradient.autodiff()).sum();
    value.autodiff() + slope.clone() - slope.detach()
}

/// Log-probabilities of the chosen tokens `[n, 1]`. Their probability may be too small for 32 bits, that of the likeliest
/// token never is; so the normaliser is taken from the latter.
fn log_chosen(logits: Tensor<2>, probabilities: &Tensor<2>, tokens: Tensor<2, Int>) -> Tensor<2> {
    let best = probabilities.clone().max_dim(1).log();
    logits.clone().gather(1, tokens) - logits.max_dim(1) + best
}

/// Token numbers on a device.
pub(super) fn indices(tokens: &[u32], device: &Device) -> Tensor<1, Int> {
    let tokens: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
    let length = tokens.len();
    Tensor::from_data(TensorData::new(tokens, [length]), device)
}
