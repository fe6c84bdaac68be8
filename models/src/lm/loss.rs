//! Cross entropy of the next token, to train on.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

use super::batch::{check_tokens, invalid};
use super::model::rows;
use super::{CausalLm, Side, TokenBatch};
use crate::Result;

impl CausalLm {
    /// Mean negative log-probability, in nats, of the tokens given those before them: the loss that language models are
    /// trained on, a tensor of one value that can be differentiated if the model is on an autodiff device.
    ///
    /// The first token of a sequence has nothing before it and does not count, nor does filling. A mask, one entry per
    /// token of every sequence (without filling), says which of the others count; without one, all do. The output layer
    /// works only on the places that predict a token that counts. The last token of a sequence is not read, so that it may
    /// be the one behind a full context.
    ///
    /// # Errors
    ///
    /// Those of [`TokenBatch::validate`], and [`Error::InvalidInput`](crate::Error::InvalidInput) if the mask does not
    /// fit the batch or nothing counts.
    pub fn loss(&self, batch: &TokenBatch, mask: Option<&[Vec<bool>]>) -> Result<Tensor<1>> {
        let (read, targets) = Targets::new(batch, mask, self.config().vocabulary)?;
        let hidden = self.hidden(&read, None)?;
        let device = hidden.device();
        let logits = self.output_rows(rows(hidden, &targets.places));
        let sum = cross_entropy(logits, indices(&targets.tokens, &device));
        Ok(sum / targets.tokens.len() as f64)
    }
}

/// Tokens that are to be predicted.
pub(super) struct Targets {
    /// Where in `batch * time` of what is read each is predicted.
    pub(super) places: Vec<usize>,
    pub(super) tokens: Vec<u32>,
}

impl Targets {
    /// The tokens of a batch that count, and what is read to predict them: all sequences but their last tokens.
    pub(super) fn new(
        batch: &TokenBatch,
        mask: Option<&[Vec<bool>]>,
        vocabulary: usize,
    ) -> Result<(TokenBatch, Self)> {
        let lengths = || batch.sequences().map(<[u32]>::len);
        if mask.is_some_and(|mask| !mask.iter().map(Vec::len).eq(lengths())) {
            return Err(invalid(
                "the mask has other lengths than the sequences".to_owned(),
            ));
        }
        for sequence in batch.sequences() {
            check_tokens(sequence, vocabulary)?;
        }
        let nothing = || invalid("no token to predict".to_owned());
        let (mut rows, mut read) = (Vec::new(), Vec::new());
        for (row, sequence) in batch.sequences().enumerate() {
            if let [all_but_last @ .., _] = sequence
                && !all_but_last.is_empty()
            {
                rows.push((row, sequence));
                read.push(all_but_last);
            }
        }
        let time = read.iter().map(|read| read.len()).max();
        let time = time.ok_or_else(nothing)?;
        let (mut places, mut tokens) = (Vec::new(), Vec::new());
        for (place, (row, sequence)) in rows.into_iter().enumerate() {
            for t in 1..sequence.len() {
                if mask.is_none_or(|mask| mask[row][t]) {
                    places.push(place * time + t - 1);
                    tokens.push(sequence[t]);
                }
            }
        }
        match places.is_empty() {
            true => Err(nothing()),
            false => Ok((
                TokenBatch::new(&read, Side::Right)?,
                Self { places, tokens },
            )),
        }
    }
}

/// For one token per row of logits `[n, vocabulary]` its log-probability, and its logit less the largest: `[n, 2]`,
/// outside of any autodiff graph.
pub(super) fn log_probabilities(logits: Tensor<2>, tokens: Tensor<1, Int>) -> Tensor<2> {
    let logits = logits.inner();
    let probabilities = softmax(logits.clone(), 1);
    let relative = relative_to_best(logits, tokens.unsqueeze_dim(1));
    Tensor::cat(
        vec![relative.clone() + log_best(probabilities), relative],
        1,
    )
}

/// The sum of minus the log-probabilities of one token per row of logits `[n, vocabulary]`.
///
/// Where it is differentiated, the gradient is put in directly: probabilities less the one-hot rows. Backends have a
/// fast softmax, and derive a slow gradient of the logarithm of it.
pub(super) fn cross_entropy(logits: Tensor<2>, tokens: Tensor<1, Int>) -> Tensor<1> {
    let plain = logits.clone().inner();
    let tokens: Tensor<2, Int> = tokens.inner().unsqueeze_dim(1);
    let probabilities = softmax(plain.clone(), 1);
    // The probability of a token may be too small for 32 bits, that of the likeliest never is.
    let chosen = relative_to_best(plain, tokens.clone()) + log_best(probabilities.clone());
    let value = chosen.sum().neg();
    if !logits.is_autodiff() {
        return value;
    }
    let minus_one = Tensor::full(tokens.dims(), -1.0, &probabilities.device());
    let gradient = probabilities.scatter(1, tokens, minus_one, IndexingUpdateOp::Add);
    // Linear in the logits, so its gradient is that constant; less itself, so its value is 0.
    let slope = (logits * gradient.autodiff()).sum();
    value.autodiff() + slope.clone() - slope.detach()
}

/// The logits of the chosen tokens less the largest of their rows, `[n, 1]`.
fn relative_to_best(logits: Tensor<2>, tokens: Tensor<2, Int>) -> Tensor<2> {
    logits.clone().gather(1, tokens) - logits.max_dim(1)
}

/// The log-probability of the likeliest token of every row, `[n, 1]`.
fn log_best(probabilities: Tensor<2>) -> Tensor<2> {
    probabilities.max_dim(1).log()
}

/// Token numbers on a device.
pub(super) fn indices(tokens: &[u32], device: &Device) -> Tensor<1, Int> {
    let tokens: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
    let length = tokens.len();
    Tensor::from_data(TensorData::new(tokens, [length]), device)
}
