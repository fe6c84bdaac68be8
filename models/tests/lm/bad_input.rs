//! Input that a model cannot take is an error, not a panic.

use fire_assay_models::Error;
use fire_assay_models::lm::{CausalLm, KvCache, LmConfig, Padding, Side, TokenBatch};

use crate::{device, load, random};

fn is_invalid<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::InvalidInput { .. }))
}

#[test]
fn batches_hold_tokens() {
    let none: [Vec<u32>; 0] = [];
    assert!(is_invalid(TokenBatch::new(&none, Side::Left)));
    assert!(is_invalid(TokenBatch::new(&[vec![1], vec![]], Side::Right)));
    assert!(is_invalid(TokenBatch::single(&[])));
    assert!(is_invalid(Padding::full(0, 3)));
    assert!(is_invalid(Padding::full(3, 0)));
}

#[test]
fn tokens_are_in_the_vocabulary() {
    let model = load("gpt2");
    let batch = TokenBatch::new(&[vec![1, 2, 3], vec![4, 64]], Side::Left).unwrap();
    let wrong = |result: Option<Error>| {
        assert!(
            matches!(
                result,
                Some(Error::TokenOutOfRange {
                    token: 64,
                    position: 1,
                    vocabulary: 64
                })
            ),
            "{result:?}"
        );
    };
    wrong(model.logits(&batch).err());
    wrong(model.next_logits(&batch, None).err());
    wrong(model.token_log_probabilities(&batch).err());
    wrong(model.loss(&batch, None).err());
    wrong(model.score(&batch, &[1], true).err());
    wrong(model.one_hot_gradient(&[4, 64, 1], 0..1, 2..3).err());
    let batch = TokenBatch::single(&[1]).unwrap();
    wrong(model.score(&batch, &[1, 64], true).err());
}

#[test]
fn contexts_have_an_end() {
    for name in ["llama", "opt"] {
        let model = load(name);
        assert_eq!(model.config().context, 64);
        let tokens = [1; 65];
        assert!(is_invalid(
            model.logits(&TokenBatch::single(&tokens).unwrap())
        ));
        assert!(is_invalid(model.score(
            &TokenBatch::single(&tokens[..60]).unwrap(),
            &[1; 6],
            true
        )));
        assert!(
            model
                .score(&TokenBatch::single(&tokens[..60]).unwrap(), &[1; 5], true)
                .is_ok()
        );
        // The last token is predicted and not read.
        let nll = |tokens: &[u32]| model.mean_nll(&TokenBatch::single(tokens).unwrap());
        let loss = |tokens: &[u32]| model.loss(&TokenBatch::single(tokens).unwrap(), None);
        assert!(nll(&tokens).is_ok() && loss(&tokens).is_ok());
        assert!(is_invalid(nll(&[1; 66])) && is_invalid(loss(&[1; 66])));
        let mut cache = KvCache::new(model.config());
        model
            .hidden(
                &TokenBatch::single(&tokens[..40]).unwrap(),
                Some(&mut cache),
            )
            .unwrap();
        let rest = TokenBatch::single(&tokens[40..]).unwrap();
        assert!(is_invalid(model.hidden(&rest, Some(&mut cache))));
        // The cache is as before.
        let rest = TokenBatch::single(&tokens[41..]).unwrap();
        model.hidden(&rest, Some(&mut cache)).unwrap();
        assert_eq!(cache.length(), 64);
    }
}

#[test]
fn ranges_lie_within_the_tokens() {
    let model = random(1);
    let tokens = [1, 2, 3, 4];
    for (free, target) in [
        (0..0, 2..3),
        (0..1, 3..3),
        (0..5, 2..3),
        (0..1, 2..5),
        (1..2, 0..2),
    ] {
        assert!(
            is_invalid(model.one_hot_gradient(&tokens, free.clone(), target.clone())),
            "{free:?} {target:?}"
        );
    }
    assert!(model.one_hot_gradient(&tokens, 0..4, 1..4).is_ok());
}

#[test]
fn something_must_be_predicted() {
    let model = random(1);
    let single = TokenBatch::single(&[5]).unwrap();
    assert!(is_invalid(model.token_log_probabilities(&single)));
    assert!(is_invalid(model.mean_nll(&single)));
    assert!(is_invalid(model.loss(&single, None)));
    assert!(is_invalid(model.score(&single, &[], true)));
    let batch = TokenBatch::single(&[5, 6, 7]).unwrap();
    assert!(is_invalid(
        model.loss(&batch, Some(&[vec![true, false, false]]))
    ));
    assert!(is_invalid(model.loss(&batch, Some(&[vec![true; 2]]))));
    assert!(is_invalid(model.loss(&batch, Some(&[]))));
}

#[test]
fn caches_fit_their_model_and_batch() {
    let model = random(1);
    let batch = |n: usize| TokenBatch::new(&vec![vec![1, 2]; n], Side::Left).unwrap();
    let mut cache = KvCache::new(model.config());
    assert!(is_invalid(cache.expand(2)));
    model.hidden(&batch(2), Some(&mut cache)).unwrap();
    assert!(is_invalid(model.hidden(&batch(3), Some(&mut cache))));
    assert!(is_invalid(cache.expand(2)));
    assert!(is_invalid(cache.select(&[0, 2])));
    assert!(is_invalid(cache.select(&[])));
    assert!(is_invalid(cache.truncate(3)));
    let other = CausalLm::init(&LmConfig::tiny(), 1, &device()).unwrap();
    assert!(is_invalid(other.hidden(&batch(2), Some(&mut cache))));
    cache.truncate(0).unwrap();
    assert!(model.hidden(&batch(3), Some(&mut cache)).is_ok());
}

#[test]
fn vectors_have_the_width_of_the_model() {
    let model = random(1);
    let vectors = model.embed(TokenBatch::single(&[1, 2, 3]).unwrap().to_tensor(&device()));
    let padding = Padding::full(1, 2).unwrap();
    assert!(is_invalid(model.hidden_from_embeddings(
        vectors.clone(),
        Some(&padding),
        None
    )));
    assert!(is_invalid(model.hidden_from_embeddings(
        vectors.narrow(2, 0, 32),
        None,
        None
    )));
}
