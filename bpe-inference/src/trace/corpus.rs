//! A corpus in its partially merged state: where every pair of symbols is and how often it occurs, kept exact
//! while merges are applied. The replay of a merge list and the trainer both drive it.
//!
//! All words lie in one array of *slots*, one slot a letter, with [`END`] between words. A token starts in the
//! slot of its first letter. The slots that it covers beyond that one are marked [`INSIDE`]; the second and the
//! last of them also hold its length, so that both neighbours of a token are found without a link or a table:
//!
//! ```text
//! letters   END  l  o  w  e  r  END
//! "low"     END  T  3. 3. e  r  END        T = the token, n. = INSIDE | n
//! "lower"   END  U  5. .  .  5. END
//! ```
//!
//! For every pair that may be merged there is a list of the slots where it came into being. An entry may be
//! stale, which a look at the slot tells. So a merge costs as much as the pair has occurrences, however
//! long the words are.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::merges::{Alphabet, TokenId};

/// Number of a symbol in a [`Corpus`]: an index into its [`Letters`], then the products.
pub(crate) type Symbol = u32;
/// Index of a pair in a [`Corpus`], in the order in which pairs first appear.
pub(crate) type PairIndex = u32;

/// Slot between two words.
const END: u32 = 0x7fff_ffff;
/// Marks a slot that no token starts in.
const INSIDE: u32 = 0x8000_0000;
/// Most slots that a corpus can have: a merge makes at most two places a slot, so that places, pairs and lengths
/// all fit 32 bits.
const MAX_SLOTS: usize = 1 << 30;
/// No list, no segment, no neighbour.
const NONE: u32 = u32::MAX;
/// Up to this many letters pairs of letters are looked up in a square table while counting.
const SQUARE: usize = 1024;

/// The letters of a corpus in the order of their numbers.
#[derive(Clone, Debug)]
pub(crate) struct Letters {
    tokens: Vec<TokenId>,
    numbers: FxHashMap<TokenId, Symbol>,
    /// Numbers of the tokens below 256, which nearly all text is made of.
    low: [Symbol; 256],
}

impl Letters {
    /// Numbers `tokens` from 0 on; they must be distinct.
    pub(crate) fn new(tokens: Vec<TokenId>) -> Self {
        let numbers: FxHashMap<_, _> = tokens.iter().zip(0..).map(|(&t, k)| (t, k)).collect();
        let low = std::array::from_fn(|t| numbers.get(&(t as TokenId)).copied().unwrap_or(NONE));
        Self {
            tokens,
            numbers,
            low,
        }
    }

    /// How many there are, which is the number of the first product.
    pub(crate) fn len(&self) -> u32 {
        self.tokens.len() as u32
    }

    /// All letters in the order of their numbers.
    pub(crate) fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// The letter with a number below [`Letters::len`].
    pub(crate) fn token(&self, symbol: Symbol) -> Option<TokenId> {
        self.tokens.get(symbol as usize).copied()
    }

    /// The number of a letter.
    pub(crate) fn number(&self, token: TokenId) -> Option<Symbol> {
        match self.low.get(token as usize) {
            Some(&NONE) => None,
            Some(&symbol) => Some(symbol),
            None => self.numbers.get(&token).copied(),
        }
    }
}

/// Words as slots, pairs with counts and places.
pub(crate) struct Corpus {
    slots: Vec<u32>,
    /// First slot after each stretch of words with the same multiplicity, and that multiplicity.
    stretches: Vec<(u32, u64)>,
    windows: u64,
    pairs: Pairs,
    places: Places,
    left: Neighbours,
    right: Neighbours,
}

impl Corpus {
    /// Lays out `words` and counts their pairs. Letters that are not in `letters` break a word in two.
    /// `wanted(left, right)` tells whether a pair may be merged later; the others are only counted.
    ///
    /// # Errors
    /// [`Error::CountOverflow`] with `name` if there are more than `i64::MAX` pairs,
    /// [`Error::InvalidValue`] if the distinct words have more than 2^30 letters together.
    pub(crate) fn new(
        name: &str,
        alphabet: Alphabet,
        letters: &Letters,
        mut words: Vec<(&[u8], u64)>,
        wanted: impl FnMut(Symbol, Symbol) -> bool,
    ) -> Result<Self> {
        words.retain(|(word, _)| word.len() > 1);
        words.sort_by_key(|&(_, count)| Reverse(count));
        let mut corpus = Self {
            slots: vec![END],
            stretches: Vec::new(),
            windows: 0,
            pairs: Pairs::default(),
            places: Places::default(),
            left: Neighbours::default(),
            right: Neighbours::default(),
        };
        let overflow = || Error::CountOverflow { name: name.into() };
        let mut symbols = Vec::new();
        for (word, count) in words {
            symbols.clear();
            alphabet.symbols(word, &mut symbols);
            if corpus.slots.len() + symbols.len() + 1 > MAX_SLOTS {
                return Err(Error::InvalidValue {
                    name: format!("letters of the distinct words of `{name}`"),
                    value: "over 1073741824".into(),
                    expected: "at most 2^30",
                });
            }
            for &token in &symbols {
                let slot = letters.number(token).unwrap_or(END);
                if slot != END && corpus.slots.last() != Some(&END) {
                    corpus.windows = corpus.windows.checked_add(count).ok_or_else(overflow)?;
                }
                corpus.slots.push(slot);
            }
            corpus.slots.push(END);
            let end = corpus.slots.len() as u32;
            match corpus.stretches.last_mut() {
                Some((last, same)) if *same == count => *last = end,
                _ => corpus.stretches.push((end, count)),
            }
        }
        if i64::try_from(corpus.windows).is_err() {
            return Err(overflow());
        }
        corpus.index(letters.len() as usize, wanted);
        Ok(corpus)
    }

    /// Adjacent pairs before any merge, multiplicities counted.
    pub(crate) fn windows(&self) -> u64 {
        self.windows
    }

    /// Number of pairs that have been seen.
    pub(crate) fn pairs(&self) -> usize {
        self.pairs.keys.len()
    }

    /// Left and right symbol of a pair.
    pub(crate) fn symbols(&self, pair: PairIndex) -> (Symbol, Symbol) {
        let key = self.pairs.keys[pair as usize];
        ((key >> 32) as Symbol, key as Symbol)
    }

    /// The index of a pair, if it has been seen.
    pub(crate) fn find(&self, left: Symbol, right: Symbol) -> Option<PairIndex> {
        self.pairs.ids.get(&key(left, right)).copied()
    }

    /// Occurrences of a pair now.
    pub(crate) fn count(&self, pair: PairIndex) -> u64 {
        self.pairs.counts[pair as usize]
    }

    /// Whether the pair may be merged.
    pub(crate) fn is_wanted(&self, pair: PairIndex) -> bool {
        self.places.heads[pair as usize] != Head::Unwanted
    }

    /// Replaces every occurrence of `pair`, in each word from left to right, by `product` and appends all
    /// changes of counts to `changes` (a pair may be listed more than once; the pair itself drops to 0).
    ///
    /// Occurrences of pairs that were not wanted when they first appeared cannot be merged: nothing happens.
    pub(crate) fn merge(
        &mut self,
        pair: PairIndex,
        product: Symbol,
        wanted: impl FnMut(Symbol, Symbol) -> bool,
        changes: &mut Vec<(PairIndex, i64)>,
    ) {
        let count = self.count(pair);
        if count == 0 || !self.is_wanted(pair) {
            return;
        }
        let places = self.places.take(pair);
        let (a, b) = self.symbols(pair);
        let chained = self.rewrite(&places, (a, b), product);
        self.places.give_back(places);

        self.pairs.counts[pair as usize] = 0;
        changes.push((pair, -(count as i64)));
        let mut step = Step {
            merged: pair,
            pairs: &mut self.pairs,
            places: &mut self.places,
            wanted,
            changes,
        };
        let left = &mut self.left;
        step.replace(left, |x| (key(x, a), key(x, product)));
        let right = &mut self.right;
        step.replace(right, |y| (key(b, y), key(product, y)));
        if !chained.is_empty() {
            // "abab": the pair (b, a) between two occurrences becomes (product, product).
            for (place, count) in chained {
                right.add(product, count, place);
            }
            step.replace(right, |_| (key(b, a), key(product, product)));
        }
    }

    /// Rewrites the slots; what the neighbours are is left in `self.left` and `self.right`. Returns place and
    /// multiplicity of every two occurrences that follow each other directly.
    fn rewrite(
        &mut self,
        places: &[u32],
        (a, b): (Symbol, Symbol),
        product: Symbol,
    ) -> Vec<(u32, u64)> {
        let slots = &mut self.slots[..];
        let mut chained = Vec::new();
        let mut stretch = 0;
        let mut accounted = NONE;
        for &place in places {
            let at = place as usize;
            if slots[at] != a {
                continue;
            }
            let second = at + token_len(slots, at);
            if slots[second] != b {
                continue;
            }
            let next = second + token_len(slots, second);
            if place >= self.stretches[stretch].0 {
                stretch += self.stretches[stretch..].partition_point(|&(end, _)| end <= place);
            }
            let count = self.stretches[stretch].1;
            if place != accounted {
                let before = slots[at - 1];
                if before != END {
                    let back = if before & INSIDE == 0 {
                        1
                    } else {
                        before & !INSIDE
                    };
                    let start = place - back;
                    self.left.add(slots[start as usize], count, start);
                }
            }
            let inside = INSIDE | (next - at) as u32;
            slots[second] = INSIDE;
            slots[at] = product;
            slots[at + 1] = inside;
            slots[next - 1] = inside;
            let after = slots[next];
            if after == a && slots[next + token_len(slots, next)] == b {
                accounted = next as u32;
                chained.push((place, count));
            } else if after != END {
                self.right.add(after, count, place);
            }
        }
        chained
    }

    /// Counts all pairs of letters and lists the places of the wanted ones.
    fn index(&mut self, letters: usize, mut wanted: impl FnMut(Symbol, Symbol) -> bool) {
        let mut square = vec![
            NONE;
            if letters <= SQUARE {
                letters * letters
            } else {
                0
            }
        ];
        let mut occurrences: Vec<u32> = Vec::new();
        let mut start = 1;
        for &(end, count) in &self.stretches {
            for window in self.slots[start - 1..end as usize].windows(2) {
                let (left, right) = (window[0], window[1]);
                if left == END || right == END {
                    continue;
                }
                let cell = square.get_mut(left as usize * letters + right as usize);
                let known = cell.as_ref().map_or(NONE, |cell| **cell);
                let pair = match known {
                    NONE => self.pairs.intern(key(left, right)),
                    pair => pair,
                };
                if let Some(cell) = cell {
                    *cell = pair;
                }
                if pair as usize == occurrences.len() {
                    occurrences.push(0);
                    self.places.register(wanted(left, right));
                }
                self.pairs.counts[pair as usize] += count;
                occurrences[pair as usize] += 1;
            }
            start = end as usize;
        }
        let mut cursors: Vec<usize> = (0..)
            .zip(&occurrences)
            .map(|(pair, &len)| self.places.reserve(pair, len).unwrap_or(usize::MAX))
            .collect();
        for (place, window) in (0..).zip(self.slots.windows(2)) {
            let (left, right) = (window[0], window[1]);
            if left == END || right == END {
                continue;
            }
            let pair = match square.get(left as usize * letters + right as usize) {
                Some(&pair) => pair,
                None => self.pairs.ids[&key(left, right)],
            };
            let cursor = &mut cursors[pair as usize];
            if let Some(entry) = self.places.pool.get_mut(*cursor) {
                *entry = place;
                *cursor += 1;
            }
        }
    }
}

/// Length of the token that starts at a slot.
fn token_len(slots: &[u32], at: usize) -> usize {
    let second = slots[at + 1];
    if second & INSIDE == 0 {
        1
    } else {
        (second & !INSIDE) as usize
    }
}

fn key(left: Symbol, right: Symbol) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// Every pair seen so far and its count.
#[derive(Default)]
struct Pairs {
    ids: FxHashMap<u64, PairIndex>,
    keys: Vec<u64>,
    counts: Vec<u64>,
}

impl Pairs {
    /// The index of a pair, a new one at first sight.
    fn intern(&mut self, key: u64) -> PairIndex {
        let next = self.keys.len() as PairIndex;
        let pair = *self.ids.entry(key).or_insert(next);
        if pair == next {
            self.keys.push(key);
            self.counts.push(0);
        }
        pair
    }
}

/// Where a pair's newest list is.
#[derive(Clone, Copy, PartialEq)]
enum Head {
    /// The pair will never be merged; its places are not kept.
    Unwanted,
    /// No place, or all of them used up.
    Empty,
    /// Index of the newest segment.
    Segment(u32),
}

/// A part of a pair's list. Nearly every pair has one: all of its occurrences come into being when the younger of
/// its symbols does. A token that several merges make has more.
struct Segment {
    start: usize,
    len: u32,
    older: Head,
}

/// The places of all wanted pairs.
#[derive(Default)]
struct Places {
    heads: Vec<Head>,
    segments: Vec<Segment>,
    pool: Vec<u32>,
    /// Memory for the places that a merge works on.
    taken: Vec<u32>,
}

impl Places {
    /// Makes room for the next pair.
    fn register(&mut self, wanted: bool) {
        self.heads
            .push(if wanted { Head::Empty } else { Head::Unwanted });
    }

    /// Appends `len` entries to the list of a pair and returns where they start; `None` if it is not wanted.
    fn reserve(&mut self, pair: PairIndex, len: u32) -> Option<usize> {
        let head = &mut self.heads[pair as usize];
        if *head == Head::Unwanted {
            return None;
        }
        let start = self.pool.len();
        self.pool.resize(start + len as usize, 0);
        self.segments.push(Segment {
            start,
            len,
            older: *head,
        });
        *head = Head::Segment(self.segments.len() as u32 - 1);
        Some(start)
    }

    /// Empties the list of a pair and returns it in ascending order, without repetitions.
    fn take(&mut self, pair: PairIndex) -> Vec<u32> {
        let mut taken = std::mem::take(&mut self.taken);
        let mut segments = 0;
        let head = &mut self.heads[pair as usize];
        while let Head::Segment(segment) = *head {
            let Segment { start, len, older } = self.segments[segment as usize];
            taken.extend_from_slice(&self.pool[start..start + len as usize]);
            segments += 1;
            *head = older;
        }
        if segments > 1 {
            taken.sort_unstable();
            taken.dedup();
        }
        taken
    }

    /// Returns the memory of [`Places::take`].
    fn give_back(&mut self, mut taken: Vec<u32>) {
        taken.clear();
        self.taken = taken;
    }
}

/// The symbols found on one side of the occurrences of a merged pair.
#[derive(Default)]
struct Neighbours {
    /// Index in `found` by symbol.
    index: Vec<u32>,
    found: Vec<Neighbour>,
    /// For every occurrence the index in `found` and the place of the new pair.
    places: Vec<(u32, u32)>,
}

struct Neighbour {
    symbol: Symbol,
    /// Multiplicities added up.
    count: u64,
    places: u32,
    /// Where the next place goes.
    cursor: usize,
}

impl Neighbours {
    fn add(&mut self, symbol: Symbol, count: u64, place: u32) {
        if self.index.len() <= symbol as usize {
            self.index.resize(symbol as usize + 1, NONE);
        }
        let index = &mut self.index[symbol as usize];
        if *index == NONE {
            *index = self.found.len() as u32;
            self.found.push(Neighbour {
                symbol,
                count: 0,
                places: 0,
                cursor: usize::MAX,
            });
        }
        let neighbour = &mut self.found[*index as usize];
        neighbour.count += count;
        neighbour.places += 1;
        self.places.push((*index, place));
    }

    fn clear(&mut self) {
        for neighbour in self.found.drain(..) {
            self.index[neighbour.symbol as usize] = NONE;
        }
        self.places.clear();
    }
}

/// The bookkeeping of one merge.
struct Step<'s, W> {
    merged: PairIndex,
    pairs: &'s mut Pairs,
    places: &'s mut Places,
    wanted: W,
    changes: &'s mut Vec<(PairIndex, i64)>,
}

impl<W: FnMut(Symbol, Symbol) -> bool> Step<'_, W> {
    /// Moves the counts of every neighbour from the pair it was in to the pair it is in now (`keys` names
    /// both), lists the new places, and forgets the neighbours.
    fn replace(&mut self, side: &mut Neighbours, keys: impl Fn(Symbol) -> (u64, u64)) {
        for neighbour in &mut side.found {
            let (old, new) = keys(neighbour.symbol);
            let old = self.pairs.ids[&old];
            // "aaa": the window that overlaps a merged one went with the pair as a whole.
            if old != self.merged {
                self.pairs.counts[old as usize] -= neighbour.count;
                self.changes.push((old, -(neighbour.count as i64)));
            }
            let new_pair = self.pairs.intern(new);
            if new_pair as usize == self.places.heads.len() {
                let wanted = (self.wanted)((new >> 32) as Symbol, new as Symbol);
                self.places.register(wanted);
            }
            self.pairs.counts[new_pair as usize] += neighbour.count;
            self.changes.push((new_pair, neighbour.count as i64));
            if let Some(start) = self.places.reserve(new_pair, neighbour.places) {
                neighbour.cursor = start;
            }
        }
        for &(index, place) in &side.places {
            let cursor = &mut side.found[index as usize].cursor;
            if let Some(entry) = self.places.pool.get_mut(*cursor) {
                *entry = place;
                *cursor += 1;
            }
        }
        side.clear();
    }
}
