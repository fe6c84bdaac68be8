//! What the targets check: whatever a reader takes is consistent.

use bpe_inference::inference::{InferenceConfig, MixtureInference, StopRule};
use bpe_inference::merges::{Format, MergeList, ReadOptions};
use bpe_inference::trace::PairTrace;
use xxhash_rust::xxh3::xxh3_64;

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

/// `bytes` with its last eight made the checksum of those before, so that changes get behind it.
pub fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let (body, _) = bytes.split_last_chunk::<8>()?;
    Some([body, &xxh3_64(body).to_le_bytes()].concat())
}

/// Checks that a trace can be walked through to its end, written again, and inferred from: the last may fail, but in order.
pub fn check_trace(trace: &PairTrace) {
    let mut counts = trace.counts_at(0);
    while counts.advance() {}
    for pair in 0..trace.pairs().len() as u32 {
        assert!(counts.counts(pair).all(|(_, count)| i64::try_from(count).is_ok()));
    }
    assert_eq!(PairTrace::from_bytes(&trace.to_bytes()).as_ref().ok(), Some(trace));
    if let Ok(estimate) = quick_inference().run(trace) {
        let sum: f64 = estimate.byte_shares().iter().sum();
        assert!((sum - 1.0).abs() < 1e-9 && estimate.objective_upper.is_finite());
    }
}

/// An inference that ends soon, whatever the counts are.
pub fn quick_inference() -> MixtureInference<'static> {
    let stop = StopRule {
        time: Some(std::time::Duration::from_millis(200)),
        ..StopRule::default()
    };
    MixtureInference::new(InferenceConfig::new().with_merges(20).with_stop(stop))
}
