//! What the tests of all programs share.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// A program, to be run in a folder.
pub(crate) fn program(executable: &str, folder: &Path) -> Command {
    let mut command = Command::new(executable);
    command.current_dir(folder);
    command
}

/// Standard output, which must be one JSON object and nothing else.
pub(crate) fn object(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(value.is_object());
    value
}

/// Checks that the program failed with this status and a message that holds `words`.
#[track_caller]
pub(crate) fn refused(output: &Output, status: i32, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{words:?}: {errors}");
    assert!(output.stdout.is_empty());
    assert!(!errors.contains("panicked"), "{errors}");
    for word in words {
        assert!(errors.contains(word), "`{word}` is not in: {errors}");
    }
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// Checks that all names of the object are in lower case with hyphens, but for those of categories and those that
/// stand fixed.
pub(crate) fn check_names(value: &Value) {
    const FIXED: [&str; 6] = [
        "merges_used",
        "log10_mse",
        "baseline_log10_mse",
        "audit_epsilon_lower",
        "ols_error",
        "lower_bound",
    ];
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                let fixed = FIXED.contains(&name.as_str());
                assert!(fixed || name.chars().all(fine), "{name}");
                check_names(member);
            }
        }
        Value::Array(members) => members.iter().for_each(check_names),
        _ => {}
    }
}
