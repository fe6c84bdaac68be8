//! Resuming with the networks of this crate: a language model, and a residual network with its running statistics.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::nets::device;
use crate::resume::{config, interrupted_equals_uninterrupted};

#[cfg(feature = "lm")]
#[test]
fn a_language_model_resumes_to_the_same_bytes() {
    use crate::resume::adamw;
    use fire_assay_models::lm::{CausalLm, LmConfig, Positions, RopeScaling, Side, TokenBatch};

    // Grouped queries, and sequences of different lengths: rotations, masks and filling take part.
    let network = LmConfig {
        vocabulary: 32,
        width: 16,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_width: 4,
        feed_forward: 24,
        positions: Positions::Rotary {
            theta: 10_000.0,
            rotated: 4,
            scaling: RopeScaling::None,
        },
        ..LmConfig::nano()
    };
    let device = device().autodiff();
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    // A token of every sequence is drawn anew whenever it is read.
    let sequence = |(sample, seed): (usize, u64)| -> Vec<u32> {
        let mut tokens: Vec<u32> = (0..6 + sample % 5)
            .map(|at| ((sample * 7 + at * (3 + sample % 4)) % 32) as u32)
            .collect();
        let length = tokens.len() as u64;
        tokens[(seed % length) as usize] = (seed / length % 32) as u32;
        tokens
    };
    let outcome = interrupted_equals_uninterrupted(
        &config(adamw(), 2),
        |seed| CausalLm::init(&network, seed, &device).unwrap(),
        |model, batch| {
            let samples = batch.indices.iter().enumerate();
            let samples = samples.map(|(at, &sample)| (sample, batch.sample_seed(at)));
            let sequences: Vec<_> = samples.map(sequence).collect();
            model.loss(&TokenBatch::new(&sequences, Side::Right)?, None)
        },
        Ok,
        &mut rng,
    );
    let moments = outcome
        .iter()
        .filter(|(name, _)| name.starts_with("second moment of blocks.1."));
    assert_eq!(moments.count(), 9);
}

#[cfg(feature = "vision")]
#[test]
fn a_residual_network_resumes_to_the_same_bytes() {
    use std::cell::RefCell;

    use crate::resume::nesterov;
    use burn::tensor::{Tensor, TensorData};
    use fire_assay_models::train::{Crop, Labels};
    use fire_assay_models::vision::{Network, ResNetConfig};

    let shape = [3, 8, 8];
    let network = ResNetConfig::cifar(8, shape, 3).with_width(4);
    let device = device().autodiff();
    let mut rng = ChaCha8Rng::seed_from_u64(22);
    // From the forward pass into the network, as the program `train` does it.
    let statistics = RefCell::new(None);
    let outcome = interrupted_equals_uninterrupted(
        &config(nesterov(), 1),
        |seed| Network::new(network.clone(), seed, &device).unwrap(),
        |network: &Network, batch| {
            let mut values = Vec::new();
            for (position, &sample) in batch.indices.iter().enumerate() {
                let image: Vec<f32> = (0..3 * 64)
                    .map(|at| ((at * (sample % 3 + 2) + sample * 13) % 17) as f32 / 8.0 - 1.0)
                    .collect();
                let crop = Crop {
                    padding: 1,
                    ..Crop::default()
                };
                values.extend(crop.apply(&image, shape, batch.sample_seed(position))?);
            }
            let images = TensorData::new(values, [batch.indices.len(), 3, 8, 8]);
            let (logits, found) =
                network.logits_with_statistics(Tensor::from_data(images, &device))?;
            statistics.replace(Some(found));
            let labels: Vec<i64> = batch.indices.iter().map(|&i| i as i64 % 3).collect();
            Labels::new(&labels, 3)?.cross_entropy(logits, 0.0)
        },
        |network| match statistics.take() {
            Some(statistics) => network.with_running_update(&statistics),
            None => Ok(network),
        },
        &mut rng,
    );
    // All 9 layers of batch normalisation have left the 0 and 1 that they begin with.
    for (end, initial) in [("running_mean", 0.0_f32), ("running_var", 1.0)] {
        let layers: Vec<_> = outcome
            .iter()
            .filter(|(name, _)| name.ends_with(end))
            .collect();
        assert_eq!(layers.len(), 9);
        for (name, bytes) in layers {
            let (values, _) = bytes.as_chunks::<4>();
            let moved = values.iter().all(|&v| f32::from_le_bytes(v) != initial);
            assert!(moved, "{name}");
        }
    }
}
