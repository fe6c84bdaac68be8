//! Training 30,000 merges on about 29 MB of text against Hugging Face `tokenizers`.
//!
//! ```text
//! cargo bench -p bpe-inference --bench trainer -- [MERGES] [BYTES]
//! ```
//!
//! If the environment variable `FIRE_ASSAY_DATA` names a data kit, the text is that of ten languages, up to BYTES
//! (default 2,880,000) of each; otherwise it is generated.
//! Each contender runs in a process of its own, one after the other, on the same text, cut in the same way (runs of
//! digits isolated, then the GPT-2 pattern, line by line); each reports its processor time, wall time and
//! peak memory for the stages `words` and `train`. Both must make the same merges.

#[path = "languages.rs"]
mod languages;

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use bpe_inference::pretokenizer::{LineMode, Pretokenizer, TextPipeline};
use bpe_inference::trainer::BpeTrainer;
use bpe_inference::words::WordCounts;
use tokenizers::models::bpe::{BPE, BpeTrainer as HfTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Trainer};

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    if let [role, text, list, merges] = &arguments[..]
        && (role == "hugging-face" || role == "ours")
    {
        let (text, list) = (fs::read_to_string(text).unwrap(), Path::new(list));
        let merges = merges.parse().unwrap();
        return match role.as_str() {
            "ours" => run_ours(&text, list, merges),
            _ => run_hugging_face(&text, list, merges),
        };
    }
    let number = |k: usize, default| arguments.get(k).map_or(default, |a| a.parse().unwrap());
    let (merges, bytes): (usize, usize) = (number(0, 30_000), number(1, 2_880_000));

    let files = tempfile::tempdir().unwrap();
    let text_path = files.path().join("text");
    let text = match languages::languages(bytes) {
        Some(languages) => languages.into_iter().map(|(_, text)| text).collect(),
        None => generate(10 * bytes),
    };
    println!("{} bytes of text, {merges} merges", text.len());
    fs::write(&text_path, text).unwrap();
    let lists = ["hugging-face", "ours"].map(|role| {
        let list = files.path().join(role);
        let status = Command::new(std::env::current_exe().unwrap())
            .args([role.as_ref(), text_path.as_os_str(), list.as_os_str()])
            .arg(merges.to_string())
            .status()
            .unwrap();
        assert!(status.success());
        fs::read_to_string(list).unwrap()
    });
    let lines = lists
        .each_ref()
        .map(|list| list.lines().collect::<Vec<_>>());
    let pairs = lines[0].iter().zip(&lines[1]);
    println!(
        "the first {} merges agree, of {} and {}",
        pairs.take_while(|(one, other)| one == other).count(),
        lines[0].len(),
        lines[1].len()
    );
}

fn run_ours(text: &str, list_path: &Path, merges: usize) {
    let mut meter = Meter::new("ours");
    let mut pipeline = TextPipeline::new(Pretokenizer::DigitsGpt2);
    pipeline.lines = LineMode::Lines;
    let mut builder = WordCounts::builder(&pipeline);
    builder.add_str(text).unwrap();
    let words = builder.finish().unwrap();
    meter.stage("words");
    let (list, report) = BpeTrainer::new(merges).train(&words).unwrap();
    meter.stage("train");
    println!("{report:?}");
    let mut file = BufWriter::new(fs::File::create(list_path).unwrap());
    for merge in list.merges() {
        for (token, end) in [(merge.left, ' '), (merge.right, '\n')] {
            for &byte in list.text(token).iter() {
                write!(file, "{byte:02x}").unwrap();
            }
            write!(file, "{end}").unwrap();
        }
    }
}

fn run_hugging_face(text: &str, list_path: &Path, merges: usize) {
    let mut meter = Meter::new("hugging-face");
    let split = Sequence::new(vec![
        Digits::new(false).into(),
        ByteLevel::new(false, true, true).into(),
    ]);
    let process = |line: &str| {
        let mut pieces = PreTokenizedString::from(line);
        split.pre_tokenize(&mut pieces)?;
        let pieces = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        Ok(pieces
            .into_iter()
            .map(|(piece, _, _)| piece.to_owned())
            .collect())
    };
    let mut trainer = HfTrainer::builder()
        .show_progress(false)
        .min_frequency(0)
        .vocab_size(merges + 256)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    trainer.feed(text.split_inclusive('\n'), process).unwrap();
    meter.stage("words");
    let mut model = BPE::default();
    trainer.train(&mut model).unwrap();
    meter.stage("train");

    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path(), None).unwrap();
    let list = fs::read_to_string(folder.path().join("merges.txt")).unwrap();
    let mut file = BufWriter::new(fs::File::create(list_path).unwrap());
    for line in list.lines().skip(1) {
        for c in line.chars() {
            match byte_of(c) {
                Some(byte) => write!(file, "{byte:02x}").unwrap(),
                None => file.write_all(b" ").unwrap(),
            }
        }
        file.write_all(b"\n").unwrap();
    }
}

/// The byte that a character of GPT-2's byte map stands for.
fn byte_of(c: char) -> Option<u8> {
    let printable = |byte: &u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match u32::from(c) {
        code @ 256.. => (0..=255)
            .filter(|byte| !printable(byte))
            .nth(code as usize - 256),
        code => u8::try_from(code).ok().filter(printable),
    }
}

/// Prints what a process has used since the last stage.
struct Meter {
    name: &'static str,
    start: Instant,
    cpu: f64,
}

impl Meter {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            start: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    fn stage(&mut self, stage: &str) {
        let (wall, cpu) = (self.start.elapsed().as_secs_f64(), cpu_seconds());
        println!(
            "{:>12}  {stage:<14} {:6.2} CPU-s  {wall:6.2} s wall  peak {:4} MB",
            self.name,
            cpu - self.cpu,
            peak_memory() / 1000
        );
        (self.start, self.cpu) = (Instant::now(), cpu);
    }
}

/// Processor time of this process so far, all threads, in steps of 10 ms (Linux; 0 elsewhere).
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

/// Peak resident memory of this process in kB (Linux; 0 elsewhere).
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// Words of letters from ten alphabets with Zipf-like frequencies.
fn generate(bytes: usize) -> String {
    use rand_chacha::rand_core::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut out = String::with_capacity(bytes + 64);
    while out.len() < bytes {
        let language = rng.next_u32() % 10;
        for _ in 0..12 {
            // The rank of a word is about exp(uniform); its letters follow from the rank alone.
            let rank = (f64::from(rng.next_u32()) / f64::from(u32::MAX) * 12.0).exp() as u64;
            let mut hash = rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(language);
            for _ in 0..2 + rank.ilog2() / 2 {
                hash = hash.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let letter = ((hash >> 32) % 26).min((hash >> 48) % 26) as u32;
                out.extend(char::from_u32(0x61 + 0x80 * language + letter));
            }
            out.push(' ');
        }
        out.push('\n');
    }
    out
}
