//! Pretokenizing and counting words, in bytes of text a second (bar P2): every scanner alone on one core, and the
//! two most common ones on two.
//!
//! One core's time is the time that the thread ran, where the system tells it (Linux), so that other load on the
//! machine matters little; two threads are timed by the clock, on an idle machine.
//!
//! The text is made of random words with frequencies of Zipf's law: of ASCII letters with digits, punctuation and
//! indentation, and of Cyrillic, Devanagari and Han. If `FIRE_ASSAY_DATA` names a data kit, 3.2 MB of each of ten
//! languages are counted too.

#[path = "languages.rs"]
mod languages;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bpe_inference::pretokenizer::{LineMode, Pretokenizer, TextPipeline};
use bpe_inference::words::WordCounts;
use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

const BYTES: usize = 16 << 20;

fn count(pipeline: &TextPipeline, text: &str, threads: usize) -> usize {
    let mut builder = WordCounts::builder(pipeline).threads(threads);
    builder.add_str(text).expect("presets do not fail on text");
    builder.finish().expect("16 MB do not overflow").len()
}

/// How long this thread has run, or what the clock says where that is not known.
fn thread_time(start: Instant) -> Duration {
    let ran = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ran = ran.and_then(|text| text.split(' ').next()?.parse().ok());
    ran.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Times `routine` on this thread.
fn run(b: &mut Bencher<'_>, mut routine: impl FnMut() -> usize) {
    b.iter_custom(|times| {
        let start = Instant::now();
        let before = thread_time(start);
        for _ in 0..times {
            black_box(routine());
        }
        thread_time(start) - before
    });
}

/// Zipf-distributed words of letters from `alphabets`, with what stands between words in prose and code.
fn text(alphabets: &[(char, u32, f64)]) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let word = |rng: &mut ChaCha8Rng| -> String {
        let &(first, letters, mean) = &alphabets[rng.random_range(0..alphabets.len())];
        let length = 1
            + (rng.random::<f64>() + rng.random::<f64>()) as usize
            + (mean * 2.0 * rng.random::<f64>() * rng.random::<f64>()) as usize;
        let letter = |rng: &mut ChaCha8Rng| u32::from(first) + rng.random_range(0..letters);
        (0..length)
            .filter_map(|_| char::from_u32(letter(rng)))
            .collect()
    };
    let words: Vec<String> = (0..200_000).map(|_| word(&mut rng)).collect();
    let law = Zipf::new(words.len() as f64, 1.05).expect("a valid exponent");
    let mut text = String::with_capacity(BYTES + 64);
    while text.len() < BYTES {
        text.push_str(&words[law.sample(&mut rng) as usize - 1]);
        match rng.random_range(0..40) {
            0..31 => text.push(' '),
            31..34 => text.push_str(", "),
            34..36 => text.push_str(".\n"),
            36 => text.push_str("\n\n    "),
            37 => text.push_str("'s "),
            38 => text.push_str(&format!(" {} ", rng.random_range(0..3000))),
            _ => text.push_str(" = ("),
        }
    }
    text
}

fn scanners(c: &mut Criterion) {
    let mut texts = vec![
        ("ascii", text(&[('a', 26, 5.0)])),
        (
            "multibyte",
            text(&[
                ('\u{430}', 32, 6.0),
                ('\u{915}', 37, 4.0),
                ('\u{4e00}', 3000, 2.0),
            ]),
        ),
    ];
    let real = languages::languages(3_200_000);
    texts.extend(real.map(|all| ("real", all.into_iter().map(|(_, text)| text).collect())));
    for (name, text) in &texts {
        let mut group = c.benchmark_group(format!("count words/{name}"));
        group
            .throughput(Throughput::Bytes(text.len() as u64))
            .sample_size(10);
        group
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(3));
        let pipelines = [
            TextPipeline::gpt2(),
            TextPipeline::gpt_neox(),
            TextPipeline::cl100k(),
            TextPipeline::o200k(),
            TextPipeline::tekken(),
            TextPipeline::new(Pretokenizer::DigitsGpt2).with_lines(LineMode::Lines),
            TextPipeline::command_r(),
            TextPipeline::llama(),
        ];
        for pipeline in &pipelines {
            group.bench_function(format!("{pipeline}"), |b| {
                run(b, || count(pipeline, black_box(text), 1))
            });
        }
        for pipeline in [TextPipeline::gpt2(), TextPipeline::cl100k()] {
            let name = format!("{pipeline} on 2 threads");
            group.bench_function(name, |b| b.iter(|| count(&pipeline, black_box(text), 2)));
        }
        let regex = TextPipeline::gpt2()
            .pretokenizer
            .pattern()
            .map(Pretokenizer::regex);
        if let Some(Ok(regex)) = regex {
            // Lines, because documents cannot be cut for a custom pattern; a sixteenth, because it is slow.
            let pipeline = TextPipeline::new(regex).with_lines(LineMode::Lines);
            let part = &text[..text.floor_char_boundary(text.len() / 16)];
            group.throughput(Throughput::Bytes(part.len() as u64));
            group.bench_function("gpt2 as fancy-regex", |b| {
                run(b, || count(&pipeline, black_box(part), 1))
            });
        }
        group.finish();
    }
}

criterion_group!(benches, scanners);
criterion_main!(benches);
