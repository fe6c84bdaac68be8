//! Chats as text, by the Jinja template that comes with a model.
//!
//! Templates are read as `transformers` reads them: blocks take their line with them (`trim_blocks`, `lstrip_blocks`),
//! loops have `break` and `continue`, strings, lists and maps have Python's methods, `tojson` writes what Python's `json`
//! does, and there are `raise_exception` and `strftime_now`. Templates come with downloaded models: they can neither
//! read anything nor run for long.

mod strftime;

use std::collections::BTreeMap;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Work that a template may do: instructions, and blocks of 64 bytes that it makes. A chat of a thousand turns takes a
/// tenth of it.
const FUEL: u64 = 2_000_000;

/// A chat template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: String,
    /// The spelling of special tokens, by the names of their variables.
    special: BTreeMap<String, String>,
}

/// Somebody's turn in a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What they say.
    pub content: String,
}

/// What else a template is given.
#[derive(Clone, Debug)]
pub struct ChatOptions {
    add_generation_prompt: bool,
    now: Option<SystemTime>,
    variables: BTreeMap<String, Value>,
}

impl ChatMessage {
    /// A turn.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
        }
    }
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            now: None,
            variables: BTreeMap::new(),
        }
    }
}

impl ChatOptions {
    /// Whether the assistant's answer begins at the end; yes by default.
    pub fn with_generation_prompt(self, add_generation_prompt: bool) -> Self {
        Self {
            add_generation_prompt,
            ..self
        }
    }

    /// The time that `strftime_now` formats, in UTC; by default the system's when the template is applied.
    pub fn with_now(self, now: SystemTime) -> Self {
        Self {
            now: Some(now),
            ..self
        }
    }

    /// A further variable, such as `tools` or `enable_thinking`, as JSON; maps keep the order of their keys.
    ///
    /// # Errors
    ///
    /// [`Error::ChatTemplate`] if the text is not JSON.
    pub fn with_variable(mut self, name: impl Into<String>, json: &str) -> Result<Self> {
        let name = name.into();
        let value = serde_json::from_str(json).map_err(|error| Error::ChatTemplate {
            reason: format!("the variable `{name}`: {error}"),
        })?;
        self.variables.insert(name, value);
        Ok(self)
    }
}

impl ChatTemplate {
    /// A template, without variables for special tokens.
    ///
    /// # Errors
    ///
    /// [`Error::ChatTemplate`] if it is not Jinja.
    pub fn new(source: impl Into<String>) -> Result<Self> {
        let source = source.into();
        environment(None)?
            .template_from_str(&source)
            .map_err(|error| wrong(&error))?;
        Ok(Self {
            source,
            special: BTreeMap::new(),
        })
    }

    /// With the spelling of special tokens, by the names that templates have for them: `bos_token` and `eos_token`, which
    /// begin and end a text, `unk_token`, `pad_token` and so on.
    pub fn with_special<N: Into<String>, S: Into<String>>(
        mut self,
        tokens: impl IntoIterator<Item = (N, S)>,
    ) -> Self {
        let tokens = tokens.into_iter();
        self.special
            .extend(tokens.map(|(name, spelling)| (name.into(), spelling.into())));
        self
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a chat. Its special tokens are spelt out, so that it is encoded without adding any.
    ///
    /// # Errors
    ///
    /// [`Error::ChatTemplate`] if the template fails or refuses the messages, or takes too long.
    pub fn render(&self, messages: &[ChatMessage], options: &ChatOptions) -> Result<String> {
        let mut variables: BTreeMap<&str, Value> = options
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        variables.insert("messages", Value::from(Serde(messages)));
        variables.insert(
            "add_generation_prompt",
            options.add_generation_prompt.into(),
        );
        for (name, token) in &self.special {
            variables.insert(name, token.as_str().into());
        }
        let environment = environment(options.now)?;
        environment
            .template_from_str(&self.source)
            .and_then(|template| template.render(Value::from_pairs(variables)))
            .map_err(|error| wrong(&error))
    }
}

/// An environment as that of `transformers`.
fn environment(now: Option<SystemTime>) -> Result<Environment<'static>> {
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    let mut environment = Environment::new();
    environment.set_syntax(syntax.map_err(|error| wrong(&error))?);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |message: String| {
        Err::<Value, _>(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", move |format: String| {
        strftime::format(now.unwrap_or_else(SystemTime::now), &format)
            .map_err(|reason| minijinja::Error::new(ErrorKind::InvalidOperation, reason))
    });
    Ok(environment)
}

/// JSON as Python writes it: a space after commas and colons, or lines with an indent; nothing escaped for HTML.
fn to_json(value: &Value, options: Kwargs) -> Result<String, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        Some(indent) => {
            let indent = " ".repeat(indent.min(16));
            let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(
                &mut bytes, formatter,
            ))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut bytes, Spaced,
        )),
    };
    let failed = |reason: String| minijinja::Error::new(ErrorKind::BadSerialization, reason);
    written.map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

/// A space after commas and colons.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The whole chain of causes: a template's own message is often the last.
fn wrong(error: &minijinja::Error) -> Error {
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        reason.push_str(": ");
        reason.push_str(&error.to_string());
        cause = error.source();
    }
    Error::ChatTemplate { reason }
}
