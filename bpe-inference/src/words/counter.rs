//! A hash table that counts words given as slices of larger buffers.
//!
//! Most words are short, so those of up to 15 bytes live in the table itself, packed with their length into one 128-bit
//! key; longer ones lie in an arena. Hashes are seeded at random: no text can be made to collide on purpose. The seed
//! never shows in a result, because results are sorted.

use std::hash::{BuildHasher, RandomState};

use rayon::prelude::*;

use super::WordCounts;

/// Longest word that is a key by itself.
const SHORT: usize = 15;
/// Slots of a fresh table.
const SLOTS: usize = 1 << 10;

/// Short words that are looked up together.
const BATCH: usize = 64;

/// Counts of distinct words.
pub(super) struct Counter {
    seeds: [u64; 2],
    /// Short words not yet counted. Looking many up in a row lets the processor wait for all their cache misses at once
    /// instead of for each between two words of the scanner.
    pending: Vec<u128>,
    short: ShortWords,
    long: LongWords,
}

impl Counter {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self {
            seeds: [random.hash_one(0), random.hash_one(1)],
            pending: Vec::with_capacity(BATCH),
            short: ShortWords {
                slots: vec![ShortSlot::default(); SLOTS],
                used: 0,
            },
            long: LongWords {
                slots: vec![LongSlot::default(); SLOTS],
                entries: Vec::new(),
                arena: Vec::new(),
            },
        }
    }

    /// Counts the word `buffer[start..end]`, which must not be empty.
    #[inline(always)]
    pub(super) fn add(&mut self, buffer: &[u8], start: usize, end: usize) {
        if end - start <= SHORT {
            self.pending.push(pack(buffer, start, end));
            if self.pending.len() == BATCH {
                self.flush();
            }
        } else {
            self.long.add(&buffer[start..end], self.seeds);
        }
    }

    #[inline(never)]
    fn flush(&mut self) {
        for key in self.pending.drain(..) {
            self.short.add(key, self.seeds);
        }
    }

    /// The sum of all counters, sorted.
    ///
    /// `None` if a count does not fit 64 bits.
    pub(super) fn merge(mut counters: Vec<Self>) -> Option<WordCounts> {
        counters.iter_mut().for_each(Self::flush);
        let mut short: Vec<(u128, u64)> = Vec::new();
        let mut long: Vec<(&[u8], u64)> = Vec::new();
        for counter in &counters {
            let used = counter.short.slots.iter().filter(|slot| slot.key != 0);
            // With its first byte on top a key orders as its word does; the length at the bottom settles trailing NULs.
            short.extend(used.map(|slot| (slot.key.swap_bytes(), slot.count)));
            long.extend(counter.long.iter());
        }
        if counters.len() > 1 {
            short.par_sort_unstable_by_key(|&(key, _)| key);
            long.par_sort_unstable_by_key(|&(word, _)| word);
        } else {
            short.sort_unstable_by_key(|&(key, _)| key);
            long.sort_unstable_by_key(|&(word, _)| word);
        }

        let mut out = WordCounts::default();
        let mut long = long.chunk_by(|a, b| a.0 == b.0).peekable();
        for equal in short.chunk_by(|a, b| a.0 == b.0) {
            let bytes = equal[0].0.to_be_bytes();
            let word = &bytes[..usize::from(bytes[SHORT])];
            while let Some(smaller) = long.next_if(|equal| equal[0].0 < word) {
                out.append(smaller[0].0, total(smaller)?);
            }
            out.append(word, total(equal)?);
        }
        for equal in long {
            out.append(equal[0].0, total(equal)?);
        }
        Some(out)
    }
}

fn total<W>(equal: &[(W, u64)]) -> Option<u64> {
    equal
        .iter()
        .try_fold(0, |sum: u64, (_, count)| sum.checked_add(*count))
}

/// The word's bytes from the lowest byte on, its length in the highest.
#[inline(always)]
fn pack(buffer: &[u8], start: usize, end: usize) -> u128 {
    let len = end - start;
    let bits = match buffer[start..].first_chunk::<16>() {
        Some(chunk) => u128::from_le_bytes(*chunk) & MASKS[len & SHORT],
        None => {
            let mut chunk = [0; 16];
            chunk[..len].copy_from_slice(&buffer[start..end]);
            u128::from_le_bytes(chunk)
        }
    };
    bits | (len as u128) << 120
}

/// The lowest `len` bytes.
const MASKS: [u128; SHORT + 1] = {
    let mut masks = [0; SHORT + 1];
    let mut len = 1;
    while len <= SHORT {
        masks[len] = masks[len - 1] << 8 | 0xff;
        len += 1;
    }
    masks
};

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[derive(Clone, Copy, Default)]
struct ShortSlot {
    /// 0: free (a word is never empty, so its length is on top).
    key: u128,
    count: u64,
}

/// Open addressing with linear probing, at most half full.
struct ShortWords {
    slots: Vec<ShortSlot>,
    used: usize,
}

impl ShortWords {
    #[inline(always)]
    fn add(&mut self, key: u128, seeds: [u64; 2]) {
        let mask = self.slots.len() - 1;
        let mut at = Self::hash(key, seeds) & mask;
        loop {
            let slot = &mut self.slots[at & mask];
            if slot.key == key {
                slot.count += 1;
                return;
            }
            if slot.key == 0 {
                *slot = ShortSlot { key, count: 1 };
                break;
            }
            at += 1;
        }
        self.used += 1;
        if self.used * 2 > self.slots.len() {
            self.grow(seeds);
        }
    }

    #[inline(always)]
    fn hash(key: u128, seeds: [u64; 2]) -> usize {
        fold(key as u64 ^ seeds[0], (key >> 64) as u64 ^ seeds[1]) as usize
    }

    #[cold]
    fn grow(&mut self, seeds: [u64; 2]) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![ShortSlot::default(); mask + 1];
        for &slot in self.slots.iter().filter(|slot| slot.key != 0) {
            let mut at = Self::hash(slot.key, seeds) & mask;
            while slots[at].key != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = slot;
        }
        self.slots = slots;
    }
}

#[derive(Clone, Copy, Default)]
struct LongSlot {
    hash: u64,
    /// Number of the entry plus 1; 0: free.
    entry: u64,
}

struct LongEntry {
    /// Where the word ends in the arena; it starts where the entry before ends.
    end: usize,
    count: u64,
}

struct LongWords {
    slots: Vec<LongSlot>,
    entries: Vec<LongEntry>,
    arena: Vec<u8>,
}

impl LongWords {
    #[inline]
    fn add(&mut self, word: &[u8], seeds: [u64; 2]) {
        let hash = Self::hash(word, seeds);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            match (slot.entry as usize).checked_sub(1) {
                None => break,
                Some(k) if slot.hash == hash && self.word(k) == word => {
                    self.entries[k].count += 1;
                    return;
                }
                Some(_) => at = (at + 1) & mask,
            }
        }
        self.arena.extend_from_slice(word);
        self.entries.push(LongEntry {
            end: self.arena.len(),
            count: 1,
        });
        self.slots[at] = LongSlot {
            hash,
            entry: self.entries.len() as u64,
        };
        if self.entries.len() * 2 > self.slots.len() {
            self.grow();
        }
    }

    #[inline]
    fn word(&self, k: usize) -> &[u8] {
        let start = k
            .checked_sub(1)
            .map_or(0, |before| self.entries[before].end);
        &self.arena[start..self.entries[k].end]
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        (0..self.entries.len()).map(|k| (self.word(k), self.entries[k].count))
    }

    /// Folds 16 bytes at a time; the last 16 may overlap those before.
    #[inline]
    fn hash(word: &[u8], seeds: [u64; 2]) -> u64 {
        let mut state = seeds[0] ^ word.len() as u64;
        let (blocks, _) = word.as_chunks::<16>();
        for block in blocks.iter().chain(word.last_chunk::<16>()) {
            let block = u128::from_le_bytes(*block);
            state = fold(block as u64 ^ state, (block >> 64) as u64 ^ seeds[1]).rotate_left(23);
        }
        state
    }

    #[cold]
    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![LongSlot::default(); mask + 1];
        for &slot in self.slots.iter().filter(|slot| slot.entry != 0) {
            let mut at = slot.hash as usize & mask;
            while slots[at].entry != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = slot;
        }
        self.slots = slots;
    }
}
