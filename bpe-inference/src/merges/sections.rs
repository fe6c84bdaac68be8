//! Sections of a list inside which the order of merges makes no difference (paper, appendix A).

use std::ops::Range;

use rustc_hash::FxHashSet;

use super::{Merge, MergeList, TokenId};

impl MergeList {
    /// Cuts the [`steps`](Self::steps) into contiguous sections, each as long as it can be: within a section every token
    /// is used only as left or only as right part, and no product is used or made twice. Merges of a section never
    /// overlap, so a vendor could have reordered them without changing the tokenizer, and their order is no
    /// evidence then. A merge of a token with itself is a section of its own.
    ///
    /// The cuts are found in the list as it stands. A section ends at the first merge that conflicts with it, so a
    /// reordering that leaves every section's first merge in its place leaves the cuts in theirs; one that moves it can
    /// shift a cut, and what is concluded from the sections then holds only nearly.
    pub fn sections(&self) -> Vec<Range<usize>> {
        let mut sections = Vec::new();
        let mut section = Section::default();
        let mut start = 0;
        for (step, merge) in self.steps().iter().enumerate() {
            if !section.admits(merge) {
                sections.push(start..step);
                start = step;
                section = Section::default();
            }
            section.add(merge);
        }
        if start < self.steps().len() {
            sections.push(start..self.steps().len());
        }
        sections
    }
}

/// The tokens of a section by their use.
#[derive(Default)]
struct Section {
    lefts: FxHashSet<TokenId>,
    rights: FxHashSet<TokenId>,
    products: FxHashSet<TokenId>,
    /// Whether its merge is of a token with itself, which no other may join.
    closed: bool,
}

impl Section {
    fn admits(&self, merge: &Merge) -> bool {
        let Merge {
            left,
            right,
            product,
        } = merge;
        let used = |token| self.lefts.contains(token) || self.rights.contains(token);
        let made = |token| self.products.contains(token);
        self.products.is_empty()
            || !(self.closed
                || left == right
                || self.rights.contains(left)
                || self.lefts.contains(right)
                || made(left)
                || made(right)
                || made(product)
                || used(product))
    }

    fn add(&mut self, merge: &Merge) {
        self.lefts.insert(merge.left);
        self.rights.insert(merge.right);
        self.products.insert(merge.product);
        self.closed |= merge.left == merge.right;
    }
}
