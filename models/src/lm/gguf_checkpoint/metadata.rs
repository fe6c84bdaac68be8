//! The configuration of a network from a GGUF file's metadata.

use super::{EMBEDDING, ROTARY_FACTORS};
use crate::gguf::GgufFile;
use crate::lm::{Activation, Architecture, LmConfig, Norm, Positions, RopeScaling};
use crate::tensors::TensorSource;
use crate::{Error, Result};

/// Reads the configuration.
pub(super) fn config(file: &GgufFile) -> Result<LmConfig> {
    let config = Metadata::of(file)?.config();
    config.map_err(|error| error.in_file(file.path()))
}

/// The metadata about the network.
struct Metadata<'f> {
    file: &'f GgufFile,
    /// `general.architecture`, which is the first part of most keys.
    name: &'f str,
    architecture: Architecture,
}

impl<'f> Metadata<'f> {
    fn of(file: &'f GgufFile) -> Result<Self> {
        let name = file
            .string("general.architecture")?
            .ok_or_else(|| file.wrong("there is no general.architecture".to_owned()))?;
        let unsupported = |found: String| Error::UnsupportedArchitecture {
            path: file.path().to_owned(),
            found,
        };
        let window = format!("{name}.attention.sliding_window");
        let architecture = match name {
            "llama" if file.unsigned(&window)?.is_some_and(|w| w > 0) => Architecture::Mistral,
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            "gpt2" => Architecture::Gpt2,
            "gptneox" => Architecture::GptNeoX,
            other => return Err(unsupported(other.to_owned())),
        };
        if file
            .unsigned(&format!("{name}.expert_count"))?
            .is_some_and(|experts| experts > 0)
        {
            return Err(unsupported(format!("{name} with experts")));
        }
        Ok(Self {
            file,
            name,
            architecture,
        })
    }

    fn config(&self) -> Result<LmConfig> {
        let file = self.file;
        let rows = file.shape(EMBEDDING).ok_or_else(|| Error::MissingTensor {
            path: file.path().to_owned(),
            tensor: EMBEDDING.to_owned(),
        })?;
        let rows = rows.first().copied().unwrap_or(0);
        let (width, heads) = (
            self.size("embedding_length")?,
            self.size("attention.head_count")?,
        );
        let head_width = match self.optional_size("attention.key_length")? {
            Some(length) => length,
            None if heads > 0 && width.is_multiple_of(heads) => width / heads,
            None => {
                return Err(self.invalid(
                    "attention.head_count",
                    format!("a width of {width} cannot be shared by {heads} heads"),
                ));
            }
        };
        if let Some(length) = self.optional_size("attention.value_length")?
            && length != head_width
        {
            return Err(self.invalid(
                "attention.value_length",
                format!("{length}, but the length of keys is {head_width}"),
            ));
        }
        if head_width % 2 != 0 && self.architecture != Architecture::Gpt2 {
            return Err(self.invalid(
                "attention.key_length",
                format!("{head_width} axes cannot be rotated in pairs"),
            ));
        }
        let layers = self.size("block_count")?;
        if layers > file.tensors().len() {
            return Err(self.invalid(
                "block_count",
                format!("{layers} in a file of {} tensors", file.tensors().len()),
            ));
        }
        let has = |tensor: &str| file.tensors().contains_key(tensor);
        let llama = !matches!(
            self.architecture,
            Architecture::Gpt2 | Architecture::GptNeoX
        );
        let vocabulary = self.optional_size("vocab_size")?.unwrap_or(rows);
        let config = LmConfig {
            architecture: self.architecture,
            vocabulary,
            width,
            layers,
            heads,
            kv_heads: self
                .optional_size("attention.head_count_kv")?
                .unwrap_or(heads),
            head_width,
            feed_forward: self.size("feed_forward_length")?,
            norm: match llama {
                true => Norm::Rms {
                    epsilon: self.number("attention.layer_norm_rms_epsilon")?,
                },
                false => Norm::Layer {
                    epsilon: self.number("attention.layer_norm_epsilon")?,
                },
            },
            activation: match self.architecture {
                Architecture::Gpt2 => Activation::GeluTanh,
                Architecture::GptNeoX => Activation::GeluErf,
                _ => Activation::SiluGated,
            },
            positions: self.positions(head_width)?,
            qkv_bias: has("blk.0.attn_q.bias") || has("blk.0.attn_qkv.bias"),
            output_bias: has("blk.0.attn_output.bias"),
            feed_forward_bias: has("blk.0.ffn_up.bias"),
            parallel_residual: self.architecture == Architecture::GptNeoX
                && file
                    .boolean(&self.key("use_parallel_residual"))?
                    .unwrap_or(true),
            tied: !has("output.weight"),
            context: self.size("context_length")?,
            sliding_window: match self.architecture {
                Architecture::Mistral => self.optional_size("attention.sliding_window")?,
                _ => None,
            },
            bos: self.token("bos", vocabulary)?,
            eos: [
                self.token("eos", vocabulary)?,
                self.token("eot", vocabulary)?,
            ]
            .into_iter()
            .flatten()
            .fold(Vec::new(), |mut ends, token| {
                if !ends.contains(&token) {
                    ends.push(token);
                }
                ends
            }),
        };
        config.validate()?;
        Ok(config)
    }

    fn positions(&self, head_width: usize) -> Result<Positions> {
        if self.architecture == Architecture::Gpt2 {
            return Ok(Positions::Learned { offset: 0 });
        }
        let theta = self
            .file
            .float(&self.key("rope.freq_base"))?
            .unwrap_or(10_000.0);
        let rotated = self
            .optional_size("rope.dimension_count")?
            .unwrap_or(head_width);
        Ok(Positions::Rotary {
            theta,
            rotated,
            scaling: self.scaling(theta, rotated)?,
        })
    }

    fn scaling(&self, theta: f64, rotated: usize) -> Result<RopeScaling> {
        let factor = self.linear_factor()?;
        if !self.file.tensors().contains_key(ROTARY_FACTORS) {
            return Ok(factor.map_or(RopeScaling::None, |factor| RopeScaling::Linear { factor }));
        }
        if let Some(factor) = factor.filter(|&factor| factor != 1.0) {
            return Err(self.invalid(
                "rope.scaling.factor",
                format!("{factor} beside {ROTARY_FACTORS}"),
            ));
        }
        let factors = self.file.read(ROTARY_FACTORS)?;
        llama3_scaling(factors.values(), theta, rotated).ok_or_else(|| {
            self.invalid(
                ROTARY_FACTORS,
                "these are not the factors of Llama 3".to_owned(),
            )
        })
    }

    /// What all frequencies are divided by, as llama.cpp reads it: a file that has a factor and states no type means
    /// this one; without a factor, or with 0, nothing is divided. Old files have another name for the factor.
    fn linear_factor(&self) -> Result<Option<f64>> {
        let number = |key: &str| self.file.float(&self.key(key));
        match self.file.string(&self.key("rope.scaling.type"))? {
            Some("none") => Ok(None),
            None | Some("linear") => {
                let factor = match number("rope.scaling.factor")? {
                    None => number("rope.scale_linear")?,
                    factor => factor,
                };
                Ok(factor.filter(|&factor| factor != 0.0))
            }
            Some(other) => Err(Error::UnsupportedArchitecture {
                path: self.file.path().to_owned(),
                found: format!("{} with rotary scaling {other}", self.name),
            }),
        }
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn size(&self, key: &str) -> Result<usize> {
        let size = self.optional_size(key)?;
        size.ok_or_else(|| self.file.wrong(format!("there is no {}", self.key(key))))
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        let size = self.file.unsigned(&self.key(key))?;
        let usize = |size: u64| {
            let reason = || self.invalid(key, format!("{size} is too large"));
            // Sizes have 32 bits in the format; products of two must not overflow.
            u32::try_from(size)
                .map(|size| size as usize)
                .map_err(|_| reason())
        };
        size.map(usize).transpose()
    }

    fn number(&self, key: &str) -> Result<f64> {
        let number = self.file.float(&self.key(key))?;
        number.ok_or_else(|| self.file.wrong(format!("there is no {}", self.key(key))))
    }

    fn token(&self, role: &str, vocabulary: usize) -> Result<Option<u32>> {
        let key = format!("tokenizer.ggml.{role}_token_id");
        match self.file.unsigned(&key)? {
            None => Ok(None),
            Some(token) if token < vocabulary as u64 => Ok(Some(token as u32)),
            Some(token) => Err(Error::InvalidConfig {
                field: key,
                reason: format!("{token} in a vocabulary of {vocabulary}"),
            }),
        }
    }

    fn invalid(&self, key: &str, reason: String) -> Error {
        Error::InvalidConfig {
            field: self.key(key),
            reason,
        }
    }
}

/// The scaling whose divisors of frequencies these are: the format keeps only its effect. Llama 3.1 to 3.3 differ in the
/// factor alone.
fn llama3_scaling(factors: &[f32], theta: f64, rotated: usize) -> Option<RopeScaling> {
    let (low, high, original) = (1.0, 4.0, 8192);
    let factor = f64::from(*factors.last()?);
    let expected = |pair: usize| {
        let wavelength = std::f64::consts::TAU * theta.powf(2.0 * pair as f64 / rotated as f64);
        let share = (original as f64 / wavelength - low) / (high - low);
        let share = share.clamp(0.0, 1.0);
        1.0 / ((1.0 - share) / factor + share)
    };
    let fits =
        |(pair, &found): (usize, &f32)| (f64::from(found) / expected(pair) - 1.0).abs() < 1e-4;
    let all = factors.len() == rotated / 2 && factors.iter().enumerate().all(fits);
    all.then_some(RopeScaling::Llama3 {
        factor,
        low_frequency_factor: low,
        high_frequency_factor: high,
        original,
    })
}
