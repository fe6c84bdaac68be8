//! Cuts a text into brackets, commas and words, each with its place.

use std::iter::Peekable;
use std::str::CharIndices;

use crate::error::{Error, Result};

/// A place in the text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    /// The error that something else was expected here.
    pub(super) fn expected(self, what: impl Into<String>) -> Error {
        Error::VnnlibSyntax {
            line: self.line,
            column: self.column,
            expected: what.into(),
        }
    }

    /// The error that what stands here is not understood.
    pub(super) fn unsupported(self, what: impl Into<String>) -> Error {
        Error::VnnlibUnsupported {
            line: self.line,
            what: what.into(),
        }
    }
}

/// What the text is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Open,
    Close,
    OpenIndex,
    CloseIndex,
    Comma,
    /// A name, a number or an operator.
    Word(&'a str),
    /// What stands between double quotes.
    Quoted(&'a str),
    /// The end of the text.
    End,
}

impl Token<'_> {
    /// How error messages call it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::OpenIndex => "`[`".to_owned(),
            Self::CloseIndex => "`]`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Word(word) => format!("`{}`", word.chars().take(40).collect::<String>()),
            Self::Quoted(_) => "a quoted text".to_owned(),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

/// The tokens of a text, one at a time.
pub(super) struct Lexer<'a> {
    text: &'a str,
    characters: Peekable<CharIndices<'a>>,
    place: Place,
    next: Option<(Token<'a>, Place)>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            characters: text.char_indices().peekable(),
            place: Place { line: 1, column: 1 },
            next: None,
        }
    }

    /// Takes the next token. At the end there is [`Token::End`], as often as it is asked for.
    pub(super) fn take(&mut self) -> Result<(Token<'a>, Place)> {
        match self.next.take() {
            Some(next) => Ok(next),
            None => self.read(),
        }
    }

    /// The next token, which stays.
    pub(super) fn peek(&mut self) -> Result<(Token<'a>, Place)> {
        let next = self.take()?;
        self.next = Some(next);
        Ok(next)
    }

    fn read(&mut self) -> Result<(Token<'a>, Place)> {
        self.skip_blanks();
        let place = self.place;
        let Some(&(start, first)) = self.characters.peek() else {
            return Ok((Token::End, place));
        };
        self.advance();
        let token = match first {
            '(' => Token::Open,
            ')' => Token::Close,
            '[' => Token::OpenIndex,
            ']' => Token::CloseIndex,
            ',' => Token::Comma,
            '"' => {
                while self.characters.peek().is_some_and(|&(_, next)| next != '"') {
                    self.advance();
                }
                let end = self.offset();
                if self.advance().is_none() {
                    return Err(place.expected("a closing quotation mark behind this one"));
                }
                Token::Quoted(&self.text[start + 1..end])
            }
            _ => {
                let ends = |c: char| {
                    c.is_whitespace() || matches!(c, '(' | ')' | '[' | ']' | ',' | ';' | '"')
                };
                while self.characters.peek().is_some_and(|&(_, next)| !ends(next)) {
                    self.advance();
                }
                Token::Word(&self.text[start..self.offset()])
            }
        };
        Ok((token, place))
    }

    fn skip_blanks(&mut self) {
        while let Some(&(_, next)) = self.characters.peek() {
            if next == ';' {
                while self
                    .characters
                    .peek()
                    .is_some_and(|&(_, next)| next != '\n')
                {
                    self.advance();
                }
            } else if next.is_whitespace() {
                self.advance();
            } else {
                return;
            }
        }
    }

    fn advance(&mut self) -> Option<char> {
        let (_, character) = self.characters.next()?;
        if character == '\n' {
            self.place = Place {
                line: self.place.line + 1,
                column: 1,
            };
        } else {
            self.place.column += 1;
        }
        Some(character)
    }

    fn offset(&mut self) -> usize {
        self.characters
            .peek()
            .map_or(self.text.len(), |&(offset, _)| offset)
    }
}
