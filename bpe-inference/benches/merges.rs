//! Recovery of merges from published ranks, and reading of a rank file. The bar: o200k in 2 s or less on one core.

use bpe_inference::merges::MergeList;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tiktoken_rs::CoreBPE;

/// Tokens of a tokenizer with their ranks; `length` is the first rank that is none.
fn ranks(tokenizer: &CoreBPE, length: u32) -> Vec<(Vec<u8>, u32)> {
    (0..length)
        .map(|rank| (tokenizer.decode_bytes(&[rank]).unwrap(), rank))
        .collect()
}

fn recovery(c: &mut Criterion) {
    let mut group = c.benchmark_group("recover");
    group.sample_size(10);
    for (name, tokenizer, length) in [
        ("r50k", tiktoken_rs::r50k_base().unwrap(), 50_256),
        ("cl100k", tiktoken_rs::cl100k_base().unwrap(), 100_256),
        ("o200k", tiktoken_rs::o200k_base().unwrap(), 199_998),
    ] {
        let ranks = ranks(&tokenizer, length);
        group.throughput(Throughput::Elements(ranks.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let tokens = ranks.iter().map(|(text, rank)| (text, *rank));
                MergeList::from_ranks(tokens).unwrap()
            });
        });
    }
    group.finish();
}

fn merges_txt(c: &mut Criterion) {
    let tokenizer = tiktoken_rs::r50k_base().unwrap();
    let (list, _) = MergeList::from_ranks(ranks(&tokenizer, 50_256)).unwrap();
    let text = list.to_merges_txt().unwrap();
    let mut group = c.benchmark_group("merges_txt");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("read", |b| {
        b.iter(|| MergeList::from_merges_txt(&text).unwrap())
    });
    group.bench_function("write", |b| b.iter(|| list.to_merges_txt().unwrap()));
    group.bench_function("sections", |b| b.iter(|| list.sections()));
    group.finish();
}

criterion_group!(benches, recovery, merges_txt);
criterion_main!(benches);
