//! What a language model needs around its network: GGUF files, tokenizers, chat templates, sampling and generation.
#![cfg(all(feature = "lm", feature = "flex"))]

mod chat;
mod checkpoint;
mod damaged;
mod format;
mod generate;
mod sampling;
mod smollm2;
mod tokenizer;
mod writer;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use fire_assay_models::gguf::GgufFile;
use fire_assay_models::{Error, Result};
use serde_json::Value;

fn device() -> Device {
    Device::flex()
}

/// A file of `tests/data`.
fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(data(name)).unwrap()).unwrap()
}

/// A GGUF file in memory.
fn read(bytes: impl Into<Vec<u8>>) -> Result<GgufFile> {
    GgufFile::from_reader(Cursor::new(bytes.into()), "memory.gguf")
}

fn refusal<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

/// The chi-square statistic of counts against probabilities, in standard deviations above its mean.
fn surprise(counts: &[usize], probabilities: &[f64]) -> f64 {
    let total: usize = counts.iter().sum();
    let cells = counts.iter().zip(probabilities).map(|(&count, &p)| {
        let expected = p * total as f64;
        assert!(expected >= 5.0, "too few draws for a test");
        (count as f64 - expected).powi(2) / expected
    });
    let freedom = counts.len() as f64 - 1.0;
    (cells.sum::<f64>() - freedom) / (2.0 * freedom).sqrt()
}
