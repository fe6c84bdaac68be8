//! Time of the language models on the CPU: one pass over 64 tokens and one cached token at the size of SmolLM2-135M, a
//! gradient with respect to tokens, and a training step of the preset `tiny` on 16 sequences of 64 tokens, by the trainer's
//! AdamW.

use std::hint::black_box;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use criterion::{Criterion, criterion_group, criterion_main};
use fire_assay_models::lm::{
    CausalLm, KvCache, LmConfig, Positions, RopeScaling, Side, TokenBatch,
};
use fire_assay_models::train::{Adam, DecayScope, Gradients, Method, Optimizer};

fn reading(criterion: &mut Criterion) {
    let config = LmConfig {
        vocabulary: 49_152,
        width: 576,
        layers: 30,
        heads: 9,
        kv_heads: 3,
        head_width: 64,
        feed_forward: 1536,
        positions: Positions::Rotary {
            theta: 100_000.0,
            rotated: 64,
            scaling: RopeScaling::None,
        },
        tied: true,
        context: 8192,
        ..LmConfig::nano()
    };
    let model = CausalLm::init(&config, 1, &Device::flex()).unwrap();
    let tokens: Vec<u32> = (0..64).collect();
    let batch = TokenBatch::single(&tokens).unwrap();
    let next = TokenBatch::single(&[64]).unwrap();
    let mut prompt = KvCache::new(&config);
    model.hidden(&batch, Some(&mut prompt)).unwrap();

    let mut group = criterion.benchmark_group("SmolLM2-135M");
    group.sample_size(10);
    group.bench_function("64 tokens", |b| {
        b.iter(|| black_box(model.logits(&batch).unwrap().into_data()));
    });
    group.bench_function("1 token after 64", |b| {
        b.iter(|| {
            let mut cache = prompt.clone();
            black_box(
                model
                    .next_logits(&next, Some(&mut cache))
                    .unwrap()
                    .into_data(),
            )
        });
    });
    group.bench_function("one-hot gradient of 20 of 64 tokens", |b| {
        b.iter(|| {
            let gradient = model.one_hot_gradient(&tokens, 10..30, 50..64).unwrap();
            black_box(gradient.into_data())
        });
    });
    group.finish();
}

fn training(criterion: &mut Criterion) {
    let sequence = |i: u32| {
        (0..64)
            .map(|j| (i * 31 + j * 7) % 2048)
            .collect::<Vec<u32>>()
    };
    let batch = TokenBatch::new(&(0..16).map(sequence).collect::<Vec<_>>(), Side::Right).unwrap();
    let device = Device::flex().autodiff();
    let mut model = Some(CausalLm::init(&LmConfig::tiny(), 1, &device).unwrap());
    let adam = Adam {
        weight_decay: 0.01,
        ..Adam::default()
    };
    let mut optimizer = Optimizer::new(Method::AdamW(adam), DecayScope::All).unwrap();
    let mut group = criterion.benchmark_group("tiny");
    group.sample_size(10);
    group.bench_function("training step of 16 x 64 tokens", |b| {
        b.iter(|| {
            let before = model.take().unwrap();
            let gradients = before.loss(&batch, None).unwrap().backward();
            let gradients = GradientsParams::from_grads(gradients, &before);
            let gradients = Gradients::new(&before, gradients);
            model = Some(optimizer.step(1e-3, before, gradients));
        });
    });
    group.finish();
}

criterion_group!(benches, reading, training);
criterion_main!(benches);
