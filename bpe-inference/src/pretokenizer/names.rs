//! The short names of pipelines and their parts, for command lines and reports.

use std::fmt;
use std::str::FromStr;

use super::{InvalidBytes, LineMode, Normalizer, PairFilter, Pretokenizer, TextPipeline};
use crate::error::{Error, Result};

const REGEX: &str = "regex:";
const SENTENCEPIECE: &str = "sentencepiece";

/// The names of the pretokenizers without parameters.
const PRETOKENIZERS: [(&str, Pretokenizer); 11] = [
    ("gpt2", Pretokenizer::Gpt2),
    ("cl100k", Pretokenizer::Cl100k),
    ("o200k", Pretokenizer::O200k),
    ("tekken", Pretokenizer::Tekken),
    ("qwen2", Pretokenizer::Qwen2),
    ("digits-gpt2", Pretokenizer::DigitsGpt2),
    ("command-r", Pretokenizer::CommandR),
    ("llama", Pretokenizer::Llama),
    ("mistral", Pretokenizer::Mistral),
    ("gemma", Pretokenizer::Gemma),
    ("none", Pretokenizer::None),
];

const EXPECTED_PRETOKENIZER: &str = "one of gpt2, cl100k, o200k, tekken, qwen2, digits-gpt2, command-r, llama, mistral, gemma, none, \
     regex:PATTERN";
const EXPECTED_PIPELINE: &str = "one name (gpt2, gpt-neox, claude, cl100k, o200k, tekken, qwen2, digits-gpt2, hf-trained, command-r, \
     llama, mistral, gemma, none, regex:PATTERN) and options after +: no-normalizer, nfc, nfkc, \
     document, lines, any-pair, sentencepiece, keep, reject";
const EXPECTED_PAIRS: &str =
    "any-pair or sentencepiece[:CHARS][:numbers][:digits][:scripts][:runs]";

impl fmt::Display for Pretokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Regex(pattern) = self {
            return write!(f, "{REGEX}{}", pattern.as_str());
        }
        let named = PRETOKENIZERS.iter().find(|(_, p)| p == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

impl FromStr for Pretokenizer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(pattern) = text.strip_prefix(REGEX) {
            return Self::regex(pattern);
        }
        let named = PRETOKENIZERS.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, pretokenizer)| pretokenizer.clone())
            .ok_or_else(|| invalid("pretokenizer", text, EXPECTED_PRETOKENIZER))
    }
}

impl fmt::Display for Normalizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no-normalizer",
            Self::Nfc => "nfc",
            Self::Nfkc => "nfkc",
        })
    }
}

impl FromStr for Normalizer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        named([Self::None, Self::Nfc, Self::Nfkc], text)
            .ok_or_else(|| invalid("normalizer", text, "no-normalizer, nfc or nfkc"))
    }
}

impl fmt::Display for LineMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Document => "document",
            Self::Lines => "lines",
        })
    }
}

impl FromStr for LineMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        named([Self::Document, Self::Lines], text)
            .ok_or_else(|| invalid("line mode", text, "document or lines"))
    }
}

impl fmt::Display for InvalidBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Reject => "reject",
        })
    }
}

impl FromStr for InvalidBytes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        named([Self::Keep, Self::Reject], text)
            .ok_or_else(|| invalid("treatment of invalid bytes", text, "keep or reject"))
    }
}

impl fmt::Display for PairFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => f.write_str("any-pair"),
            filter if filter == Self::sentencepiece() => f.write_str(SENTENCEPIECE),
            Self::SentencePiece {
                max_chars,
                split_numbers,
                split_digits,
                split_scripts,
                marker_runs,
            } => {
                write!(f, "{SENTENCEPIECE}:{max_chars}")?;
                for (set, rule) in [
                    (split_numbers, ":numbers"),
                    (split_digits, ":digits"),
                    (split_scripts, ":scripts"),
                    (marker_runs, ":runs"),
                ] {
                    f.write_str(if set { rule } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for PairFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let expected = || invalid("pair filter", text, EXPECTED_PAIRS);
        match text.split_once(':') {
            None if text == "any-pair" => Ok(Self::None),
            None if text == SENTENCEPIECE => Ok(Self::sentencepiece()),
            Some((SENTENCEPIECE, rules)) => {
                let mut rules = rules.split(':');
                let length = rules.next().and_then(|n| n.parse().ok());
                let max_chars = length.ok_or_else(expected)?;
                let mut set = [false; 4];
                for rule in rules {
                    let known = ["numbers", "digits", "scripts", "runs"];
                    let k = known.iter().position(|name| *name == rule);
                    set[k.ok_or_else(expected)?] = true;
                }
                let [split_numbers, split_digits, split_scripts, marker_runs] = set;
                Ok(Self::SentencePiece {
                    max_chars,
                    split_numbers,
                    split_digits,
                    split_scripts,
                    marker_runs,
                })
            }
            _ => Err(expected()),
        }
    }
}

/// Options first where a pattern follows, because it takes all that is left; else the name first.
impl fmt::Display for TextPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = Self::new(self.pretokenizer.clone());
        let options = [
            (self.normalizer != base.normalizer).then(|| self.normalizer.to_string()),
            (self.lines != base.lines).then(|| self.lines.to_string()),
            (self.pairs != base.pairs).then(|| self.pairs.to_string()),
            (self.invalid != base.invalid).then(|| self.invalid.to_string()),
        ];
        let mut parts: Vec<String> = options.into_iter().flatten().collect();
        let place = match self.pretokenizer {
            Pretokenizer::Regex(_) => parts.len(),
            _ => 0,
        };
        parts.insert(place, self.pretokenizer.to_string());
        f.write_str(&parts.join("+"))
    }
}

impl FromStr for TextPipeline {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let expected = || invalid("pipeline", text, EXPECTED_PIPELINE);
        let (mut base, mut options) = (None, Vec::new());
        let mut rest = Some(text);
        while let Some(left) = rest {
            let (part, after) = match left.split_once('+') {
                Some((part, after)) if !left.starts_with(REGEX) => (part, Some(after)),
                _ => (left, None),
            };
            rest = after;
            match vendor(part) {
                None => options.push(part),
                Some(named) if base.is_none() => base = Some(named?),
                Some(_) => return Err(expected()),
            }
        }
        let mut pipeline = base.ok_or_else(expected)?;
        for option in options {
            if let Ok(normalizer) = option.parse() {
                pipeline.normalizer = normalizer;
            } else if let Ok(lines) = option.parse() {
                pipeline.lines = lines;
            } else if let Ok(pairs) = option.parse() {
                pipeline.pairs = pairs;
            } else if let Ok(treatment) = option.parse() {
                pipeline.invalid = treatment;
            } else {
                return Err(expected());
            }
        }
        Ok(pipeline)
    }
}

/// The pipeline that a name stands for; an error if it is a pattern that does not compile.
fn vendor(name: &str) -> Option<Result<TextPipeline>> {
    match name {
        "gpt-neox" => Some(Ok(TextPipeline::gpt_neox())),
        "claude" => Some(Ok(TextPipeline::claude())),
        "hf-trained" => Some(Ok(TextPipeline::hf_trained())),
        _ => match name.parse() {
            Ok(pretokenizer) => Some(Ok(TextPipeline::new(pretokenizer))),
            Err(Error::Pattern { reason }) => Some(Err(Error::Pattern { reason })),
            Err(_) => None,
        },
    }
}

fn named<T: fmt::Display, const N: usize>(values: [T; N], text: &str) -> Option<T> {
    values.into_iter().find(|value| value.to_string() == text)
}

fn invalid(name: &str, value: &str, expected: &'static str) -> Error {
    Error::InvalidValue {
        name: name.to_owned(),
        value: value.to_owned(),
        expected,
    }
}
