//! Programming languages.

use std::path::PathBuf;

use super::sample::{English, Recipe, Repeats, make};
use super::{Fetched, TextCategory, TextConfig};
use crate::error::Result;
use crate::kit::Kit;
use crate::listing::files_below;

/// A line of source text with so many characters or more is taken for boilerplate when it comes again and again:
/// licence headers, generated tables.
pub const CODE_REPEAT_CHARS: usize = 30;
/// How many times such a line counts.
pub const CODE_REPEATS: u8 = 3;
/// Source text with longer lines on average (in bytes) was made by a program, such as a minifier.
const MAX_MEAN_LINE: usize = 120;

/// A programming language, and what it is read from: packages and the names that its files end with.
pub(super) struct Language {
    name: &'static str,
    packages: &'static [&'static str],
    suffixes: &'static [&'static str],
}

const fn language(
    name: &'static str,
    packages: &'static [&'static str],
    suffixes: &'static [&'static str],
) -> Language {
    Language {
        name,
        packages,
        suffixes,
    }
}

pub(super) const LANGUAGES: &[Language] = &[
    language("c", &["openssl-src"], &[".c", ".h"]),
    language("common-lisp", &["sbcl-source"], &[".lisp"]),
    language("cpp", &["libboost1.74-dev"], &[".hpp", ".ipp"]),
    language("elisp", &["emacs-el"], &[".el.gz"]),
    language("erlang", &["erlang-src"], &[".erl", ".hrl"]),
    language("fortran", &["netlib-src"], &[".f", ".f90", ".F", ".F90"]),
    language("go", &["golang-1.19-src"], &[".go"]),
    language("java", &["openjdk-17-source"], &[".java"]),
    language("javascript", &["three", "lodash"], &[".js"]),
    language("nim", &["nim"], &[".nim"]),
    language("perl", &["perl-modules-5.36"], &[".pm", ".pl"]),
    language("php", &["wordpress"], &[".php"]),
    language("python", &["sympy"], &[".py"]),
    language("ruby", &["libruby3.1"], &[".rb"]),
    language("rust", &["rust-src"], &[".rs"]),
    language("scheme", &["guile-3.0-libs"], &[".scm"]),
    language("tcl", &["tcllib"], &[".tcl"]),
    language(
        "tex",
        &["texlive-latex-base"],
        &[".tex", ".sty", ".def", ".cls", ".ltx"],
    ),
    language("typescript", &["effect"], &[".ts"]),
    language("vim", &["vim-runtime"], &[".vim"]),
];

/// What of these languages may be passed on under a permissive licence of the whole: the language, and the folders of
/// its package that the licence covers without exception.
const PERMISSIVE: &[(&str, &[&str])] = &[
    ("c", &["crypto/", "ssl/", "apps/"]),
    ("cpp", &["asio/", "fusion/", "hana/", "spirit/"]),
    (
        "go",
        &[
            "src/encoding/",
            "src/go/",
            "src/net/",
            "src/os/",
            "src/strconv/",
        ],
    ),
    ("javascript", &["src/"]),
    ("python", &["core/", "polys/", "solvers/", "stats/"]),
    ("rust", &["library/alloc/", "library/core/", "library/std/"]),
];

/// Source text in twenty programming languages.
///
/// Left out are files that are not UTF-8 and files whose lines are longer than 120 bytes on average (generated or
/// minified). Repeated lines: see the [module](crate::text). Needs the tier `code`, or the packages of the languages
/// that are asked for ([`source_code_fetched`] tells which are there).
///
/// # Errors
/// Those of [`Kit::require`]; [`Error::UnknownCategory`](crate::Error::UnknownCategory);
/// [`Error::Io`](crate::Error::Io).
pub fn source_code(kit: &Kit, config: &TextConfig) -> Result<Vec<TextCategory>> {
    let collection = "source code";
    config.check_names(collection, LANGUAGES.iter().map(|language| language.name))?;
    let wanted = LANGUAGES
        .iter()
        .filter(|language| config.wants(language.name));
    let recipes = wanted.map(|language| recipe(kit, language, language.packages, &[""]));
    make(
        collection,
        recipes.collect::<Result<_>>()?,
        &English::default(),
        config,
    )
}

/// Which languages [`source_code`] can read from this kit.
///
/// # Errors
/// Those of [`Kit::state`].
pub fn source_code_fetched(kit: &Kit) -> Result<Fetched> {
    Fetched::of(
        kit,
        LANGUAGES
            .iter()
            .map(|language| (language.name, language.packages)),
    )
}

/// Samples of six languages that may be embedded, `max_bytes` of each.
pub(crate) fn permissive_code(kit: &Kit, max_bytes: usize) -> Result<Vec<TextCategory>> {
    let mut recipes = Vec::new();
    for language in LANGUAGES {
        if let Some((_, folders)) = PERMISSIVE.iter().find(|(name, _)| *name == language.name) {
            recipes.push(recipe(kit, language, &language.packages[..1], folders)?);
        }
    }
    let config = TextConfig::new().with_max_bytes(max_bytes);
    make("embedded code", recipes, &English::default(), &config)
}

/// A language, from those files of the packages whose paths begin with one of `folders`.
fn recipe(
    kit: &Kit,
    language: &Language,
    packages: &[&str],
    folders: &[&str],
) -> Result<Recipe<'static>> {
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for package in packages {
        for (name, path) in files_below(&kit.require(package)?, language.suffixes)? {
            if folders.iter().any(|folder| name.starts_with(folder)) {
                files.push((format!("{package}/{name}"), path));
            }
        }
    }
    Ok(Recipe {
        name: language.name.to_owned(),
        source: packages.join(" + "),
        files,
        clean: &|name, bytes| source_text(name, bytes),
        repeats: Repeats {
            min_chars: CODE_REPEAT_CHARS,
            allowed: CODE_REPEATS,
        },
    })
}

/// The text of a source file, if it is written by people.
fn source_text(name: &str, bytes: Vec<u8>) -> Option<String> {
    let bytes = if name.ends_with(".gz") {
        super::gunzip(&bytes)?
    } else {
        bytes
    };
    let text = String::from_utf8(bytes).ok()?;
    let lines = text.lines().count();
    (text.len() <= lines * MAX_MEAN_LINE).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_and_other_encodings_are_left_out() {
        let minified = "x=1;".repeat(100);
        assert_eq!(source_text("a.js", minified.into_bytes()), None);
        assert_eq!(source_text("a.js", b"na\xefve\n".to_vec()), None);
        assert_eq!(
            source_text("a.js", b"let x\n".to_vec()),
            Some("let x\n".to_owned())
        );
    }
}
