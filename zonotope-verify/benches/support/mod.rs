//! What the benchmarks measure with.

// Every benchmark is a program of its own and uses its part of this.
#![allow(dead_code)]

use std::time::Instant;

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
