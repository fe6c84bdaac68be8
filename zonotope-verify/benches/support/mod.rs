//! What the benchmarks measure with.

// Every benchmark is a program of its own and uses its part of this.
#![allow(dead_code)]

use std::path::PathBuf;
use std::time::Instant;

/// The folder with networks and specifications, if the environment names one.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("FIRE_ASSAY_VERIFY").map(PathBuf::from);
    if folder.is_none() {
        println!("FIRE_ASSAY_VERIFY names no folder: no networks to run on");
    }
    folder
}

/// Whether a part of an instance's name was given as an argument; all are wanted if there are no arguments.
pub(crate) fn wanted() -> impl Fn(&str) -> bool {
    let parts: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    move |name| parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()))
}

/// Processor seconds of this process, where the system says so.
pub(crate) fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// Runs `work`, and says how many processor seconds it took; wall-clock seconds where the system does not tell.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let before = processor_seconds();
    let clock = Instant::now();
    let result = work();
    let wall = clock.elapsed().as_secs_f64();
    let spent = processor_seconds()
        .zip(before)
        .map_or(wall, |(after, before)| after - before);
    (result, spent)
}

/// Forgets the largest memory of this process so far.
pub(crate) fn reset_peak() {
    // Where the system has no such file the peak is that of the whole run.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The largest resident memory of this process since it was reset, in MiB.
pub(crate) fn peak_mebibytes() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes / 1024.0)
}
