//! Candidate text: from the data kit where it is there, else from the embedded subset, saying which.

use anyhow::Result;
use clap::ValueEnum;
use fire_assay_datasets::text::{self, TextCategory, TextConfig};
use fire_assay_datasets::{Error, Kit, embedded};

/// Texts by category, and remarks for the reader.
pub(crate) struct Corpus {
    pub(crate) texts: Vec<TextCategory>,
    pub(crate) notes: Vec<String>,
}

/// What a candidate of an audit stands for.
pub(crate) enum Group {
    English,
    Code,
    /// Another language, by its ISO 639-1 code.
    Language(String),
}

/// A candidate of an audit.
pub(crate) struct Candidate {
    pub(crate) group: Group,
    pub(crate) text: TextCategory,
}

/// Candidates of an audit, and remarks for the reader.
pub(crate) struct Candidates {
    pub(crate) texts: Vec<Candidate>,
    pub(crate) notes: Vec<String>,
}

/// Bytes of a category at most in audits and experiments, before splitting.
const MAX_BYTES: usize = 10_000_000;

/// Fewer categories of a source than the smallest mixture needs are of no use; the embedded ones are more.
const FEWEST: usize = 5;

/// Which of the English domains an experiment uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Domains {
    /// Mail, dictionary, lexicon, encyclopaedia, manual: those with most text
    #[default]
    Large,
    /// Also addresses, novel, and the Brown corpus
    All,
}

/// Natural languages: the help pages of an office suite, or the messages of a compiler.
pub(crate) fn languages() -> Result<Corpus> {
    or_embedded(
        fetched(text::libreoffice_fetched, text::libreoffice_help),
        "LibreOffice's help, one documentation in many languages",
        embedded::languages,
        "messages of the TypeScript compiler",
    )
}

/// Natural languages: the Debian handbook.
pub(crate) fn handbook() -> Result<Corpus> {
    or_embedded(
        Kit::open().and_then(|kit| Ok((text::handbook(&kit, &config())?, Vec::new()))),
        "the Debian handbook, without the lines that a translation shares with the English edition",
        embedded::languages,
        "messages of the TypeScript compiler",
    )
}

/// Programming languages.
pub(crate) fn code() -> Result<Corpus> {
    or_embedded(
        fetched(text::source_code_fetched, text::source_code),
        "source packages",
        embedded::code,
        "six source packages",
    )
}

/// The English domains; there is no embedded text for them.
pub(crate) fn domains(which: Domains) -> Result<Corpus> {
    let config = match which {
        Domains::Large => {
            config().with_only(["dictionary", "encyclopaedia", "lexicon", "mail", "manual"])
        }
        Domains::All => config(),
    };
    let texts = text::domains(&Kit::open()?, &config)?;
    Ok(Corpus {
        notes: vec![described("English texts of several kinds", &texts)],
        texts,
    })
}

/// Languages from two sources: text to train on, and text of the same languages to count in.
pub(crate) fn shifted() -> Result<(Corpus, Corpus)> {
    let kit = Kit::open()?;
    let mut training = text::libreoffice_help(&kit, &config())?;
    let mut counting = text::gnome_docs(&kit, &config())?;
    training.retain(|here| counting.iter().any(|there| there.name == here.name));
    counting.retain(|there| training.iter().any(|here| here.name == there.name));
    Ok((
        Corpus {
            notes: vec![described("training text: LibreOffice's help", &training)],
            texts: training,
        },
        Corpus {
            notes: vec![described(
                "counting text: GNOME's user documentation",
                &counting,
            )],
            texts: counting,
        },
    ))
}

/// Candidates for tokenizers of unknown mixture: fifteen pooled categories, or every language, programming language and
/// English domain of the kit by itself.
pub(crate) fn candidates(wide: bool) -> Result<Candidates> {
    let kit = Kit::open()?;
    let group = |name: &str| match name {
        "web" | "books" | "academic" | "reference" => Group::English,
        "code" => Group::Code,
        language => Group::Language(language[..2].to_owned()),
    };
    let mut texts: Vec<Candidate> = Vec::new();
    let mut add = |some: Vec<TextCategory>, group: &dyn Fn(&str) -> Group| {
        texts.extend(some.into_iter().map(|text| Candidate {
            group: group(&text.name),
            text,
        }));
    };
    if wide {
        add(text::domains(&kit, &config())?, &|_| Group::English);
        add(
            text::source_code(&kit, &config().with_max_bytes(4_000_000))?,
            &|_| Group::Code,
        );
        let mut languages = text::libreoffice_help(&kit, &config())?;
        languages.retain(|text| text.name != text::ENGLISH);
        add(languages, &group);
    } else {
        add(text::unified(&kit, &config())?, &group);
    }
    let names: Vec<String> = texts
        .iter()
        .map(|c| format!("{} {:.1}", c.text.name, c.text.text.len() as f64 / 1e6))
        .collect();
    let notes = vec![format!(
        "{} candidates, MB of text: {}",
        texts.len(),
        names.join(", ")
    )];
    Ok(Candidates { texts, notes })
}

fn config() -> TextConfig {
    TextConfig::new().with_max_bytes(MAX_BYTES)
}

/// Texts, and the names of those that their source has and the kit lacks.
type Fetched = Result<(Vec<TextCategory>, Vec<String>), Error>;

/// The categories of a source whose packages are in the kit, if those are enough to make mixtures of.
fn fetched(
    names: fn(&Kit) -> Result<text::Fetched, Error>,
    read: fn(&Kit, &TextConfig) -> Result<Vec<TextCategory>, Error>,
) -> Fetched {
    let kit = Kit::open()?;
    let there = names(&kit)?;
    if there.present.len() < FEWEST {
        // Without a choice: the error names the first package that is not there.
        return Ok((read(&kit, &config())?, Vec::new()));
    }
    let texts = read(&kit, &config().with_only(there.present))?;
    Ok((texts, there.absent))
}

/// The kit's texts and a note on what is missing, or embedded ones and a note that says so if the kit lacks them.
fn or_embedded(
    from_kit: Fetched,
    kit_text: &str,
    embedded: fn() -> Vec<TextCategory>,
    embedded_text: &str,
) -> Result<Corpus> {
    match from_kit {
        Ok((texts, absent)) => {
            let mut notes = vec![described(kit_text, &texts)];
            if !absent.is_empty() {
                notes.push(format!(
                    "NOT FETCHED and therefore left out: {}",
                    absent.join(", ")
                ));
            }
            Ok(Corpus { notes, texts })
        }
        Err(error @ (Error::NotFetched { .. } | Error::NoFolder { .. })) => {
            let texts = embedded();
            let notes = vec![
                format!("{error}"),
                described(&format!("EMBEDDED text instead: {embedded_text}"), &texts),
            ];
            Ok(Corpus { notes, texts })
        }
        Err(other) => Err(other.into()),
    }
}

fn described(text: &str, texts: &[TextCategory]) -> String {
    let sizes = || texts.iter().map(|text| text.text.len() as f64 / 1e6);
    let (least, most) = sizes().fold((f64::INFINITY, 0.0_f64), |(a, b), s| (a.min(s), b.max(s)));
    format!(
        "{text}: {} categories of {least:.1} to {most:.1} MB",
        texts.len()
    )
}
