//! Time of a big group's bound: `cargo bench -p zonotope-verify --bench groups`.
//!
//! The group has the shape of the last hidden layer of a 784-512-256-128-64-10 network: 34 neurons with both signs, 1180 generators
//! whose sizes fall off, and 256 cases.

use std::hint::black_box;

use burn::tensor::Device;
use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zonotope_verify::groups::{Group, GroupConfig, Objective, certified_minimum};

const COORDINATES: usize = 34;
const GENERATORS: usize = 1180;

fn last_layer(rng: &mut ChaCha8Rng) -> Group {
    let generators: Vec<f64> = (0..COORDINATES * GENERATORS)
        .map(|i| rng.random_range(-1.0..1.0) * 30.0 / (30.0 + (i % GENERATORS) as f64))
        .collect();
    let radius: Vec<f64> = generators
        .chunks(GENERATORS)
        .map(|row| row.iter().map(|g| g.abs()).sum())
        .collect();
    let center: Vec<f64> = radius
        .iter()
        .map(|r| r * rng.random_range(-0.2..0.2))
        .collect();
    let lower = center
        .iter()
        .zip(&radius)
        .map(|(c, r)| c - 0.6 * r)
        .collect();
    let upper = center
        .iter()
        .zip(&radius)
        .map(|(c, r)| c + 0.6 * r)
        .collect();
    Group::new(center, generators, vec![0.0; COORDINATES], lower, upper).expect("a valid group")
}

fn objective(rng: &mut ChaCha8Rng) -> Objective {
    let mut numbers = || {
        (0..COORDINATES)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect()
    };
    let (c1, c2): (Vec<f64>, Vec<f64>) = (numbers(), numbers());
    // As in a decomposition, the linear part takes back what the ReLU is expected to do.
    Objective::new(
        c1.iter().zip(&c2).map(|(a, b)| 0.1 * a - 0.5 * b).collect(),
        c2,
    )
}

fn groups(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let group = last_layer(&mut rng);
    let objectives: Vec<Objective> = (0..9).map(|_| objective(&mut rng)).collect();
    let (config, device) = (GroupConfig::new().with_nodes(511), Device::flex());
    let search = |objectives: &[Objective]| {
        group
            .search_all(objectives, &config, &device, &|| false)
            .expect("a bound")
    };
    let found = search(&objectives[..1]).remove(0);
    println!("bound {} with {} nodes", found.bound, found.nodes);

    let mut benchmarks = criterion.benchmark_group("groups");
    benchmarks.sample_size(10);
    benchmarks.bench_function("search one objective, 511 nodes", |bencher| {
        bencher.iter(|| black_box(search(&objectives[..1])));
    });
    benchmarks.bench_function("search nine objectives, 511 nodes each", |bencher| {
        bencher.iter(|| black_box(search(&objectives)));
    });
    benchmarks.bench_function("certify 256 cases", |bencher| {
        let Objective { c1, c2, .. } = &objectives[0];
        bencher.iter(|| black_box(certified_minimum(&group, &found.tree, c1, c2)));
    });
    benchmarks.finish();
}

criterion_group!(benches, groups);
criterion_main!(benches);
