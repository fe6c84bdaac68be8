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
//! | [`fashion_mnist`] | the first 2,000 + 500 images of Fashion-MNIST | MIT | 1,090 kB |
//! | [`digits`] | 1,797 handwritten digits of 8 x 8 pixels | BSD-3-Clause | 58 kB |
//!
//! The files lie in the folder `embedded/` of this crate and are made by [`make`] from the kit:
//! `fetch-data --make-embedded datasets/embedded`. Only that of [`digits`] is a file of a package as it is.

mod make;

use std::io::Read as _;

use crate::images::idx::{Half, train_test};
use crate::images::{FASHION_CLASSES, ImageSet, ImageShape, TrainTest};
use crate::text::{ENGLISH, TextCategory, TextStats};

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

/// A file of Fashion-MNIST.
macro_rules! fashion {
    ($name:literal) => {
        include_bytes!(concat!("../embedded/fashion-mnist/", $name, "-ubyte.gz"))
    };
}

const FASHION_TRAIN: [&[u8]; 2] = [fashion!("train-images-idx3"), fashion!("train-labels-idx1")];
const FASHION_TEST: [&[u8]; 2] = [fashion!("t10k-images-idx3"), fashion!("t10k-labels-idx1")];

/// `sklearn/datasets/data/digits.csv.gz` of the Python package `scikit-learn` 1.9.1: a line for each image, its pixels and its label.
const DIGITS: &[u8] = include_bytes!("../embedded/digits/digits.csv.gz");
const DIGITS_SHAPE: ImageShape = ImageShape {
    channels: 1,
    height: 8,
    width: 8,
};

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

/// Some English prose, 130 kB: that of [`udhr`] and of [`languages`]. Enough to see a language model learn, not enough to
/// teach it anything.
pub fn english() -> TextCategory {
    let parts = [UDHR, LANGUAGES].map(|texts| {
        let english = texts.iter().find(|text| text.name == ENGLISH);
        decode(english.expect("both have English"))
    });
    TextCategory::joined(ENGLISH, &parts)
}

/// The first 2,000 training and 500 test images of [Fashion-MNIST](crate::images::fashion_mnist), in their order there.
/// MIT.
pub fn fashion_mnist() -> TrainTest {
    let half = |[images, labels]: [&[u8]; 2], name| Half::parse(images, labels, name);
    half(FASHION_TRAIN, "train")
        .and_then(|train| {
            let test = half(FASHION_TEST, "t10k")?;
            train_test(train, test, Some(FASHION_CLASSES.map(str::to_owned).into()))
        })
        .expect("the embedded images are complete; a test reads all of them")
}

/// 1,797 handwritten digits of 8 x 8 pixels in the order of the file; a pixel is a number from 0 to 16, which is ink. They are the test part of
/// "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), as scikit-learn carries it. BSD-3-Clause.
pub fn digits() -> ImageSet {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for line in gunzip(DIGITS).lines() {
        let mut numbers = line
            .split(',')
            .map(|number| number.parse::<u8>().expect("the embedded digits are bytes"));
        pixels.extend(numbers.by_ref().take(DIGITS_SHAPE.values()));
        labels.extend(numbers.map(u32::from));
    }
    let classes = (0..10).map(|digit: u8| digit.to_string()).collect();
    ImageSet::new(DIGITS_SHAPE, pixels, labels, classes)
        .expect("the embedded digits are complete; a test reads all of them")
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
