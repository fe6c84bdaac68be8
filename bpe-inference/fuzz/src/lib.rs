//! What every target checks: whatever a reader takes is a consistent list.

use bpe_inference::merges::{Format, MergeList, ReadOptions};

/// Reads `bytes` as `format` and checks that each merge joins letters or earlier products, and that the list can be
/// written and cut into sections. The limits of reading are off, so that more lists get through.
pub fn check(format: Format, bytes: &[u8]) {
    let options = ReadOptions {
        unreachable_limit: 1.0,
        ..ReadOptions::default()
    };
    let Ok((list, report)) = MergeList::read(bytes, format, &options) else {
        return;
    };
    let accounted = report.kept + report.redundant + report.unreachable.len() + report.manual.len();
    assert_eq!(report.listed, accounted);
    let mut made = list.alphabet().base();
    for merge in list.merges() {
        assert!(merge.left < made && merge.right < made && merge.product <= made);
        made = made.max(merge.product + 1);
        let parts = [list.text(merge.left), list.text(merge.right)].concat();
        assert_eq!(parts, list.text(merge.product).as_ref());
    }
    let covered: usize = list.sections().iter().map(ExactSizeIterator::len).sum();
    assert_eq!(covered, list.steps().len());
    let _ = list.to_merges_txt();
}
