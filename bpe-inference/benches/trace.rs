//! Replaying a merge list over categories.
//!
//! ```text
//! cargo bench -p bpe-inference --bench trace -- [MERGES] [FOLDER]
//! ```
//!
//! If the environment variable `FIRE_ASSAY_DATA` names a data kit, 3.3 MB of each of ten languages are cut into words
//! by GPT-2's pattern, MERGES (default 30,000) merges are trained on all, and the program prints processor time, wall
//! time, pairs and changes of replaying them over the largest category and over all. With FOLDER it also writes
//! there what another program needs to do the same: `merges.txt` and the largest category as `text.txt`. Then criterion
//! measures the same on generated words, as a guard against regressions.

#[path = "languages.rs"]
mod languages;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bpe_inference::merges::MergeList;
use bpe_inference::pretokenizer::{LineMode, TextPipeline};
use bpe_inference::trace::{PairTrace, TraceOptions};
use bpe_inference::trainer::BpeTrainer;
use bpe_inference::words::{Category, WordCounts};
use criterion::Criterion;

/// Bytes of text a category.
const SAMPLE: usize = 3_300_000;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let merges = arguments
        .next()
        .map_or(30_000, |number| number.parse().unwrap());
    let folder = arguments.next();
    if let Some(mut texts) = languages::languages(SAMPLE) {
        texts.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
        measure(&texts, merges, folder.as_deref().map(Path::new));
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

fn measure(texts: &[(String, String)], merges: usize, folder: Option<&Path>) {
    let categories: Vec<Category> = texts.iter().map(read).collect();
    let list = train(&categories, merges);
    if let Some(folder) = folder {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("merges.txt"), merges_txt(&list)).unwrap();
        fs::write(folder.join("text.txt"), &texts[0].1).unwrap();
    }
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

fn read((name, text): &(String, String)) -> Category {
    let mut pipeline = TextPipeline::gpt2();
    pipeline.lines = LineMode::Lines;
    let mut builder = WordCounts::builder(&pipeline);
    builder.add_str(text).unwrap();
    builder.finish_category(name.as_str()).unwrap()
}

/// The list in GPT-2's format.
fn merges_txt(list: &MergeList) -> String {
    let mut out = String::from("#version: 0.2\n");
    for merge in list.merges() {
        for (token, end) in [(merge.left, ' '), (merge.right, '\n')] {
            out.extend(list.text(token).iter().map(|&byte| character_of(byte)));
            out.push(end);
        }
    }
    out
}

/// The character of GPT-2's byte map that stands for a byte.
fn character_of(byte: u8) -> char {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    if printable(&byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|byte| !printable(byte)).count() as u32;
    char::from_u32(256 + rank).unwrap_or_default()
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
