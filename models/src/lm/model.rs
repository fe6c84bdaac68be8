//! The network: tokens to the logits of the next.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::module::embedding;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::batch::invalid;
use super::block::Block;
use super::layers::{NormLayer, linear};
use super::positions::Pass;
use super::weights::{Place, RandomWeights, Weights};
use super::{KvCache, LmConfig, Padding, TokenBatch};
use crate::Result;
use crate::tensors::HostTensor;

/// A decoder-only language model with its weights, in 32 bits.
///
/// It is an ordinary burn module: [`train`](Module::train) gives one whose weights are differentiated,
/// [`valid`](Module::valid) takes that back. Gradients with respect to inputs need neither: an input on an autodiff
/// device is enough.
#[derive(Module, Debug)]
pub struct CausalLm {
    /// A vector for every token, `[vocabulary, width]`.
    pub embedding: Param<Tensor<2>>,
    /// A vector for every position, in models that learn them, `[context + offset, width]`.
    pub positions: Option<Param<Tensor<2>>>,
    /// The blocks, first to last.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: NormLayer,
    /// From the last block to logits, `[width, vocabulary]`; where there is none, the embedding serves.
    pub output: Option<Linear>,
    #[module(skip)]
    config: LmConfig,
}

impl CausalLm {
    /// A model with random weights: matrices from a normal distribution with standard deviation 0.02, those that add to
    /// the residual stream divided by the square root of twice the number of blocks, as in GPT-2; gains 1, biases 0.
    /// They are drawn on the host, so that a seed gives the same weights on every device.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig).
    pub fn init(config: &LmConfig, seed: u64, device: &Device) -> Result<Self> {
        config.validate()?;
        Self::new(config, &mut RandomWeights::new(config, seed), device)
    }

    pub(super) fn new(
        config: &LmConfig,
        weights: &mut dyn Weights,
        device: &Device,
    ) -> Result<Self> {
        let (vocabulary, width) = (config.vocabulary, config.width);
        let table = |table: HostTensor| table.to_tensor(device).map(Param::from_tensor);
        Ok(Self {
            embedding: table(weights.matrix(Place::Embedding, [vocabulary, width])?)?,
            positions: match config.position_rows() {
                None => None,
                Some(rows) => Some(table(weights.matrix(Place::Positions, [rows, width])?)?),
            },
            blocks: (0..config.layers)
                .map(|block| Block::new(config, block, weights, device))
                .collect::<Result<_>>()?,
            norm: NormLayer::new(config, Place::FinalNorm, weights, device)?,
            output: match config.tied {
                true => None,
                false => Some(linear(
                    weights,
                    Place::Output,
                    [width, vocabulary],
                    false,
                    device,
                )?),
            },
            config: config.clone(),
        })
    }

    /// What the model looks like.
    pub fn config(&self) -> &LmConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.embedding.val().device()
    }

    /// The vectors of all tokens, `[vocabulary, width]`.
    pub fn embedding_matrix(&self) -> Tensor<2> {
        self.embedding.val()
    }

    /// The vectors of tokens `[batch, time]`: `[batch, time, width]`.
    ///
    /// Tokens on a device are not checked: what one outside of the vocabulary does is up to the backend. A
    /// [`TokenBatch`] is checked.
    pub fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        embedding(self.embedding.val(), tokens)
    }

    /// Logits of the next token at every place, `[batch, time, vocabulary]`. Those at filling mean nothing.
    ///
    /// # Errors
    ///
    /// Those of [`TokenBatch::validate`].
    pub fn logits(&self, batch: &TokenBatch) -> Result<Tensor<3>> {
        Ok(self.output(self.hidden(batch, None)?))
    }

    /// Logits of the token that follows every sequence, `[batch, vocabulary]`: the output layer, the largest of a small
    /// model, works on the last tokens only. With a cache, the batch continues what the cache holds and is added to it.
    ///
    /// # Errors
    ///
    /// Those of [`hidden`](Self::hidden).
    pub fn next_logits(
        &self,
        batch: &TokenBatch,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<2>> {
        let padding = batch.padding();
        let last = padding.tokens().iter().enumerate();
        let last: Vec<usize> = last
            .map(|(row, place)| row * padding.time() + place.end - 1)
            .collect();
        let hidden = self.hidden(batch, cache)?;
        Ok(self.output_rows(rows(hidden, &last)))
    }

    /// Logits of the tokens that follow chosen ones, `[places, vocabulary]`: the output layer works on nothing else. A
    /// place is the number of a sequence and that of a token in it; filling is not counted.
    ///
    /// # Errors
    ///
    /// Those of [`TokenBatch::validate`], and [`Error::InvalidInput`](crate::Error::InvalidInput) if there is no place or
    /// one lies outside of the batch.
    pub fn logits_at(&self, batch: &TokenBatch, places: &[(usize, usize)]) -> Result<Tensor<2>> {
        let padding = batch.padding();
        let number = |&(row, t): &(usize, usize)| {
            let tokens = padding.tokens().get(row)?;
            (t < tokens.len()).then(|| row * padding.time() + tokens.start + t)
        };
        let numbers: Option<Vec<usize>> = places.iter().map(number).collect();
        let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else {
            return Err(invalid(format!(
                "the places {places:?} in {} sequences",
                padding.batch()
            )));
        };
        let hidden = self.hidden(batch, None)?;
        Ok(self.output_rows(rows(hidden, &numbers)))
    }

    /// What the output layer gets, `[batch, time, width]`. With a cache, the batch continues what the cache holds and is
    /// added to it; the context then holds both.
    ///
    /// # Errors
    ///
    /// Those of [`TokenBatch::validate`]; [`Error::InvalidInput`](crate::Error::InvalidInput) if the cache is of another
    /// model's shape or of another number of sequences, or if it leaves too little of the context.
    pub fn hidden(&self, batch: &TokenBatch, cache: Option<&mut KvCache>) -> Result<Tensor<3>> {
        batch.validate(&self.config)?;
        let embeddings = self.embed(batch.to_tensor(&self.device()));
        self.hidden_from_embeddings(embeddings, Some(batch.padding()), cache)
    }

    /// The same from vectors in place of tokens, `[batch, time, width]`; no padding means that all of them count.
    ///
    /// # Errors
    ///
    /// Those of [`hidden`](Self::hidden), and [`Error::InvalidInput`](crate::Error::InvalidInput) if the shape is not
    /// that of the padding or the width not the model's.
    pub fn hidden_from_embeddings(
        &self,
        embeddings: Tensor<3>,
        padding: Option<&Padding>,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<3>> {
        let [batch, time, width] = embeddings.dims();
        let full;
        let padding = match padding {
            Some(padding) => padding,
            None => {
                full = Padding::full(batch, time)?;
                &full
            }
        };
        if [padding.batch(), padding.time(), self.config.width] != [batch, time, width] {
            return Err(invalid(format!(
                "embeddings of shape [{batch}, {time}, {width}], expected [{}, {}, {}]",
                padding.batch(),
                padding.time(),
                self.config.width
            )));
        }
        if let Some(cache) = &cache {
            cache.check(&self.config, padding)?;
        }
        let pass = Pass::new(&self.config, padding, cache.as_deref(), &self.device())?;
        let mut x = embeddings;
        if let (Some(table), Some(places)) = (&self.positions, &pass.learned) {
            x = x + embedding(table.val(), places.clone());
        }
        let mut x = x.reshape([batch * time, width]);
        match cache {
            None => {
                for block in &self.blocks {
                    x = block.forward(x, &pass, None);
                }
            }
            Some(cache) => {
                for (block, kept) in self.blocks.iter().zip(&mut cache.blocks) {
                    x = block.forward(x, &pass, Some(kept));
                }
                cache.tokens = pass.tokens;
            }
        }
        Ok(self.norm.forward(x).reshape([batch, time, width]))
    }

    /// Logits from vectors in place of tokens: [`hidden_from_embeddings`](Self::hidden_from_embeddings), then
    /// [`output`](Self::output).
    ///
    /// # Errors
    ///
    /// Those of [`hidden_from_embeddings`](Self::hidden_from_embeddings).
    pub fn logits_from_embeddings(
        &self,
        embeddings: Tensor<3>,
        padding: Option<&Padding>,
        cache: Option<&mut KvCache>,
    ) -> Result<Tensor<3>> {
        Ok(self.output(self.hidden_from_embeddings(embeddings, padding, cache)?))
    }

    /// The output layer: `[batch, time, width]` to logits `[batch, time, vocabulary]`.
    pub fn output(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [batch, time, width] = hidden.dims();
        let logits = self.output_rows(hidden.reshape([batch * time, width]));
        logits.reshape([batch, time, self.config.vocabulary])
    }

    /// The output layer for single places: `[places, width]` to `[places, vocabulary]`.
    pub(super) fn output_rows(&self, hidden: Tensor<2>) -> Tensor<2> {
        match &self.output {
            Some(output) => output.forward(hidden),
            None => hidden.matmul(self.embedding.val().transpose()),
        }
    }
}

/// Rows of `[batch, time, width]` by their number in `batch * time`.
pub(super) fn rows(hidden: Tensor<3>, places: &[usize]) -> Tensor<2> {
    let [batch, time, width] = hidden.dims();
    let indices = places.iter().map(|&place| place as i32).collect();
    let data = TensorData::new::<i32, _>(indices, [places.len()]);
    let places = Tensor::<1, Int>::from_data(data, &hidden.device());
    hidden.reshape([batch * time, width]).select(0, places)
}
