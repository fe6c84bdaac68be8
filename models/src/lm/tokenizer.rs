//! Text to tokens and back: the tokenizer that belongs to a model, with what its files say about special tokens and
//! chats.

mod from_gguf;
mod guard;
mod settings;
mod stream;

use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer;

use self::guard::guarded;
use super::chat::ChatTemplate;
use crate::{Error, Result};

pub use stream::TextStream;

/// A tokenizer, with the special tokens and the chat template of its model.
#[derive(Clone, Debug)]
pub struct LmTokenizer {
    inner: Tokenizer,
    /// What it was read from, for messages.
    origin: String,
    vocabulary: usize,
    bos: Option<u32>,
    eos: Vec<u32>,
    template: Option<ChatTemplate>,
}

/// What a model's files say beside the tokenizer itself.
#[derive(Default)]
struct Settings {
    bos: Option<u32>,
    eos: Vec<u32>,
    /// The spelling of special tokens, by the names that templates have for them.
    special: Vec<(&'static str, String)>,
    template: Option<String>,
}

impl LmTokenizer {
    /// Reads a `tokenizer.json`, or a folder with one. The files beside it give the rest, where they are there:
    /// `tokenizer_config.json` and `special_tokens_map.json` the tokens that begin and end a text, and others that a chat
    /// template may name; the former or `chat_template.jinja` the template; `generation_config.json` more tokens that end
    /// a text.
    ///
    /// Truncation and padding that the file asks for are switched off: a text is never cut silently.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Parse`], [`Error::Tokenizer`] and [`Error::ChatTemplate`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = match path.is_dir() {
            true => path.join("tokenizer.json"),
            false => path.to_owned(),
        };
        let bytes = std::fs::read(&file).map_err(Error::io(&file))?;
        let mut tokenizer = Self::from_json(&bytes, file.display().to_string())?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let settings = settings::read(folder, &tokenizer)?;
        tokenizer.apply(settings)?;
        Ok(tokenizer)
    }

    /// Reads the contents of a `tokenizer.json`; `origin` is what errors call it.
    ///
    /// The library `tokenizers` believes much of what such a file says, and panics where it is wrong. These panics are
    /// caught, here and where the tokenizer is used, and become errors. A panic hook sees them all the same.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`].
    pub fn from_json(bytes: &[u8], origin: impl Into<String>) -> Result<Self> {
        let origin = origin.into();
        let inner = guarded(
            || origin.clone(),
            || {
                guard::check(bytes)?;
                let mut inner = Tokenizer::from_bytes(bytes)?;
                inner.with_truncation(None)?;
                inner.with_padding(None);
                Ok(inner)
            },
        )?;
        let last = inner.get_vocab(true).into_values().max();
        Ok(Self {
            inner,
            origin,
            vocabulary: last.map_or(0, |last| last as usize + 1),
            bos: None,
            eos: Vec::new(),
            template: None,
        })
    }

    /// Tokens of a text. Special tokens that stand in the text, such as `<|im_start|>`, are recognised. With
    /// `special`, those that the tokenizer wraps around every text are added, such as a token that begins it.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] if the text has a character for which there is no token.
    pub fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>> {
        let encode = || self.inner.encode_fast(text, special);
        let encoding = guarded(|| self.origin_of("encoding"), encode)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Tokens of many texts, on all processors; as [`Self::encode`].
    ///
    /// # Errors
    ///
    /// As [`Self::encode`].
    pub fn encode_batch(&self, texts: &[&str], special: bool) -> Result<Vec<Vec<u32>>> {
        let encode = || self.inner.encode_batch_fast(texts.to_vec(), special);
        let encodings = guarded(|| self.origin_of("encoding"), encode)?;
        Ok(encodings
            .into_iter()
            .map(|encoding| encoding.get_ids().to_vec())
            .collect())
    }

    /// The text of tokens. Bytes that are not UTF-8 become `U+FFFD`.
    ///
    /// # Errors
    ///
    /// [`Error::TokenOutOfRange`] if there is no such token.
    pub fn decode(&self, tokens: &[u32], skip_special: bool) -> Result<String> {
        for (position, &token) in tokens.iter().enumerate() {
            if token as usize >= self.vocabulary {
                return Err(Error::TokenOutOfRange {
                    token,
                    position,
                    vocabulary: self.vocabulary,
                });
            }
        }
        let skipped = |&token: &u32| match self.inner.id_to_token(token) {
            Some(text) => skip_special && self.inner.get_added_vocabulary().is_special_token(&text),
            None => true,
        };
        // Of no token at all, some decoders of the library look for the last.
        if tokens.iter().all(skipped) {
            return Ok(String::new());
        }
        let decode = || self.inner.decode(tokens, skip_special);
        guarded(|| self.origin_of("decoding"), decode)
    }

    /// The text that tokens add to the text of those before them. That is not always their own text: SentencePiece's
    /// tokenizers drop a space at the beginning. A character that is not whole at the end of `before` is taken for one of
    /// `tokens`.
    ///
    /// # Errors
    ///
    /// As [`Self::decode`]; positions count from the first token of `before`.
    pub fn decode_after(
        &self,
        before: &[u32],
        tokens: &[u32],
        skip_special: bool,
    ) -> Result<String> {
        let stream = self.stream_after(before, skip_special);
        stream.with(tokens).finish()
    }

    /// The text of tokens that come one by one; see [`TextStream`].
    pub fn stream(&self, skip_special: bool) -> TextStream<'_> {
        self.stream_after(&[], skip_special)
    }

    /// The text that tokens add which come one by one after others, as [`Self::decode_after`].
    pub fn stream_after(&self, before: &[u32], skip_special: bool) -> TextStream<'_> {
        TextStream::after(self, before, skip_special)
    }

    /// A token as it is spelt in the vocabulary: `Ġthe`, not ` the`.
    pub fn token(&self, token: u32) -> Option<String> {
        self.inner.id_to_token(token)
    }

    /// The number of a token that is spelt so in the vocabulary.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Number of tokens, special ones included: the highest number and one.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The token that begins a text, where the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Tokens that end a text.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// How a chat becomes a text, if the files say so.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Checks that a network with so many tokens has a row for each of these. It may have more: many models round up.
    ///
    /// # Errors
    ///
    /// [`Error::VocabularyMismatch`].
    pub fn check_fits(&self, network: usize) -> Result<()> {
        match self.vocabulary <= network {
            true => Ok(()),
            false => Err(Error::VocabularyMismatch {
                path: self.origin.clone().into(),
                tokenizer: self.vocabulary,
                network,
            }),
        }
    }

    fn apply(&mut self, settings: Settings) -> Result<()> {
        self.bos = settings.bos;
        self.eos = settings.eos;
        self.template = match settings.template {
            None => None,
            Some(source) => Some(ChatTemplate::new(source)?.with_special(settings.special)),
        };
        Ok(())
    }

    /// What errors call this tokenizer while it does something.
    fn origin_of(&self, what: &str) -> String {
        format!("{}, {what}", self.origin)
    }

    /// From the contents of a `tokenizer.json` that are in memory as such.
    fn from_value(value: &Value, origin: String) -> Result<Self> {
        // Values have no keys that are not text, so that writing cannot fail.
        Self::from_json(value.to_string().as_bytes(), origin)
    }
}
