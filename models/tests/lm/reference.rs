//! Agreement with `transformers` (`tests/data/make/lm.py` made the data).

use burn::tensor::Tensor;
use fire_assay_models::lm::{CausalLm, KvCache, Side, TokenBatch};
use fire_assay_models::tensors::{Safetensors, TensorSource};
use serde_json::Value;

use crate::{FAMILIES, VARIANTS, assert_close, folder, load, on_processor, values};

struct Reference {
    name: &'static str,
    model: CausalLm,
    facts: Value,
    tensors: Safetensors,
}

impl Reference {
    fn all() -> impl Iterator<Item = Self> {
        FAMILIES.into_iter().chain(VARIANTS).map(|name| {
            let text = std::fs::read_to_string(folder(name).join("reference.json")).unwrap();
            Self {
                name,
                model: load(name),
                facts: serde_json::from_str(&text).unwrap(),
                tensors: Safetensors::open(folder(name).join("reference.safetensors")).unwrap(),
            }
        })
    }

    fn tokens(&self) -> Vec<u32> {
        list(&self.facts["ids"])
    }

    fn tensor(&self, name: &str) -> Vec<f32> {
        self.tensors.read(name).unwrap().into_values()
    }
}

fn list(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn best(logits: &Tensor<2>) -> u32 {
    let logits = values(logits);
    (0..logits.len())
        .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
        .unwrap() as u32
}

#[test]
fn logits_are_those_of_transformers() {
    for r in Reference::all() {
        println!("{}", r.name);
        let batch = TokenBatch::single(&r.tokens()).unwrap();
        let logits = r.model.logits(&batch).unwrap();
        assert_eq!(logits.dims(), [1, 32, 64]);
        assert_close(&values(&logits), &r.tensor("logits"), 1e-4);
    }
}

#[test]
fn greedy_continuations_are_those_of_transformers() {
    for r in Reference::all() {
        let mut cache = KvCache::new(r.model.config());
        let mut next = r.tokens();
        let mut continuation = Vec::new();
        for _ in 0..16 {
            let batch = TokenBatch::single(&next).unwrap();
            next = vec![best(
                &r.model.next_logits(&batch, Some(&mut cache)).unwrap(),
            )];
            continuation.push(next[0]);
        }
        assert_eq!(
            continuation,
            list(&r.facts["greedy"]["new_tokens"]),
            "{}",
            r.name
        );
    }
}

#[test]
fn padded_batches_are_like_single_sequences_in_transformers() {
    for r in Reference::all() {
        println!("{}", r.name);
        let sequences: Vec<Vec<u32>> = [0, 1]
            .map(|i| list(&r.facts["batch"]["sequences"][i]))
            .into();
        for side in [Side::Left, Side::Right] {
            let batch = TokenBatch::new(&sequences, side).unwrap();
            let logits = r.model.logits(&batch).unwrap();
            for (i, place) in batch.padding().tokens().iter().enumerate() {
                let found = logits
                    .clone()
                    .narrow(0, i, 1)
                    .narrow(1, place.start, place.len());
                assert_close(
                    &values(&found),
                    &r.tensor(&format!("batch_logits_{i}")),
                    1e-4,
                );
            }
        }
    }
}

#[test]
fn token_log_probabilities_are_those_of_transformers() {
    for r in Reference::all() {
        println!("{}", r.name);
        let expected: Vec<f32> = serde_json::from_value(r.facts["token_logprobs"].clone()).unwrap();
        let batch = TokenBatch::single(&r.tokens()).unwrap();
        let found = r.model.token_log_probabilities(&batch).unwrap();
        assert_close(&found[0], &expected, 1e-4);
        let mean = expected.iter().map(|&x| -f64::from(x)).sum::<f64>() / 31.0;
        assert!((r.model.mean_nll(&batch).unwrap() - mean).abs() < 1e-5);
        let loss = values(&r.model.loss(&batch, None).unwrap());
        assert_close(&loss, &[mean as f32], 1e-4);
    }
}

#[test]
fn one_hot_gradients_are_those_of_transformers() {
    for r in Reference::all() {
        let [free, target] = ["free", "target"].map(|key| {
            let ends = list(&r.facts["one_hot"][key]);
            ends[0] as usize..ends[1] as usize
        });
        let found = r.model.one_hot_gradient(&r.tokens(), free, target).unwrap();
        assert_eq!(found.dims(), [8, 64]);
        let (found, expected) = (values(&found), r.tensor("one_hot_grad_f64"));
        let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>().sqrt();
        let relative = norm(&mut found.iter().zip(&expected).map(|(a, b)| a - b))
            / norm(&mut expected.iter().copied());
        // Shaders have no error function; that of GPT-NeoX's GELU is approximated there.
        let tolerance = if on_processor() { 1e-5 } else { 1e-3 };
        assert!(relative <= tolerance, "{}: {relative}", r.name);
    }
}
