//! Replaying a merge list over categories.
//!
//! ```text
//! cargo bench -p bpe-inference --bench trace -- [FOLDER] [MERGES]
//! ```
//!
//! With FOLDER (or the environment variable `FIRE_ASSAY_DATA`) of plain text, one `.txt` file a category, up to 3.3
//! MB of each are cut into words by GPT-2's pattern, MERGES (default 30,000) merges are trained on all, and the
//! program prints processor time, wall time, pairs and changes of replaying them over the largest category and
//! over all. Then criterion measures the same on generated words, as a guard against regressions.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bpe_inference::merges::MergeList;
use bpe_inference::pretokenizer::{LineMode, TextPipeline};
use bpe_inference::trace::{PairTrace, TraceOptions};
use bpe_inference::trainer::BpeTrainer;
use bpe_inference::words::{Category, WordCounts};
use criterion::Criterion;

/// Bytes of text a category.
const SAMPLE: u64 = 3_300_000;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let folder = arguments
        .next()
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("FIRE_ASSAY_DATA").map(PathBuf::from));
    let merges = arguments
        .next()
        .map_or(30_000, |number| number.parse().unwrap());
    if let Some(folder) = folder {
        measure(&folder, merges);
    }

    let categories: Vec<Category> = (0..2).map(generated).collect();
    let list = train(&categories, 3_000);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    criterion.bench_function(
        "replay 3,000 merges over 2 generated categories",
        |bencher| {
            bencher.iter(|| replay(&list, &categories));
        },
    );
}

fn train(categories: &[Category], merges: usize) -> MergeList {
    let parts: Vec<(&WordCounts, f64)> = categories.iter().map(|c| (&c.words, 1.0)).collect();
    BpeTrainer::new(merges).train_mixture(&parts).unwrap().0
}

fn replay(list: &MergeList, categories: &[Category]) -> PairTrace {
    let options = TraceOptions::new().with_threads(1);
    PairTrace::build(list, categories, usize::MAX, &options).unwrap()
}

fn measure(folder: &Path, merges: usize) {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let mut categories: Vec<Category> = paths.iter().map(|path| read(path)).collect();
    let list = train(&categories, merges);
    categories.sort_by_key(|category| std::cmp::Reverse(category.words.bytes()));
    // A trace has two categories at least; the second one is a single word.
    let one_word = Category::new("one word", WordCounts::from_counts([("word", 1)]));
    let single = [categories[0].clone(), one_word];
    for (what, categories) in [("one category", &single[..]), ("all", &categories[..])] {
        let bytes: u64 = categories.iter().map(|category| category.bytes).sum();
        let mut best: Option<(f64, f64)> = None;
        let mut trace = None;
        for _ in 0..5 {
            let (start, cpu) = (Instant::now(), cpu_seconds());
            trace = Some(replay(&list, categories));
            let now = (cpu_seconds() - cpu, start.elapsed().as_secs_f64());
            best = Some(best.map_or(now, |best| (best.0.min(now.0), best.1.min(now.1))));
        }
        let ((cpu, wall), trace) = (best.unwrap(), trace.unwrap());
        let changes: usize = (0..trace.steps()).map(|t| trace.deltas(t).len()).sum();
        println!(
            "{what}: {bytes} bytes, {} steps, {} pairs, {changes} changes, file {} bytes: \
             {cpu:.3} CPU-s, {wall:.3} s wall (best of 5, one thread)",
            trace.steps(),
            trace.pairs().len(),
            trace.to_bytes().len(),
        );
    }
}

fn read(path: &Path) -> Category {
    let mut pipeline = TextPipeline::gpt2();
    pipeline.lines = LineMode::Lines;
    let mut builder = WordCounts::builder(&pipeline).max_bytes(SAMPLE);
    builder.add_path(path).unwrap();
    let name = path.file_stem().unwrap().to_string_lossy();
    builder.finish_category(name).unwrap()
}

/// 10,000 words with Zipf-like counts, over letters that depend on the category.
fn generated(category: u64) -> Category {
    let words = (1..10_000u64).map(|rank| {
        let mut state = rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ category;
        let word: Vec<u8> = (0..2 + u64::from(rank.ilog2()) * 2 / 3)
            .map(|_| {
                state = state
                    .wrapping_mul(0x5851_f42d_4c95_7f2d)
                    .wrapping_add(category + 1);
                b'a' + ((state >> 33) % 26).min((state >> 48) % 26) as u8
            })
            .collect();
        (word, 1 + 100_000 / rank)
    });
    Category::new(category.to_string(), WordCounts::from_counts(words))
}

/// Processor time of this process so far, in steps of 10 ms (Linux; 0 elsewhere).
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks = |k: usize| {
        fields
            .get(k)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}
