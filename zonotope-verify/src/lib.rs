//! What can this network provably never do?
//!
//! A verifier for ReLU networks. Given a network, a box of inputs and a property of the outputs, it proves that the property holds for
//! *every* input of the box, or finds an input for which it does not, or says how far it came. The core is a proven lower bound of a linear
//! function of the outputs over a box of inputs: an attack bounds the minimum from above, only a verifier bounds it from below.
//!
//! The method is ZonoDual, of M. Jordan, J. Hayase, A. Dimakis and S. Oh, "Zonotope Domains for Lagrangian Neural Network Verification"
//! (NeurIPS 2022, arXiv 2210.08069): Lagrangian decomposition cuts the network into one small problem a layer, and zonotopes, which keep
//! the linear correlations among a layer's neurons, are the sets that these problems are solved over. Around it stand the methods that it
//! is compared with (interval arithmetic, DeepZ, CROWN, alpha-CROWN), branch and bound, an attack, readers for ONNX and VNN-LIB, and
//! certificates.
//!
//! # The whole job
//!
//! ```
//! use burn::tensor::Device;
//! use zonotope_verify::network::{Affine, Layer};
//! use zonotope_verify::{InputBox, Network, Spec, Verdict, VerifierConfig};
//!
//! # fn main() -> zonotope_verify::Result<()> {
//! # #[cfg(feature = "flex")] {
//! // In real use: `let network = Network::from_onnx("classifier.onnx")?;`
//! let layer = |weight: [f32; 4]| Layer::Affine(Affine { outputs: 2, inputs: 2, weight: weight.to_vec(), bias: vec![0.0; 2] });
//! let network = Network::new(vec![2], vec![layer([1.0, -1.0, -1.0, 1.0]), Layer::Relu, layer([1.0, 0.0, 0.0, 1.0])])?;
//!
//! // Class 0 of 2 stays on top if every input moves by at most 0.05.
//! let region = InputBox::linf(&[0.6, 0.4], 0.05)?;
//! let report = VerifierConfig::new().init().verify(&network, &Spec::robustness(&region, 0, 2)?, &Device::flex())?;
//! println!("{report}");
//! assert!(matches!(report.verdict, Verdict::Verified { .. }));
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # With files, and with a proof to keep
//!
//! ```no_run
//! use burn::tensor::Device;
//! use zonotope_verify::{Certificate, Network, Spec, VerifierConfig};
//!
//! # fn main() -> zonotope_verify::Result<()> {
//! # #[cfg(feature = "flex")] {
//! let network = Network::from_onnx("mnist-net_256x2.onnx")?;
//! let spec = Spec::from_vnnlib("prop_0_0.03.vnnlib.gz")?;
//! let verifier = VerifierConfig::new().with_timeout_seconds(120.0).init();
//! let (report, certificate) = verifier.prove(&network, &spec, &Device::flex())?;
//! println!("{report}");
//! certificate.save("proof.json")?;
//!
//! // Elsewhere, by somebody who does not trust the search:
//! let proven = Certificate::load("proof.json")?.check(&network, &spec)?;
//! println!("{proven}");
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # Searches that take long
//!
//! A search with a checkpoint can be stopped, by its limits, a [`CancelToken`] or a power failure, and goes on from there:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use burn::tensor::Device;
//! use zonotope_verify::{Network, Spec, VerifierConfig};
//!
//! # fn main() -> zonotope_verify::Result<()> {
//! # #[cfg(feature = "flex")] {
//! # let network = Network::from_onnx("mnist-net_256x2.onnx")?;
//! # let spec = Spec::from_vnnlib("prop_0_0.03.vnnlib.gz")?;
//! let config = VerifierConfig::new().with_timeout_seconds(3600.0);
//! let verifier = config.init().with_checkpoint("search.state", 60.0);
//! let (report, certificate) = if Path::new("search.state").exists() {
//!     verifier.resume(&network, &spec, &Device::flex())?
//! } else {
//!     verifier.prove(&network, &spec, &Device::flex())?
//! };
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # Bounds by any method
//!
//! ```
//! use burn::tensor::Device;
//! use zonotope_verify::network::{Affine, Layer};
//! use zonotope_verify::{InputBox, Method, Network, Objective};
//!
//! # fn main() -> zonotope_verify::Result<()> {
//! # #[cfg(feature = "flex")] {
//! // |x|, as relu(x) + relu(-x)
//! let fan_out = Affine { outputs: 2, inputs: 1, weight: vec![1.0, -1.0], bias: vec![0.0; 2] };
//! let sum = Affine { outputs: 1, inputs: 2, weight: vec![1.0, 1.0], bias: vec![0.0] };
//! let network = Network::new(vec![1], vec![Layer::Affine(fan_out), Layer::Relu, Layer::Affine(sum)])?;
//! let region = InputBox::new(vec![-1.0], vec![2.0])?;
//! // How large can |x| become on [-1, 2]? The bound is one of -|x|.
//! let objective = Objective::rows(1, &[vec![-1.0]])?;
//! for method in Method::ALL {
//!     let bounds = method.lower_bounds(&network, &region, &objective, &Device::flex())?;
//!     println!("{method}: at most {}", -bounds[0]);
//!     assert!(bounds[0] <= -2.0);
//! }
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! The bound of the paper, with everything that can be set, is [`ZonoDualConfig`]; [`ZonoDualConfig::paper`] has the settings of its
//! experiments.
//!
//! # What the answers mean
//!
//! - A [`Spec`] says what must *not* happen: it is a list of cases, each a box of inputs and half-spaces of outputs. An input of the box
//!   whose outputs lie in all half-spaces of the case is a violation.
//! - [`Verdict::Verified`]: there is none, for the network as a function over the *real* numbers with its stored 32-bit weights. `bound` is
//!   a proven distance from the unsafe set. It says nothing about how an inference engine rounds; `inference_slack` of [`VerifierConfig`]
//!   demands a distance that covers it.
//! - [`Verdict::Falsified`]: here is one. It lies in the box, and violates the specification both in 32-bit arithmetic and in 64-bit
//!   arithmetic with its error bound.
//! - [`Verdict::Unknown`]: neither, with the best proven bound and what stopped the search. Unknown is not unsafe.
//!
//! Every number that is called a bound is proven in 64-bit arithmetic with its rounding errors accounted for. The search runs in 32-bit
//! arithmetic on any device, and is never trusted: it finds multipliers, and any multipliers prove something. What overflows, or is no
//! number, proves nothing and becomes negative infinity.
//!
//! # What is where
//!
//! | step | module |
//! | --- | --- |
//! | the network, from ONNX, from the modules of a `burn` model, or layer by layer | [`network`], [`onnx`], [`builder`] |
//! | what is to be proven, from VNN-LIB or built here | [`spec`], [`vnnlib`], [`objective`] |
//! | bounds of the hidden layers | [`interval`], [`crown`] |
//! | sets that hold the hidden layers | [`zonotope`] |
//! | which neurons are taken together, and their inner problems | [`partition`], [`pairs`], [`groups`] |
//! | the dual function and its ascent | [`dual`] |
//! | all methods behind one function | [`method`] |
//! | counterexamples | [`attack`] |
//! | branch and bound, and the whole verifier | [`branch`], [`verify`], [`report`], [`limits`] |
//! | proofs that can be stored and checked | [`certificate`] |
//! | files of the verification competition | [`competition`] |
//!
//! # Features
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `flex` (default) | the search on the processor, through `burn` |
//! | `wgpu`, `vulkan`, `cuda` | the search on graphics processors |
//!
//! Certification is processor code whatever the feature.

pub mod attack;
pub mod branch;
pub mod builder;
pub mod certificate;
pub mod competition;
pub mod crown;
pub mod dual;
pub mod error;
pub mod groups;
pub mod interval;
pub mod limits;
pub mod method;
pub mod network;
pub mod objective;
pub mod onnx;
pub mod pairs;
pub mod partition;
pub mod report;
pub mod spec;
pub mod verify;
pub mod vnnlib;
pub mod zonotope;

mod adam;
mod affine;
mod ascent;
mod boxes;
mod certify;
mod checkpoint;
mod combination;
mod decided;
mod device;
mod file;
mod products;
mod rounding;
mod sets;

pub use certificate::Certificate;
pub use dual::{ZonoDual, ZonoDualConfig};
pub use error::{Error, Result};
pub use limits::CancelToken;
pub use method::Method;
pub use network::Network;
pub use objective::Objective;
pub use report::{Report, Verdict};
pub use spec::{InputBox, Spec};
pub use verify::{Verifier, VerifierConfig};

/// Compiles the examples of the README as documentation tests.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
