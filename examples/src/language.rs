//! Small language models, trained on the spot: a tokenizer for a text, the text in windows, and the training.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use burn::tensor::{Device, Tensor};
use fire_assay_datasets::text::{HeldOut, hold_out};
use fire_assay_models::lm::{CausalLm, LmConfig, LmTokenizer, Side, TokenBatch};
use fire_assay_models::tensors::write_whole;
use fire_assay_models::train::{
    Adam, Decay, DecayScope, EpochEnd, Evaluation, Labels, Length, Method, Progress, Schedule,
    TrainConfig, Trained, Trainer, evaluate,
};
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    TokenizerBuilder,
};

use crate::interrupt::interrupted;

/// The token that ends a text; its number is 0.
pub const END: &str = "<|endoftext|>";

/// The part of a text that is held out to test on.
pub const HELD_OUT: f64 = 0.1;

/// Windows of a batch in evaluation.
const EVALUATION_BATCH: usize = 16;

/// A size of language model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LmSize {
    /// 0.2 million weights, 512 tokens: learns in a minute to spell
    Nano,
    /// 1 million weights, 2,048 tokens: minutes
    Tiny,
    /// 5 million weights, 4,096 tokens: hours
    Small,
}

/// A tokenizer, and the contents of its file.
#[derive(Clone, Debug)]
pub struct TrainedTokenizer {
    /// To encode and decode with.
    pub tokenizer: LmTokenizer,
    /// `tokenizer.json`.
    pub json: String,
}

/// A text as windows of tokens; every token is to be predicted from those before it in its window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    tokens: Vec<u32>,
    length: usize,
}

/// A language model to be trained, and the text to train and test it on.
#[derive(Clone, Debug)]
pub struct LmTask {
    /// What the model looks like.
    pub config: LmConfig,
    /// A tokenizer of the model's vocabulary, trained on the training text.
    pub tokenizer: TrainedTokenizer,
    /// To train on.
    pub train: Windows,
    /// To test on.
    pub test: Windows,
}

impl LmSize {
    /// The model of this size. [`END`] ends its texts.
    pub fn config(self) -> LmConfig {
        let config = match self {
            Self::Nano => LmConfig::nano(),
            Self::Tiny => LmConfig::tiny(),
            Self::Small => LmConfig::small(),
        };
        LmConfig {
            eos: vec![0],
            ..config
        }
    }

    /// Tokens of a window, unless the user says otherwise.
    pub fn window(self) -> usize {
        match self {
            Self::Nano => 64,
            Self::Tiny => 128,
            Self::Small => 256,
        }
    }

    /// Settings of a training that suit the size: AdamW, a warm-up, then half a cosine.
    pub fn training(self, length: Length, seed: u64) -> TrainConfig {
        let adam = Adam {
            beta2: 0.95,
            weight_decay: 0.1,
            ..Adam::default()
        };
        let rate = match self {
            Self::Nano => 3e-3,
            Self::Tiny => 2e-3,
            Self::Small => 1e-3,
        };
        TrainConfig {
            schedule: Schedule {
                warm_up: 20,
                decay: Decay::Cosine { floor: 0.0 },
            },
            decay_scope: DecayScope::Matrices,
            clip_norm: Some(1.0),
            seed,
            ..TrainConfig::new(Method::AdamW(adam), rate, length, 16)
        }
    }
}

/// Trains a byte-level BPE tokenizer of `vocabulary` tokens on a text: [`END`], the 256 bytes, and merges.
///
/// # Errors
/// If the text has too few pairs for so many merges.
pub fn train_tokenizer(text: &str, vocabulary: usize) -> Result<TrainedTokenizer> {
    let failed = |error: tokenizers::Error| anyhow!("training a tokenizer: {error}");
    let mut tokenizer = TokenizerBuilder::<
        BPE,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >::new()
    .with_model(BPE::default())
    .with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false).into()))
    .with_decoder(Some(ByteLevel::default().into()))
    .build()
    .map_err(failed)?;
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(vocabulary)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(vec![AddedToken::from(END, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer
        .train(&mut trainer, text.split_inclusive('\n'))
        .map_err(failed)?;
    let json = tokenizer.to_string(false).map_err(failed)?;
    let tokenizer = LmTokenizer::from_json(json.as_bytes(), "the new tokenizer")?;
    if tokenizer.vocabulary() != vocabulary {
        bail!(
            "the text is enough for {} tokens, and {vocabulary} are wanted: take more text or a smaller model",
            tokenizer.vocabulary()
        );
    }
    Ok(TrainedTokenizer { tokenizer, json })
}

impl Windows {
    /// The windows of `length` tokens of a text; what is left at its end is dropped.
    ///
    /// # Errors
    /// If the text does not fill one, or `length` is 0.
    pub fn new(tokenizer: &LmTokenizer, text: &str, length: usize) -> Result<Self> {
        let tokens = tokenizer.encode(text, false)?;
        // A window needs the token after it too.
        if length == 0 || tokens.len() <= length {
            bail!(
                "a text of {} tokens does not fill a window of {length}",
                tokens.len()
            );
        }
        Ok(Self { tokens, length })
    }

    /// How many windows there are; never 0.
    pub fn count(&self) -> usize {
        (self.tokens.len() - 1) / self.length
    }

    /// How many tokens the text has.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Logits of every token of some windows, `[tokens, vocabulary]`, and the tokens that follow. Panics if there is no
    /// such window.
    ///
    /// # Errors
    /// Those of [`CausalLm::logits`].
    pub fn predict(
        &self,
        model: &CausalLm,
        windows: &[usize],
    ) -> fire_assay_models::Result<(Tensor<2>, Labels)> {
        let from = |start: usize| &self.tokens[start..start + self.length];
        let inputs: Vec<&[u32]> = windows.iter().map(|w| from(w * self.length)).collect();
        let following = windows.iter().flat_map(|w| from(w * self.length + 1));
        let following: Vec<i64> = following.map(|&token| token.into()).collect();
        let vocabulary = model.config().vocabulary;
        let logits = model.logits(&TokenBatch::new(&inputs, Side::Right)?)?;
        let logits = logits.reshape([following.len(), vocabulary]);
        Ok((logits, Labels::new(&following, vocabulary)?))
    }

    /// Mean cross entropy of the tokens that follow those of some windows, to train on: that of [`Windows::predict`], by
    /// the model's own [`CausalLm::loss`]. Panics if there is no such window.
    ///
    /// # Errors
    /// Those of [`CausalLm::loss`].
    pub fn loss(
        &self,
        model: &CausalLm,
        windows: &[usize],
    ) -> fire_assay_models::Result<Tensor<1>> {
        let with_next = |w: &usize| &self.tokens[w * self.length..=(w + 1) * self.length];
        let sequences: Vec<&[u32]> = windows.iter().map(with_next).collect();
        model.loss(&TokenBatch::new(&sequences, Side::Right)?, None)
    }

    /// How well a model predicts all windows.
    ///
    /// # Errors
    /// Those of [`Windows::predict`].
    pub fn evaluate(&self, model: &CausalLm) -> fire_assay_models::Result<Evaluation> {
        evaluate(model, self.count(), EVALUATION_BATCH, |model, windows| {
            self.predict(model, windows)
        })
    }
}

impl LmTask {
    /// A model of a size for a text, of which [`HELD_OUT`] is kept to test on, in windows of so many tokens.
    ///
    /// # Errors
    /// If the text is too short, or a window longer than the model's context.
    pub fn new(size: LmSize, text: &str, window: usize) -> Result<Self> {
        let config = size.config();
        if window > config.context {
            bail!(
                "windows of {window} tokens do not fit a context of {}",
                config.context
            );
        }
        let HeldOut { train, test } = hold_out(text, HELD_OUT);
        let tokenizer = train_tokenizer(&train, config.vocabulary)?;
        let windows = |text: &str| Windows::new(&tokenizer.tokenizer, text, window);
        let (train, test) = (
            windows(&train).context("the training text")?,
            windows(&test).context("the held-out text")?,
        );
        Ok(Self {
            config,
            tokenizer,
            train,
            test,
        })
    }

    /// Trains a new model, with a checkpoint if a file and a number of steps are given, until Ctrl-C. `on_epoch` sees
    /// each epoch's end and what was found on the test windows, and says what the history keeps of it.
    ///
    /// # Errors
    /// Those of [`Trainer::run`].
    pub fn train(
        &self,
        config: TrainConfig,
        checkpoint: Option<(PathBuf, u64)>,
        device: &Device,
        mut on_epoch: impl FnMut(&Progress<'_, CausalLm>, Evaluation) -> Vec<(String, f64)>,
    ) -> Result<Trained<CausalLm>> {
        let model = CausalLm::init(&self.config, config.seed, &device.clone().autodiff())?;
        let mut trainer = Trainer::new(config)?
            .with_cancel(interrupted())
            .on_epoch(|progress| {
                let found = self.test.evaluate(progress.model)?;
                Ok(EpochEnd {
                    evaluation: on_epoch(&progress, found),
                    stop: false,
                })
            });
        if let Some((file, every)) = checkpoint {
            trainer = trainer.with_checkpoint(file, every);
        }
        let trained = trainer.run(model, self.train.count(), |model, batch| {
            self.train.loss(model, &batch.indices)
        })?;
        Ok(trained)
    }

    /// Writes a trained model and its tokenizer into a folder, which `transformers` and the program `lm` load.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, model: &CausalLm, folder: &Path) -> Result<()> {
        model.save_folder(folder)?;
        let settings = json!({ "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END });
        for (name, contents) in [
            ("tokenizer.json", &self.tokenizer.json),
            ("tokenizer_config.json", &format!("{settings:#}\n")),
        ] {
            write_whole(folder.join(name), contents)?;
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use fire_assay_datasets::embedded;

    use super::*;

    #[test]
    fn a_tokenizer_gives_texts_back_and_shortens_them() {
        let text = embedded::english().text;
        let trained = train_tokenizer(&text, 512).unwrap();
        for text in [&text[..10_000], "naïve  日本\r\n\t", "<|endoftext|>"] {
            let tokens = trained.tokenizer.encode(text, false).unwrap();
            assert_eq!(trained.tokenizer.decode(&tokens, false).unwrap(), text);
        }
        let tokens = trained.tokenizer.encode(&text, false).unwrap();
        assert!(
            2 * tokens.len() < text.len() + text.len() / 5,
            "{}",
            tokens.len()
        );
        assert_eq!(trained.tokenizer.id(END), Some(0));
        assert!(train_tokenizer("too short", 512).is_err());
    }

    #[test]
    fn windows_cover_the_text_once_and_predict_the_next_token() {
        let text = "abcdefghij".repeat(30);
        let tokenizer = train_tokenizer(&embedded::english().text, 512).unwrap();
        let windows = Windows::new(&tokenizer.tokenizer, &text, 7).unwrap();
        assert_eq!(windows.count(), (windows.tokens() - 1) / 7);
        let model = CausalLm::init(&LmConfig::nano(), 1, &Device::flex()).unwrap();
        let (logits, labels) = windows.predict(&model, &[0, 2]).unwrap();
        assert_eq!((logits.dims(), labels.len()), ([14, 512], 14));
        // The same as the model's own account of the 8 tokens that the first window is about.
        let (logits, labels) = windows.predict(&model, &[0]).unwrap();
        let loss: f32 = labels.cross_entropy(logits, 0.0).unwrap().into_scalar();
        let nll = model
            .mean_nll(&TokenBatch::single(&windows.tokens[..8]).unwrap())
            .unwrap();
        assert!((f64::from(loss) - nll).abs() < 1e-5, "{loss} {nll}");
        assert!(Windows::new(&tokenizer.tokenizer, "a", 7).is_err());
        // Both losses are one, of windows as long as the context too.
        let long = "abcdefghij".repeat(200);
        for length in [7, 256] {
            let windows = Windows::new(&tokenizer.tokenizer, &long, length).unwrap();
            let (logits, labels) = windows.predict(&model, &[2, 0]).unwrap();
            let slow: f32 = labels.cross_entropy(logits, 0.0).unwrap().into_scalar();
            let fast: f32 = windows.loss(&model, &[2, 0]).unwrap().into_scalar();
            assert!((slow - fast).abs() < 1e-5, "{slow} {fast}");
        }
    }

    #[test]
    fn a_model_learns_and_is_saved_with_its_tokenizer() {
        let text = "one two three four five six seven eight nine ten\n".repeat(60)
            + &embedded::english().text[..60_000];
        let task = LmTask::new(LmSize::Nano, &text, 32).unwrap();
        let config = LmSize::Nano.training(Length::Steps(12), 1);
        let trained = task
            .train(config, None, &Device::flex(), |_, _| Vec::new())
            .unwrap();
        let losses: Vec<f64> = trained.history.steps.iter().map(|step| step.loss).collect();
        assert!((losses[0] - 512_f64.ln()).abs() < 0.2, "{losses:?}");
        assert!(losses[11] < losses[0] - 0.3, "{losses:?}");
        let folder = tempfile::tempdir().unwrap();
        let model = burn::module::Module::valid(&trained.model);
        task.save(&model, folder.path()).unwrap();
        let again = CausalLm::from_folder(folder.path(), &Device::flex()).unwrap();
        let tokenizer = LmTokenizer::open(folder.path()).unwrap();
        assert_eq!(tokenizer.eos(), [0]);
        let batch = TokenBatch::single(&tokenizer.encode("one two three", false).unwrap()).unwrap();
        assert_eq!(
            again.mean_nll(&batch).unwrap(),
            model.mean_nll(&batch).unwrap()
        );
    }
}
