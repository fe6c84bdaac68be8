//! What a list can tell about itself: shared prefixes and sections.

use std::collections::BTreeSet;

use bpe_inference::merges::{Alphabet, Merge, MergeList};
use proptest::prelude::*;

use crate::training::{Trained, trained};

fn list_of(trained: &Trained) -> MergeList {
    let parts = trained.merges.iter().map(|(left, right)| (left, right));
    MergeList::from_parts(Alphabet::Bytes, parts).unwrap()
}

/// The paper's condition on a section, read off directly.
fn is_section(merges: &[Merge]) -> bool {
    let lefts: BTreeSet<_> = merges.iter().map(|m| m.left).collect();
    let rights: BTreeSet<_> = merges.iter().map(|m| m.right).collect();
    let products: BTreeSet<_> = merges.iter().map(|m| m.product).collect();
    let parts: BTreeSet<_> = lefts.union(&rights).copied().collect();
    lefts.is_disjoint(&rights) && products.is_disjoint(&parts) && products.len() == merges.len()
}

proptest! {
    #[test]
    fn sections_cover_the_steps_and_are_as_long_as_can_be(
        trained in trained("abcde"),
        given in 0_usize..10,
    ) {
        let list = list_of(&trained).with_prefix(given);
        let steps = list.steps();
        let sections = list.sections();
        let mut end = 0;
        for section in &sections {
            prop_assert_eq!(section.start, end);
            prop_assert!(!section.is_empty());
            end = section.end;
            let within = &steps[section.clone()];
            prop_assert!(within.len() == 1 || is_section(within));
            if let Some(next) = steps.get(end) {
                prop_assert!(!is_section(&[within, &[*next]].concat()));
            }
        }
        prop_assert_eq!(end, steps.len());
    }

    #[test]
    fn a_list_shares_with_a_base_what_it_extends(trained in trained("abc"), cut in 0_usize..40) {
        let list = list_of(&trained);
        let cut = cut.min(trained.merges.len());
        let mut base = trained.clone();
        base.merges.truncate(cut);
        prop_assert_eq!(list.shared_prefix(&list_of(&base)), cut);
        base.merges.push(("y".to_owned(), "z".to_owned()));
        prop_assert_eq!(list.shared_prefix(&list_of(&base)), cut);
        prop_assert_eq!(list_of(&base).shared_prefix(&list), cut);
    }
}

#[test]
fn lists_over_different_alphabets_share_nothing() {
    let bytes = MergeList::from_parts(Alphabet::Bytes, [("a", "b")]).unwrap();
    let characters = MergeList::from_parts(Alphabet::Characters, [("a", "b")]).unwrap();
    assert_eq!(bytes.shared_prefix(&characters), 0);
    assert_eq!(bytes.shared_prefix(&bytes), 1);
}

#[test]
fn a_small_list_falls_into_known_sections() {
    // "ab" and "cd" may be swapped; "ef" too; "ab"+"cd" uses products; a token with itself stands alone.
    let parts = [
        ("a", "b"),
        ("c", "d"),
        ("e", "f"),
        ("ab", "cd"),
        ("x", "x"),
        ("g", "h"),
        ("h", "i"),
    ];
    let list = MergeList::from_parts(Alphabet::Bytes, parts).unwrap();
    assert_eq!(list.sections(), [0..3, 3..4, 4..5, 5..6, 6..7]);
}
