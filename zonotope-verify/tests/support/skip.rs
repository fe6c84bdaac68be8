//! Tests that cannot run here say so where it is seen.

use std::io::Write as _;

/// Says that `what` was left out, and why; written to the handle itself, because what the print macros write is captured.
pub(crate) fn skipped(what: &str, why: &str) {
    // A terminal that is gone is no reason to fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {why}");
}
