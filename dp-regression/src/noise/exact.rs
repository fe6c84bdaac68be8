//! Exact samplers: they only compare random digits, so that no function is ever rounded (C. Karney, "Sampling exactly from the normal distribution",
//! ACM TOMS 42(1), 2016).

use std::cmp::Ordering;

use super::PrivacyRng;
use crate::linalg::double::Double;

/// A uniform number in (0, 1) whose digits are drawn when somebody asks for them.
struct Uniform {
    first: u64,
    more: Vec<u64>,
}

impl Uniform {
    fn new(rng: &mut PrivacyRng) -> Self {
        Self {
            first: rng.word(),
            more: Vec::new(),
        }
    }

    fn digit(&mut self, index: usize, rng: &mut PrivacyRng) -> u64 {
        if index == 0 {
            return self.first;
        }
        while self.more.len() < index {
            self.more.push(rng.word());
        }
        self.more[index - 1]
    }

    fn is_less(&mut self, other: &mut Self, rng: &mut PrivacyRng) -> bool {
        let mut index = 0;
        loop {
            match self.digit(index, rng).cmp(&other.digit(index, rng)) {
                Ordering::Less => return true,
                Ordering::Greater => return false,
                Ordering::Equal => index += 1,
            }
        }
    }

    fn is_below_half(&self) -> bool {
        self.first >> 63 == 0
    }

    /// `whole` and this, to 106 bits.
    fn add_to(mut self, whole: u64, rng: &mut PrivacyRng) -> Double {
        let (first, second) = (self.digit(0, rng), self.digit(1, rng));
        let part = |word: u64, exponent: f64| Double::from(word as f64 * exponent.exp2());
        let low = 0xffff_ffff;
        [
            part(first >> 32, -32.0),
            part(first & low, -64.0),
            part(second >> 32, -96.0),
            part(second & low, -128.0),
        ]
        .into_iter()
        .rev()
        .fold(Double::ZERO, |sum, part| part + sum)
            + Double::from(whole as f64)
    }
}

/// Whether the longest run `x > u_1 > u_2 > ...` of fresh uniforms has an even length: with probability `exp(-x)` (J. von Neumann 1951).
fn is_even_run(x: &mut Uniform, rng: &mut PrivacyRng) -> bool {
    let mut next = Uniform::new(rng);
    if !next.is_less(x, rng) {
        return true;
    }
    let mut length = 1_u32;
    loop {
        let mut following = Uniform::new(rng);
        if !following.is_less(&mut next, rng) {
            return length.is_multiple_of(2);
        }
        next = following;
        length += 1;
    }
}

/// True with probability `exp(-1/2)`: algorithm H.
fn half_life(rng: &mut PrivacyRng) -> bool {
    let mut last = Uniform::new(rng);
    if !last.is_below_half() {
        return true;
    }
    let mut length = 1_u32;
    loop {
        let mut next = Uniform::new(rng);
        if !next.is_less(&mut last, rng) {
            return length.is_multiple_of(2);
        }
        last = next;
        length += 1;
    }
}

/// True with probability `exp(-x (2k+x) / (2k+2))`: algorithm B.
fn accept(k: u64, x: &mut Uniform, rng: &mut PrivacyRng) -> bool {
    let mut last: Option<Uniform> = None;
    let mut length = 0_u32;
    loop {
        let mut next = Uniform::new(rng);
        let shorter = match &mut last {
            None => next.is_less(x, rng),
            Some(last) => next.is_less(last, rng),
        };
        // And with probability (2k+x)/(2k+2): algorithm C.
        let goes_on = shorter
            && match rng.below(2 * k + 2) {
                choice if choice < 2 * k => true,
                choice if choice == 2 * k => Uniform::new(rng).is_less(x, rng),
                _ => false,
            };
        if !goes_on {
            return length.is_multiple_of(2);
        }
        last = Some(next);
        length += 1;
    }
}

/// A standard normal number: algorithm N.
pub(super) fn normal(rng: &mut PrivacyRng) -> Double {
    loop {
        let mut k = 0_u64;
        while half_life(rng) {
            k += 1;
        }
        // exp(-k(k-1)/2), then exp(-x(2k+x)/2).
        if !(0..k * k.saturating_sub(1)).all(|_| half_life(rng)) {
            continue;
        }
        let mut x = Uniform::new(rng);
        if !(0..=k).all(|_| accept(k, &mut x, rng)) {
            continue;
        }
        let size = x.add_to(k, rng);
        return if rng.word() & 1 == 0 { size } else { -size };
    }
}

/// An exponential number of mean 1 (von Neumann).
pub(super) fn exponential(rng: &mut PrivacyRng) -> Double {
    let mut whole = 0;
    loop {
        let mut x = Uniform::new(rng);
        if is_even_run(&mut x, rng) {
            return x.add_to(whole, rng);
        }
        whole += 1;
    }
}
