//! The language models: equal to `transformers` on tiny checkpoints of every family, consistent with themselves, and
//! strict about damaged files.
//!
//! They run on the device that the environment variable `FIRE_ASSAY_DEVICE` names among those compiled in (`flex`,
//! `wgpu`, `vulkan`), by default `flex`.
#![cfg(all(feature = "lm", feature = "flex"))]

mod bad_files;
mod bad_input;
mod configs;
mod consistency;
mod gradients;
mod reference;
mod safetensors_files;

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use fire_assay_models::lm::{CausalLm, LmConfig};
use fire_assay_models::tensors::HostTensor;

/// The checkpoints of the six families.
const FAMILIES: [&str; 6] = ["llama", "mistral", "qwen2", "gpt_neox", "gpt2", "opt"];

/// Variants: two shards, scaled rotary positions, sub-layers one after the other.
const VARIANTS: [&str; 4] = [
    "llama_sharded",
    "llama_rope_linear",
    "llama_rope_llama3",
    "gpt_neox_sequential",
];

/// Whether the tests run on the processor.
fn on_processor() -> bool {
    !matches!(std::env::var("FIRE_ASSAY_DEVICE"), Ok(name) if name != "flex")
}

fn device() -> Device {
    match std::env::var("FIRE_ASSAY_DEVICE").as_deref() {
        Err(_) | Ok("flex") => Device::flex(),
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "vulkan")]
        Ok("vulkan") => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
        Ok(other) => panic!("`{other}` is not compiled in"),
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/lm")
        .join(name)
}

fn load(name: &str) -> CausalLm {
    CausalLm::from_folder(folder(name), &device()).unwrap()
}

/// A small random model of the presets' architecture.
fn random(seed: u64) -> CausalLm {
    CausalLm::init(&LmConfig::nano(), seed, &device()).unwrap()
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    HostTensor::from_tensor(tensor).unwrap().into_values()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, |worst: f32, d| {
        if d.is_nan() {
            f32::INFINITY
        } else {
            worst.max(d)
        }
    });
    println!("largest difference {worst:.1e}");
    assert!(worst <= tolerance, "above {tolerance}");
}
