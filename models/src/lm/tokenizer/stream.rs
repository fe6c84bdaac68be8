//! Text from tokens that come one by one.

use super::LmTokenizer;
use crate::Result;

/// Turns tokens into text as they come, and holds back what is not a whole character yet: a token may be a part of one.
/// All that is returned, put together, is what [`LmTokenizer::decode`] makes of all tokens, or
/// [`LmTokenizer::decode_after`] of those that follow others.
#[derive(Clone, Debug)]
pub struct TextStream<'t> {
    tokenizer: &'t LmTokenizer,
    skip_special: bool,
    /// Tokens from the beginning of the last piece of text on: what a token becomes may depend on the one before.
    tokens: Vec<u32>,
    /// How many of them belong to the last piece.
    shown: usize,
}

impl<'t> TextStream<'t> {
    /// A stream that has shown the text of some tokens already, but for a character at their end that is not whole.
    pub(super) fn after(tokenizer: &'t LmTokenizer, before: &[u32], skip_special: bool) -> Self {
        let whole = |&count: &usize| {
            let text = tokenizer.decode(&before[..count], skip_special);
            !text.is_ok_and(|text| text.ends_with(char::REPLACEMENT_CHARACTER))
        };
        // It has four bytes at most, so that at most three tokens hold a part of it. What is not whole without them
        // never will be.
        let shown = (before.len().saturating_sub(3)..=before.len())
            .rev()
            .find(whole)
            .unwrap_or(before.len());
        Self {
            tokenizer,
            skip_special,
            tokens: before.to_vec(),
            shown,
        }
    }

    /// The same with tokens that are not shown before [`TextStream::finish`].
    pub(super) fn with(mut self, tokens: &[u32]) -> Self {
        self.tokens.extend_from_slice(tokens);
        self
    }

    /// Takes a token and returns the text that is whole now; empty if none is.
    ///
    /// # Errors
    ///
    /// Those of [`LmTokenizer::decode`].
    pub fn push(&mut self, token: u32) -> Result<String> {
        self.tokens.push(token);
        let text = self.pending()?;
        // A character that is not whole yet is decoded as one that says so.
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.tokens.drain(..self.shown);
        self.shown = self.tokens.len();
        Ok(text)
    }

    /// What was held back, with `U+FFFD` for what never became a character.
    ///
    /// # Errors
    ///
    /// Those of [`LmTokenizer::decode`].
    pub fn finish(self) -> Result<String> {
        self.pending()
    }

    /// The text of the tokens that were not shown.
    fn pending(&self) -> Result<String> {
        let decode = |tokens| self.tokenizer.decode(tokens, self.skip_special);
        let (before, mut all) = (decode(&self.tokens[..self.shown])?, decode(&self.tokens)?);
        // The text of what was shown is a beginning of the whole, unless a decoder tidies up across tokens.
        let common = before
            .bytes()
            .zip(all.bytes())
            .take_while(|(a, b)| a == b)
            .count();
        let common = (0..=common)
            .rev()
            .find(|&at| all.is_char_boundary(at))
            .unwrap_or(0);
        Ok(all.split_off(common))
    }
}
