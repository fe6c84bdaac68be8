//! Counts the words of strings, streams and files on all cores.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::counter::Counter;
use super::source::{Chunks, Document, Progress, Text};
use super::{Category, WordCounts, overflow};
use crate::error::{Error, Result};
use crate::pretokenizer::{Splitter, TextPipeline};

/// Counts the words of text, piece by piece; made by [`WordCounts::builder`].
///
/// Text is read in chunks that are cut where the pipeline cuts anyway, so memory holds the distinct words and a chunk a thread,
/// however long the text. (A stretch without a letter or digit before a space, line end or punctuation is one chunk, and custom
/// patterns in document mode take whole documents.) The result does not depend on the chunks or the number of threads.
///
/// After an error part of the text is counted: drop the builder.
///
/// ```
/// use bpe_inference::pretokenizer::TextPipeline;
/// use bpe_inference::words::WordCounts;
///
/// let mut builder = WordCounts::builder(&TextPipeline::gpt2());
/// builder.add_str("to be or not to be")?;
/// let category = builder.finish_category("drama")?;
/// let counts: Vec<(&[u8], u64)> = category.words.iter().collect();
/// assert_eq!(counts, [(&b" be"[..], 2), (b" not", 1), (b" or", 1), (b" to", 1), (b"to", 1)]);
/// assert_eq!(category.bytes, 18);
/// # Ok::<(), bpe_inference::Error>(())
/// ```
pub struct WordCountsBuilder {
    pipeline: TextPipeline,
    threads: usize,
    chunk_bytes: usize,
    extensions: Vec<String>,
    budget: u64,
    bytes: u64,
    shards: Vec<Shard>,
}

impl WordCountsBuilder {
    pub(super) fn new(pipeline: &TextPipeline) -> Self {
        Self {
            pipeline: pipeline.clone(),
            threads: thread::available_parallelism().map_or(1, usize::from),
            chunk_bytes: 256 << 10,
            extensions: Vec::new(),
            budget: u64::MAX,
            bytes: 0,
            shards: Vec::new(),
        }
    }

    /// Most threads to use; at least 1. Default: as many as there are cores.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Bytes of text a thread works on at a time; at least 1. Default: 256 KiB.
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes.max(1);
        self
    }

    /// Takes at most this many bytes of text in all, from the start of what is added; a character on the limit is left out. What is added
    /// beyond is not read. Default: no limit.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.budget = bytes;
        self
    }

    /// Takes only files with one of these extensions (without dot, in any case) from directories. Default: all files.
    pub fn extensions<E: Into<String>>(mut self, extensions: impl IntoIterator<Item = E>) -> Self {
        self.extensions = extensions.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a document.
    ///
    /// # Errors
    /// [`Error::Pattern`] if a custom pattern exceeds the limits of its engine.
    pub fn add_str(&mut self, text: &str) -> Result<&mut Self> {
        self.add_bytes(text.as_bytes())
    }

    /// Adds a document that may not be UTF-8.
    ///
    /// # Errors
    /// As [`add_str`](Self::add_str), and [`Error::InvalidUtf8`] if the pipeline rejects invalid bytes and there are some.
    pub fn add_bytes(&mut self, text: &[u8]) -> Result<&mut Self> {
        let document = Document {
            origin: "text".to_owned(),
            text: Text::Slice(text),
        };
        self.add(std::iter::once(Ok(document)), Some(text.len() as u64))
    }

    /// Adds a document that is read from a stream; `origin` names it in errors.
    ///
    /// # Errors
    /// As [`add_bytes`](Self::add_bytes), and [`Error::Io`] if reading fails.
    pub fn add_reader(&mut self, origin: &str, reader: impl Read + Send) -> Result<&mut Self> {
        let document = Document {
            origin: origin.to_owned(),
            text: Text::Stream(Box::new(reader)),
        };
        self.add(std::iter::once(Ok(document)), None)
    }

    /// Adds a file, or all files below a directory, in the order of their names, each as a document. Symbolic links to directories are
    /// not followed.
    ///
    /// # Errors
    /// As [`add_reader`](Self::add_reader).
    pub fn add_path(&mut self, path: impl AsRef<Path>) -> Result<&mut Self> {
        let path = path.as_ref();
        let mut files = Vec::new();
        let metadata = std::fs::metadata(path).map_err(|source| Error::io(path, source))?;
        if metadata.is_dir() {
            collect(path, &self.extensions, &mut files)?;
        } else {
            files.push((path.to_owned(), metadata.len()));
        }
        let length = files.iter().map(|(_, bytes)| bytes).sum();
        let documents = files.into_iter().map(|(path, _)| {
            let file = File::open(&path).map_err(|source| Error::io(&path, source))?;
            Ok(Document {
                origin: path.display().to_string(),
                text: Text::Stream(Box::new(file)),
            })
        });
        self.add(documents, Some(length))
    }

    /// Bytes of text taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The words counted.
    ///
    /// # Errors
    /// [`Error::CountOverflow`] if a count does not fit 64 bits.
    pub fn finish(self) -> Result<WordCounts> {
        let counters = self.shards.into_iter().map(|shard| shard.counter);
        Counter::merge(counters.collect()).ok_or_else(|| overflow("counted words"))
    }

    /// The words counted and the bytes of text they come from, under a name.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn finish_category(self, name: impl Into<String>) -> Result<Category> {
        let (name, bytes) = (name.into(), self.bytes);
        let words = self.finish().map_err(|_| overflow(&name))?;
        Ok(Category { name, words, bytes })
    }

    /// Counts documents of `length` bytes in all, if that is known.
    fn add<'t>(
        &mut self,
        documents: impl Iterator<Item = Result<Document<'t>>> + Send + 't,
        length: Option<u64>,
    ) -> Result<&mut Self> {
        let length = length.map(|length| length.min(self.budget));
        let useful = length.map_or(u64::MAX, |length| length.div_ceil(self.chunk_bytes as u64));
        let workers = self
            .threads
            .min(usize::try_from(useful).unwrap_or(usize::MAX));
        while self.shards.len() < workers.max(1) {
            self.shards.push(Shard::new(&self.pipeline));
        }
        let chunks = Mutex::new(Chunks::new(
            documents,
            Splitter::new(self.pipeline.clone()),
            self.chunk_bytes,
            self.budget,
            Progress::new(length),
        ));
        let (first, others) = self.shards[..workers.max(1)].split_at_mut(1);
        let counted = thread::scope(|scope| {
            let others: Vec<_> = others
                .iter_mut()
                .map(|shard| scope.spawn(|| shard.drain(&chunks)))
                .collect();
            let first = first[0].drain(&chunks);
            others.into_iter().fold(first, |counted, other| {
                let other = other.join();
                counted.and(other.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })
        });
        let taken = lock(&chunks).taken();
        self.bytes += taken;
        self.budget -= taken;
        counted.map(|()| self)
    }
}

/// The words that one thread has counted.
struct Shard {
    splitter: Splitter,
    counter: Counter,
}

impl Shard {
    fn new(pipeline: &TextPipeline) -> Self {
        Self {
            splitter: Splitter::new(pipeline.clone()),
            counter: Counter::new(),
        }
    }

    /// Counts chunks until there are none left.
    fn drain(&mut self, chunks: &Mutex<Chunks<'_>>) -> Result<()> {
        let counter = &mut self.counter;
        loop {
            let Some(chunk) = lock(chunks).next()? else {
                return Ok(());
            };
            let counted =
                self.splitter
                    .words(&chunk.bytes, chunk.at_start, &mut |buffer, start, end| {
                        counter.add(buffer, start, end)
                    });
            if counted.is_err() {
                lock(chunks).stop();
                return counted;
            }
        }
    }
}

/// A thread that panicked while it held the lock ends the whole count when it is joined.
fn lock<'l, 't>(chunks: &'l Mutex<Chunks<'t>>) -> MutexGuard<'l, Chunks<'t>> {
    chunks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All files below a directory with one of the extensions, and their sizes, in the order of their paths.
fn collect(root: &Path, extensions: &[String], files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = std::fs::metadata(&path).map_err(|source| Error::io(&path, source))?;
        if metadata.is_file() {
            files.push((path, metadata.len()));
            continue;
        }
        let list = || -> std::io::Result<Vec<PathBuf>> {
            let mut inside = Vec::new();
            for entry in std::fs::read_dir(&path)? {
                let (entry, wanted) = (entry?.path(), |p: &Path| has_extension(p, extensions));
                let kind = std::fs::symlink_metadata(&entry)?;
                let file = entry.is_file() && wanted(&entry);
                if kind.is_dir() || file {
                    inside.push(entry);
                }
            }
            Ok(inside)
        };
        let mut inside = list().map_err(|source| Error::io(&path, source))?;
        // The last one is opened first.
        inside.sort_unstable_by(|a, b| b.cmp(a));
        open.extend(inside);
    }
    Ok(())
}

fn has_extension(path: &Path, extensions: &[String]) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    extensions.is_empty() || extensions.iter().any(|e| e.eq_ignore_ascii_case(extension))
}
