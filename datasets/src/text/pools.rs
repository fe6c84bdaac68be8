//! Mixed pools, for looking at tokenizers of which nobody knows what they were trained on.

use super::code::LANGUAGES;
use super::sample::sample;
use super::{ENGLISH, TextCategory, TextConfig, domains, libreoffice_help, source_code};
use crate::error::Result;
use crate::kit::Kit;

/// The languages other than English of [`unified`]: those that vendors name most, as far as the source has them.
const POOL_LANGUAGES: [&str; 10] = [
    "de", "es", "fr", "it", "ja", "ko", "pt", "ru", "tr", "zh-cn",
];
/// Genres of the Brown corpus: religion, skills, lore, letters, and fiction.
const BROWN_BOOKS: &str = "DEFGKLMNPR";
/// Genres of the Brown corpus: learned.
const BROWN_LEARNED: &str = "J";
/// The size of the code pool unless the configuration says less.
const CODE_BYTES: usize = 9_000_000;

/// Fifteen categories that stand for what tokenizers of language models are trained on, as far as packages have it.
///
/// | name | stands for | made of |
/// |---|---|---|
/// | `web` | English web text | mail, LibreOffice's English help, the Python manual: equal parts |
/// | `books` | English books | Moby-Dick, addresses, Brown's fiction and non-fiction |
/// | `academic` | English papers | Brown's learned prose (1961; 0.9 MB, no formulas) |
/// | `reference` | English encyclopaedia | dictionary of computing, WordNet, dictionary of 1913: equal parts |
/// | `code` | source code | twenty languages, equal parts, 9 MB |
/// | `de` ... `zh-cn` | ten other languages | LibreOffice's help |
///
/// None of it is web text crawled, papers or Wikipedia: an estimate made with this pool says which of *these samples*
/// explain a tokenizer best. A part is sampled down where others of its category have less, so that all count
/// alike. Needs the tiers `languages`, `code` and `domains`.
///
/// # Errors
/// Those of [`libreoffice_help`], [`source_code`] and [`domains`].
pub fn unified(kit: &Kit, config: &TextConfig) -> Result<Vec<TextCategory>> {
    let english = ["academic", "books", "code", "reference", "web"];
    let names = english.into_iter().chain(POOL_LANGUAGES);
    config.check_names("unified pool", names)?;
    let base = TextConfig {
        only: None,
        ..config.clone()
    };
    let mut pool = Vec::new();
    let domain = |name: &str| -> Result<Vec<TextCategory>> {
        domains::domains(kit, &base.clone().with_only([name]))
    };
    if config.wants("academic") {
        let learned = domains::brown(kit, "academic", BROWN_LEARNED, &base)?;
        pool.push(together("academic", learned, config));
    }
    if config.wants("books") {
        let mut parts = domains::brown(kit, "brown", BROWN_BOOKS, &base)?;
        parts.extend(domain("novel")?);
        parts.extend(domain("addresses")?);
        pool.push(together("books", parts, config));
    }
    if config.wants("code") {
        let limit = CODE_BYTES.min(config.max_bytes.unwrap_or(CODE_BYTES));
        let each = base.clone().with_max_bytes(limit / LANGUAGES.len());
        pool.push(together(
            "code",
            source_code(kit, &each)?,
            &each.with_max_bytes(limit),
        ));
    }
    if config.wants("reference") {
        let mut parts = domain("encyclopaedia")?;
        parts.extend(domain("lexicon")?);
        parts.extend(domain("dictionary")?);
        pool.push(together("reference", parts, config));
    }
    if config.wants("web") {
        let mut parts = domain("mail")?;
        parts.extend(libreoffice_help(kit, &base.clone().with_only([ENGLISH]))?);
        parts.extend(domain("manual")?);
        pool.push(together("web", parts, config));
    }
    let languages: Vec<_> = POOL_LANGUAGES
        .into_iter()
        .filter(|name| config.wants(name))
        .collect();
    if !languages.is_empty() {
        pool.extend(libreoffice_help(kit, &base.with_only(languages))?);
    }
    pool.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(pool)
}

/// One category of equal parts of several, each part as large as the smallest and all together within the limit.
fn together(name: &str, mut parts: Vec<TextCategory>, config: &TextConfig) -> TextCategory {
    let smallest = parts.iter().map(|part| part.text.len()).min().unwrap_or(0);
    let limit = config.max_bytes.unwrap_or(usize::MAX) / parts.len().max(1);
    for part in &mut parts {
        part.text = sample(&part.text, smallest.min(limit));
    }
    TextCategory::joined(name, &parts)
}
