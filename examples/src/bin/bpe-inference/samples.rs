//! Samples of candidate text as counts of words: of the whole, and of the blocks that the bootstrap redraws.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bpe_inference::pretokenizer::{LineMode, Pretokenizer, TextPipeline};
use bpe_inference::{Category, Error, WordCounts};
use fire_assay_examples::{Limit, UsageError};
use rayon::prelude::*;

use crate::corpora::Candidate;

/// Lines of a block, if there is that much text: neighbouring lines are too alike to be redrawn one by one.
pub(crate) const BLOCK_LINES: usize = 64;
/// A block of long lines ends after so many bytes.
const BLOCK_BYTES: usize = 16 << 10;
/// Blocks of a category; of longer texts neighbouring blocks are put together.
const MOST_BLOCKS: usize = 512;
/// Blocks that are counted in one go.
const BATCH: usize = 64;

/// Candidate categories, and each in blocks.
pub(crate) struct Samples {
    pub(crate) categories: Vec<Category>,
    /// The words of each category again, block by block; empty where they were not asked for.
    pub(crate) blocks: Vec<Vec<WordCounts>>,
}

/// A category as the user names it: what it is called, and the file or folder that holds its text.
pub(crate) type Source = (String, PathBuf);

/// Where the categories are: `NAME=PATH` each, or one folder whose entries are the categories. A path is a file or a
/// folder of files.
///
/// # Errors
/// If `data` is neither, a path does not exist, there are fewer than two categories, or two have one name.
pub(crate) fn sources(data: &[String]) -> Result<Vec<Source>> {
    let named: Vec<Source> = match data {
        [folder] if !folder.contains('=') => entries(Path::new(folder))?,
        many => many
            .iter()
            .map(|item| match item.split_once('=') {
                Some((name, path)) if !name.is_empty() => Ok((name.to_owned(), path.into())),
                _ => Err(UsageError(format!(
                    "--data takes NAME=PATH, or a single folder; `{item}` is neither"
                ))),
            })
            .collect::<Result<_, _>>()?,
    };
    for (k, (name, path)) in named.iter().enumerate() {
        if let Some((_, other)) = named[..k].iter().find(|(known, _)| known == name) {
            let paths = [other, path].map(|path| path.display());
            let message = format!(
                "--data: {} and {} are both called `{name}`",
                paths[0], paths[1]
            );
            return Err(UsageError(message).into());
        }
        fs::metadata(path).with_context(|| format!("category `{name}`: {}", path.display()))?;
    }
    if named.len() < 2 {
        let found = data.join(" ");
        let message = format!(
            "--data needs at least 2 categories, but {found} is {}",
            named.len()
        );
        return Err(UsageError(message).into());
    }
    Ok(named)
}

/// The entries of a folder, named by their file stem.
fn entries(folder: &Path) -> Result<Vec<Source>> {
    let listing = fs::read_dir(folder)
        .with_context(|| format!("--data {}: not a folder that can be read", folder.display()))?;
    let mut found = Vec::new();
    for entry in listing {
        let path = entry?.path();
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        if let Some(name) = name.filter(|name| !name.starts_with('.')) {
            found.push((name, path));
        }
    }
    found.sort();
    ensure!(
        !found.is_empty(),
        "--data {}: the folder is empty",
        folder.display()
    );
    Ok(found)
}

/// Counts the words of the sources, with blocks if they are wanted.
///
/// # Errors
/// If a file cannot be read, a source has no text, or the limit ends the work.
pub(crate) fn read(
    sources: &[Source],
    pipeline: &TextPipeline,
    blocks: bool,
    limit: &Limit,
) -> Result<Samples> {
    let span = tracing::info_span!("reading", position = 0_u64, length = sources.len() as u64);
    let _guard = span.enter();
    let counted = sources.iter().enumerate().map(|(k, (name, path))| {
        let counted = read_source(name, path, pipeline, blocks, limit)
            .with_context(|| format!("category `{name}`"))?;
        ensure!(
            counted.0.bytes > 0,
            "category `{name}`: there is no text in {}",
            path.display()
        );
        span.record("position", k as u64 + 1);
        Ok(counted)
    });
    counted.collect()
}

fn read_source(
    name: &str,
    path: &Path,
    pipeline: &TextPipeline,
    blocks: bool,
    limit: &Limit,
) -> Result<Counted> {
    if !blocks {
        limit.check("reading the samples")?;
        let mut builder = WordCounts::builder(pipeline);
        builder.add_path(path)?;
        return Ok((builder.finish_category(name)?, Vec::new()));
    }
    let mut sampler = Sampler::new(pipeline, limit);
    for file in files_below(path)? {
        let origin = file.display().to_string();
        let open = File::open(&file).with_context(|| origin.clone())?;
        sampler.add(&origin, open)?;
    }
    sampler.finish(name)
}

/// All files below a path, in the order of their names, as [`WordCounts`]' own reader finds them.
fn files_below(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let context = || path.display().to_string();
    let mut inside = fs::read_dir(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(context)?;
    inside.sort_by_key(fs::DirEntry::path);
    let mut files = Vec::new();
    for entry in inside {
        let (path, kind) = (entry.path(), entry.file_type().with_context(context)?);
        if kind.is_dir() {
            files.extend(files_below(&path)?);
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// Counts the words of texts in memory, with blocks if they are wanted.
///
/// # Errors
/// If the limit ends the work.
pub(crate) fn count(
    candidates: &[Candidate],
    pipeline: &TextPipeline,
    blocks: bool,
    limit: &Limit,
) -> Result<Samples> {
    let counted: Vec<Counted> = candidates
        .par_iter()
        .map(|candidate| {
            let text = &candidate.text;
            if !blocks {
                limit.check("counting words")?;
                let mut builder = WordCounts::builder(pipeline);
                builder.add_str(&text.text)?;
                return Ok((builder.finish_category(text.name.clone())?, Vec::new()));
            }
            let mut sampler = Sampler::new(pipeline, limit);
            sampler.add(&text.name, text.text.as_bytes())?;
            sampler.finish(&text.name)
        })
        .collect::<Result<_>>()?;
    Ok(counted.into_iter().collect())
}

/// A category and its blocks.
type Counted = (Category, Vec<WordCounts>);

impl FromIterator<Counted> for Samples {
    fn from_iter<I: IntoIterator<Item = Counted>>(counted: I) -> Self {
        let (categories, blocks) = counted.into_iter().unzip();
        Self { categories, blocks }
    }
}

/// Cuts text into blocks and counts them. The blocks together hold exactly the words of the whole: a block ends where
/// the text is cut anyway, which may be later than its size asks for.
struct Sampler<'a> {
    pipeline: &'a TextPipeline,
    limit: &'a Limit,
    blocks: Vec<WordCounts>,
    /// How many blocks of the first size make one of today's.
    scale: usize,
    waiting: Vec<Piece>,
    bytes: u64,
}

/// A block that is not counted yet.
struct Piece {
    text: Vec<u8>,
    origin: String,
    /// Where it begins in its file.
    offset: u64,
}

impl<'a> Sampler<'a> {
    fn new(pipeline: &'a TextPipeline, limit: &'a Limit) -> Self {
        Self {
            pipeline,
            limit,
            blocks: Vec::new(),
            scale: 1,
            waiting: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds a document.
    fn add(&mut self, origin: &str, text: impl Read) -> Result<()> {
        let mut text = BufReader::with_capacity(1 << 18, text);
        let (mut block, mut lines, mut line) = (Vec::new(), 0, Vec::new());
        let mut offset = 0;
        loop {
            line.clear();
            text.read_until(b'\n', &mut line)
                .with_context(|| origin.to_owned())?;
            let full = lines >= BLOCK_LINES * self.scale || block.len() >= BLOCK_BYTES * self.scale;
            if line.is_empty() || full && may_cut(self.pipeline, &block, &line) {
                let text = std::mem::take(&mut block);
                let next = offset + text.len() as u64;
                self.push(Piece {
                    text,
                    origin: origin.to_owned(),
                    offset,
                })?;
                (offset, lines) = (next, 0);
            }
            if line.is_empty() {
                return Ok(());
            }
            block.extend_from_slice(&line);
            lines += 1;
        }
    }

    fn push(&mut self, piece: Piece) -> Result<()> {
        if piece.text.is_empty() {
            return Ok(());
        }
        self.bytes += piece.text.len() as u64;
        self.waiting.push(piece);
        if self.waiting.len() == BATCH {
            self.count()?;
        }
        Ok(())
    }

    fn count(&mut self) -> Result<()> {
        self.limit.check("reading the samples")?;
        let waiting = std::mem::take(&mut self.waiting);
        let counted: Vec<WordCounts> = waiting
            .into_par_iter()
            .map(|piece| piece.count(self.pipeline))
            .collect::<Result<_>>()?;
        self.blocks.extend(counted);
        while self.blocks.len() > MOST_BLOCKS {
            self.scale *= 2;
            self.blocks = self
                .blocks
                .par_chunks(2)
                .map(WordCounts::merge)
                .collect::<bpe_inference::Result<_>>()?;
        }
        Ok(())
    }

    fn finish(mut self, name: &str) -> Result<Counted> {
        self.count()?;
        let category = Category {
            name: name.to_owned(),
            words: WordCounts::merge(&self.blocks)?,
            bytes: self.bytes,
        };
        Ok((category, self.blocks))
    }
}

impl Piece {
    fn count(self, pipeline: &TextPipeline) -> Result<WordCounts> {
        let mut builder = WordCounts::builder(pipeline).threads(1);
        builder
            .add_reader(&self.origin, self.text.as_slice())
            .map_err(|error| match error {
                // It counts from the beginning of the block.
                Error::InvalidUtf8 { origin, offset } => Error::InvalidUtf8 {
                    origin,
                    offset: offset + self.offset,
                },
                other => other,
            })?;
        Ok(builder.finish()?)
    }
}

/// Whether a text may be cut between two of its lines so that the words of the parts are those of the whole.
///
/// In line mode it may always. Otherwise white space is the trouble: the patterns make one word of several line ends,
/// or of a line end and the spaces behind it. A line end with other characters at both sides is a word by itself, or
/// belongs to the punctuation before it; some take a following slash to the same word. Nothing is known of custom
/// patterns, and a document that Llama's rule begins gets a marker.
fn may_cut(pipeline: &TextPipeline, before: &[u8], after: &[u8]) -> bool {
    if pipeline.lines == LineMode::Lines {
        return true;
    }
    let known = matches!(
        pipeline.pretokenizer,
        Pretokenizer::Gpt2
            | Pretokenizer::DigitsGpt2
            | Pretokenizer::CommandR
            | Pretokenizer::Cl100k
            | Pretokenizer::Qwen2
            | Pretokenizer::O200k
            | Pretokenizer::Tekken
            | Pretokenizer::Gemma
    );
    let blank = |c: Option<char>| c.is_none_or(char::is_whitespace);
    // A character has four bytes at most.
    let before = before.strip_suffix(b"\n").unwrap_or_default();
    let last = before[before.len().saturating_sub(4)..]
        .utf8_chunks()
        .last();
    let last = last
        .filter(|chunk| chunk.invalid().is_empty())
        .and_then(|chunk| chunk.valid().chars().next_back());
    let first = after[..after.len().min(4)].utf8_chunks().next();
    let first = first.and_then(|chunk| chunk.valid().chars().next());
    known && !blank(last) && !blank(first) && first != Some('/')
}

#[cfg(test)]
mod tests {
    use fire_assay_datasets::embedded;
    use fire_assay_datasets::text::TextCategory;

    use super::*;

    /// Text in several languages, and source code.
    fn texts() -> Vec<TextCategory> {
        embedded::languages()
            .into_iter()
            .chain(embedded::code())
            .collect()
    }

    fn sampled(pipeline: &TextPipeline, text: &[u8]) -> Counted {
        let limit = Limit::start(None);
        let mut sampler = Sampler::new(pipeline, &limit);
        sampler.add("text", text).unwrap();
        sampler.finish("name").unwrap()
    }

    #[test]
    fn blocks_hold_exactly_the_words_of_the_text() {
        for pipeline in TextPipeline::presets() {
            for text in texts() {
                let mut builder = WordCounts::builder(&pipeline);
                builder.add_str(&text.text).unwrap();
                let whole = builder.finish_category("name").unwrap();
                let (category, blocks) = sampled(&pipeline, text.text.as_bytes());
                assert!(category == whole, "{pipeline} on {}", text.name);
                assert!(WordCounts::merge(&blocks).unwrap() == whole.words);
            }
        }
    }

    #[test]
    fn real_text_falls_into_many_blocks_and_never_into_too_many() {
        for text in texts() {
            for pipeline in [TextPipeline::hf_trained(), TextPipeline::cl100k()] {
                let (_, blocks) = sampled(&pipeline, text.text.as_bytes());
                let expected = text.text.lines().count() / (8 * BLOCK_LINES);
                let enough = (expected.max(2)..=MOST_BLOCKS).contains(&blocks.len());
                assert!(enough, "{}: {} blocks", text.name, blocks.len());
            }
        }
        let long = "a line of text\n".repeat(4 * MOST_BLOCKS * BLOCK_LINES);
        let (category, blocks) = sampled(&TextPipeline::gpt2(), long.as_bytes());
        assert_eq!(category.bytes, long.len() as u64);
        assert!((MOST_BLOCKS / 2..=MOST_BLOCKS).contains(&blocks.len()));
    }

    #[test]
    fn folders_are_read_as_the_library_reads_them() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        fs::create_dir_all(root.join("b/c")).unwrap();
        for (name, text) in [
            ("b/c/z.txt", "one\n\n two"),
            ("b/y", "three"),
            ("a", "four\n"),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        let pipeline = TextPipeline::gpt2();
        let limit = Limit::start(None);
        let source = [("name".to_owned(), root.to_owned())];
        let [with, without] =
            [true, false].map(|blocks| read(&source, &pipeline, blocks, &limit).unwrap());
        assert_eq!(with.categories, without.categories);
        assert_eq!(with.blocks[0].len(), 3, "a document is a block at least");
        assert!(without.blocks[0].is_empty());
    }

    #[test]
    fn text_that_is_not_utf8_is_placed_in_its_file() {
        let mut text = "line\n".repeat(10 * BLOCK_LINES).into_bytes();
        let offset = text.len() - 5;
        text[offset] = 0xff;
        let limit = Limit::start(None);
        let pipeline = TextPipeline::llama();
        let mut sampler = Sampler::new(&pipeline, &limit);
        let added = sampler.add("the file", text.as_slice());
        let error = added.and_then(|()| sampler.finish("name").map(drop));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("the file") && error.contains(&offset.to_string()),
            "{error}"
        );
    }
}
