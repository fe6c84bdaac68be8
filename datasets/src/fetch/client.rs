//! Calling the clients of the package registries, and understanding why they fail.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::kit::write_whole;
use crate::manifest::{Client, Package};

/// How often the size of a running download is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How much of what a client said goes into an error.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: u64 = 8 << 10;

/// Has the client of a package deliver its file into the folder `partial`, and gives the file's path.
///
/// `pinned`: ask for the manifest's version; otherwise for whatever version there is.
pub(super) fn deliver(
    package: &Package,
    pinned: bool,
    program: &Path,
    partial: &Path,
) -> Result<PathBuf> {
    let folder = partial.join("download");
    super::remove_folder(&folder)?;
    fs::create_dir_all(&folder).map_err(Error::io("make the folder", &folder))?;
    let command = command(package, pinned, program, partial, &folder)?;
    run(package, pinned, command, partial, &folder)?;
    if package.client == Client::Cargo {
        return copy_from_cargo(package, &folder);
    }
    let mut files = files_in(&folder)?;
    match (files.pop(), files.pop()) {
        (Some(file), None) => Ok(file),
        (file, _) => Err(Error::ClientFailed {
            package: package.id.to_owned(),
            client: package.client,
            command: program.display().to_string(),
            status: "success".to_owned(),
            tail: match file {
                None => "(it left no file)".to_owned(),
                Some(_) => "(it left more than one file)".to_owned(),
            },
        }),
    }
}

fn command(
    package: &Package,
    pinned: bool,
    program: &Path,
    partial: &Path,
    folder: &Path,
) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(folder);
    // Messages are matched below.
    command.env("LC_ALL", "C").env("LANGUAGE", "C");
    let wanted = if pinned {
        package.wanted()
    } else {
        package.name.to_owned()
    };
    match package.client {
        Client::Apt => command.args(["download", "--quiet", &wanted]),
        Client::Npm => command.args(["pack", "--ignore-scripts", "--loglevel=error", &wanted]),
        Client::Pip | Client::PipSource => command
            .args(["download", "--no-deps", "--disable-pip-version-check"])
            .args(["--no-input", "--progress-bar=off", "--dest=."])
            .arg(match package.client {
                Client::Pip => "--only-binary=:all:",
                _ => "--no-binary=:all:",
            })
            .arg(&wanted),
        Client::Cargo => {
            let manifest = write_cargo_manifest(&partial.join("cargo"), package)?;
            command.args(["fetch", "--manifest-path"]).arg(manifest)
        }
    };
    Ok(command)
}

/// Writes the manifest that has cargo fetch one crate.
fn write_cargo_manifest(folder: &Path, package: &Package) -> Result<PathBuf> {
    let text = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n\n\
         [lib]\npath = \"lib.rs\"\n\n[dependencies]\n{} = \"={}\"\n",
        package.name, package.version
    );
    write_whole(&folder.join("lib.rs"), b"")?;
    let path = folder.join("Cargo.toml");
    write_whole(&path, text.as_bytes())?;
    Ok(path)
}

/// Runs the client, with the size of what it has written so far as progress.
fn run(
    package: &Package,
    pinned: bool,
    mut command: Command,
    partial: &Path,
    folder: &Path,
) -> Result<()> {
    let span = tracing::info_span!(
        "download",
        package = package.id,
        position = 0_u64,
        length = package.bytes
    );
    let _inside = span.enter();
    let log_path = partial.join("client.log");
    let log = File::create(&log_path).map_err(Error::io("write", &log_path))?;
    let log_too = log.try_clone().map_err(Error::io("write", &log_path))?;
    command.stdin(Stdio::null()).stdout(log).stderr(log_too);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::MissingClient {
                package: package.id.to_owned(),
                client: package.client,
                program: command.get_program().into(),
            });
        }
        Err(error) => return Err(Error::io("run", command.get_program())(error)),
    };
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {
                span.record("position", size_of(folder));
                thread::sleep(POLL);
            }
            Err(error) => return Err(Error::io("run", command.get_program())(error)),
        }
    };
    if status.success() {
        span.record("position", package.bytes);
        return Ok(());
    }
    let tail = tail(&log_path);
    Err(explain(package, pinned, &command, status, tail))
}

/// The error for what a client said.
fn explain(
    package: &Package,
    pinned: bool,
    command: &Command,
    status: ExitStatus,
    tail: String,
) -> Error {
    /// What the clients say when they get no answer at all.
    const NO_NETWORK: &[&str] = &[
        "temporary failure",
        "could not resolve",
        "couldn't resolve",
        "name or service not known",
        "could not connect",
        "couldn't connect",
        "cannot initiate the connection",
        "failed to establish a new connection",
        "network is unreachable",
        "connection refused",
        "connection timed out",
        "newconnectionerror",
        "enotfound",
        "eai_again",
        "econnrefused",
        "etimedout",
        "enetunreach",
    ];
    /// What they say when the registry knows no such package or version.
    const NOT_OFFERED: &[&str] = &[
        "unable to locate package",
        "was not found",
        "no installation candidate",
        "can't select versions",
        "e404",
        "etarget",
        "no matching distribution",
        "could not find a version",
        "no matching package",
        "failed to select a version",
    ];
    let said = tail.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
    let (id, client) = (package.id.to_owned(), package.client);
    if says(NO_NETWORK) {
        Error::NoNetwork {
            package: id,
            client,
            tail,
        }
    } else if says(NOT_OFFERED) {
        Error::NotOffered {
            package: id,
            client,
            wanted: if pinned {
                package.wanted()
            } else {
                package.name.to_owned()
            },
            hint: match client {
                Client::Apt => {
                    "run `apt-get update` if the package lists are missing or old; \
                     Debian replaces versions, and --accept-newer takes the one there is"
                }
                _ => "is the registry that the client is set up for a full mirror?",
            },
            tail,
        }
    } else {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        Error::ClientFailed {
            package: id,
            client,
            command: words.join(" "),
            status: status.to_string(),
            tail,
        }
    }
}

/// The last lines of a log.
fn tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return "(nothing)".to_owned();
    }
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Cargo keeps crate files in its own folder: copies the one that it has just fetched.
fn copy_from_cargo(package: &Package, folder: &Path) -> Result<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| directories::BaseDirs::new().map(|folders| folders.home_dir().join(".cargo")));
    let cache = home.unwrap_or_default().join("registry").join("cache");
    let registries = fs::read_dir(&cache).map_err(Error::io("read", &cache))?;
    for registry in registries {
        let registry = registry.map_err(Error::io("read", &cache))?;
        let from = registry.path().join(package.file);
        if from.is_file() {
            let to = folder.join(package.file);
            fs::copy(&from, &to).map_err(Error::io("write", &to))?;
            return Ok(to);
        }
    }
    Err(Error::io("find", cache.join("*").join(package.file))(
        io::ErrorKind::NotFound.into(),
    ))
}

/// The files in a folder, leaving out what is in folders within it.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// The size of everything in a folder and its folders (apt writes into one); what vanishes meanwhile counts nothing.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
