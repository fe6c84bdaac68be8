//! Decoder-only language models: one network for the Llama, Mistral, Qwen2, GPT-NeoX, GPT-2 and OPT families.
//!
//! An [`LmConfig`] says what a model looks like, a [`CausalLm`] is one with weights: random, out of a Hugging Face
//! folder, or out of any other [source of tensors](crate::tensors::TensorSource). A [`TokenBatch`] holds sequences of
//! different lengths; a [`KvCache`] what a model has already read.
//!
//! ```
//! use burn::tensor::Device;
//! use fire_assay_models::lm::{CausalLm, LmConfig, Side, TokenBatch};
//!
//! # fn main() -> fire_assay_models::Result<()> {
//! let model = CausalLm::init(&LmConfig::nano(), 7, &Device::flex())?;
//! let batch = TokenBatch::new(&[vec![3, 1, 4, 1, 5], vec![9, 2, 6]], Side::Right)?;
//! assert_eq!(model.logits(&batch)?.dims(), [2, 5, 512]);
//! // A model that knows nothing spreads its bets over all 512 tokens.
//! assert!((model.mean_nll(&batch)? - 512_f64.ln()).abs() < 0.1);
//!
//! let folder = tempfile::tempdir().unwrap();
//! model.save_folder(folder.path())?;
//! let again = CausalLm::from_folder(folder.path(), &Device::flex())?;
//! assert_eq!(again.mean_nll(&batch)?, model.mean_nll(&batch)?);
//! # Ok(())
//! # }
//! ```
//!
//! # Conventions
//!
//! Everything is computed in 32 bits. Linear layers hold `[inputs, outputs]`, as burn has them; files hold what Hugging
//! Face has. Rotary positions rotate the axes `i` and `i + r/2` of a head as a pair. A sliding window of `n` lets a token
//! see `n` tokens, itself included.
//!
//! # Training
//!
//! [`CausalLm::loss`] is differentiable if the model is: on a device with autodiff, or after
//! [`Module::train`](burn::module::Module::train).
//!
//! # Text
//!
//! An [`LmTokenizer`] turns text into tokens and back, a [`ChatTemplate`] a chat into a text, and a [`Generator`]
//! continues one, as its [`Sampling`] says. A GGUF file has the network and all of these; a [`GgufCheckpoint`] takes it
//! apart.
//!
//! ```no_run
//! use burn::tensor::Device;
//! use fire_assay_models::lm::{CausalLm, GenerateOptions, Generator, Sampling};
//! use rand::{SeedableRng, rngs::StdRng};
//!
//! # fn main() -> fire_assay_models::Result<()> {
//! let file = "SmolLM2-135M-Instruct.Q4_1.gguf";
//! let (model, tokenizer) = CausalLm::from_gguf(file, &Device::flex())?;
//! let prompt = tokenizer.encode("The capital of France is", true)?;
//! let options = GenerateOptions::new(Sampling::temperature(0.7).with_top_p(0.9), 20);
//! let generator = Generator::new(&model, options)?.with_tokenizer(&tokenizer);
//! let found = generator.generate(&prompt, &mut StdRng::seed_from_u64(1))?;
//! println!("{}", tokenizer.decode_after(&prompt, &found.tokens, true)?);
//! # Ok(())
//! # }
//! ```

mod attention;
mod batch;
mod block;
mod cache;
mod checkpoint;
mod config;
mod gradient;
mod layers;
mod loss;
mod memory;
mod model;
mod positions;
mod rotary;
mod score;
mod weights;

mod chat;
mod generate;
mod gguf_checkpoint;
mod sampler;
mod tokenizer;

pub use attention::Attention;
pub use batch::{Padding, Side, TokenBatch};
pub use block::Block;
pub use cache::KvCache;
pub use config::{Activation, Architecture, LmConfig, Norm, Positions, RopeScaling};
pub use layers::{FeedForward, NormLayer};
pub use memory::MemoryPlan;
pub use model::CausalLm;
pub use score::Score;

pub use chat::{ChatMessage, ChatOptions, ChatTemplate};
pub use generate::{GenerateOptions, Generation, Generator, Stop};
pub use gguf_checkpoint::GgufCheckpoint;
pub use sampler::{Candidate, Sampling};
pub use tokenizer::{LmTokenizer, TextStream};
