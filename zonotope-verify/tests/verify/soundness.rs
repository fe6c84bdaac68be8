//! No certified bound of any method exceeds what some input attains. At full size 10,000 networks.

use burn::tensor::Device;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use zonotope_verify::attack::{AttackConfig, attack};
use zonotope_verify::branch::{BranchConfig, BranchOn};
use zonotope_verify::crown::{
    AlphaCrownConfig, IntermediateBounds, intermediate_bounds, lower_bounds,
};
use zonotope_verify::dual::{
    AscentConfig, GroupsConfig, JointConfig, PaperExperiment, Start, ZonoDualConfig,
};
use zonotope_verify::groups::GroupConfig;
use zonotope_verify::method::Method;
use zonotope_verify::network::{Affine, Layer, Network};
use zonotope_verify::objective::Objective;
use zonotope_verify::report::Verdict;
use zonotope_verify::spec::{HalfSpace, InputBox, Spec, UnsafeCase};
use zonotope_verify::verify::VerifierConfig;

use crate::complete::{above, verifier};
use crate::oracle::{cases, convolutional, matrices, value, worst_input};
use crate::random::{points, random_box, with_idle_neurons};

/// Widths from the input to the output.
const FAMILIES: [&[usize]; 12] = [
    &[3, 4, 4, 1],
    &[2, 5, 5, 1],
    &[4, 10, 2],
    &[2, 6, 6, 1],
    &[1, 1, 1],
    &[3, 2],
    &[5, 9, 7, 6, 3],
    &[4, 3, 3],
    &[6, 12, 12, 12, 1],
    &[8, 20, 20, 1],
    &[3, 8, 8, 2],
    &[10, 30, 30, 1],
];

/// Networks of at most so many hidden neurons are also enumerated.
const ENUMERATED: usize = 10;

struct Instance {
    network: Network,
    maps: Vec<Affine>,
    input: InputBox,
    rows: Vec<Vec<f64>>,
    radius: f64,
}

impl Instance {
    fn new(rng: &mut ChaCha8Rng) -> Self {
        let family = rng.random_range(0..=FAMILIES.len());
        let network = match FAMILIES.get(family) {
            None => convolutional(rng),
            Some(widths) => {
                let scale = [1.0, 1.0, 1e-12, 1e12][rng.random_range(0..4)];
                let idle = [0.0, 0.3][rng.random_range(0..2)];
                with_idle_neurons(widths, scale, idle, rng)
            }
        };
        let radius = [0.0, 1e-9, 0.01, 0.1, 0.5, 2.0][rng.random_range(0..6)];
        let mut input = random_box(network.inputs(), radius, rng);
        if rng.random_range(0..4) == 0 {
            // Some of the inputs are fixed.
            let mut upper = input.upper().to_vec();
            for (upper, lower) in upper.iter_mut().zip(input.lower()) {
                if rng.random() {
                    *upper = *lower;
                }
            }
            input = InputBox::new(input.lower().to_vec(), upper).unwrap();
        }
        let outputs = network.outputs();
        let rows = match outputs {
            1 => vec![vec![1.0], vec![-1.0]],
            2 => vec![vec![1.0, -1.0]],
            _ => (0..3)
                .map(|_| {
                    (0..outputs)
                        .map(|_| 2.0 * rng.random::<f64>() - 1.0)
                        .collect()
                })
                .collect(),
        };
        Self {
            maps: matrices(&network),
            network,
            input,
            rows,
            radius,
        }
    }

    /// The least value found of a row, up to what plain arithmetic may be wrong by, and the size of its terms.
    fn least(&self, row: &[f64], rng: &mut ChaCha8Rng) -> (f64, f64) {
        let mut tried = points(&self.input, 3100, rng);
        let case = UnsafeCase {
            input: self.input.clone(),
            outputs: vec![HalfSpace {
                coefficients: row.to_vec(),
                bound: 0.0,
            }],
        };
        let config = AttackConfig {
            restarts: 4,
            steps: 12,
            ..AttackConfig::default()
        };
        tried.push(
            attack(&self.network, &case, &config, &[], &Device::flex())
                .unwrap()
                .input,
        );
        if self.network.hidden().iter().sum::<usize>() <= ENUMERATED {
            tried.push(worst_input(&self.network, &case));
        }
        let values = tried.iter().map(|x| value(&self.maps, row, x));
        values.fold((f64::INFINITY, 0.0), |(least, size), found| {
            (least.min(found.value + found.error), found.size.max(size))
        })
    }

    /// The bounds of every method; the expensive ones with few steps.
    fn bounds(&self) -> Vec<(String, Vec<f64>)> {
        let device = Device::flex();
        let (network, input) = (&self.network, &self.input);
        let objective = self.objective();
        let mut found: Vec<(String, Vec<f64>)> = [Method::Interval, Method::DeepZ, Method::Crown]
            .into_iter()
            .map(|method| {
                let bounds = method
                    .lower_bounds(network, input, &objective, &device)
                    .unwrap();
                (method.to_string(), bounds)
            })
            .collect();
        let alpha = AlphaCrownConfig::new().with_steps(3);
        let intermediate = IntermediateBounds::AlphaCrown(alpha.clone());
        let hidden = intermediate_bounds(network, input, &intermediate, &device).unwrap();
        let given = IntermediateBounds::Given(hidden.clone());
        let crown = AlphaCrownConfig::new().with_steps(0);
        for (name, config) in [("CROWN on these", &crown), ("alpha-crown", &alpha)] {
            let bounds = lower_bounds(network, input, &hidden, &objective, config, &device);
            found.push((name.to_owned(), bounds.unwrap()));
        }
        let ascent = AscentConfig {
            steps: 6,
            ..AscentConfig::default()
        };
        let paper = ZonoDualConfig::paper(PaperExperiment::MnistLastLayer);
        let groups = GroupsConfig {
            dimension: 6,
            first: GroupConfig::new().with_nodes(5).with_steps(4),
            joint: Some(JointConfig {
                steps: 2,
                ..JointConfig::default()
            }),
            last: GroupConfig::new().with_nodes(9).with_steps(4),
        };
        let ours = ZonoDualConfig {
            start: Start::AlphaCrown(alpha.clone()),
            ..ZonoDualConfig::new()
        };
        for (name, config) in [
            ("zonodual-paper", paper.with_ascent(ascent.clone())),
            (
                "zonodual",
                ours.with_intermediate(given)
                    .with_ascent(ascent)
                    .with_groups(Some(groups)),
            ),
        ] {
            let bound = config
                .init()
                .lower_bounds(network, input, &objective, &device)
                .unwrap();
            if name == "zonodual" {
                // The dominance over alpha-CROWN on the same bounds (T5 of the design).
                let hidden = &bound.hidden;
                let start = lower_bounds(network, input, hidden, &objective, &alpha, &device);
                assert_eq!(start.unwrap(), bound.stages[0].bounds);
            }
            for stage in bound.stages {
                found.push((format!("{name}, {}", stage.name), stage.bounds));
            }
            found.push((name.to_owned(), bound.lower));
        }
        found
    }

    /// How far from `row y <= bound` branching on inputs proves the whole box to stay before it cuts it.
    fn root_of_parts(&self, row: &[f64], bound: f64) -> f64 {
        let config = VerifierConfig {
            attack: AttackConfig {
                restarts: 0,
                steps: 0,
                ..AttackConfig::default()
            },
            branch: BranchConfig {
                on: BranchOn::Inputs,
                nodes: 1,
                ..BranchConfig::default()
            },
            ..VerifierConfig::new()
        };
        let spec = Spec {
            cases: vec![UnsafeCase {
                input: self.input.clone(),
                outputs: vec![HalfSpace {
                    coefficients: row.to_vec(),
                    bound,
                }],
            }],
        };
        let verifier = config.init();
        verifier
            .verify(&self.network, &spec, &Device::flex())
            .unwrap()
            .verdict
            .bound()
    }

    fn objective(&self) -> Objective {
        Objective::rows(self.network.outputs(), &self.rows).unwrap()
    }
}

/// That bounds are bounds, that they are the value itself at a point, and that no stage loses what the one before had.
fn check(seed: u64, instance: &Instance, bounds: &[(String, Vec<f64>)], rng: &mut ChaCha8Rng) {
    for (row, coefficients) in instance.rows.iter().enumerate() {
        let (least, size) = instance.least(coefficients, rng);
        for (name, bounds) in bounds {
            let bound = bounds[row];
            assert!(bound.is_finite(), "{name}: no bound of network {seed}");
            assert!(
                bound <= least,
                "{name}: {bound} > {least} for network {seed}"
            );
            if instance.radius == 0.0 {
                assert!(
                    least - bound <= 1e-12 * size + 1e-200,
                    "{name}: {bound} is not {least} at the only input of network {seed}"
                );
            }
        }
        // The bound that parts of the input box get, as a distance from a claim that is true by a tenth of the size.
        let claim = least - 0.1 * size - 1e-200;
        let distance = instance.root_of_parts(coefficients, claim);
        let most = (least - claim).next_up();
        assert!(
            distance <= most && distance.is_finite(),
            "parts: {distance} > {most} for network {seed}"
        );
        if instance.radius == 0.0 {
            assert!(
                most - distance <= 1e-12 * size + 1e-200,
                "parts: {distance} is not {most} at the only input of network {seed}"
            );
        }
        let of = |name: &str| {
            let mut found = bounds.iter().filter(|(found, _)| found == name);
            found.next().map(|(_, bounds)| bounds[row])
        };
        for (better, worse) in [
            ("alpha-crown", "CROWN on these"),
            ("zonodual, pairs", "zonodual, start"),
            ("zonodual, groups", "zonodual, pairs"),
            ("zonodual, joint", "zonodual, groups"),
            ("zonodual", "zonodual, start"),
        ] {
            if let (Some(better), Some(worse)) = (of(better), of(worse)) {
                assert!(better >= worse, "{better} after {worse} for network {seed}");
            }
        }
    }
}

#[test]
fn no_bound_exceeds_what_an_input_attains() {
    (0..cases(10_000) as u64).into_par_iter().for_each(|seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let instance = Instance::new(&mut rng);
        let bounds = instance.bounds();
        check(seed, &instance, &bounds, &mut rng);
    });
}

#[test]
fn no_bound_of_the_default_settings_does_either() {
    (0..cases(200) as u64).into_par_iter().for_each(|seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(1_000_000 + seed);
        let instance = Instance::new(&mut rng);
        let objective = instance.objective();
        let bounds: Vec<(String, Vec<f64>)> = Method::ALL
            .into_iter()
            .map(|method| {
                let bounds = method.lower_bounds(
                    &instance.network,
                    &instance.input,
                    &objective,
                    &Device::flex(),
                );
                (method.to_string(), bounds.unwrap())
            })
            .collect();
        check(seed, &instance, &bounds, &mut rng);
    });
}

/// `x` in units of `2^exponent`.
fn units(x: f64, exponent: i32) -> i128 {
    (x * 2.0_f64.powi(-exponent)) as i128
}

/// `sum_i w_i relu(v_i relu(x))` with `v_i > 0` is `x` times a sum that is known exactly in integers, and nearly cancels: the error of the
/// coefficient that the sum becomes on the way back is all that there is.
#[test]
fn no_bound_exceeds_an_exact_value_that_nearly_cancels() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let affine = |outputs: usize, weight: Vec<f32>| {
        Layer::Affine(Affine {
            outputs,
            inputs: weight.len() / outputs,
            weight,
            bias: vec![0.0; outputs],
        })
    };
    for round in 0..60 {
        let n = 5 + round;
        let mut draw = || {
            let mantissa = f64::from(rng.random_range(1 << 23..1 << 24));
            mantissa * 2.0_f64.powi(rng.random_range(-24..-14))
        };
        let mut v: Vec<f64> = (0..n).map(|_| draw()).collect();
        let mut w: Vec<f64> = (0..n)
            .map(|index| if index % 2 == 0 { draw() } else { -draw() })
            .collect();
        let so_far: f64 = v.iter().zip(&w).map(|(v, w)| v * w).sum();
        v.push(1.0);
        w.push(f64::from(-so_far as f32));
        let exact: i128 = v
            .iter()
            .zip(&w)
            .map(|(v, w)| units(*v, -24) * units(*w, -40))
            .sum();
        let size: f64 = v.iter().zip(&w).map(|(v, w)| (v * w).abs()).sum();
        let single = |numbers: &[f64]| numbers.iter().map(|x| *x as f32).collect::<Vec<f32>>();
        let layers = vec![
            affine(1, vec![1.0]),
            Layer::Relu,
            affine(n + 1, single(&v)),
            Layer::Relu,
            affine(1, single(&w)),
        ];
        let network = Network::new(vec![1], layers).unwrap();
        for upper in [1.0, 2.0] {
            let instance = Instance {
                maps: matrices(&network),
                network: network.clone(),
                input: InputBox::new(vec![1.0], vec![upper]).unwrap(),
                rows: vec![vec![1.0]],
                radius: 0.0,
            };
            let least = exact.min(exact * upper as i128);
            // The smallest number that is not below it, so that the claim of more is wrong, and one that is enough below.
            let mut bound = least as f64 * 2.0_f64.powi(-64);
            if units(bound, -64) < least {
                bound = bound.next_up();
            }
            for on in [BranchOn::Activations, BranchOn::Inputs] {
                let verdict = |bound| {
                    let verifier = verifier(on).init();
                    let claim = above(&instance.input, bound);
                    verifier
                        .verify(&network, &claim, &Device::flex())
                        .unwrap()
                        .verdict
                };
                assert!(
                    !matches!(verdict(bound), Verdict::Verified { .. }),
                    "{on:?}, round {round}"
                );
                // Multipliers of 32 bits cost what they round, unless the box is a point.
                let gap = if upper == 1.0 { 1e-11 } else { 1e-5 };
                let verdict = verdict(bound - gap * size);
                assert!(
                    matches!(verdict, Verdict::Verified { .. }),
                    "{on:?}, round {round}: {verdict:?}"
                );
            }
            for (name, bounds) in instance.bounds() {
                let bound = bounds[0] * 2.0_f64.powi(64);
                assert!(
                    bound.floor() as i128 <= least,
                    "{name}: {bound} > {least}, round {round}"
                );
                if upper == 1.0 {
                    let gap = (least - bound.floor() as i128) as f64 * 2.0_f64.powi(-64);
                    assert!(gap <= 1e-11 * size, "{name}: {gap} below, round {round}");
                }
            }
        }
    }
}
