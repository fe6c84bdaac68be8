//! Writing on: token by token, with what was read kept in a cache.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::batch::{check_tokens, invalid};
use super::sampler::{Sampling, log_probability};
use super::tokenizer::{LmTokenizer, TextStream};
use super::{CausalLm, KvCache, Side, TokenBatch};
use crate::tensors::HostTensor;
use crate::{Error, Result};

/// How to continue a text, and when to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerateOptions {
    /// How every token is chosen; greedy by default.
    pub sampling: Sampling,
    /// Stop after so many tokens; 128 by default.
    pub max_tokens: usize,
    /// Stop after one of the tokens that end a text according to the model's configuration, or to the generator's
    /// tokenizer if it has one; yes by default.
    pub stop_at_end: bool,
    /// Stop after one of these, too; none by default.
    pub stop_tokens: Vec<u32>,
    /// Stop as soon as one of these is in the new text; none by default. They need a tokenizer.
    pub stop_strings: Vec<String>,
}

/// The continuation of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// The new tokens, that on which it stopped included.
    pub tokens: Vec<u32>,
    /// The natural logarithm of every new token's probability, given all before it: by the model alone, before the
    /// settings of sampling changed anything.
    pub log_probabilities: Vec<f32>,
    /// Why it ended.
    pub stop: Stop,
}

/// Why a continuation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// As many tokens as were asked for.
    Length,
    /// The model's context is full.
    Context,
    /// This token.
    Token(u32),
    /// This string, with the last token or somewhere before its end.
    String(String),
    /// The caller had enough.
    Caller,
}

/// Continues texts with a model.
///
/// Draws one seed per continuation from the generator that it is given, in their order, so that a continuation does not
/// depend on how many others there are.
#[derive(Clone, Debug)]
pub struct Generator<'a> {
    model: &'a CausalLm,
    options: GenerateOptions,
    tokenizer: Option<&'a LmTokenizer>,
    cancel: Option<&'a AtomicBool>,
}

/// A text that is being continued.
struct Row<'a> {
    text: Vec<u32>,
    prompt: usize,
    log_probabilities: Vec<f32>,
    rng: ChaCha8Rng,
    /// The end of the new text, where a stop string may have begun.
    tail: Option<(TextStream<'a>, String)>,
    stop: Option<Stop>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            sampling: Sampling::default(),
            max_tokens: 128,
            stop_at_end: true,
            stop_tokens: Vec::new(),
            stop_strings: Vec::new(),
        }
    }
}

impl GenerateOptions {
    /// At most so many tokens, each chosen so.
    pub fn new(sampling: Sampling, max_tokens: usize) -> Self {
        Self {
            sampling,
            max_tokens,
            ..Self::default()
        }
    }
}

impl CausalLm {
    /// Continues one text; a [`Generator`] can do more. Models that were tuned on chats often say in the tokenizer's
    /// files alone which token ends an answer: they need a generator that has the tokenizer.
    ///
    /// # Errors
    ///
    /// Those of [`Generator::new`] and [`Generator::generate`].
    pub fn generate(
        &self,
        prompt: &[u32],
        options: &GenerateOptions,
        rng: &mut impl Rng,
    ) -> Result<Generation> {
        Generator::new(self, options.clone())?.generate(prompt, rng)
    }
}

impl<'a> Generator<'a> {
    /// A generator with these options.
    ///
    /// # Errors
    ///
    /// Those of [`Sampling::validate`], [`Error::TokenOutOfRange`] for a stop token that the model does not have, and
    /// [`Error::InvalidConfig`] for an empty stop string.
    pub fn new(model: &'a CausalLm, options: GenerateOptions) -> Result<Self> {
        options.sampling.validate()?;
        check_tokens(&options.stop_tokens, model.config().vocabulary)?;
        if options.stop_strings.iter().any(String::is_empty) {
            return Err(Error::InvalidConfig {
                field: "stop_strings".to_owned(),
                reason: "an empty string stops nothing".to_owned(),
            });
        }
        Ok(Self {
            model,
            options,
            tokenizer: None,
            cancel: None,
        })
    }

    /// With the model's tokenizer. Its tokens that end a text end one here, too, and stop strings are looked for with it;
    /// special tokens count as text.
    pub fn with_tokenizer(self, tokenizer: &'a LmTokenizer) -> Self {
        Self {
            tokenizer: Some(tokenizer),
            ..self
        }
    }

    /// Ends with [`Error::Cancelled`] soon after `cancel` becomes true: it is looked at before every token.
    pub fn with_cancel(self, cancel: &'a AtomicBool) -> Self {
        Self {
            cancel: Some(cancel),
            ..self
        }
    }

    /// Continues one text.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidInput`] if it is empty or longer than the model's context, if there are stop strings and no
    /// tokenizer, or if the model's logits are not numbers; [`Error::TokenOutOfRange`]; [`Error::Cancelled`].
    pub fn generate(&self, prompt: &[u32], rng: &mut impl Rng) -> Result<Generation> {
        self.stream(prompt, rng, |_| ControlFlow::Continue(()))
    }

    /// Continues one text and shows every token to `next` as soon as it is there. `next` can end it.
    ///
    /// # Errors
    ///
    /// As [`Self::generate`].
    pub fn stream(
        &self,
        prompt: &[u32],
        rng: &mut impl Rng,
        mut next: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let mut rows = vec![self.row(prompt, rng)?];
        self.run(
            &mut rows,
            |rows, cache| self.read(rows, cache),
            |_, token| next(token),
        )?;
        Ok(rows.remove(0).finish())
    }

    /// Continues one text in several ways. It is read only once.
    ///
    /// # Errors
    ///
    /// As [`Self::generate`].
    pub fn generate_many(
        &self,
        prompt: &[u32],
        samples: usize,
        rng: &mut impl Rng,
    ) -> Result<Vec<Generation>> {
        let rows = (0..samples)
            .map(|_| self.row(prompt, rng))
            .collect::<Result<Vec<_>>>()?;
        let read = |rows: &[Row], cache: &mut KvCache| {
            let first = self.read(&rows[..1], cache)?;
            *cache = cache.expand(rows.len())?;
            Ok(vec![first[0].clone(); rows.len()])
        };
        self.all(rows, read)
    }

    /// Continues several texts, which may have different lengths, at once.
    ///
    /// # Errors
    ///
    /// As [`Self::generate`].
    pub fn generate_batch<S: AsRef<[u32]>>(
        &self,
        prompts: &[S],
        rng: &mut impl Rng,
    ) -> Result<Vec<Generation>> {
        let rows = prompts.iter().map(|prompt| self.row(prompt.as_ref(), rng));
        let rows = rows.collect::<Result<Vec<_>>>()?;
        self.all(rows, |rows, cache| self.read(rows, cache))
    }

    fn all(
        &self,
        mut rows: Vec<Row<'a>>,
        read: impl FnOnce(&[Row], &mut KvCache) -> Result<Vec<Vec<f32>>>,
    ) -> Result<Vec<Generation>> {
        self.run(&mut rows, read, |_, _| ControlFlow::Continue(()))?;
        Ok(rows.into_iter().map(Row::finish).collect())
    }

    /// Reads the prompts with `read`, then adds tokens until all rows have stopped. Rows that have are left out of the
    /// batch.
    fn run(
        &self,
        rows: &mut [Row<'a>],
        read: impl FnOnce(&[Row], &mut KvCache) -> Result<Vec<Vec<f32>>>,
        mut next: impl FnMut(usize, u32) -> ControlFlow<()>,
    ) -> Result<()> {
        if rows.is_empty() || self.options.max_tokens == 0 {
            return Ok(());
        }
        let length = self.options.max_tokens as u64;
        let span = tracing::info_span!("generate", position = 0_u64, length);
        let _entered = span.enter();
        let mut cache = KvCache::new(self.model.config());
        self.check_cancel(0)?;
        let mut logits = read(rows, &mut cache)?;
        let mut active: Vec<usize> = (0..rows.len()).collect();
        for step in 1.. {
            for (logits, &row) in logits.iter().zip(&active) {
                let token = self.add(&mut rows[row], logits)?;
                if next(row, token).is_break() {
                    rows[row].stop.get_or_insert(Stop::Caller);
                }
            }
            span.record("position", step);
            let places: Vec<usize> = (0..active.len())
                .filter(|&at| rows[active[at]].stop.is_none())
                .collect();
            if places.is_empty() {
                break;
            }
            self.check_cancel(step)?;
            if places.len() < active.len() {
                cache = cache.select(&places)?;
                active = places.into_iter().map(|at| active[at]).collect();
            }
            let last: Vec<&[u32]> = active
                .iter()
                .map(|&row| &rows[row].text[rows[row].text.len() - 1..])
                .collect();
            logits = self.logits(&TokenBatch::new(&last, Side::Left)?, &mut cache)?;
        }
        Ok(())
    }

    /// Chooses a token and adds it to a row.
    fn add(&self, row: &mut Row<'a>, logits: &[f32]) -> Result<u32> {
        let options = &self.options;
        let token = options.sampling.sample(logits, &row.text, &mut row.rng)?;
        row.log_probabilities.push(log_probability(logits, token));
        row.text.push(token);
        let config = self.model.config();
        let last = |tokenizer: &LmTokenizer| tokenizer.eos().contains(&token);
        let ends = config.eos.contains(&token) || self.tokenizer.is_some_and(last);
        let ends = options.stop_at_end && ends;
        row.stop = match row.found(token, &options.stop_strings)? {
            _ if ends || options.stop_tokens.contains(&token) => Some(Stop::Token(token)),
            Some(string) => Some(Stop::String(string)),
            None if row.text.len() - row.prompt >= options.max_tokens => Some(Stop::Length),
            None if row.text.len() > config.context => Some(Stop::Context),
            None => None,
        };
        Ok(token)
    }

    fn row(&self, prompt: &[u32], rng: &mut impl Rng) -> Result<Row<'a>> {
        if prompt.len() > self.model.config().context {
            return Err(invalid(format!(
                "a text of {} tokens for a context of {}",
                prompt.len(),
                self.model.config().context
            )));
        }
        check_tokens(prompt, self.model.config().vocabulary)?;
        let tail = match (self.options.stop_strings.is_empty(), self.tokenizer) {
            (true, _) => None,
            (false, Some(tokenizer)) => {
                Some((tokenizer.stream_after(prompt, false), String::new()))
            }
            (false, None) => {
                return Err(invalid("stop strings need a tokenizer".to_owned()));
            }
        };
        Ok(Row {
            text: prompt.to_vec(),
            prompt: prompt.len(),
            log_probabilities: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(rng.random()),
            tail,
            stop: None,
        })
    }

    fn read(&self, rows: &[Row], cache: &mut KvCache) -> Result<Vec<Vec<f32>>> {
        let prompts: Vec<&[u32]> = rows.iter().map(|row| row.text.as_slice()).collect();
        self.logits(&TokenBatch::new(&prompts, Side::Left)?, cache)
    }

    /// Logits after every sequence.
    fn logits(&self, batch: &TokenBatch, cache: &mut KvCache) -> Result<Vec<Vec<f32>>> {
        let logits = HostTensor::from_tensor(&self.model.next_logits(batch, Some(cache))?)?;
        let rows = logits.values().chunks_exact(self.model.config().vocabulary);
        Ok(rows.map(<[f32]>::to_vec).collect())
    }

    fn check_cancel(&self, step: u64) -> Result<()> {
        match self
            .cancel
            .is_some_and(|cancel| cancel.load(Ordering::Relaxed))
        {
            true => Err(Error::Cancelled { step }),
            false => Ok(()),
        }
    }
}

impl Row<'_> {
    /// The first of the strings that the new text has, now that `token` was added to it.
    fn found(&mut self, token: u32, strings: &[String]) -> Result<Option<String>> {
        let Some((stream, tail)) = &mut self.tail else {
            return Ok(None);
        };
        tail.push_str(&stream.push(token)?);
        let found = strings.iter().find(|string| tail.contains(string.as_str()));
        // A string that has begun can be completed only if its beginning is kept.
        let longest = strings.iter().map(String::len).max().unwrap_or(0);
        let cut = tail.len().saturating_sub(longest);
        let cut = (0..=cut)
            .rev()
            .find(|&at| tail.is_char_boundary(at))
            .unwrap_or(0);
        tail.drain(..cut);
        Ok(found.cloned())
    }

    fn finish(self) -> Generation {
        Generation {
            tokens: self.text[self.prompt..].to_vec(),
            log_probabilities: self.log_probabilities,
            stop: self.stop.unwrap_or(Stop::Length),
        }
    }
}
