//! Lists of merges as files have them: training orders are taken as they stand, lists in which a converter put every
//! split of every token are rebuilt.

use rustc_hash::{FxHashMap, FxHashSet};

use super::recovery::{FileToken, recover};
use super::{
    Alphabet, Format, ListOrder, ListedToken, MergeList, MergeReport, ReadOptions, TokenizerSpec,
    byte_level, letter,
};
use crate::error::{Error, Result};

/// A vocabulary and its merges, texts already decoded to bytes.
pub(crate) struct Listed {
    pub(crate) format: Format,
    pub(crate) alphabet: Alphabet,
    /// Left and right part of each merge, in the order of the file.
    pub(crate) merges: Vec<(Vec<u8>, Vec<u8>)>,
    /// Ids of the vocabulary's tokens; empty if the file has none.
    pub(crate) ids: FxHashMap<Vec<u8>, u32>,
    /// Texts and ids of tokens that BPE never sees.
    pub(crate) added: Vec<(Vec<u8>, u32)>,
    pub(crate) spec: TokenizerSpec,
}

impl Listed {
    /// The list of evidence, in training order, with its report.
    pub(crate) fn finish(mut self, options: &ReadOptions) -> Result<(MergeList, MergeReport)> {
        self.spec.byte_level = self.alphabet == Alphabet::Bytes;
        let order = options.order.unwrap_or_else(|| detect_order(&self));
        let added = (self.added.iter())
            .map(|(text, id)| ListedToken::new(Some(*id), text))
            .collect();
        let letters = self.letters();
        let (mut list, mut report) = match order {
            ListOrder::Training => self.take()?,
            ListOrder::Converted | ListOrder::Ranks => self.rebuild(options)?,
        };
        report.added = added;
        if let Some(letters) = letters {
            list = list.with_letters(letters);
        }
        Ok((list, report))
    }

    /// The list as it stands.
    fn take(self) -> Result<(MergeList, MergeReport)> {
        let list = MergeList::from_parts(self.alphabet, self.merges.iter().map(|(l, r)| (l, r)))?;
        let kept = list.merges().len();
        let mut report = MergeReport::new(self.format, ListOrder::Training, kept, self.spec);
        report.duplicate_products = kept - list.products();
        Ok((list, report))
    }

    /// One merge a token, in the order in which the list first makes the tokens.
    fn rebuild(self, options: &ReadOptions) -> Result<(MergeList, MergeReport)> {
        let listed = self.merges.len();
        let mut seen: FxHashSet<Vec<u8>> = FxHashSet::default();
        let mut tokens = Vec::new();
        for (left, right) in &self.merges {
            let text = [left.as_slice(), right].concat();
            if seen.insert(text.clone()) {
                let id = self.ids.get(&text).copied();
                tokens.push(FileToken { id, text });
            }
        }
        let redundant = listed - tokens.len();
        let (manual, tokens) = match self.alphabet {
            Alphabet::Bytes => (Vec::new(), tokens),
            Alphabet::Characters => self.set_manual_apart(tokens),
        };
        let out_of_order = descents(&tokens);
        let (list, unreachable) = recover(self.alphabet, tokens, options)?;
        let kept = list.merges().len();
        let mut report = MergeReport::new(self.format, ListOrder::Converted, kept, self.spec);
        report.listed = listed;
        report.redundant = redundant;
        report.unreachable = unreachable;
        report.out_of_order = out_of_order;
        report.manual = (manual.iter())
            .map(|token| ListedToken::new(token.id, &token.text))
            .collect();
        Ok((list, report))
    }

    /// Takes out what SentencePiece did not learn: added tokens, and runs of one white-space character whose ids do not
    /// lie between those of the learnt tokens around them.
    fn set_manual_apart(&self, tokens: Vec<FileToken>) -> (Vec<FileToken>, Vec<FileToken>) {
        let added: FxHashSet<&[u8]> = self.added.iter().map(|(text, _)| &text[..]).collect();
        let is_run: Vec<bool> = tokens
            .iter()
            .map(|token| is_white_run(&token.text))
            .collect();
        let learnt_id = |k: &usize| tokens[*k].id.filter(|_| !is_run[*k]);
        // The id of the next learnt token after each place.
        let mut after = vec![None; tokens.len()];
        let mut next = None;
        for k in (0..tokens.len()).rev() {
            after[k] = next;
            next = learnt_id(&k).or(next);
        }
        let mut before = None;
        let mut manual = Vec::with_capacity(tokens.len());
        for (k, token) in tokens.iter().enumerate() {
            let misplaced = match token.id.filter(|_| is_run[k]) {
                Some(id) => before.is_some_and(|b| id < b) || after[k].is_some_and(|a| id > a),
                None => false,
            };
            manual.push(misplaced || added.contains(&token.text[..]));
            before = learnt_id(&k).or(before);
        }
        let mut manual = manual.into_iter();
        tokens
            .into_iter()
            .partition(|_| manual.next() == Some(true))
    }

    /// The characters that training knew: the vocabulary's pieces of a single one.
    fn letters(&self) -> Option<Vec<char>> {
        if self.alphabet == Alphabet::Bytes || self.ids.is_empty() {
            return None;
        }
        let added: FxHashSet<&[u8]> = self.added.iter().map(|(text, _)| &text[..]).collect();
        let letters = (self.ids.keys())
            .filter(|text| !added.contains(&text[..]))
            .filter_map(|text| letter(Alphabet::Characters, text).and_then(char::from_u32));
        Some(letters.collect())
    }
}

/// Whether a list is a training order. A converter lists, one after the other, every split of a token into two
/// tokens; training makes a token by a second merge seldom, and not right after the first.
fn detect_order(listed: &Listed) -> ListOrder {
    /// How often, and whether without interruption, a product is listed.
    struct Listing {
        count: usize,
        last: usize,
        contiguous: bool,
    }
    let mut listings: FxHashMap<Vec<u8>, Listing> = FxHashMap::default();
    for (k, (left, right)) in listed.merges.iter().enumerate() {
        let listing = (listings.entry([left.as_slice(), right].concat())).or_insert(Listing {
            count: 0,
            last: k,
            contiguous: true,
        });
        listing.contiguous &= listing.last + 1 >= k;
        listing.last = k;
        listing.count += 1;
    }
    if listings.len() == listed.merges.len() {
        return ListOrder::Training;
    }
    // Few lengths occur, which spares most look-ups and bounds the time that long texts can take.
    let lengths: FxHashSet<usize> = listings.keys().map(Vec::len).collect();
    let known = |text: &[u8]| {
        letter(listed.alphabet, text).is_some()
            || (lengths.contains(&text.len()) && listings.contains_key(text))
    };
    let ways = |text: &[u8]| {
        (1..text.len())
            .filter(|&cut| known(&text[..cut]) && known(&text[cut..]))
            .take(2)
            .count()
    };
    let (mut splittable, mut split) = (0, 0);
    for (_, listing) in listings.iter().filter(|(text, _)| ways(text) == 2) {
        splittable += 1;
        split += usize::from(listing.count > 1 && listing.contiguous);
    }
    match split > 0 && 2 * split >= splittable {
        true => ListOrder::Converted,
        false => ListOrder::Training,
    }
}

/// How many tokens have a smaller id than the one before.
fn descents(tokens: &[FileToken]) -> usize {
    (tokens.windows(2))
        .filter(|pair| matches!((pair[0].id, pair[1].id), (Some(a), Some(b)) if a > b))
        .count()
}

/// Whether `text` repeats one white-space character or the space marker of SentencePiece.
pub(crate) fn is_white_run(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let mut chars = text.chars();
    chars.next().is_some_and(|first| {
        (first.is_whitespace() || first == '\u{2581}') && chars.all(|c| c == first)
    })
}

/// What a vocabulary's texts are made of: bytes if every character of every merge stands for a byte.
pub(crate) fn detect_alphabet<'a>(texts: impl IntoIterator<Item = &'a str>) -> Alphabet {
    match texts.into_iter().all(byte_level::covers) {
        true => Alphabet::Bytes,
        false => Alphabet::Characters,
    }
}

/// The bytes of a token written in `alphabet`.
pub(crate) fn token_bytes(alphabet: Alphabet, text: &str) -> Result<Vec<u8>, String> {
    match alphabet {
        Alphabet::Characters => Ok(text.as_bytes().to_vec()),
        Alphabet::Bytes => byte_level::decode(text)
            .map_err(|c| format!("the character {c:?} of the token `{text}` stands for no byte")),
    }
}

/// Lines with more spaces than this are refused: every space may have to be tried.
const MAX_SPACES: usize = 1024;

/// Splits `left right` at its space. If tokens contain spaces, at the only one that leaves two known tokens.
pub(crate) fn split_pair(line: &str, known: impl Fn(&str) -> bool) -> Result<(&str, &str), String> {
    let cuts = || {
        (line.match_indices(' '))
            .map(|(k, _)| (&line[..k], &line[k + 1..]))
            .filter(|(left, right)| !left.is_empty() && !right.is_empty())
    };
    if line.matches(' ').nth(MAX_SPACES).is_some() {
        return Err(format!("a line of more than {MAX_SPACES} spaces"));
    }
    let mut candidates = cuts();
    match (candidates.next(), candidates.next()) {
        (None, _) => Err(format!("`{line}` is not two tokens with a space between")),
        (Some(pair), None) => Ok(pair),
        (Some(_), Some(_)) => {
            let mut fitting = cuts().filter(|(left, right)| known(left) && known(right));
            match (fitting.next(), fitting.next()) {
                (Some(pair), None) => Ok(pair),
                (None, _) => Err(format!(
                    "no space of `{line}` lies between two known tokens"
                )),
                (Some(_), Some(_)) => Err(format!(
                    "several spaces of `{line}` lie between two known tokens"
                )),
            }
        }
    }
}

impl Format {
    /// An error at a byte of a file of this format.
    pub(crate) fn error(self, offset: u64, reason: impl Into<String>) -> Error {
        Error::Parse {
            format: self.name(),
            offset,
            reason: reason.into(),
        }
    }
}
