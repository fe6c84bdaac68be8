//! Quantised values to 32-bit numbers, a benchmark a type. Taking fresh memory for the results is most of the time.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fire_assay_models::gguf::TensorType;

/// 16 MiB of results.
const VALUES: usize = 1 << 22;

fn dequantise(c: &mut Criterion) {
    let mut group = c.benchmark_group("dequantise");
    group.throughput(Throughput::Elements(VALUES as u64));
    for tensor_type in [
        TensorType::F32,
        TensorType::F16,
        TensorType::Bf16,
        TensorType::Q4_0,
        TensorType::Q4_1,
        TensorType::Q5_0,
        TensorType::Q5_1,
        TensorType::Q8_0,
        TensorType::Q6K,
    ] {
        let length = tensor_type.bytes(VALUES).unwrap();
        let bytes: Vec<u8> = (0..length).map(|i| (i * 37 % 60) as u8).collect();
        group.bench_function(tensor_type.to_string(), |b| {
            b.iter(|| tensor_type.dequantize(&bytes).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, dequantise);
criterion_main!(benches);
