//! The first-order solver on a device agrees with the interior-point method on the host.
//!
//! The device is the one that the environment variable `FIRE_ASSAY_DEVICE` names among those compiled in (`flex`,
//! `wgpu`, `vulkan`, `cuda`), by default the first. The programs are small, so that a software driver does them too.
#![cfg(any(
    feature = "flex",
    feature = "wgpu",
    feature = "vulkan",
    feature = "cuda"
))]

#[path = "../benches/instances.rs"]
mod instances;

use bpe_inference::lp::{Limits, LpSolver, PdhgSolver, StructuredIpm};
use burn::tensor::Device;
#[cfg(any(feature = "wgpu", feature = "vulkan"))]
use burn::tensor::DeviceKind;

use instances::{Shape, realistic};

/// A device's name and how to open it.
type Named = (&'static str, fn() -> Device);

fn device() -> Device {
    let compiled: &[Named] = &[
        #[cfg(feature = "flex")]
        ("flex", Device::flex),
        #[cfg(feature = "wgpu")]
        ("wgpu", || Device::wgpu(DeviceKind::DefaultDevice)),
        #[cfg(feature = "vulkan")]
        ("vulkan", || Device::vulkan(DeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        ("cuda", || Device::cuda(0)),
    ];
    let wanted = std::env::var("FIRE_ASSAY_DEVICE").unwrap_or_else(|_| compiled[0].0.to_owned());
    let found = compiled.iter().find(|(name, _)| *name == wanted);
    found
        .unwrap_or_else(|| panic!("`{wanted}` is not compiled in"))
        .1()
}

#[test]
fn agrees_with_the_interior_point_method() {
    let solver = PdhgSolver::new(device());
    for (seed, n) in [(1, 3), (2, 6)] {
        let shape = Shape {
            rows: 300,
            steps: 60,
            pairs: 50,
            n,
        };
        let program = realistic(shape, seed);
        let found = solver.solve(&program, None, &Limits::default()).unwrap();
        let exact = StructuredIpm::default()
            .solve(&program, None, &Limits::default())
            .unwrap();
        // The reported objective belongs to a feasible point, so it cannot be better than the optimum.
        assert!(found.objective >= exact.lower_bound - 1e-9);
        assert!(
            found.objective <= exact.objective * (1.0 + 1e-3),
            "{} but the optimum is {}",
            found.objective,
            exact.objective
        );
        for (found, exact) in found.state.alpha.iter().zip(&exact.state.alpha) {
            assert!((found - exact).abs() < 2e-3, "{found} but {exact}");
        }
    }
}
