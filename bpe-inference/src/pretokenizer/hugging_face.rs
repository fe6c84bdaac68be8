//! Reads the `normalizer` and `pre_tokenizer` of a `tokenizer.json` of Hugging Face's `tokenizers`.

use serde_json::Value;

use super::marker::MARKER;
use super::{Normalizer, Pretokenizer, TextPipeline};

impl TextPipeline {
    /// The pipeline that the values of `normalizer` and `pre_tokenizer` in a `tokenizer.json` describe, or `None` if they are not
    /// a combination that one of our pipelines reproduces.
    ///
    /// Known are: no normalizer, NFC, NFKC; `ByteLevel` (without a prefix space) by itself or behind `Digits`, with its own
    /// pattern; `ByteLevel` without its pattern behind one isolating `Split` with any pattern, or alone; and the forms that
    /// SentencePiece models are converted to (`Metaspace`; `Prepend` and `Replace` with no pre-tokenizer or a split at
    /// spaces; the paper's own sequence), which become [`TextPipeline::llama`] where they put a marker in front and
    /// [`TextPipeline::gemma`] where they do not.
    ///
    /// The file does not say whether training saw documents or lines: set [`LineMode`](super::LineMode) yourself for
    /// tokenizers that Hugging Face's trainer made from files.
    pub fn from_hugging_face(normalizer: &Value, pre_tokenizer: &Value) -> Option<Self> {
        let normal = Normalization::read(normalizer)?;
        let mut steps = Vec::new();
        flatten(pre_tokenizer, "pretokenizers", &mut steps)?;
        let pipeline = match normal.marker {
            Marker::Absent => sentencepiece(&steps).or_else(|| byte_level(&steps))?,
            marker => {
                let at_spaces = |step: &Value| {
                    is(step, "Split")
                        && step["pattern"]["String"] == " "
                        && step["behavior"] == "MergedWithPrevious"
                };
                match steps.as_slice() {
                    [] => {}
                    [step] if at_spaces(step) => {}
                    _ => return None,
                }
                family(marker == Marker::InFront)
            }
        };
        let form = normal.form.unwrap_or(Normalizer::None);
        Some(pipeline.with_normalizer(form))
    }
}

/// What a `normalizer` does.
struct Normalization {
    form: Option<Normalizer>,
    marker: Marker,
}

#[derive(Clone, Copy, PartialEq)]
enum Marker {
    Absent,
    ForSpaces,
    InFront,
}

impl Normalization {
    fn read(value: &Value) -> Option<Self> {
        let mut steps = Vec::new();
        flatten(value, "normalizers", &mut steps)?;
        let (mut form, mut prepend, mut replace) = (None, false, false);
        for step in steps {
            match step["type"].as_str()? {
                "NFC" if form.is_none() => form = Some(Normalizer::Nfc),
                "NFKC" if form.is_none() => form = Some(Normalizer::Nfkc),
                "Prepend" if step["prepend"] == MARKER => prepend = true,
                "Replace" if step["pattern"]["String"] == " " && step["content"] == MARKER => {
                    replace = true;
                }
                _ => return None,
            }
        }
        let marker = match (prepend, replace) {
            (false, false) => Marker::Absent,
            (false, true) => Marker::ForSpaces,
            (true, true) => Marker::InFront,
            (true, false) => return None,
        };
        Some(Self { form, marker })
    }
}

fn sentencepiece(steps: &[&Value]) -> Option<TextPipeline> {
    let metaspace = match steps {
        [metaspace] => metaspace,
        [punctuation, metaspace, digits, newline, tab]
            if splits(punctuation, "Regex", r" ?[^\s\p{L}\p{N}]+\r*", "Isolated")
                && single_digits(digits) == Some(true)
                && splits(newline, "String", "\n", "Removed")
                && splits(tab, "String", "\t", "Removed") =>
        {
            metaspace
        }
        _ => return None,
    };
    if !is(metaspace, "Metaspace") || metaspace["replacement"] != MARKER {
        return None;
    }
    // Older files say `add_prefix_space` instead; the default is a prefix.
    let prefix = match metaspace["prepend_scheme"].as_str() {
        Some(scheme) => scheme != "never",
        None => metaspace["add_prefix_space"].as_bool().unwrap_or(true),
    };
    Some(family(prefix))
}

fn family(prefix: bool) -> TextPipeline {
    if prefix {
        TextPipeline::llama()
    } else {
        TextPipeline::gemma()
    }
}

fn byte_level(steps: &[&Value]) -> Option<TextPipeline> {
    let (last, before) = steps.split_last()?;
    // A prefix space is put in front of every piece that arrives, which no pipeline of ours does.
    if !is(last, "ByteLevel") || last["add_prefix_space"] != false {
        return None;
    }
    let own_pattern = last["use_regex"].as_bool().unwrap_or(true);
    let pretokenizer = match (before, own_pattern) {
        ([], true) => Pretokenizer::Gpt2,
        ([], false) => Pretokenizer::None,
        ([digits], true) if single_digits(digits)? => Pretokenizer::CommandR,
        ([_], true) => Pretokenizer::DigitsGpt2,
        ([split], false) => split_pattern(split)?,
        _ => return None,
    };
    Some(TextPipeline::new(pretokenizer))
}

/// The pretokenizer of a `Split` by a regular expression.
fn split_pattern(step: &Value) -> Option<Pretokenizer> {
    let pretokenizer = Pretokenizer::from_pattern(step["pattern"]["Regex"].as_str()?)?;
    let preset = !matches!(pretokenizer, Pretokenizer::Regex(_));
    let inverted = step["invert"].as_bool().unwrap_or(false);
    // The presets match every character, so what a `Split` does with the rest makes no difference.
    let same = match step["behavior"].as_str()? {
        "Isolated" => preset || !inverted,
        "Removed" => preset && inverted,
        _ => false,
    };
    (is(step, "Split") && same).then_some(pretokenizer)
}

/// For a `Digits` step: whether it cuts out single digits and not runs.
fn single_digits(step: &Value) -> Option<bool> {
    is(step, "Digits").then(|| step["individual_digits"].as_bool().unwrap_or(false))
}

fn splits(step: &Value, kind: &str, pattern: &str, behavior: &str) -> bool {
    is(step, "Split")
        && step["pattern"][kind] == pattern
        && step["behavior"] == behavior
        && !step["invert"].as_bool().unwrap_or(false)
}

fn is(step: &Value, kind: &str) -> bool {
    step["type"] == kind
}

/// Sequences laid out flat; nothing for `null`; `None` for what is not an object with a type.
fn flatten<'v>(value: &'v Value, list: &str, into: &mut Vec<&'v Value>) -> Option<()> {
    if value.is_null() {
        return Some(());
    }
    if is(value, "Sequence") {
        let steps = value[list].as_array()?;
        return steps.iter().try_for_each(|step| flatten(step, list, into));
    }
    value["type"].is_string().then(|| into.push(value))
}
