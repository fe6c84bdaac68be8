//! What stands between this crate and the library `tokenizers`, which trusts the files that it reads: with a decoder that
//! strips more characters than a token has, for one, it panics. Here that is an error.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny};
use serde_json::Value;

use crate::{Error, Result};

/// The result of a call of the library, whose panics become errors. It keeps nothing half done: it changes nothing but
/// caches, and gives those up where a panic left them locked.
pub(super) fn guarded<T>(
    origin: impl FnOnce() -> String,
    call: impl FnOnce() -> tokenizers::Result<T>,
) -> Result<T> {
    let reason = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("it is not sound: {}", message(&*panic)),
    };
    Err(Error::Tokenizer {
        origin: origin(),
        reason,
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}

/// The parts of a `tokenizer.json` that the library believes where no panic would stop it. A part that is there twice is
/// refused.
#[derive(Deserialize)]
struct Trusted<M> {
    model: Option<Model<M>>,
    #[serde(default)]
    normalizer: Value,
}

#[derive(Deserialize)]
struct Model<M> {
    continuing_subword_prefix: Option<String>,
    merges: Option<M>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merges {
    Pairs(Vec<(String, String)>),
    Lines(Vec<String>),
}

/// Checks what the library would believe at the price of invalid text or of memory without bound.
pub(super) fn check(bytes: &[u8]) -> serde_json::Result<()> {
    // Merges are many, and needed only where there is a prefix.
    let file: Trusted<IgnoredAny> = serde_json::from_slice(bytes)?;
    check_charsmaps(&file.normalizer)?;
    let prefix = file.model.and_then(|model| model.continuing_subword_prefix);
    let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) else {
        return Ok(());
    };
    let file: Trusted<Merges> = serde_json::from_slice(bytes)?;
    match file.model.and_then(|model| model.merges) {
        Some(merges) => check_prefix(&prefix, &merges),
        None => Ok(()),
    }
}

/// The prefix is cut off the right-hand sides of merges by its length, wherever that falls.
fn check_prefix(prefix: &str, merges: &Merges) -> serde_json::Result<()> {
    let wrong = |right: &str| match right.starts_with(prefix) {
        true => Ok(()),
        false => Err(serde_json::Error::custom(format!(
            "the merge of `{right}`, which does not begin with `{prefix}`"
        ))),
    };
    match merges {
        Merges::Pairs(pairs) => pairs.iter().try_for_each(|(_, right)| wrong(right)),
        Merges::Lines(lines) => lines
            .iter()
            .filter_map(|line| line.split_once(' '))
            .try_for_each(|(_, right)| wrong(right)),
    }
}

/// A precompiled map begins with the length of its first part in bytes, for which memory is taken before any is read.
fn check_charsmaps(normalizer: &Value) -> serde_json::Result<()> {
    match normalizer {
        Value::Object(fields) => {
            if let Some(Value::String(map)) = fields.get("precompiled_charsmap")
                && let Some(promised) = first_number(map)
                && u64::from(promised) > map.len() as u64
            {
                return Err(serde_json::Error::custom(format!(
                    "a `precompiled_charsmap` that promises {promised} bytes and is shorter"
                )));
            }
            fields.values().try_for_each(check_charsmaps)
        }
        Value::Array(values) => values.iter().try_for_each(check_charsmaps),
        _ => Ok(()),
    }
}

/// The little-endian number of 32 bits that Base64 text begins with.
fn first_number(base64: &str) -> Option<u32> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits = base64.as_bytes().get(..6)?;
    let bits = digits.iter().try_fold(0_u64, |bits, &byte| {
        Some(bits << 6 | u64::from(digit(byte)?))
    })?;
    // 36 bits are four bytes and a half.
    Some(((bits >> 4) as u32).swap_bytes())
}
