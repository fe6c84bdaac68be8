//! Fields of a `config.json`: their kinds, and what holds where one is not there.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::{Activation, Positions, RopeScaling};
use crate::{Error, Result};

/// The format's name in messages.
pub(super) const FORMAT: &str = "Hugging Face configuration";

/// A JSON object with the file that it is from and where in the file it stands.
pub(super) struct Fields<'a> {
    path: &'a Path,
    within: &'static str,
    fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(path: &'a Path, fields: &'a Map<String, Value>) -> Self {
        Self {
            path,
            within: "",
            fields,
        }
    }

    /// Whether the field is there, if only as `null`.
    pub(super) fn states(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// The field's name with the object that it is in.
    fn name(&self, field: &str) -> String {
        match self.within {
            "" => field.to_owned(),
            within => format!("{within}.{field}"),
        }
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        field: &str,
        kind: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| Error::Parse {
            path: self.path.to_owned(),
            format: FORMAT,
            reason: format!("`{}` is {value}, expected {kind}", self.name(field)),
        })
    }

    pub(super) fn optional_size(&self, field: &str) -> Result<Option<usize>> {
        self.read(field, "a whole number", |value| {
            value.as_u64().and_then(|size| usize::try_from(size).ok())
        })
    }

    pub(super) fn size(&self, field: &str, default: usize) -> Result<usize> {
        Ok(self.optional_size(field)?.unwrap_or(default))
    }

    pub(super) fn number(&self, field: &str, default: f64) -> Result<f64> {
        Ok(self
            .read(field, "a number", Value::as_f64)?
            .unwrap_or(default))
    }

    pub(super) fn flag(&self, field: &str, default: bool) -> Result<bool> {
        Ok(self
            .read(field, "true or false", Value::as_bool)?
            .unwrap_or(default))
    }

    pub(super) fn text(&self, field: &str, default: &'static str) -> Result<&'a str> {
        Ok(self
            .read(field, "a text", Value::as_str)?
            .unwrap_or(default))
    }

    fn object(&self, field: &'static str) -> Result<Option<Fields<'a>>> {
        let object = self.read(field, "an object", Value::as_object)?;
        Ok(object.map(|fields| Fields {
            path: self.path,
            within: field,
            fields,
        }))
    }

    /// A token; `null` says that there is none.
    pub(super) fn token(&self, field: &str, default: Option<u32>) -> Result<Option<u32>> {
        match self.states(field) {
            false => Ok(default),
            true => self.read(field, "a token", token),
        }
    }

    /// A token or a list of them.
    pub(super) fn tokens(&self, field: &str, default: &[u32]) -> Result<Vec<u32>> {
        if !self.states(field) {
            return Ok(default.to_vec());
        }
        let found = self.read(field, "a token or a list of tokens", |value| match value {
            Value::Array(list) => list.iter().map(token).collect(),
            one => token(one).map(|token| vec![token]),
        })?;
        Ok(found.unwrap_or_default())
    }

    pub(super) fn activation(&self, field: &str, default: &'static str) -> Result<Activation> {
        match self.text(field, default)? {
            "gelu" | "gelu_python" => Ok(Activation::GeluErf),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            other => Err(self.unsupported(field, other)),
        }
    }

    /// Width of a head where the heads share the model's width.
    pub(super) fn head_width(&self, width: usize, heads: usize) -> Result<usize> {
        match heads != 0 && width.is_multiple_of(heads) {
            true => Ok(width / heads),
            false => Err(Error::InvalidConfig {
                field: "heads".to_owned(),
                reason: format!("a width of {width} cannot be shared by {heads}"),
            }),
        }
    }

    /// The rotation: its base and the rotated part of a head under one of their names, and the scaling. Releases of
    /// `transformers` from 5 on keep all three in `rope_parameters`, in one object for all layers or one for each kind of
    /// layer. The latter is not supported.
    pub(super) fn rotation(
        &self,
        bases: &[&str],
        part: &str,
        default_part: f64,
        head_width: usize,
    ) -> Result<Positions> {
        let scaling = self.object("rope_scaling")?;
        let parameters = self.object("rope_parameters")?;
        for place in parameters.iter().chain(&scaling) {
            if let Some((kind, _)) = place.fields.iter().find(|(_, value)| value.is_object()) {
                return Err(place.unsupported(kind, "an object for one kind of layer"));
            }
        }
        let places = || [Some(self), parameters.as_ref()].into_iter().flatten();
        let mut theta = 10_000.0;
        let mut share = default_part;
        for place in places() {
            for base in bases.iter().chain(&["rope_theta"]) {
                theta = place.number(base, theta)?;
            }
            share = place.number("partial_rotary_factor", place.number(part, share)?)?;
        }
        let scaling = match scaling.or(parameters) {
            None => RopeScaling::None,
            Some(scaling) => scaling.scaling()?,
        };
        Ok(Positions::Rotary {
            theta,
            rotated: (head_width as f64 * share) as usize,
            scaling,
        })
    }

    fn scaling(&self) -> Result<RopeScaling> {
        let kind = self.text("rope_type", "")?;
        let kind = if kind.is_empty() {
            self.text("type", "default")?
        } else {
            kind
        };
        let needed = |field: &str| {
            self.read(field, "a number", Value::as_f64)?
                .ok_or_else(|| Error::Parse {
                    path: self.path.to_owned(),
                    format: FORMAT,
                    reason: format!("`{}` is missing", self.name(field)),
                })
        };
        match kind {
            "default" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear {
                factor: needed("factor")?,
            }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: needed("factor")?,
                low_frequency_factor: needed("low_freq_factor")?,
                high_frequency_factor: needed("high_freq_factor")?,
                original: needed("original_max_position_embeddings")? as usize,
            }),
            other => Err(self.unsupported("rope_type", other)),
        }
    }

    /// A switch that only this setting of is supported.
    pub(super) fn insist(&self, field: &str, wanted: bool) -> Result<()> {
        match self.flag(field, wanted)? == wanted {
            true => Ok(()),
            false => Err(self.unsupported(field, if wanted { "false" } else { "true" })),
        }
    }

    pub(super) fn unsupported(&self, field: &str, value: &str) -> Error {
        Error::InvalidConfig {
            field: self.name(field),
            reason: format!("`{value}` is not supported"),
        }
    }

    pub(super) fn unknown_architecture(&self, name: &str) -> Error {
        Error::UnsupportedArchitecture {
            path: self.path.to_owned(),
            found: name.to_owned(),
        }
    }
}

fn token(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|token| u32::try_from(token).ok())
}
