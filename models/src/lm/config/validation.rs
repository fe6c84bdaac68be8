//! Which configurations make sense: sizes that fit each other, and what a family's checkpoints can express.

use super::{Activation, Architecture, LmConfig, Norm, Positions, RopeScaling};
use crate::{Error, Result};

impl LmConfig {
    /// Checks that sizes are positive and fit each other, and that the family's checkpoints can express the rest.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let wrong = |field: &str, reason: String| {
            Err(Error::InvalidConfig {
                field: field.to_owned(),
                reason,
            })
        };
        let sizes = [
            ("vocabulary", self.vocabulary),
            ("width", self.width),
            ("layers", self.layers),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("head_width", self.head_width),
            ("feed_forward", self.feed_forward),
            ("context", self.context),
        ];
        for (field, size) in sizes {
            if size == 0 {
                return wrong(field, "must be at least 1".to_owned());
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return wrong(
                "kv_heads",
                format!("{} do not divide {} heads", self.kv_heads, self.heads),
            );
        }
        if let Positions::Rotary { theta, rotated, .. } = self.positions {
            if rotated % 2 != 0 || rotated == 0 || rotated > self.head_width {
                return wrong(
                    "rotated",
                    format!(
                        "{rotated} axes of a head of {} cannot be rotated",
                        self.head_width
                    ),
                );
            }
            if !(theta.is_finite() && theta > 0.0) {
                return wrong("theta", format!("{theta} is not a positive number"));
            }
        }
        if let Positions::Rotary { scaling, .. } = &self.positions {
            scaling.validate()?;
        }
        let (Norm::Rms { epsilon } | Norm::Layer { epsilon }) = self.norm;
        if !(epsilon.is_finite() && epsilon > 0.0) {
            return wrong("epsilon", format!("{epsilon} is not a positive number"));
        }
        if self.sliding_window == Some(0) {
            return wrong("sliding_window", "must be at least 1".to_owned());
        }
        if self.checked_parameters().is_none() {
            return wrong(
                "width",
                "more weights than this machine can count".to_owned(),
            );
        }
        self.validate_family()
    }

    /// Checks what the family's checkpoints cannot express.
    fn validate_family(&self) -> Result<()> {
        use Architecture::{Gpt2, GptNeoX, Llama, Mistral, Opt, Qwen2};
        let rms = matches!(self.norm, Norm::Rms { .. });
        let gated = self.activation == Activation::SiluGated;
        let whole = self.heads.checked_mul(self.head_width) == Some(self.width);
        let equal = self.heads == self.kv_heads;
        let rotated = match self.positions {
            Positions::Rotary { rotated, .. } => Some(rotated),
            Positions::Learned { .. } => None,
        };
        let learned = |rows: usize| self.positions == Positions::Learned { offset: rows };
        let biases = [self.qkv_bias, self.output_bias, self.feed_forward_bias];
        let all = biases == [true; 3];
        let llama_like = matches!(self.architecture, Llama | Mistral | Qwen2);
        let epsilon = self.norm == Norm::Layer { epsilon: 1e-5 };
        let rules: &[(&str, bool)] = match self.architecture {
            Llama | Mistral | Qwen2 => &[
                ("norm", rms),
                ("activation", gated),
                ("positions", rotated == Some(self.head_width)),
                (
                    "qkv_bias",
                    match self.architecture {
                        Llama => self.qkv_bias == self.output_bias,
                        Mistral => !self.qkv_bias,
                        _ => self.qkv_bias,
                    },
                ),
                (
                    "output_bias",
                    self.architecture == Llama || !self.output_bias,
                ),
                (
                    "feed_forward_bias",
                    self.architecture == Llama || !self.feed_forward_bias,
                ),
                (
                    "sliding_window",
                    self.architecture != Llama || self.sliding_window.is_none(),
                ),
            ],
            GptNeoX => &[
                ("norm", !rms),
                ("activation", !gated),
                ("positions", rotated.is_some()),
                ("qkv_bias", self.qkv_bias == self.output_bias),
                ("feed_forward_bias", self.feed_forward_bias),
            ],
            Gpt2 => &[
                ("norm", !rms),
                ("activation", !gated),
                ("positions", learned(0)),
                ("qkv_bias", all),
            ],
            Opt => &[
                // This family's files do not state the epsilon.
                ("epsilon", epsilon),
                ("activation", !gated),
                ("positions", learned(2)),
                ("qkv_bias", all),
            ],
        };
        let common = [
            ("kv_heads", llama_like || equal),
            ("head_width", llama_like || whole),
            (
                "sliding_window",
                llama_like || self.sliding_window.is_none(),
            ),
            (
                "parallel_residual",
                self.architecture == GptNeoX || !self.parallel_residual,
            ),
        ];
        match rules.iter().chain(&common).find(|(_, holds)| !holds) {
            None => Ok(()),
            Some((field, _)) => Err(Error::InvalidConfig {
                field: (*field).to_owned(),
                reason: format!("models of the family {:?} have another", self.architecture),
            }),
        }
    }
}

impl RopeScaling {
    fn validate(&self) -> Result<()> {
        let wrong = |reason: String| Error::InvalidConfig {
            field: "scaling".to_owned(),
            reason,
        };
        let positive = |name: &str, value: f64| match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(wrong(format!(
                "the {name} {value} is not a positive number"
            ))),
        };
        match *self {
            Self::None => Ok(()),
            Self::Linear { factor } => positive("factor", factor),
            Self::Llama3 {
                factor,
                low_frequency_factor,
                high_frequency_factor,
                original,
            } => {
                positive("factor", factor)?;
                positive("low-frequency factor", low_frequency_factor)?;
                positive("high-frequency factor", high_frequency_factor)?;
                if low_frequency_factor >= high_frequency_factor {
                    return Err(wrong(format!(
                        "the low-frequency factor {low_frequency_factor} is not below the high-frequency factor \
                         {high_frequency_factor}"
                    )));
                }
                match original {
                    0 => Err(wrong("the original context must be at least 1".to_owned())),
                    _ => Ok(()),
                }
            }
        }
    }
}
