//! Data that are compiled in, so that tests and examples run where nothing can be fetched.
//!
//! They are small and chosen for their licences (`DATA-LICENSES.md` at the root of the repository names every one).
//! No headline number may come from them: they show that something works, not how well.
//!
//! | function | what | licence | compressed |
//! |---|---|---|---|
//! | [`udhr`] | Universal Declaration of Human Rights in 24 languages, 8 to 28 kB each | MIT | 105 kB |
//! | [`languages`] | messages of the TypeScript compiler in 14 languages, 120 kB each | Apache-2.0 | 384 kB |
//! | [`code`] | source text in 6 programming languages, 350 kB each | permissive, see there | 474 kB |
//! | [`gpt2_merges`] | GPT-2's merge list | MIT | 211 kB |
//!
//! The files lie in the folder `embedded/` of this crate and are made by [`make`] from the kit:
//! `fetch-data --make-embedded datasets/embedded`.

mod make;

use std::io::Read as _;

use crate::text::{TextCategory, TextStats};

pub use make::{Made, make};

/// One compressed text.
struct Embedded {
    name: &'static str,
    source: &'static str,
    gzip: &'static [u8],
}

/// The texts of a folder of `embedded/`: name and source of each.
macro_rules! texts {
    ($folder:literal: $($name:literal from $source:literal),* $(,)?) => {
        &[$(Embedded {
            name: $name,
            source: $source,
            gzip: include_bytes!(concat!("../embedded/", $folder, "/", $name, ".txt.gz")),
        }),*]
    };
}

const UDHR: &[Embedded] = texts!("udhr":
    "ar" from "udhr", "bg" from "udhr", "cs" from "udhr", "de" from "udhr", "el" from "udhr",
    "en" from "udhr", "es" from "udhr", "fa" from "udhr", "fi" from "udhr", "fr" from "udhr",
    "he" from "udhr", "hi" from "udhr", "hu" from "udhr", "id" from "udhr", "it" from "udhr",
    "ja" from "udhr", "ko" from "udhr", "nl" from "udhr", "pl" from "udhr", "pt" from "udhr",
    "ru" from "udhr", "sw" from "udhr", "tr" from "udhr", "zh" from "udhr",
);

const LANGUAGES: &[Embedded] = texts!("languages":
    "cs" from "typescript", "de" from "typescript", "en" from "typescript", "es" from "typescript",
    "fr" from "typescript", "it" from "typescript", "ja" from "typescript", "ko" from "typescript",
    "pl" from "typescript", "pt-br" from "typescript", "ru" from "typescript",
    "tr" from "typescript", "zh-cn" from "typescript", "zh-tw" from "typescript",
);

const CODE: &[Embedded] = texts!("code":
    "c" from "openssl-src",
    "cpp" from "libboost1.74-dev",
    "go" from "golang-1.19-src",
    "javascript" from "three",
    "python" from "sympy",
    "rust" from "rust-src",
);

const GPT2_MERGES: &[u8] = include_bytes!("../embedded/gpt2/vocab.bpe.gz");

/// The Universal Declaration of Human Rights in 24 languages, named by their usual two letters; parallel text, 8 to
/// 28 kB each. MIT, by the `udhr` package.
pub fn udhr() -> Vec<TextCategory> {
    UDHR.iter().map(decode).collect()
}

/// Messages of the TypeScript compiler in 14 languages, 120 kB each: the richest text in several languages
/// here. Apache-2.0.
pub fn languages() -> Vec<TextCategory> {
    LANGUAGES.iter().map(decode).collect()
}

/// Source text in 6 programming languages, 350 kB each: OpenSSL (C, Apache-2.0), Boost (C++, BSL-1.0), Go
/// (BSD-3-Clause), three.js (JavaScript, MIT), SymPy (Python, BSD-3-Clause), Rust's libraries (MIT OR Apache-2.0).
pub fn code() -> Vec<TextCategory> {
    CODE.iter().map(decode).collect()
}

/// GPT-2's merge list as published (`vocab.bpe`): a version line, then 50,000 merges in order.
pub fn gpt2_merges() -> String {
    gunzip(GPT2_MERGES)
}

fn decode(text: &Embedded) -> TextCategory {
    TextCategory {
        name: text.name.to_owned(),
        text: gunzip(text.gzip),
        source: text.source.to_owned(),
        stats: TextStats::default(),
    }
}

/// Decodes data of this program itself.
fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_string(&mut text)
        .expect("the embedded data are compressed UTF-8; a test decodes all of them");
    text
}
