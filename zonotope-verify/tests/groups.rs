//! Bounds of big groups against the exact minimum: every sign pattern by a linear program.

use burn::tensor::{Device, Tensor, TensorData};
use microlp::{ComparisonOp, OptimizationDirection, Problem};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zonotope_verify::Error;
use zonotope_verify::groups::{
    Group, GroupConfig, GroupSolution, LeafBatch, Objective, ObjectiveLeaves, SplitTree,
    certified_minimum,
};

/// The numbers of a group and of an objective.
#[derive(Clone)]
struct Case {
    center: Vec<f64>,
    generators: Vec<f64>,
    rounding: Vec<f64>,
    lower: Vec<f64>,
    upper: Vec<f64>,
    c1: Vec<f64>,
    c2: Vec<f64>,
}

impl Case {
    /// Generators, centres and objectives between -1 and 1; the box takes away up to half of the hull on either side, and always contains
    /// the centre.
    fn random(rng: &mut ChaCha8Rng, k: usize, m: usize) -> Self {
        let mut numbers =
            |n: usize| -> Vec<f64> { (0..n).map(|_| rng.random_range(-1.0..1.0)).collect() };
        let (mut center, generators) = (numbers(k), numbers(k * m));
        let (c1, c2) = (numbers(k), numbers(k));
        center.iter_mut().for_each(|c| *c *= (m as f64).sqrt());
        let radius: Vec<f64> = (0..k)
            .map(|j| generators[j * m..(j + 1) * m].iter().map(|g| g.abs()).sum())
            .collect();
        let mut side = |sign: f64| -> Vec<f64> {
            (0..k)
                .map(|j| center[j] + sign * radius[j] * rng.random_range(0.5..1.0))
                .collect()
        };
        let (lower, upper) = (side(-1.0), side(1.0));
        Self {
            center,
            generators,
            rounding: vec![0.0; k],
            lower,
            upper,
            c1,
            c2,
        }
    }

    fn group(&self) -> Group {
        Group::new(
            self.center.clone(),
            self.generators.clone(),
            self.rounding.clone(),
            self.lower.clone(),
            self.upper.clone(),
        )
        .unwrap()
    }

    fn objective(&self) -> Objective {
        Objective::new(self.c1.clone(), self.c2.clone())
    }

    fn size(&self) -> usize {
        self.center.len()
    }

    /// The exact minimum; `None` if zonotope and box have no point in common.
    fn exact(&self) -> Option<f64> {
        let k = self.size();
        let both: Vec<usize> = (0..k)
            .filter(|&j| self.lower[j] < 0.0 && self.upper[j] > 0.0)
            .collect();
        let mut least = None::<f64>;
        for pattern in 0..1_u32 << both.len() {
            let (mut lower, mut upper) = (self.lower.clone(), self.upper.clone());
            for (bit, &j) in both.iter().enumerate() {
                if pattern >> bit & 1 == 1 {
                    lower[j] = 0.0
                } else {
                    upper[j] = 0.0
                }
            }
            if let Some(value) = self.linear_minimum(&lower, &upper) {
                least = Some(least.map_or(value, |l| l.min(value)));
            }
        }
        least
    }

    /// The minimum in a box whose coordinates have one sign each.
    fn linear_minimum(&self, lower: &[f64], upper: &[f64]) -> Option<f64> {
        let (k, m) = (self.size(), self.generators.len() / self.size());
        let slope = |j: usize| self.c1[j] + if upper[j] > 0.0 { self.c2[j] } else { 0.0 };
        let mut problem = Problem::new(OptimizationDirection::Minimize);
        let xi: Vec<_> = (0..m)
            .map(|i| {
                let cost = (0..k).map(|j| slope(j) * self.generators[j * m + i]).sum();
                problem.add_var(cost, (-1.0, 1.0))
            })
            .collect();
        let off: Vec<_> = (0..k)
            .map(|j| problem.add_var(slope(j), (-self.rounding[j], self.rounding[j])))
            .collect();
        for j in 0..k {
            let row: Vec<_> = (0..m)
                .map(|i| (xi[i], self.generators[j * m + i]))
                .chain([(off[j], 1.0)])
                .collect();
            problem.add_constraint(&row, ComparisonOp::Ge, lower[j] - self.center[j]);
            problem.add_constraint(&row, ComparisonOp::Le, upper[j] - self.center[j]);
        }
        match problem.solve() {
            Ok(outcome) => {
                let constant: f64 = (0..k).map(|j| slope(j) * self.center[j]).sum();
                Some(constant + outcome.into_solution().unwrap().objective())
            }
            Err(microlp::Error::Infeasible) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Bound by the box alone.
    fn box_bound(&self) -> f64 {
        let at = |j: usize, t: f64| self.c1[j] * t + self.c2[j] * t.max(0.0);
        (0..self.size())
            .map(|j| {
                let (l, u) = (self.lower[j], self.upper[j]);
                at(j, l).min(at(j, u)).min(at(j, 0.0_f64.clamp(l, u)))
            })
            .sum()
    }

    fn search(&self, config: &GroupConfig) -> GroupSolution {
        let group = self.group();
        let found = group
            .search(&self.objective(), config, &Device::flex(), &|| false)
            .unwrap();
        let again = certified_minimum(&group, &found.tree, &self.c1, &self.c2).unwrap();
        assert_eq!(found.bound, again);
        assert!(found.bound >= self.box_bound() - 1e-9 * (1.0 + self.box_bound().abs()));
        found
    }
}

fn random_cases(seed: u64, count: usize, k: usize, m: usize) -> Vec<Case> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| Case::random(&mut rng, k, m)).collect()
}

#[test]
fn is_never_above_the_exact_minimum_and_close_to_it() {
    let mut furthest = 0.0_f64;
    for case in random_cases(1, 30, 6, 20) {
        let exact = case.exact().unwrap();
        let found = case.search(&GroupConfig::new());
        let gap = (exact - found.bound) / exact.abs().max(1.0);
        assert!(gap >= -1e-6, "{} above {exact}", found.bound);
        assert!(gap <= 1e-3, "{} far below {exact}", found.bound);
        assert!(found.complete);
        furthest = furthest.max(gap);
    }
    println!("furthest below the exact minimum, relative: {furthest:.1e}");
}

#[test]
fn sizes_from_one_to_eight_are_exact() {
    for (seed, k) in [1, 2, 3, 5, 8].into_iter().enumerate() {
        for case in random_cases(10 + seed as u64, 3, k, 3 * k) {
            let exact = case.exact().unwrap();
            let gap = (exact - case.search(&GroupConfig::new()).bound) / exact.abs().max(1.0);
            assert!((-1e-6..=1e-3).contains(&gap), "k = {k}: {gap}");
        }
    }
}

#[test]
fn knows_what_the_box_does_not() {
    // The bound by the group is better than that by the box, on the average by a good part of the way.
    let (mut boxes, mut groups) = (0.0, 0.0);
    for case in random_cases(2, 10, 5, 6) {
        boxes += case.exact().unwrap() - case.box_bound();
        groups += case.exact().unwrap() - case.search(&GroupConfig::new()).bound;
    }
    assert!(groups < 0.01 * boxes, "{groups} against {boxes}");
}

#[test]
fn more_nodes_are_never_worse() {
    for case in random_cases(3, 6, 10, 30) {
        let mut last = f64::NEG_INFINITY;
        for nodes in [1, 3, 5, 9, 33, 129] {
            let found = case.search(
                &GroupConfig::new()
                    .with_nodes(nodes)
                    .with_steps(60)
                    .with_batch(4),
            );
            assert!(found.nodes <= nodes && found.tree.len() == found.nodes.div_ceil(2));
            assert!(
                found.bound >= last - 1e-6 * last.abs(),
                "{nodes}: {} < {last}",
                found.bound
            );
            last = found.bound;
        }
    }
}

#[test]
fn convex_objectives_need_no_case_distinction() {
    for mut case in random_cases(4, 10, 6, 20) {
        case.c2.iter_mut().for_each(|c| *c = c.abs());
        let exact = case.exact().unwrap();
        let found = case.search(&GroupConfig::new());
        assert_eq!(found.nodes, 1);
        let gap = (exact - found.bound) / exact.abs().max(1.0);
        assert!((-1e-6..=1e-3).contains(&gap), "{gap}");
    }
}

#[test]
fn any_multipliers_prove_a_bound() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for case in random_cases(5, 10, 5, 12) {
        let (group, exact) = (case.group(), case.exact().unwrap());
        let found = case.search(&GroupConfig::new());
        for scale in [1e-6, 1e-2, 1.0, 1e6] {
            let multipliers = found.tree.leaves(&group).unwrap().into_iter().map(|leaf| {
                leaf.nu
                    .iter()
                    .map(|nu| nu + scale * rng.random_range(-1.0..1.0))
                    .collect()
            });
            let other = found.tree.with_multipliers(multipliers.collect()).unwrap();
            let bound = certified_minimum(&group, &other, &case.c1, &case.c2).unwrap();
            assert!(bound <= exact + 1e-6);
        }
        // Neither do the multipliers of another objective, nor of too few cases, prove too much.
        let other: Vec<f64> = case.c2.iter().rev().copied().collect();
        let swapped = Case {
            c2: other,
            ..case.clone()
        };
        let bound = certified_minimum(&group, &found.tree, &swapped.c1, &swapped.c2).unwrap();
        assert!(bound <= swapped.exact().unwrap() + 1e-6);
    }
}

#[test]
fn no_rounding_lifts_a_bound() {
    // One point z with the objective z: the multipliers cancel, so every bound is at most z, to the last bit.
    let mut rng = ChaCha8Rng::seed_from_u64(16);
    let mut lifted = 0;
    for round in 0..2000 {
        let z: Vec<f64> = (0..4).map(|_| rng.random_range(0.0..1.0)).collect();
        let zero = vec![0.0; 4];
        let group = Group::new(z.clone(), vec![], zero.clone(), z.clone(), z.clone()).unwrap();
        let scale = 10.0_f64.powi(round % 20 - 3);
        let nu: Vec<f64> = (0..4)
            .map(|_| scale * rng.random_range(-1.0..1.0))
            .collect();
        let first = [1.0, 0.0, 0.0, 0.0];
        let careless: f64 = (0..4)
            .map(|j| nu[j] * z[j] + (first[j] - nu[j]) * z[j])
            .sum();
        let tree = SplitTree::single(nu);
        let bound = certified_minimum(&group, &tree, &first, &zero).unwrap();
        assert!(bound <= z[0], "{bound} > {}", z[0]);
        assert!(bound >= z[0] - 1e-13 * (1.0 + 16.0 * scale));
        lifted += usize::from(careless > z[0]);
    }
    assert!(
        lifted > 100,
        "the sums without care are never too high: {lifted}"
    );
}

#[test]
fn holds_at_every_sampled_point_in_every_shape() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for round in 0..60 {
        let (k, m) = (rng.random_range(1..6), rng.random_range(0..8));
        let mut case = Case::random(&mut rng, k, m);
        match round % 6 {
            // Zero, repeated and axis-parallel generators.
            0 => case.generators.iter_mut().for_each(|g| *g = 0.0),
            1 if m > 1 => (0..k).for_each(|j| case.generators[j * m + 1] = case.generators[j * m]),
            2 => (0..k * m)
                .filter(|i| i / m != i % m)
                .for_each(|i| case.generators[i] = 0.0),
            // A coordinate that is known exactly, one that is zero, and a rounding radius.
            3 => (case.lower[0], case.upper[0]) = (case.center[0], case.center[0]),
            4 => {
                (case.center[0], case.lower[0], case.upper[0]) = (0.0, 0.0, 0.0);
                case.generators[..m].fill(0.0);
            }
            _ => case.rounding.fill(0.25),
        }
        let found = case.search(&GroupConfig::new().with_nodes(15).with_steps(40));
        assert!(found.bound.is_finite());
        for _ in 0..200 {
            let xi: Vec<f64> = (0..m).map(|_| rng.random_range(-1.0..=1.0)).collect();
            let z: Vec<f64> = (0..k)
                .map(|j| {
                    let row = &case.generators[j * m..(j + 1) * m];
                    let noise = case.rounding[j] * rng.random_range(-1.0..=1.0);
                    case.center[j] + noise + row.iter().zip(&xi).map(|(g, x)| g * x).sum::<f64>()
                })
                .collect();
            if (0..k).all(|j| (case.lower[j]..=case.upper[j]).contains(&z[j])) {
                let value: f64 = (0..k)
                    .map(|j| case.c1[j] * z[j] + case.c2[j] * z[j].max(0.0))
                    .sum();
                assert!(found.bound <= value + 1e-12, "{} > {value}", found.bound);
            }
        }
    }
}

#[test]
fn rounding_counts_as_part_of_the_set() {
    for mut case in random_cases(7, 5, 4, 8) {
        case.rounding.fill(0.5);
        let exact = case.exact().unwrap();
        let gap = (exact - case.search(&GroupConfig::new()).bound) / exact.abs().max(1.0);
        assert!((-1e-6..=1e-3).contains(&gap), "{gap}");
    }
}

#[test]
fn scale_changes_nothing_but_the_scale() {
    let config = GroupConfig::new().with_nodes(15);
    for case in random_cases(8, 4, 5, 12) {
        let bound = case.search(&config).bound;
        let exact = case.exact().unwrap();
        for (space, height) in [
            (1e-12, 1.0),
            (1e12, 1.0),
            (1.0, 1e-12),
            (1e12, 1e12),
            (1e-12, 1e-12),
        ] {
            let mut scaled = case.clone();
            for numbers in [
                &mut scaled.center,
                &mut scaled.generators,
                &mut scaled.lower,
                &mut scaled.upper,
            ] {
                numbers.iter_mut().for_each(|x| *x *= space);
            }
            for numbers in [&mut scaled.c1, &mut scaled.c2] {
                numbers.iter_mut().for_each(|x| *x *= height);
            }
            let found = scaled.search(&config).bound / (space * height);
            assert!(found <= exact + 1e-6);
            assert!(
                (found - bound).abs() <= 3e-3 * bound.abs().max(1.0),
                "{found} against {bound}"
            );
        }
        // One coordinate in another unit.
        let mut mixed = case.clone();
        let m = mixed.generators.len() / mixed.size();
        for x in [
            &mut mixed.center[0],
            &mut mixed.lower[0],
            &mut mixed.upper[0],
        ] {
            *x *= 1e6;
        }
        mixed.generators[..m].iter_mut().for_each(|x| *x *= 1e6);
        mixed.c1[0] /= 1e6;
        mixed.c2[0] /= 1e6;
        let found = mixed.search(&config).bound;
        assert!(
            (found - bound).abs() <= 3e-3 * bound.abs().max(1.0),
            "{found} against {bound}"
        );
    }
}

#[test]
fn what_overflows_proves_nothing() {
    let case = Case {
        center: vec![0.0],
        generators: vec![1e200],
        rounding: vec![0.0],
        lower: vec![-1e200],
        upper: vec![1e200],
        c1: vec![1e200],
        c2: vec![0.0],
    };
    let found = case.group().search(
        &case.objective(),
        &GroupConfig::new(),
        &Device::flex(),
        &|| false,
    );
    assert_eq!(found.unwrap().bound, f64::NEG_INFINITY);
    let group = random_cases(9, 1, 2, 3)[0].group();
    for nu in [f64::NAN, f64::INFINITY, f64::MAX] {
        let tree = SplitTree::single(vec![0.0, nu]);
        let bound = certified_minimum(&group, &tree, &[1.0, 1.0], &[1.0, 1.0]).unwrap();
        assert_eq!(bound, f64::NEG_INFINITY);
    }
    let tree = SplitTree::single(vec![0.0, 0.0]);
    for c in [f64::NAN, f64::INFINITY] {
        let bound = certified_minimum(&group, &tree, &[1.0, c], &[1.0, 1.0]).unwrap();
        assert_eq!(bound, f64::NEG_INFINITY);
        let bound = certified_minimum(&group, &tree, &[1.0, 1.0], &[1.0, c]).unwrap();
        assert_eq!(bound, f64::NEG_INFINITY);
    }
}

#[test]
fn a_cancelled_search_returns_what_it_has() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let case = &random_cases(10, 1, 10, 30)[0];
    let group = case.group();
    let run = |patience: usize| {
        let asked = AtomicUsize::new(0);
        let cancel = || asked.fetch_add(1, Ordering::Relaxed) >= patience;
        let found = group
            .search(
                &case.objective(),
                &GroupConfig::new(),
                &Device::flex(),
                &cancel,
            )
            .unwrap();
        assert!(found.bound >= case.box_bound() - 1e-9);
        found.bound
    };
    let bounds: Vec<f64> = [0, 1, 100, 400, usize::MAX].map(run).to_vec();
    assert!(bounds.is_sorted(), "{bounds:?}");
    assert!(bounds[0] < bounds[4]);
}

#[test]
fn several_objectives_at_once_find_what_each_finds_alone() {
    let cases = random_cases(11, 3, 6, 15);
    let group = cases[0].group();
    let objectives: Vec<Objective> = cases.iter().map(Case::objective).collect();
    let config = GroupConfig::new().with_nodes(31);
    let together = group
        .search_all(&objectives, &config, &Device::flex(), &|| false)
        .unwrap();
    for (objective, found) in objectives.iter().zip(&together) {
        let alone = group
            .search(objective, &config, &Device::flex(), &|| false)
            .unwrap();
        assert!((alone.bound - found.bound).abs() <= 1e-4 * alone.bound.abs().max(1.0));
    }
    assert!(
        group
            .search_all(&[], &config, &Device::flex(), &|| false)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_search_goes_on_from_an_earlier_one() {
    for case in random_cases(12, 4, 8, 20) {
        let short = GroupConfig::new().with_nodes(9);
        let first = case.search(&short);
        let on = case.objective().with_start(first.tree.clone());
        let group = case.group();
        let search =
            |group: &Group| group.search(&on, &GroupConfig::new(), &Device::flex(), &|| false);
        assert!(search(&group).unwrap().bound >= first.bound);

        // In half the box, the same tree goes on and the bound does not fall.
        let mut half = case.clone();
        let j = (0..8)
            .find(|&j| half.lower[j] < 0.0 && half.upper[j] > 0.0)
            .unwrap();
        half.lower[j] = 0.0;
        let restricted = first.tree.restricted_to(&half.group()).unwrap();
        let kept = certified_minimum(&half.group(), &restricted, &case.c1, &case.c2).unwrap();
        assert!(kept >= first.bound);
        assert!(search(&half.group()).unwrap().bound >= kept);
    }
}

#[test]
fn trees_that_leave_something_out_are_rejected() {
    let case = &random_cases(13, 1, 3, 6)[0];
    let mut case = case.clone();
    (case.lower, case.upper) = (vec![-1.0, -1.0, 0.5], vec![1.0, 1.0, 1.0]);
    let group = case.group();
    let check = |text: &str| {
        let tree: SplitTree = serde_json::from_str(text).unwrap();
        certified_minimum(&group, &tree, &case.c1, &case.c2)
    };
    let nu = r#"{"nu":[0.0,0.0,0.0]}"#;
    let whole = format!(r#"{{"nodes":[{{"split":0}},{nu},{{"split":1}},{nu},{nu}]}}"#);
    assert!(check(&whole).unwrap().is_finite());
    for bad in [
        r#"{"nodes":[]}"#.to_owned(),
        format!(r#"{{"nodes":[{{"split":0}},{nu}]}}"#),
        format!(r#"{{"nodes":[{nu},{nu}]}}"#),
        format!(r#"{{"nodes":[{{"split":2}},{nu},{nu}]}}"#),
        format!(r#"{{"nodes":[{{"split":3}},{nu},{nu}]}}"#),
        format!(r#"{{"nodes":[{{"split":0}},{{"split":0}},{nu},{nu},{nu}]}}"#),
        r#"{"nodes":[{"nu":[0.0,0.0]}]}"#.to_owned(),
    ] {
        assert!(
            matches!(check(&bad), Err(Error::CertificateRejected { .. })),
            "{bad}"
        );
    }
    let found = case.search(&GroupConfig::new());
    let text = serde_json::to_string(&found.tree).unwrap();
    assert_eq!(
        serde_json::from_str::<SplitTree>(&text).unwrap(),
        found.tree
    );
}

#[test]
fn bad_input_is_named() {
    let new =
        |c: Vec<f64>, g: Vec<f64>, e: Vec<f64>, l: Vec<f64>, u: Vec<f64>| Group::new(c, g, e, l, u);
    let one = || vec![1.0];
    assert!(matches!(
        new(vec![], vec![], vec![], vec![], vec![]),
        Err(Error::ShapeMismatch { .. })
    ));
    assert!(matches!(
        new(
            vec![0.0; 2],
            vec![1.0; 3],
            vec![0.0; 2],
            vec![0.0; 2],
            vec![1.0; 2]
        ),
        Err(Error::ShapeMismatch { .. })
    ));
    assert!(matches!(
        new(one(), one(), vec![], one(), one()),
        Err(Error::ShapeMismatch { .. })
    ));
    for bad in [
        new(vec![f64::NAN], one(), one(), one(), one()),
        new(one(), vec![f64::INFINITY], one(), one(), one()),
        new(one(), one(), vec![-1.0], one(), one()),
        new(one(), one(), one(), vec![2.0], one()),
        new(one(), one(), one(), vec![f64::NEG_INFINITY], one()),
    ] {
        assert!(matches!(bad, Err(Error::InvalidConfig { .. })));
    }
    let group = new(one(), one(), one(), one(), one()).unwrap();
    let search = |objective: Objective, config: &GroupConfig| {
        group.search(&objective, config, &Device::flex(), &|| false)
    };
    let good = Objective::new(one(), one());
    for objective in [
        Objective::new(vec![], one()),
        Objective::new(one(), vec![1.0; 2]),
    ] {
        let found = search(objective, &GroupConfig::new());
        assert!(matches!(found, Err(Error::ShapeMismatch { .. })));
    }
    let found = search(Objective::new(vec![f64::NAN], one()), &GroupConfig::new());
    assert!(matches!(found, Err(Error::InvalidConfig { .. })));
    for config in [
        GroupConfig::new().with_nodes(0),
        GroupConfig::new().with_batch(0),
        GroupConfig::new().with_learning_rate(f64::NAN),
        GroupConfig::new().with_learning_rate_decay(0.0),
        GroupConfig::new().with_beta_1(1.0),
        GroupConfig::new().with_beta_2(-0.1),
    ] {
        let found = search(good.clone(), &config);
        assert!(matches!(found, Err(Error::InvalidConfig { .. })));
    }
    assert!(
        search(good, &GroupConfig::new().with_steps(0))
            .unwrap()
            .bound
            .is_finite()
    );
    assert!(matches!(
        LeafBatch::new(&group, &[], &Device::flex()),
        Err(Error::ShapeMismatch { .. })
    ));
}

fn tensor(numbers: &[f64]) -> Tensor<2> {
    let numbers: Vec<f32> = numbers.iter().map(|&x| x as f32).collect();
    let k = numbers.len();
    Tensor::from_data(TensorData::new(numbers, [1, k]), &Device::flex())
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().try_to_vec_as().unwrap()
}

#[test]
fn fixed_cases_follow_a_changed_objective() {
    for case in random_cases(14, 5, 6, 20) {
        let group = case.group();
        let found = case.search(&GroupConfig::new().with_nodes(31));
        let leaves = found.tree.leaves(&group).unwrap();
        // The same objective: the device's values are the certified ones but for 32 bits.
        let set = ObjectiveLeaves {
            leaves: &leaves,
            c1: &case.c1,
            c2: &case.c2,
        };
        let mut batch = LeafBatch::new(&group, &[set], &Device::flex()).unwrap();
        let values = batch.evaluate(&tensor(&case.c1), &tensor(&case.c2));
        let numbers = host(values.values.clone());
        let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        assert!((least - found.bound).abs() <= 1e-4 * found.bound.abs().max(1.0));
        // A nearly zero temperature picks the least case, and its point attains the box part's minimum.
        let cold = batch.soft_minimum(&values, &Tensor::from_floats([1e-6], &Device::flex()));
        assert!((host(cold.minimum)[0] - least).abs() < 1e-5);
        let worst = host(values.boxed.clone());
        let worst = &worst[found.worst * 6..(found.worst + 1) * 6];
        let unique = numbers.iter().filter(|&&x| x < least + 1e-4).count() == 1;
        if unique {
            for (a, b) in host(cold.point).iter().zip(worst) {
                assert!((a - b).abs() < 1e-4);
            }
            for (a, b) in host(cold.activation).iter().zip(worst) {
                assert!((a - b.max(0.0)).abs() < 1e-4);
            }
        }
        // The derivative by c1 is the box point: the values along any line lie below the tangent.
        let moved: Vec<f64> = case
            .c1
            .iter()
            .enumerate()
            .map(|(j, c)| c + 0.1 * (j as f64 - 2.0))
            .collect();
        let there = host(batch.evaluate(&tensor(&moved), &tensor(&case.c2)).values);
        let points = host(values.boxed);
        for (leaf, (value, start)) in there.iter().zip(&numbers).enumerate() {
            let tangent: f64 = (0..6)
                .map(|j| (moved[j] - case.c1[j]) * points[leaf * 6 + j])
                .sum();
            assert!(*value <= start + tangent + 1e-4);
        }
        // A changed objective: ascending the same cases proves a better bound than before, and a valid one.
        let (c1, c2) = (tensor(&moved), tensor(&case.c2));
        let before = certified_minimum(&group, &found.tree, &moved, &case.c2).unwrap();
        for step in 0..100 {
            let values = batch.evaluate(&c1, &c2);
            batch.ascend(&values, 0.03 * 0.95_f64.powi(step));
        }
        let tree = found
            .tree
            .with_multipliers(batch.multipliers().unwrap())
            .unwrap();
        let after = certified_minimum(&group, &tree, &moved, &case.c2).unwrap();
        let exact = Case {
            c1: moved,
            ..case.clone()
        }
        .exact()
        .unwrap();
        assert!(
            before < after && after <= exact + 1e-6,
            "{before} {after} {exact}"
        );
    }
}

#[test]
fn cases_of_several_objectives_do_not_mix() {
    let cases = random_cases(15, 3, 5, 12);
    let group = cases[0].group();
    let device = Device::flex();
    let objectives: Vec<Objective> = cases.iter().map(Case::objective).collect();
    let config = GroupConfig::new().with_nodes(15);
    let found = group
        .search_all(&objectives, &config, &device, &|| false)
        .unwrap();
    let leaves: Vec<_> = found
        .iter()
        .map(|f| f.tree.leaves(&group).unwrap())
        .collect();
    let sets: Vec<ObjectiveLeaves<'_>> = objectives
        .iter()
        .zip(&leaves)
        .map(|(Objective { c1, c2, .. }, leaves)| ObjectiveLeaves { leaves, c1, c2 })
        .collect();
    let stack = |part: fn(&Objective) -> &[f64]| {
        Tensor::cat(objectives.iter().map(|o| tensor(part(o))).collect(), 0)
    };
    let mut together = LeafBatch::new(&group, &sets, &device).unwrap();
    let (c1, c2) = (stack(|o| &o.c1), stack(|o| &o.c2));
    let temperatures = [0.05, 0.1, 0.2_f32];
    let values = together.evaluate(&c1, &c2);
    let soft = together.soft_minimum(&values, &Tensor::from_floats(temperatures, &device));
    together.ascend(&values, 0.03);
    let (minima, points) = (host(soft.minimum), host(soft.point));
    let (activations, multipliers) = (host(soft.activation), together.multipliers().unwrap());
    let close = |a: &[f64], b: &[f64]| {
        assert_eq!(a.len(), b.len());
        assert!(
            a.iter()
                .zip(b)
                .all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs().max(1.0)),
            "{a:?} {b:?}"
        );
    };
    let mut first = 0;
    for (r, objective) in objectives.iter().enumerate() {
        let mut alone = LeafBatch::new(&group, &sets[r..=r], &device).unwrap();
        let values = alone.evaluate(&tensor(&objective.c1), &tensor(&objective.c2));
        let temperature = Tensor::from_floats([temperatures[r]], &device);
        let soft = alone.soft_minimum(&values, &temperature);
        close(&minima[r..=r], &host(soft.minimum));
        close(&points[5 * r..5 * r + 5], &host(soft.point));
        close(&activations[5 * r..5 * r + 5], &host(soft.activation));
        alone.ascend(&values, 0.03);
        for (a, b) in multipliers[first..]
            .iter()
            .zip(alone.multipliers().unwrap())
        {
            close(a, &b);
        }
        first += alone.len();
        assert!((minima[r] - found[r].bound).abs() <= 1e-4 * found[r].bound.abs().max(1.0));
    }
    assert_eq!(first, together.len());
}
