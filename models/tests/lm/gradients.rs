//! Gradients against slower ways to the same: one-hot rows through the embedding, finite differences, and the weights'
//! gradients of a model that is trained.

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use fire_assay_models::lm::{CausalLm, Side, TokenBatch};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{FAMILIES, assert_close, device, load, random, values};

const TOKENS: [u32; 14] = [3, 17, 5, 40, 41, 2, 9, 9, 60, 33, 1, 28, 54, 7];
const FREE: std::ops::Range<usize> = 2..7;
const TARGET: std::ops::Range<usize> = 10..14;

/// Minus the log-probability of the target when these vectors stand in the place of the tokens.
fn loss(model: &CausalLm, vectors: Tensor<3>) -> Tensor<1> {
    let logits = model.logits_from_embeddings(vectors, None, None).unwrap();
    let [_, time, vocabulary] = logits.dims();
    let log = log_softmax(logits.reshape([time, vocabulary]), 1);
    let terms = TARGET.map(|t| {
        log.clone()
            .slice([t - 1..t, TOKENS[t] as usize..TOKENS[t] as usize + 1])
    });
    Tensor::cat(terms.collect(), 0).sum().neg()
}

#[test]
fn equal_to_the_path_through_one_hot_rows() {
    for name in FAMILIES {
        let model = load(name);
        let mut hot = vec![0.0_f32; TOKENS.len() * 64];
        for (row, &token) in hot.chunks_exact_mut(64).zip(&TOKENS) {
            row[token as usize] = 1.0;
        }
        let hot = TensorData::new(hot, [TOKENS.len(), 64]);
        let hot = Tensor::<2>::from_data(hot, &device().autodiff()).require_grad();
        let vectors = hot
            .clone()
            .matmul(model.embedding_matrix().autodiff())
            .unsqueeze();
        let gradients = loss(&model, vectors).backward();
        let expected = values(&hot.grad(&gradients).unwrap().slice([FREE, 0..64]));
        let scale = expected.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        let found = model.one_hot_gradient(&TOKENS, FREE, TARGET).unwrap();
        assert!(!found.is_autodiff());
        assert_close(&values(&found), &expected, 1e-5 * scale);

        // A model that is being trained gives the same, and its weights get no gradients.
        let found = model
            .clone()
            .train()
            .one_hot_gradient(&TOKENS, FREE, TARGET)
            .unwrap();
        assert!(!found.is_autodiff());
        assert_close(&values(&found), &expected, 1e-5 * scale);
    }
}

#[test]
fn equal_to_finite_differences() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for name in FAMILIES {
        let model = load(name);
        let batch = TokenBatch::single(&TOKENS).unwrap();
        let vectors = model.embed(batch.to_tensor(&device()));
        let [_, time, width] = vectors.dims();
        let leaf = vectors.clone().autodiff().require_grad();
        let gradients = loss(&model, leaf.clone()).backward();
        let gradient = values(&leaf.grad(&gradients).unwrap());
        let vectors = values(&vectors);
        let (mut errors, mut slopes) = (0.0, 0.0);
        for _ in 0..20 {
            let place = random.random_range(0..(time - 1) * width);
            let at = |step: f32| {
                let mut moved = vectors.clone();
                moved[place] += step;
                let moved = Tensor::from_data(TensorData::new(moved, [1, time, width]), &device());
                f64::from(values(&loss(&model, moved))[0])
            };
            // Large enough for the rounding of the loss, small enough to cross few kinks of ReLU.
            let h = 0.002;
            let slope = (at(h) - at(-h)) / (2.0 * f64::from(h));
            errors += (slope - f64::from(gradient[place])).powi(2);
            slopes += slope.powi(2);
        }
        let relative = (errors / slopes).sqrt();
        println!("{name}: {relative:.1e}");
        assert!(relative <= 1e-2);
    }
}

#[test]
fn the_loss_falls_along_the_gradient_of_every_weight() {
    let model = random(7).train();
    let batch = TokenBatch::new(&[&TOKENS[..], &TOKENS[5..]], Side::Right).unwrap();
    let before = model.loss(&batch, None).unwrap();
    let gradients = before.backward();
    let before = f64::from(values(&before.inner())[0]);
    let block = &model.blocks[1];
    let matrices = [
        &model.embedding,
        &block.attention.query.weight,
        &block.attention.key.weight,
        &block.attention.value.weight,
        &block.attention.output.weight,
        &block.feed_forward.gate.as_ref().unwrap().weight,
        &block.feed_forward.up.weight,
        &block.feed_forward.down.weight,
        &model.output.as_ref().unwrap().weight,
    ];
    for (i, matrix) in matrices.into_iter().enumerate() {
        let gradient = matrix.val().grad(&gradients).unwrap();
        let squares: f32 = values(&gradient).iter().map(|g| g * g).sum();
        assert!(squares > 0.0, "matrix {i}");
        // A step that should lower the loss by a hundredth.
        let step = 0.01 / squares;
        let moved = matrix.val().inner() - gradient * step;
        let mut plain = model.valid();
        let moved = burn::module::Param::from_tensor(moved);
        match i {
            0 => plain.embedding = moved,
            1 => plain.blocks[1].attention.query.weight = moved,
            2 => plain.blocks[1].attention.key.weight = moved,
            3 => plain.blocks[1].attention.value.weight = moved,
            4 => plain.blocks[1].attention.output.weight = moved,
            5 => plain.blocks[1].feed_forward.gate.as_mut().unwrap().weight = moved,
            6 => plain.blocks[1].feed_forward.up.weight = moved,
            7 => plain.blocks[1].feed_forward.down.weight = moved,
            _ => plain.output.as_mut().unwrap().weight = moved,
        }
        let after = f64::from(values(&plain.loss(&batch, None).unwrap())[0]);
        let ratio = (before - after) / 0.01;
        assert!(
            (0.5..1.5).contains(&ratio),
            "matrix {i}: the loss fell by {ratio} of what was promised"
        );
    }
}
