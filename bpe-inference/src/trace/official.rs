//! The count files of the paper's own programs (`all_pair_counts.json`), one a category.
//!
//! Such a file is a list: element 0 maps every pair, written `left right`, to its count before the first merge;
//! element `t` maps the pairs whose counts the merge `t` (from 1) changes to their new counts. Tokens over bytes
//! are written in the characters of GPT-2's byte map.

use std::collections::BTreeMap;
use std::fmt;

use rustc_hash::FxHashMap;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Delta, PairId, PairTrace, TraceCategory, check_names};
use crate::error::{Error, Result};
use crate::merges::{Alphabet, MergeList, TokenId, byte_level};

const FORMAT: &str = "all_pair_counts.json";

/// One category as the official programs count it.
#[derive(Clone, Copy, Debug)]
pub struct OfficialCounts<'a> {
    /// The category's name.
    pub name: &'a str,
    /// Bytes of its sample (`byte_count` of the official `meta.json`).
    pub bytes: u64,
    /// Contents of its `all_pair_counts.json`.
    pub json: &'a [u8],
}

impl PairTrace {
    /// Makes a trace from the official count files of some categories, whose merges are `list.steps()`.
    ///
    /// The trace has as many steps as the longest file; a shorter one (the official program stops when none of
    /// the rest occurs) has no further changes.
    ///
    /// # Errors
    /// [`Error::TooFewCategories`], [`Error::DuplicateCategory`], [`Error::EmptyCategory`];
    /// [`Error::Parse`] if a file is not such a list, is longer than the merge list or names a pair of
    /// unknown tokens; [`Error::CountOverflow`] if its counts do not fit `i64`.
    pub fn from_official_json(list: &MergeList, files: &[OfficialCounts]) -> Result<Self> {
        check_names(files.iter().map(|file| file.name))?;
        let spelling = Spelling::new(list);
        let mut categories = Vec::with_capacity(files.len());
        let mut steps = 0;
        // Counts of all files as changes: (element, pair, category, change).
        let mut changes: Vec<(usize, (TokenId, TokenId), u16, i64)> = Vec::new();
        for (category, file) in (0..).zip(files) {
            let elements: Vec<Element> =
                serde_json::from_slice(file.json).map_err(|error| Error::Parse {
                    format: FORMAT,
                    offset: offset(file.json, error.line(), error.column()),
                    reason: error.to_string(),
                })?;
            let at = |element: usize, reason: String| Error::Parse {
                format: FORMAT,
                offset: file.json.len() as u64,
                reason: format!("element {element} of `{}`: {reason}", file.name),
            };
            let last = elements
                .len()
                .checked_sub(1)
                .ok_or_else(|| at(0, "there is none".into()))?;
            if last > list.steps().len() {
                let expected = list.steps().len() + 1;
                return Err(at(
                    last,
                    format!("the merge list allows {expected} elements"),
                ));
            }
            steps = steps.max(last);
            let mut counts: FxHashMap<(TokenId, TokenId), i64> = FxHashMap::default();
            let mut initial_pairs = 0u64;
            for (t, Element(entries)) in elements.iter().enumerate() {
                for (text, &count) in entries {
                    let overflow = || Error::CountOverflow {
                        name: file.name.into(),
                    };
                    let count = i64::try_from(count).map_err(|_| overflow())?;
                    let pair = spelling.read(text).map_err(|reason| at(t, reason))?;
                    let change = count - counts.insert(pair, count).unwrap_or(0);
                    if t == 0 {
                        initial_pairs = initial_pairs
                            .checked_add(count as u64)
                            .filter(|&sum| i64::try_from(sum).is_ok())
                            .ok_or_else(overflow)?;
                    }
                    if change != 0 {
                        changes.push((t, pair, category, change));
                    }
                }
            }
            categories.push(TraceCategory {
                name: file.name.into(),
                bytes: file.bytes,
                initial_pairs,
            });
        }

        changes.sort_unstable();
        let mut pairs: Vec<(TokenId, TokenId)> = changes.iter().map(|change| change.1).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let find =
            |pair: (TokenId, TokenId)| pairs.binary_search(&pair).ok().map(|id| id as PairId);
        let merged = list.steps()[..steps]
            .iter()
            .map(|merge| find((merge.left, merge.right)))
            .collect();
        let ends: Vec<usize> = (0..=steps)
            .map(|t| changes.partition_point(|change| change.0 <= t))
            .collect();
        let mut entries = changes.iter().filter_map(|&(_, pair, category, delta)| {
            Some(Delta {
                pair: find(pair)?,
                category,
                delta,
            })
        });
        let trace = Self {
            initial: entries.by_ref().take(ends[0]).collect(),
            deltas: entries.collect(),
            delta_ends: ends[1..].iter().map(|end| end - ends[0]).collect(),
            categories,
            merged,
            pairs,
        };
        trace.check_not_empty()?;
        Ok(trace)
    }

    /// The counts of one category as the official programs write them. `list` must be the merge list of the trace.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if there is no category of this index or `list` is not that of the trace.
    pub fn to_official_json(&self, list: &MergeList, category: usize) -> Result<String> {
        if category >= self.categories.len() {
            return Err(Error::InvalidValue {
                name: "category".into(),
                value: category.to_string(),
                expected: "an index of a category of the trace",
            });
        }
        let spelling = Spelling::new(list);
        let spelled = self
            .pairs
            .iter()
            .map(|&pair| spelling.write(pair))
            .collect::<Option<Vec<String>>>()
            .filter(|_| self.steps() <= list.steps().len())
            .ok_or_else(|| Error::InvalidValue {
                name: "merge list".into(),
                value: format!("{} merges", list.merges().len()),
                expected: "the list that the trace was built from",
            })?;
        let mut counts = vec![0i64; self.pairs.len()];
        let mut elements: Vec<BTreeMap<&str, i64>> = Vec::with_capacity(self.steps() + 1);
        let states =
            std::iter::once(&self.initial[..]).chain((0..self.steps()).map(|t| self.deltas(t)));
        for entries in states {
            let mut element = BTreeMap::new();
            for entry in entries {
                if usize::from(entry.category) == category {
                    let pair = entry.pair as usize;
                    counts[pair] += entry.delta;
                    element.insert(spelled[pair].as_str(), counts[pair]);
                }
            }
            elements.push(element);
        }
        // Maps of strings to integers always serialise.
        Ok(serde_json::to_string(&elements).unwrap_or_default())
    }
}

/// One element of a file. A pair that is named twice is an error.
struct Element(BTreeMap<String, u64>);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map from pairs to counts")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Element, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((pair, count)) = map.next_entry::<String, u64>()? {
                    if entries.insert(pair, count).is_some() {
                        return Err(serde::de::Error::custom("a pair is named twice"));
                    }
                }
                Ok(Element(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Offset of a line and column, both from 1.
fn offset(json: &[u8], line: usize, column: usize) -> u64 {
    let before: usize = json
        .split_inclusive(|&byte| byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + column.saturating_sub(1)).min(json.len()) as u64
}

/// How the official programs write tokens.
struct Spelling<'a> {
    list: &'a MergeList,
    tokens: FxHashMap<String, TokenId>,
}

impl<'a> Spelling<'a> {
    fn new(list: &'a MergeList) -> Self {
        let spell =
            |(id, text): (TokenId, std::borrow::Cow<[u8]>)| (spell(list.alphabet(), &text), id);
        Self {
            list,
            tokens: list.tokens().map(spell).collect(),
        }
    }

    /// `None` for a pair that the list does not have.
    fn write(&self, (left, right): (TokenId, TokenId)) -> Option<String> {
        let token = |id: TokenId| {
            let base = self.list.alphabet().base();
            let known = id < base || ((id - base) as usize) < self.list.products();
            known.then(|| spell(self.list.alphabet(), &self.list.text(id)))
        };
        Some(format!("{} {}", token(left)?, token(right)?))
    }

    /// Both tokens of a pair. A token over characters may hold spaces itself, so every space is tried.
    fn read(&self, pair: &str) -> std::result::Result<(TokenId, TokenId), String> {
        let mut splits = pair.match_indices(' ').filter_map(|(space, _)| {
            Some((self.token(&pair[..space])?, self.token(&pair[space + 1..])?))
        });
        match (splits.next(), splits.next()) {
            (Some(tokens), None) => Ok(tokens),
            (None, _) => Err(format!(
                "`{pair}` is not a pair of tokens of the merge list"
            )),
            (Some(_), Some(_)) => Err(format!("`{pair}` can be read as two different pairs")),
        }
    }

    fn token(&self, text: &str) -> Option<TokenId> {
        let letter = || {
            let mut chars = text.chars();
            let letter = chars.next().filter(|_| chars.next().is_none())?;
            (self.list.alphabet() == Alphabet::Characters).then_some(TokenId::from(letter))
        };
        self.tokens.get(text).copied().or_else(letter)
    }
}

fn spell(alphabet: Alphabet, text: &[u8]) -> String {
    match alphabet {
        Alphabet::Bytes => byte_level::encode(text),
        Alphabet::Characters => String::from_utf8_lossy(text).into_owned(),
    }
}
