//! From files to the text of a category: in which order files are taken, which lines stay, where to stop.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use tracing::Span;

use super::{TextCategory, TextConfig, TextStats};
use crate::error::{Error, Result};
use crate::sha256;

/// A document longer than this is taken in parts of about this size.
const PART_BYTES: usize = 1 << 16;

/// A category to be made: which files, and how to read them.
pub(super) struct Recipe<'a> {
    pub(super) name: String,
    pub(super) source: String,
    /// Files with the names by which they are ordered; the same on every machine.
    pub(super) files: Vec<(String, PathBuf)>,
    /// The text of a file; `None` if it is not fit.
    pub(super) clean: &'a (dyn Fn(&str, Vec<u8>) -> Option<String> + Sync),
    pub(super) repeats: Repeats,
}

/// Which repeats are dropped: lines of at least so many characters, after so many times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeats {
    pub(super) min_chars: usize,
    pub(super) allowed: u8,
}

impl Repeats {
    /// Every line once.
    pub(super) const PROSE: Self = Self {
        min_chars: 1,
        allowed: 1,
    };
    /// None is dropped.
    pub(super) const KEEP: Self = Self {
        min_chars: usize::MAX,
        allowed: u8::MAX,
    };
}

/// The English edition of a text, to be taken out of its translations.
///
/// Untranslated lines are not always the same to the letter: they may hold a translated title of a chapter or a
/// figure. So a line of some length counts as English too if most of its runs of three words are.
#[derive(Default)]
pub(super) struct English {
    lines: HashSet<u64>,
    trigrams: HashSet<u64>,
}

impl English {
    /// Shorter lines must be the same to the letter.
    const MIN_TRIGRAMS: usize = 4;

    pub(super) fn of(text: &str) -> Self {
        let mut english = Self::default();
        for line in text.lines() {
            english.lines.insert(line_hash(line));
            english.trigrams.extend(trigrams(line));
        }
        english
    }

    fn has(&self, line: &str, hash: u64) -> bool {
        if self.lines.contains(&hash) {
            return true;
        }
        if self.trigrams.is_empty() {
            return false;
        }
        let (mut all, mut english) = (0, 0);
        for trigram in trigrams(line) {
            all += 1;
            english += usize::from(self.trigrams.contains(&trigram));
        }
        all >= Self::MIN_TRIGRAMS && 2 * english > all
    }
}

/// Hashes of all runs of three words of a line.
fn trigrams(line: &str) -> impl Iterator<Item = u64> {
    let words = line.split_whitespace();
    let shifted = (words.clone().skip(1), words.clone().skip(2));
    words.zip(shifted.0).zip(shifted.1).map(|words| {
        let mut hasher = DefaultHasher::new();
        words.hash(&mut hasher);
        hasher.finish()
    })
}

/// Makes categories, several at a time, with the number of files as progress.
pub(super) fn make(
    collection: &'static str,
    recipes: Vec<Recipe<'_>>,
    shared: &English,
    config: &TextConfig,
) -> Result<Vec<TextCategory>> {
    let length: usize = recipes.iter().map(|recipe| recipe.files.len()).sum();
    let span = tracing::info_span!("read texts", collection, position = 0_u64, length);
    let progress = Progress {
        done: AtomicU64::new(0),
        step: (length as u64 / 100).max(1),
        span: span.clone(),
    };
    recipes
        .into_par_iter()
        .map(|recipe| make_one(recipe, shared, config, &progress))
        .collect()
}

struct Progress {
    done: AtomicU64,
    step: u64,
    span: Span,
}

impl Progress {
    fn add(&self, files: u64) {
        let before = self.done.fetch_add(files, Ordering::Relaxed);
        if before / self.step != (before + files) / self.step {
            self.span.record("position", before + files);
        }
    }
}

fn make_one(
    recipe: Recipe<'_>,
    shared: &English,
    config: &TextConfig,
    progress: &Progress,
) -> Result<TextCategory> {
    let limit = config.max_bytes.unwrap_or(usize::MAX);
    let repeats = if config.keep_repeats {
        Repeats::KEEP
    } else {
        recipe.repeats
    };
    let mut filter = LineFilter {
        shared,
        repeats,
        seen: HashMap::new(),
        stats: TextStats::default(),
    };
    // In the order of hashes; sorted back to the order of names at the end.
    let mut files = recipe.files;
    files.sort_by_cached_key(|(name, _)| (sha256::number_of(name.as_bytes()), name.clone()));
    let mut parts: Vec<(String, usize, String)> = Vec::new();
    let mut size = 0;
    let mut read = 0;
    'files: for (name, path) in &files {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        filter.stats.files += 1;
        filter.stats.read_bytes += bytes.len() as u64;
        read += 1;
        progress.add(1);
        let Some(text) = (recipe.clean)(name, bytes) else {
            filter.stats.skipped += 1;
            continue;
        };
        for (index, part) in shuffled_parts(name, &text) {
            let text = filter.apply(part);
            let fitting = fitting(&text, limit - size);
            let full = fitting.len() < text.len();
            size += fitting.len();
            parts.push((name.clone(), index, fitting.to_owned()));
            if full {
                break 'files;
            }
        }
    }
    progress.add(files.len() as u64 - read);
    parts.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    Ok(TextCategory {
        name: recipe.name,
        text: parts.into_iter().map(|(_, _, text)| text).collect(),
        source: recipe.source,
        stats: filter.stats,
    })
}

/// A document in parts that end at line ends, with their numbers, in the order of hashes.
fn shuffled_parts<'t>(name: &str, text: &'t str) -> Vec<(usize, &'t str)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > PART_BYTES {
        let at = rest.as_bytes()[PART_BYTES..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(rest.len(), |at| PART_BYTES + at + 1);
        parts.push(&rest[..at]);
        rest = &rest[at..];
    }
    parts.push(rest);
    let mut parts: Vec<_> = parts.into_iter().enumerate().collect();
    if parts.len() > 1 {
        parts.sort_by_cached_key(|(index, _)| {
            sha256::number_of(format!("{name}#{index}").as_bytes())
        });
    }
    parts
}

/// The whole lines at the beginning of a text that fit into so many bytes.
fn fitting(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = text.as_bytes()[..bytes]
        .iter()
        .rposition(|&byte| byte == b'\n');
    end.map_or("", |end| &text[..=end])
}

/// At most `max_bytes` of a text, as parts from all over it in their order.
pub(super) fn sample(text: &str, max_bytes: usize) -> String {
    let mut left = max_bytes;
    let mut parts = shuffled_parts("", text);
    for (_, part) in &mut parts {
        *part = fitting(part, left);
        left -= part.len();
    }
    parts.sort_by_key(|&(index, _)| index);
    parts.into_iter().map(|(_, part)| part).collect()
}

/// Drops lines that are shared with English or repeated, and all but one of several empty lines.
struct LineFilter<'a> {
    shared: &'a English,
    repeats: Repeats,
    seen: HashMap<u64, u8>,
    stats: TextStats,
}

impl LineFilter<'_> {
    fn apply(&mut self, text: &str) -> String {
        let mut kept = String::with_capacity(text.len());
        for line in text.lines() {
            let line = line.trim_end();
            let bytes = line.len() as u64 + 1;
            if line.is_empty() {
                if !kept.is_empty() && !kept.ends_with("\n\n") {
                    kept.push('\n');
                }
                continue;
            }
            let hash = line_hash(line);
            if self.shared.has(line, hash) {
                self.stats.shared_bytes += bytes;
                continue;
            }
            // Characters are counted only where the bytes leave it open.
            let long = line.len() >= self.repeats.min_chars
                && line.trim_start().chars().count() >= self.repeats.min_chars;
            if long {
                let times = self.seen.entry(hash).or_insert(0);
                if *times >= self.repeats.allowed {
                    self.stats.repeated_bytes += bytes;
                    continue;
                }
                *times += 1;
            }
            kept += line;
            kept.push('\n');
        }
        kept
    }
}

/// Lines that differ only in the white space around them are the same.
fn line_hash(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.trim().hash(&mut hasher);
    hasher.finish()
}
