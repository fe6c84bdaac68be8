//! The same answer on every way to it: padded or not, cached or not, saved and loaded, summed in parts.

use std::collections::BTreeMap;

use burn::module::Module;
use fire_assay_models::lm::{Architecture, CausalLm, KvCache, LmConfig, Padding, Side, TokenBatch};
use fire_assay_models::tensors::{HostTensor, Safetensors, TensorSource};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{FAMILIES, VARIANTS, assert_close, device, folder, load, random, values};

fn sequence(length: usize, vocabulary: u32, seed: u64) -> Vec<u32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..length)
        .map(|_| random.random_range(0..vocabulary))
        .collect()
}

/// Logits of one sequence alone.
fn alone(model: &CausalLm, sequence: &[u32]) -> Vec<f32> {
    values(
        &model
            .logits(&TokenBatch::single(sequence).unwrap())
            .unwrap(),
    )
}

#[test]
fn cached_reading_is_like_reading_at_once() {
    for name in FAMILIES.into_iter().chain(VARIANTS) {
        println!("{name}");
        let model = load(name);
        let tokens = sequence(30, 64, 1);
        let mut cache = KvCache::new(model.config());
        let mut found = Vec::new();
        // A prompt, single tokens, and a piece again.
        let cuts = [0, 11, 12, 13, 14, 23, 30];
        for piece in cuts.windows(2) {
            let batch = TokenBatch::single(&tokens[piece[0]..piece[1]]).unwrap();
            let hidden = model.hidden(&batch, Some(&mut cache)).unwrap();
            found.extend(values(&model.output(hidden)));
            assert_eq!((cache.batch(), cache.length()), (1, piece[1]));
        }
        assert_close(&found, &alone(&model, &tokens), 1e-4);

        // Cut back and continued otherwise.
        let other = [&tokens[..17], &sequence(5, 64, 2)].concat();
        cache.truncate(17).unwrap();
        let rest = TokenBatch::single(&other[17..]).unwrap();
        let rest = values(&model.output(model.hidden(&rest, Some(&mut cache)).unwrap()));
        assert_close(&rest, &alone(&model, &other)[17 * 64..], 1e-4);
    }
}

#[test]
fn a_cached_prefix_serves_a_padded_batch() {
    for name in FAMILIES {
        println!("{name}");
        let model = load(name);
        let prefix = sequence(9, 64, 3);
        let mut cache = KvCache::new(model.config());
        model
            .hidden(&TokenBatch::single(&prefix).unwrap(), Some(&mut cache))
            .unwrap();
        let continuations = [sequence(4, 64, 4), sequence(7, 64, 5), sequence(1, 64, 6)];
        for side in [Side::Left, Side::Right] {
            let mut cache = cache.expand(3).unwrap();
            let batch = TokenBatch::new(&continuations, side).unwrap();
            let next = values(&model.next_logits(&batch, Some(&mut cache)).unwrap());
            // A second round: now there is filling in the middle of the cache.
            let more = [sequence(3, 64, 7), sequence(2, 64, 8), sequence(5, 64, 9)];
            let more_batch = TokenBatch::new(&more, side).unwrap();
            let later = values(&model.next_logits(&more_batch, Some(&mut cache)).unwrap());
            for (i, (continuation, more)) in continuations.iter().zip(&more).enumerate() {
                let whole = [&prefix[..], continuation, more].concat();
                let expected = alone(&model, &whole);
                let row = i * 64..(i + 1) * 64;
                let end = (prefix.len() + continuation.len()) * 64;
                assert_close(&next[row.clone()], &expected[end - 64..end], 1e-4);
                assert_close(&later[row], &expected[expected.len() - 64..], 1e-4);
            }
            let last = cache.select(&[2, 0]).unwrap();
            assert_eq!((last.batch(), last.length()), (2, cache.length()));
        }
    }
}

#[test]
fn tokens_see_no_later_token_and_no_filling() {
    let model = random(1);
    let tokens = sequence(12, 512, 10);
    let changed = [&tokens[..8], &sequence(4, 512, 11)].concat();
    let (a, b) = (alone(&model, &tokens), alone(&model, &changed));
    assert_close(&a[..8 * 512], &b[..8 * 512], 1e-6);
    assert_ne!(a[8 * 512..], b[8 * 512..]);

    let padding = Padding::new(&[5, 8], Side::Left).unwrap();
    let batch = TokenBatch::new(&[&tokens[..5], &tokens[..8]], Side::Left).unwrap();
    let embeddings = model.embed(batch.to_tensor(&device()));
    let logits = model
        .logits_from_embeddings(embeddings.clone(), Some(&padding), None)
        .unwrap();
    // Whatever the filling holds.
    let noise = embeddings.clone().slice([0..1, 0..3]) + 3.0;
    let noisy = embeddings.slice_assign([0..1, 0..3], noise);
    let noisy = model
        .logits_from_embeddings(noisy, Some(&padding), None)
        .unwrap();
    let kept = |x: burn::tensor::Tensor<3>| values(&x.narrow(0, 0, 1).narrow(1, 3, 5));
    assert_eq!(kept(noisy), kept(logits));
}

#[test]
fn a_sliding_window_hides_what_is_too_far() {
    let mut config = LmConfig::nano();
    config.architecture = Architecture::Mistral;
    config.layers = 1;
    config.sliding_window = Some(3);
    let model = CausalLm::init(&config, 2, &device()).unwrap();
    let tokens = sequence(10, 512, 12);
    let mut changed = tokens.clone();
    changed[4] = (changed[4] + 1) % 512;
    let (a, b) = (alone(&model, &tokens), alone(&model, &changed));
    for t in 0..10 {
        let row = t * 512..(t + 1) * 512;
        assert_eq!(
            a[row.clone()] != b[row],
            (4..7).contains(&t),
            "position {t}"
        );
    }
}

#[test]
fn scores_are_sums_of_token_log_probabilities() {
    for name in FAMILIES {
        println!("{name}");
        let model = load(name);
        let shared = sequence(6, 64, 13);
        let continuation = sequence(4, 64, 14);
        let mut prompts: Vec<Vec<u32>> = (0..5)
            .map(|i| [&shared[..], &sequence(i, 64, 20 + i as u64)].concat())
            .collect();
        for prompts in [
            prompts.clone(),
            prompts.split_off(3),
            vec![vec![5], vec![7, 8]],
        ] {
            let batch = TokenBatch::new(&prompts, Side::Left).unwrap();
            let sums = model.score(&batch, &continuation, true).unwrap();
            let means = model.score(&batch, &continuation, false).unwrap();
            let expected: Vec<f32> = prompts
                .iter()
                .map(|prompt| {
                    let whole = [&prompt[..], &continuation].concat();
                    let whole = TokenBatch::single(&whole).unwrap();
                    let values = model.token_log_probabilities(&whole).unwrap();
                    values[0][prompt.len() - 1..].iter().sum()
                })
                .collect();
            assert_close(&sums, &expected, 1e-4);
            let scores = model.score_tokens(&batch, &continuation).unwrap();
            for (score, prompt) in scores.iter().zip(&prompts) {
                let whole = [&prompt[..], &continuation].concat();
                let whole = TokenBatch::single(&whole).unwrap();
                let values = model.token_log_probabilities(&whole).unwrap();
                let values = &values[0][prompt.len() - 1..];
                assert_close(&score.log_probabilities, values, 1e-4);
            }
            assert_close(
                &means,
                &expected.iter().map(|x| x / 4.0).collect::<Vec<_>>(),
                1e-4,
            );
        }
    }
}

#[test]
fn what_a_model_writes_is_greedy_and_nothing_else() {
    for name in FAMILIES {
        let model = load(name);
        let vocabulary = model.config().vocabulary as u32;
        let prompt = sequence(7, 64, 21);
        let mut written = Vec::new();
        for _ in 0..4 {
            let text = [&prompt[..], &written].concat();
            let next = model.next_logits(&TokenBatch::single(&text).unwrap(), None);
            let logits = values(&next.unwrap());
            let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            written.push(best.unwrap() as u32);
        }
        let prompts = TokenBatch::single(&prompt).unwrap();
        let greedy =
            |continuation: &[u32]| model.score_tokens(&prompts, continuation).unwrap()[0].greedy;
        assert!(greedy(&written), "{name}");
        for place in 0..4 {
            let mut other = written.clone();
            other[place] = (other[place] + 1) % vocabulary;
            assert!(!greedy(&other), "{name}");
        }
    }
}

#[test]
fn logits_at_places_are_those_of_all() {
    for name in FAMILIES {
        let model = load(name);
        let sequences = [sequence(9, 64, 31), sequence(5, 64, 32)];
        let places = [(1, 4), (0, 0), (0, 8), (1, 4)];
        let expected: Vec<f32> = places
            .iter()
            .flat_map(|&(row, t)| {
                let all = alone(&model, &sequences[row]);
                let vocabulary = model.config().vocabulary;
                all[t * vocabulary..][..vocabulary].to_vec()
            })
            .collect();
        for side in [Side::Left, Side::Right] {
            let batch = TokenBatch::new(&sequences, side).unwrap();
            let found = model.logits_at(&batch, &places).unwrap();
            assert_eq!(found.dims(), [4, model.config().vocabulary]);
            assert_close(&values(&found), &expected, 1e-4);
            for wrong in [&[][..], &[(2, 0)], &[(0, 9)], &[(0, 1), (1, 5)]] {
                assert!(model.logits_at(&batch, wrong).is_err(), "{wrong:?}");
            }
        }
    }
}

#[test]
fn the_loss_counts_what_the_mask_names() {
    let model = random(3);
    let sequences = [sequence(9, 512, 15), sequence(5, 512, 16)];
    let batch = TokenBatch::new(&sequences, Side::Left).unwrap();
    let values_of = |mask| f64::from(values(&model.loss(&batch, mask).unwrap())[0]);
    assert!((values_of(None) - model.mean_nll(&batch).unwrap()).abs() < 1e-5);
    let mut mask: Vec<Vec<bool>> = sequences.iter().map(|s| vec![false; s.len()]).collect();
    (mask[0][7], mask[0][8], mask[1][0], mask[1][2]) = (true, true, true, true);
    let tokens = model.token_log_probabilities(&batch).unwrap();
    let expected = -f64::from(tokens[0][6] + tokens[0][7] + tokens[1][1]) / 3.0;
    assert!((values_of(Some(&mask)) - expected).abs() < 1e-5);
}

#[test]
fn saved_models_load_to_the_same_bits() {
    let mut configs: Vec<LmConfig> = Vec::new();
    for name in FAMILIES.into_iter().chain(VARIANTS) {
        println!("{name}");
        let model = load(name);
        let saved = tempfile::tempdir().unwrap();
        model.save_folder(saved.path()).unwrap();
        assert_eq!(
            LmConfig::from_hugging_face(saved.path().join("config.json")).unwrap(),
            *model.config()
        );
        // The file has the tensors of the original, constants of old releases apart.
        let (original, copy) = (tensors(&folder(name)), tensors(saved.path()));
        assert_eq!(
            original.keys().collect::<Vec<_>>(),
            copy.keys().collect::<Vec<_>>()
        );
        assert!(original == copy, "{name}: tensors differ");
        let again = CausalLm::from_folder(saved.path(), &device()).unwrap();
        let tokens = sequence(7, 64, 17);
        assert_eq!(alone(&again, &tokens), alone(&model, &tokens));
        configs.push(model.config().clone());
    }
    // Untied and tied the other way round, with random weights.
    for mut config in configs {
        config.tied = !config.tied;
        let model = CausalLm::init(&config, 4, &device()).unwrap();
        let saved = tempfile::tempdir().unwrap();
        model.save_folder(saved.path()).unwrap();
        let again = CausalLm::from_folder(saved.path(), &device()).unwrap();
        assert_eq!(again.config(), &config);
        let tokens = sequence(7, 64, 18);
        assert_eq!(alone(&again, &tokens), alone(&model, &tokens));
    }
}

fn tensors(folder: &std::path::Path) -> BTreeMap<String, HostTensor> {
    let source = Safetensors::open(folder).unwrap();
    let read = |name: String| {
        let tensor = source.read(&name).unwrap();
        (name, tensor)
    };
    source.names().into_iter().map(read).collect()
}

#[test]
fn initial_weights_follow_the_seed_and_the_residual_rule() {
    let (a, b, c) = (random(5), random(5), random(6));
    let tokens = sequence(6, 512, 19);
    assert_eq!(alone(&a, &tokens), alone(&b, &tokens));
    assert_ne!(alone(&a, &tokens), alone(&c, &tokens));
    let deviation = |x: Vec<f32>| {
        let sum: f64 = x.iter().map(|&x| f64::from(x).powi(2)).sum();
        (sum / x.len() as f64).sqrt()
    };
    let block = &a.blocks[1];
    let near = |found: f64, wanted: f64| {
        assert!((found / wanted - 1.0).abs() < 0.05, "{found}, not {wanted}")
    };
    near(deviation(values(&a.embedding.val())), 0.02);
    near(deviation(values(&block.attention.query.weight.val())), 0.02);
    near(
        deviation(values(
            &block.feed_forward.gate.as_ref().unwrap().weight.val(),
        )),
        0.02,
    );
    // Two additions to the residual stream in each of three blocks.
    near(
        deviation(values(&block.feed_forward.down.weight.val())),
        0.02 / 6_f64.sqrt(),
    );
    near(
        deviation(values(&block.attention.output.weight.val())),
        0.02 / 6_f64.sqrt(),
    );
}

#[test]
fn a_network_has_as_many_weights_as_its_configuration_says() {
    for name in FAMILIES.into_iter().chain(VARIANTS) {
        let model = load(name);
        assert_eq!(model.num_params(), model.config().parameters(), "{name}");
    }
}
