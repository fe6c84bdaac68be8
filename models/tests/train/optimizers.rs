//! Update rules, gradients and clipping against PyTorch's numbers.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use fire_assay_models::Error;
use fire_assay_models::train::{
    Adam, DecayScope, Gradients, Method, Optimizer, ParameterState, Sgd,
};
use serde_json::Value;

use crate::nets::{Mlp, device, tensors};

#[derive(Module, Debug)]
struct Pair {
    w: Param<Tensor<2>>,
    b: Param<Tensor<1>>,
}

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/train/optimisers.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap() as f32)
        .collect()
}

fn pair(values: &Value) -> Pair {
    let device = device().autodiff();
    Pair {
        w: Param::from_data(TensorData::new(numbers(&values["w"]), [3, 4]), &device),
        b: Param::from_data(TensorData::new(numbers(&values["b"]), [5]), &device),
    }
}

/// Gradients that have these values, through burn's own container.
fn gradients(model: &Pair, values: &Value) -> Gradients {
    let mut gradients = GradientsParams::new();
    let w = TensorData::new(numbers(&values["w"]), [3, 4]);
    gradients.register(model.w.id, Tensor::<2>::from_data(w, &device()));
    let b = TensorData::new(numbers(&values["b"]), [5]);
    gradients.register(model.b.id, Tensor::<1>::from_data(b, &device()));
    Gradients::new(model, gradients)
}

fn method(case: &Value) -> Method {
    let options = &case["options"];
    let number =
        |name: &str, default: f64| options.get(name).map_or(default, |v| v.as_f64().unwrap());
    let beta = |at: usize, default: f64| {
        options
            .get("betas")
            .map_or(default, |b| b[at].as_f64().unwrap())
    };
    let adam = |weight_decay: f64| Adam {
        beta1: beta(0, 0.9),
        beta2: beta(1, 0.999),
        epsilon: number("eps", 1e-8),
        weight_decay: number("weight_decay", weight_decay),
    };
    match case["optimiser"].as_str().unwrap() {
        "sgd" => Method::Sgd(Sgd {
            momentum: number("momentum", 0.0),
            dampening: number("dampening", 0.0),
            nesterov: options
                .get("nesterov")
                .is_some_and(|n| n.as_bool().unwrap()),
            weight_decay: number("weight_decay", 0.0),
        }),
        "adam" => Method::Adam(adam(0.0)),
        "adamw" => Method::AdamW(adam(0.01)),
        other => panic!("{other}"),
    }
}

fn distance(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    found
        .iter()
        .zip(wanted)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn steps_equal_pytorchs_golden_vectors() {
    let golden = golden();
    let mut worst = BTreeMap::new();
    for case in golden["cases"].as_array().unwrap() {
        let mut optimizer = Optimizer::new(method(case), DecayScope::All).unwrap();
        let mut model = pair(&golden["start"]);
        for (step, gradient) in golden["gradients"].as_array().unwrap().iter().enumerate() {
            let lr = match case.get("lr_of_step") {
                Some(rates) => rates[step].as_f64().unwrap(),
                None => case["options"]["lr"].as_f64().unwrap(),
            };
            let gradients = gradients(&model, gradient);
            model = optimizer.step(lr, model, gradients);
            for (name, data) in tensors(&model) {
                let found = data.try_to_vec::<f32>().unwrap();
                let error = distance(&found, &numbers(&case["after"][step][&name]));
                assert!(
                    error <= 1e-6,
                    "{} {} step {step} {name}: {error}",
                    case["optimiser"],
                    case["options"]
                );
                let name = case["optimiser"].as_str().unwrap();
                worst
                    .entry(name)
                    .and_modify(|w: &mut f32| *w = w.max(error))
                    .or_insert(error);
            }
        }
        check_state(&optimizer, &case["state_at_end"]);
    }
    println!("largest difference to PyTorch: {worst:?}");
}

fn check_state(optimizer: &Optimizer, wanted: &Value) {
    let state = optimizer.state().unwrap();
    for path in ["w", "b"] {
        let wanted = &wanted[path];
        let close = |data: &TensorData, name: &str| {
            let error = distance(&data.try_to_vec::<f32>().unwrap(), &numbers(&wanted[name]));
            assert!(error <= 1e-6, "{path} {name}: {error}");
        };
        match state.get(path) {
            None => assert!(wanted.as_object().unwrap().is_empty(), "no state of {path}"),
            Some(ParameterState::Momentum(buffer)) => close(buffer, "momentum_buffer"),
            Some(ParameterState::Moments {
                time,
                first,
                second,
            }) => {
                assert_eq!(*time, 4);
                close(first, "exp_avg");
                close(second, "exp_avg_sq");
            }
        }
    }
}

#[test]
fn clipping_equals_pytorchs_over_all_parameters_together() {
    let golden = golden();
    let model = pair(&golden["start"]);
    for case in golden["clip_by_global_norm"].as_array().unwrap() {
        let gradients = gradients(&model, &golden["gradients"][0]);
        let norm = gradients.norm().unwrap();
        assert!(
            (norm - case["norm"].as_f64().unwrap()).abs() < 1e-6,
            "{norm}"
        );
        let clipped = gradients.clipped(norm, case["max_norm"].as_f64().unwrap());
        for path in ["w", "b"] {
            let found = clipped
                .get(path)
                .unwrap()
                .to_data()
                .try_to_vec::<f32>()
                .unwrap();
            let error = distance(&found, &numbers(&case["clipped"][path]));
            assert!(error <= 1e-6, "{path}: {error}");
        }
    }
}

#[test]
fn norms_of_long_gradients_are_whole() {
    // Longer than one row of the sum, and not a multiple of it.
    let length = 3 * 65_536 + 17_usize;
    let device = device().autodiff();
    let model = Param::<Tensor<1>>::from_data(TensorData::zeros::<f32, _>([length]), &device);
    let mut gradients = GradientsParams::new();
    let values: Vec<f32> = (0..length)
        .map(|i| if i % 2 == 0 { 2.0 } else { -1.0 })
        .collect();
    gradients.register(
        model.id,
        Tensor::<1>::from_data(TensorData::new(values, [length]), &crate::nets::device()),
    );
    let norm = Gradients::new(&model, gradients).norm().unwrap();
    let exact = (4.0 * length.div_ceil(2) as f64 + (length / 2) as f64).sqrt();
    assert!((norm / exact - 1.0).abs() < 1e-6, "{norm} {exact}");
}

#[test]
fn only_matrices_decay_when_asked() {
    let golden = golden();
    let sgd = Method::Sgd(Sgd {
        weight_decay: 0.5,
        ..Sgd::default()
    });
    let after = |scope| {
        let model = pair(&golden["start"]);
        let gradients = gradients(&model, &golden["gradients"][0]).scaled(0.0);
        Optimizer::new(sgd, scope)
            .unwrap()
            .step(0.1, model, gradients)
    };
    let start = pair(&golden["start"]);
    let decayed = |data: &TensorData| {
        data.clone()
            .try_to_vec::<f32>()
            .unwrap()
            .iter()
            .map(|v| v * 0.95)
            .collect::<Vec<_>>()
    };
    for (scope, bias_decays) in [(DecayScope::All, true), (DecayScope::Matrices, false)] {
        let model = after(scope);
        let (w, b) = (start.w.val().to_data(), start.b.val().to_data());
        assert!(distance(&model.w.val().to_data().try_to_vec().unwrap(), &decayed(&w)) < 1e-6);
        let wanted = if bias_decays {
            decayed(&b)
        } else {
            b.try_to_vec().unwrap()
        };
        assert!(distance(&model.b.val().to_data().try_to_vec().unwrap(), &wanted) < 1e-6);
    }
}

#[test]
fn a_step_of_one_tensor_from_a_given_state_equals_the_modules() {
    let golden = golden();
    let sgd = Sgd {
        momentum: 0.9,
        nesterov: true,
        dampening: 0.25,
        weight_decay: 0.05,
    };
    let mut optimizer = Optimizer::new(Method::Sgd(sgd), DecayScope::All).unwrap();
    let mut model = pair(&golden["start"]);
    let mut single = (model.w.val().inner(), None);
    for values in golden["gradients"].as_array().unwrap() {
        let gradient =
            Tensor::<2>::from_data(TensorData::new(numbers(&values["w"]), [3, 4]), &device());
        single = sgd.step(0.1, single.0, gradient, single.1);
        let gradients = gradients(&model, values);
        model = optimizer.step(0.1, model, gradients);
    }
    assert_eq!(single.0.to_data(), model.w.val().to_data());
    let state = optimizer.state().unwrap();
    let ParameterState::Momentum(buffer) = &state["w"] else {
        panic!("{state:?}");
    };
    assert_eq!(buffer.as_bytes(), single.1.unwrap().to_data().as_bytes());

    // The state goes into another optimiser, of another process as it were, and the next steps are the same.
    let mut other = Optimizer::new(Method::Sgd(sgd), DecayScope::All).unwrap();
    other = other.with_state(&model, state).unwrap();
    let step = |optimizer: &mut Optimizer| {
        let gradients = gradients(&model, &golden["gradients"][1]);
        tensors(&optimizer.step(0.1, model.clone(), gradients))
    };
    assert_eq!(step(&mut other), step(&mut optimizer));
}

#[test]
fn states_that_do_not_fit_are_refused() {
    let golden = golden();
    let model = pair(&golden["start"]);
    let momentum = Method::Sgd(Sgd {
        momentum: 0.9,
        ..Sgd::default()
    });
    let adam = Method::Adam(Adam::default());
    let state = |method| {
        let mut optimizer = Optimizer::new(method, DecayScope::All).unwrap();
        let gradients = gradients(&model, &golden["gradients"][0]);
        optimizer.step(0.1, model.clone(), gradients);
        optimizer.state().unwrap()
    };
    let load = |method, state| {
        let optimizer = Optimizer::new(method, DecayScope::All).unwrap();
        optimizer.with_state(&model, state).map(|_| ())
    };
    assert!(load(momentum, state(momentum)).is_ok());
    assert!(load(adam, state(adam)).is_ok());
    let refused = |result: Result<(), Error>| {
        assert!(
            matches!(result, Err(Error::InvalidInput { .. })),
            "{result:?}"
        )
    };
    refused(load(adam, state(momentum)));
    refused(load(momentum, state(adam)));
    refused(load(Method::Sgd(Sgd::default()), state(momentum)));
    let mut renamed = state(momentum);
    let buffer = renamed.remove("w").unwrap();
    renamed.insert("v".to_owned(), buffer);
    refused(load(momentum, renamed));
    let mut swapped = state(momentum);
    let (w, b) = (swapped["w"].clone(), swapped["b"].clone());
    swapped.insert("w".to_owned(), b);
    swapped.insert("b".to_owned(), w);
    refused(load(momentum, swapped));
}

#[test]
fn settings_out_of_range_are_refused() {
    let sgd = Sgd::default();
    let adam = Adam::default();
    let bad = [
        Method::Sgd(Sgd {
            momentum: 1.0,
            ..sgd
        }),
        Method::Sgd(Sgd {
            momentum: -0.1,
            ..sgd
        }),
        Method::Sgd(Sgd {
            momentum: f64::NAN,
            ..sgd
        }),
        Method::Sgd(Sgd {
            nesterov: true,
            ..sgd
        }),
        Method::Sgd(Sgd {
            weight_decay: f64::INFINITY,
            ..sgd
        }),
        Method::Adam(Adam { beta1: 1.0, ..adam }),
        Method::AdamW(Adam { beta2: 1.5, ..adam }),
        Method::AdamW(Adam {
            epsilon: -1.0,
            ..adam
        }),
    ];
    for method in bad {
        let result = Optimizer::new(method, DecayScope::All);
        assert!(
            matches!(result, Err(Error::InvalidConfig { .. })),
            "{method:?}"
        );
    }
}

#[test]
fn gradients_are_named_by_path() {
    let model = Mlp::new([2, 3, 2], 1, &device().autodiff());
    let input = Tensor::<2>::from_data(
        TensorData::new(vec![1.0_f32, 2.0], [1, 2]),
        &device().autodiff(),
    );
    let gradients = GradientsParams::from_grads(model.forward(input).sum().backward(), &model);
    let gradients = Gradients::new(&model, gradients);
    let paths: Vec<_> = gradients.paths().collect();
    assert_eq!(
        paths,
        ["first.bias", "first.weight", "second.bias", "second.weight"]
    );
    assert_eq!(
        gradients
            .get("second.bias")
            .unwrap()
            .to_data()
            .try_to_vec::<f32>()
            .unwrap(),
        [1.0, 1.0]
    );
}
