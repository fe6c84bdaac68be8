//! What was this tokenizer trained on?
//!
//! A byte-pair encoding (BPE) tokenizer keeps the ordered list of its merges. At every step of its training the merged
//! pair was the most frequent one of the text so far, so the list is a list of thousands of inequalities in the
//! proportions of that text. Given samples of candidate categories (languages, programming languages, domains), a linear
//! program finds the mixture that explains the list best. Only the tokenizer file and public text are needed.
//!
//! The method is that of Hayase, Liu, Choi, Oh and Smith, "Data Mixture Inference: What do BPE Tokenizers Reveal about
//! their Training Data?" (NeurIPS 2024, arXiv 2407.16607).
//!
//! # The whole job
//!
//! ```
//! use bpe_inference::pretokenizer::TextPipeline;
//! use bpe_inference::{
//!     BpeTrainer, InferenceConfig, MixtureInference, PairTrace, TraceOptions, WordCounts,
//! };
//!
//! # fn main() -> bpe_inference::Result<()> {
//! // In real use: `let (list, report) = MergeList::load("tokenizer.json")?;`
//! let pipeline = TextPipeline::gpt2();
//! let category = |name: &str, text: &str| {
//!     let mut builder = WordCounts::builder(&pipeline);
//!     builder.add_str(text)?;
//!     builder.finish_category(name)
//! };
//! let english = category("English", "the cat sat on the mat and the dog sat by the cat")?;
//! let code = category("code", "for i in x: for j in y: if i in y: print(i, j)")?;
//! let training = WordCounts::scaled_sum([(&english.words, 3.0), (&code.words, 1.0)])?;
//! let (list, _) = BpeTrainer::new(20).train(&training)?;
//!
//! let trace = PairTrace::build(&list, &[english, code], 20, &TraceOptions::new())?;
//! let estimate = MixtureInference::new(InferenceConfig::new().with_merges(20)).run(&trace)?;
//! println!("{estimate}");
//! assert!(estimate.categories[0].bytes > 0.6);
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! | step | module |
//! | --- | --- |
//! | the merge list out of a tokenizer file, in training order | [`merges`] |
//! | how text is cut into words, and which preset a tokenizer used | [`pretokenizer`] |
//! | words with their counts, from any amount of text | [`words`] |
//! | pair counts before every merge, in every category | [`trace`] |
//! | the mixture, with bounds on how far the optimum can be | [`inference`] |
//! | the linear program and its solvers | [`lp`] |
//! | intervals by resampling; ranges of mixtures that fit almost as well | [`intervals`], [`ranges`] |
//! | baselines and the metric of the paper | [`baselines`], [`metrics`] |
//! | tokenizers and data with a known answer | [`trainer`], [`synth`] |
//!
//! # What the answer means
//!
//! The shares are shares of bytes of the *tokenizer's* training text, which need not be the model's. They say which of
//! the given samples explain the list best: text that is in no sample is attributed to the samples most like it, and a
//! sample unlike the training text shifts every share. Intervals cover neither. The merges that the mixture explains
//! worst ([`Estimate::violations`]) show what is missing.
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `flex` (default), `wgpu`, `vulkan`, `cuda` | `PdhgSolver` on that device, through `burn` |
//! | `clarabel`, `minilp`, `microlp`, `highs` | the solver of that name ([`lp`] compares them) |
//!
//! Without any feature the crate is plain Rust on the CPU; everything but `PdhgSolver` is exact integer counting and
//! `f64` arithmetic, which gains nothing from a device.

pub mod baselines;
pub mod encoder;
pub mod error;
pub mod inference;
pub mod intervals;
pub mod lp;
pub mod merges;
pub mod metrics;
pub mod pretokenizer;
pub mod ranges;
pub mod synth;
pub mod trace;
pub mod trainer;
pub mod words;

pub use error::{Error, Result};
pub use inference::{Estimate, InferenceConfig, MixtureInference};
pub use merges::MergeList;
pub use trace::{PairTrace, TraceOptions};
pub use trainer::BpeTrainer;
pub use words::{Category, WordCounts};

/// Compiles the example of the README as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
