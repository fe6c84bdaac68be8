//! Closest points on a device, against those that the tree finds. `FIRE_ASSAY_DEVICE` chooses among the devices compiled in.
#![cfg(feature = "flex")]

use burn::tensor::Device;
use sobolev_budget::{
    Constraint, Domain, FitConfig, FitOptions, Grid, GridMap, Interpolation, Measure, Smoothness,
    Starts,
};

fn device() -> Device {
    match std::env::var("FIRE_ASSAY_DEVICE").as_deref() {
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(Default::default()),
        #[cfg(feature = "vulkan")]
        Ok("vulkan") => Device::vulkan(Default::default()),
        #[cfg(feature = "cuda")]
        Ok("cuda") => Device::cuda(0),
        Ok("flex") | Err(_) => Device::flex(),
        Ok(other) => panic!("FIRE_ASSAY_DEVICE={other} is not compiled in"),
    }
}

/// All kinds of elements, in few and in many dimensions, near the origin and far from it.
#[test]
fn the_device_finds_what_the_tree_finds() {
    let mut seed = 0;
    for domain in Domain::ALL {
        for interpolation in [Interpolation::Nodes, Interpolation::Linear] {
            for (n, shift) in [(2, 0.0), (3, 1000.0), (20, 0.0)] {
                seed += 1;
                let grid = Grid::new(domain, if domain.dimension() == 1 { 40 } else { 6 }).unwrap();
                let random = |count: usize, seed: u64| -> Vec<f64> {
                    let measure = Measure::uniform(count, n, seed).unwrap();
                    measure.points().iter().map(|x| x + shift).collect()
                };
                let map = GridMap::new(grid, interpolation, n, random(grid.len(), seed)).unwrap();
                let points = Measure::from_points(n, random(300, seed + 100)).unwrap();
                let tree = map.project_all(&points).unwrap();
                let device = map.project_all_on(&points, &device()).unwrap();
                for (a, b) in tree.iter().zip(&device) {
                    assert!(b.distance >= a.distance - 1e-9);
                    assert!(
                        b.distance <= a.distance * (1.0 + 1e-5) + 1e-6,
                        "{domain} {interpolation:?}: {a:?} {b:?}"
                    );
                }
            }
        }
    }
}

/// A fit that searches on the device reaches the same value.
#[test]
fn a_fit_on_the_device_is_as_good() {
    let measure = Measure::square_lattice(30).unwrap();
    for (domain, order, budget) in [(Domain::Interval, 1, 1.0), (Domain::Circle, 2, 20.0)] {
        let config = FitConfig::new(domain, Smoothness::new(order), Constraint::Budget(budget))
            .with_starts(Starts::single())
            .with_nodes(33);
        let tree = config.fit(&measure).unwrap();
        let options = FitOptions::default().with_device(device());
        let device = config.fit_with(&measure, &options).unwrap();
        assert!(
            (device.j / tree.j - 1.0).abs() < 1e-3,
            "{} {}",
            device.j,
            tree.j
        );
    }
}
