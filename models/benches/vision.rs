//! Time of a forward pass and of a training step, by the trainer's SGD, of ResNet-20 (16, 32 and 64 channels) on 128 images
//! of 3x32x32.
//!
//! `cargo bench -p fire-assay-models --no-default-features --features flex,vision --bench vision`

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData, activation};
use criterion::{Criterion, criterion_group, criterion_main};
use fire_assay_models::train::{DecayScope, Gradients, Method, Optimizer, Sgd};
use fire_assay_models::vision::{Classifier, Mode, Network, ResNetConfig, Shortcut};

const BATCH: usize = 128;

fn images(device: &Device) -> Tensor<4> {
    let count = BATCH * 3 * 32 * 32;
    let values: Vec<f32> = (0..count)
        .map(|i| ((i * 7919 % 2003) as f32) / 1000.0 - 1.0)
        .collect();
    Tensor::from_data(TensorData::new(values, [BATCH, 3, 32, 32]), device)
}

fn labels(device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..BATCH * 10)
        .map(|i| f32::from(i % 10 == i / 10 % 10))
        .collect();
    Tensor::from_data(TensorData::new(values, [BATCH, 10]), device)
}

fn resnet20(c: &mut Criterion) {
    let device = Device::flex();
    let config = ResNetConfig::cifar(20, [3, 32, 32], 10).with_shortcut(Shortcut::Subsample);
    let network = Network::new(config, 1, &device).unwrap();
    let mut group = c.benchmark_group("resnet20");
    group.sample_size(10);
    for (name, mode) in [
        ("forward, evaluation", Mode::Eval),
        ("forward, training", Mode::Train),
    ] {
        let x = images(&device);
        group.bench_function(name, |b| {
            b.iter(|| network.logits(x.clone(), mode).unwrap().into_data());
        });
    }
    let (x, y) = (images(&device).autodiff(), labels(&device).autodiff());
    let mut network = network.train();
    let sgd = Sgd {
        momentum: 0.9,
        ..Sgd::default()
    };
    let mut optimizer = Optimizer::new(Method::Sgd(sgd), DecayScope::All).unwrap();
    group.bench_function("training step", |b| {
        b.iter(|| {
            let (logits, statistics) = network.logits_with_statistics(x.clone()).unwrap();
            let loss = (activation::log_softmax(logits, 1) * y.clone())
                .sum()
                .div_scalar(-(BATCH as f64));
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            let gradients = Gradients::new(&network, gradients);
            let stepped = optimizer.step(0.1, network.clone(), gradients);
            network = stepped.with_running_update(&statistics).unwrap();
            loss.into_data()
        });
    });
    group.finish();
}

criterion_group!(benches, resnet20);
criterion_main!(benches);
