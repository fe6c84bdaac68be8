//! The memory that training takes is what was planned. Alone in its file, because the peak is that of the process.
#![cfg(all(feature = "lm", feature = "flex", target_os = "linux"))]

use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Device;
use fire_assay_models::lm::{CausalLm, LmConfig, Side, TokenBatch};

/// Most memory that the process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    1024 * line
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
}

#[test]
fn training_takes_the_memory_that_was_planned() {
    let config = LmConfig::tiny();
    let sequence = |i: u32| {
        (0..64)
            .map(|j| (i * 31 + j * 7) % 2048)
            .collect::<Vec<u32>>()
    };
    let batch = TokenBatch::new(&(0..16).map(sequence).collect::<Vec<_>>(), Side::Right).unwrap();
    let before = peak();
    let mut model = CausalLm::init(&config, 1, &Device::flex().autodiff()).unwrap();
    let mut optimizer = AdamWConfig::new().init();
    for _ in 0..3 {
        let gradients = model.loss(&batch, None).unwrap().backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimizer.step(1e-3, model, gradients);
    }
    let ratio = (peak() - before) as f64 / config.plan_memory(16, 64, true).total() as f64;
    println!("{ratio:.2} of what was planned");
    assert!(
        (0.75..1.25).contains(&ratio),
        "{ratio:.2} of what was planned"
    );
}
