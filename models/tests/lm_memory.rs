//! The memory that training and reading take is what was planned. Alone in its file, because the peak is that of the
//! process.
#![cfg(all(feature = "lm", feature = "flex", target_os = "linux"))]

use burn::optim::GradientsParams;
use burn::tensor::Device;
use fire_assay_models::lm::{CausalLm, LmConfig, Positions, RopeScaling, Side, TokenBatch};
use fire_assay_models::train::{Adam, DecayScope, Gradients, Method, Optimizer};

/// An entry of the kernel's account of this process, in bytes.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kilobytes = line.split_whitespace().nth(1).unwrap();
    1024 * kilobytes.parse::<u64>().unwrap()
}

/// The memory that `work` takes at its peak, which must exceed what the process has had before.
fn taken(work: impl FnOnce()) -> u64 {
    let (before, peak) = (status("VmRSS"), status("VmHWM"));
    work();
    assert!(status("VmHWM") > peak, "there was more before");
    status("VmHWM") - before
}

/// One test, since the second measurement must be the larger one and nothing may run beside them.
#[test]
fn memory_is_taken_as_planned() {
    training();
    reading_long_prompts();
}

fn training() {
    let config = LmConfig::tiny();
    let sequence = |i: u32| {
        (0..64)
            .map(|j| (i * 31 + j * 7) % 2048)
            .collect::<Vec<u32>>()
    };
    let batch = TokenBatch::new(&(0..16).map(sequence).collect::<Vec<_>>(), Side::Right).unwrap();
    let taken = taken(|| {
        let mut model = CausalLm::init(&config, 1, &Device::flex().autodiff()).unwrap();
        let mut optimizer =
            Optimizer::new(Method::AdamW(Adam::default()), DecayScope::All).unwrap();
        for _ in 0..3 {
            let gradients = model.loss(&batch, None).unwrap().backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            let gradients = Gradients::new(&model, gradients);
            model = optimizer.step(1e-3, model, gradients);
        }
    });
    let ratio = taken as f64 / config.plan_memory(16, 64, true).total() as f64;
    println!("training: {ratio:.2} of what was planned");
    assert!((0.75..1.25).contains(&ratio));
}

/// Of long prompts of different lengths the mask is the largest part: on the processor, scores are worked off in pieces.
fn reading_long_prompts() {
    let config = LmConfig {
        width: 16,
        layers: 2,
        heads: 4,
        kv_heads: 1,
        head_width: 4,
        feed_forward: 16,
        positions: Positions::Rotary {
            theta: 10_000.0,
            rotated: 4,
            scaling: RopeScaling::None,
        },
        context: 2048,
        ..LmConfig::nano()
    };
    let time = 2048;
    let prompts: Vec<Vec<u32>> = (0..4).map(|i| vec![1; time - 10 * i]).collect();
    let batch = TokenBatch::new(&prompts, Side::Right).unwrap();
    let model = CausalLm::init(&config, 1, &Device::flex()).unwrap();
    let taken = taken(|| {
        model.next_logits(&batch, None).unwrap().into_data();
    });
    let plan = config.plan_memory(4, time, false);
    // Four prompts, four queries a key, every token against every token.
    assert_eq!(plan.mask, 4 * 4 * 4 * 2048 * 2048);
    let ratio = taken as f64 / plan.mask as f64;
    println!("reading: {ratio:.2} of the mask that was planned");
    assert!((0.9..1.25).contains(&ratio));
    assert!(taken < plan.total());
}
