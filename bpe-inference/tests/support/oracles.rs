//! The pretokenizers as their regular expressions define them, step by step: what the scanners are held to.

use bpe_inference::pretokenizer::Pretokenizer;
use fancy_regex::Regex;

pub(crate) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
pub(crate) const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(crate) const PUNCTUATION: &str = r" ?[^\s\p{L}\p{N}]+\r*";

/// What a pretokenizer should cut a text into.
pub(crate) type Oracle = Box<dyn Fn(&str) -> Vec<String>>;

/// Every preset with a rule of its own, run by fancy-regex on text as it is (no normalizer, one document).
pub(crate) fn oracles() -> Vec<(Pretokenizer, Oracle)> {
    let regex = |pattern: &str| Regex::new(pattern).unwrap();
    let mut oracles: Vec<(Pretokenizer, Oracle)> = Vec::new();
    for (preset, pattern) in [
        (Pretokenizer::Gpt2, GPT2),
        (Pretokenizer::Cl100k, CL100K),
        (Pretokenizer::Qwen2, QWEN2),
        (Pretokenizer::O200k, O200K),
        (Pretokenizer::Tekken, TEKKEN),
    ] {
        let pattern = regex(pattern);
        oracles.push((preset, Box::new(move |text| matches(&pattern, text))));
    }
    for (preset, digits) in [
        (Pretokenizer::DigitsGpt2, r"\p{N}+"),
        (Pretokenizer::CommandR, r"\p{N}"),
    ] {
        let (digits, gpt2) = (regex(digits), regex(GPT2));
        oracles.push((
            preset,
            Box::new(move |text| {
                let segments = isolate(&digits, text).into_iter();
                segments
                    .flat_map(|segment| matches(&gpt2, segment))
                    .collect()
            }),
        ));
    }
    for (preset, prefix) in [
        (Pretokenizer::Llama, true),
        (Pretokenizer::Mistral, true),
        (Pretokenizer::Gemma, false),
    ] {
        let (punctuation, number) = (regex(PUNCTUATION), regex(r"\p{N}|\n|\t"));
        oracles.push((
            preset,
            Box::new(move |text| sentencepiece(&punctuation, &number, prefix, text)),
        ));
    }
    oracles
}

fn matches(pattern: &Regex, text: &str) -> Vec<String> {
    let found = pattern.find_iter(text);
    found.map(|m| m.unwrap().as_str().to_owned()).collect()
}

/// `text` cut before and after every match.
fn isolate<'t>(pattern: &Regex, text: &'t str) -> Vec<&'t str> {
    let mut cuts = vec![0];
    for found in pattern.find_iter(text) {
        let found = found.unwrap();
        cuts.extend([found.start(), found.end()]);
    }
    cuts.push(text.len());
    cuts.windows(2)
        .map(|c| &text[c[0]..c[1]])
        .filter(|piece| !piece.is_empty())
        .collect()
}

/// Isolates punctuation, writes markers, cuts before them, isolates digits and drops line feeds and tabs, step by step.
fn sentencepiece(punctuation: &Regex, separate: &Regex, prefix: bool, text: &str) -> Vec<String> {
    let mut marked: Vec<String> = isolate(punctuation, text)
        .into_iter()
        .map(|piece| piece.replace(' ', "\u{2581}"))
        .collect();
    if let Some(first) = marked
        .first_mut()
        .filter(|first| prefix && !first.starts_with('\u{2581}'))
    {
        first.insert(0, '\u{2581}');
    }
    let mut words = Vec::new();
    for piece in &marked {
        let starts = piece
            .match_indices('\u{2581}')
            .map(|(at, _)| at)
            .filter(|&at| at > 0);
        let cuts: Vec<usize> = [0].into_iter().chain(starts).chain([piece.len()]).collect();
        for cut in cuts.windows(2) {
            words.extend(
                isolate(separate, &piece[cut[0]..cut[1]])
                    .into_iter()
                    .map(str::to_owned),
            );
        }
    }
    words.retain(|word| word != "\n" && word != "\t");
    words
}
