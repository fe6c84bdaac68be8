//! Permutation groups: what they are, and that they are what they claim.

use burn::tensor::Tensor;
use fire_assay_models::Error;
use fire_assay_models::parameters::Parameters;
use fire_assay_models::vision::*;

use super::support::*;

fn both(network: &Network, images: &Tensor<4>) -> [Tensor<2>; 2] {
    [Mode::Eval, Mode::Train].map(|mode| network.logits(images.clone(), mode).unwrap())
}

/// Largest change of a logit in either mode, relative to the largest logit.
fn change(before: &[Tensor<2>; 2], after: &[Tensor<2>; 2]) -> f64 {
    let one = |(a, b): (&Tensor<2>, &Tensor<2>)| {
        let scale = values(a).into_iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        max_difference(a, b) / scale
    };
    before.iter().zip(after).map(one).fold(0.0, f64::max)
}

#[test]
fn permuting_all_groups_changes_nothing() {
    for (name, config) in zoo() {
        let network = randomised(Network::new(config, 1, &device()).unwrap(), 2);
        let images = images(network.input_shape(), 6, 3);
        let before = both(&network, &images);
        let groups = AxisGroups::of(network.topology());
        assert!(!groups.is_empty());
        let mut rng = rng(4);
        let mut values = Parameters::all_of(&network);
        for group in groups.iter() {
            values = group
                .permute(&permutation(group.size, &mut rng), &values)
                .unwrap();
        }
        let moved = values
            .difference(&Parameters::all_of(&network))
            .unwrap()
            .norm()
            .unwrap();
        assert!(moved > 1.0, "{name}: nothing moved");
        let permuted = values.put_into(network).unwrap();
        let off = change(&before, &both(&permuted, &images));
        println!("{name}: {} groups, {off:.1e}", groups.len());
        assert!(off <= 1e-5, "{name}: {off}");
    }
}

#[test]
fn permuting_part_of_a_group_changes_the_output() {
    for (name, config) in zoo() {
        let network = randomised(Network::new(config, 1, &device()).unwrap(), 2);
        let images = images(network.input_shape(), 6, 3);
        let before = both(&network, &images);
        for group in AxisGroups::of(network.topology()).iter() {
            // Rotating by one moves every unit.
            let rotation: Vec<usize> = (0..group.size).map(|i| (i + 1) % group.size).collect();
            let weights = group.parameters.iter().filter(|at| !at.is_buffer);
            for at in weights {
                let mut part = group.clone();
                part.parameters.retain(|other| other != at);
                let values = part
                    .permute(&rotation, &Parameters::all_of(&network))
                    .unwrap();
                let off = change(
                    &before,
                    &both(&values.put_into(network.clone()).unwrap(), &images),
                );
                // A bias in front of a normalisation does nothing in training mode, but does in evaluation.
                assert!(
                    off > 1e-4,
                    "{name}: `{}` without {}: {off}",
                    group.name,
                    at.parameter
                );
            }
        }
    }
}

#[test]
fn outputs_of_the_nodes_of_a_group_are_permuted_with_it() {
    for (name, config) in zoo() {
        let network = randomised(Network::new(config, 1, &device()).unwrap(), 2);
        let images = images(network.input_shape(), 3, 3);
        let trace = |network: &Network| {
            let mut outputs = Vec::new();
            let mut tap = |_: &Node, output: &Activation| outputs.push(output.by_unit());
            network.trace(images.clone(), Mode::Eval, &mut tap).unwrap();
            outputs
        };
        let before = trace(&network);
        for group in AxisGroups::of(network.topology()).iter() {
            let order = permutation(group.size, &mut rng(5));
            let values = group
                .permute(&order, &Parameters::all_of(&network))
                .unwrap();
            let after = trace(&values.put_into(network.clone()).unwrap());
            assert!(!group.activations.is_empty(), "{name}: {}", group.name);
            for at in &group.activations {
                let (a, b) = (&before[at.node], &after[at.node]);
                let columns = a.dims()[1];
                let (a, b) = (values_of(a), values_of(b));
                let each = at.indices.len() / group.size;
                for (unit, &from) in order.iter().enumerate() {
                    for n in 0..each {
                        let (to, from) = (at.indices[unit * each + n], at.indices[from * each + n]);
                        for c in 0..columns {
                            let (x, y) = (b[to * columns + c], a[from * columns + c]);
                            assert!(
                                (x - y).abs() <= 1e-4 * (1.0 + y.abs()),
                                "{name} {} {}",
                                group.name,
                                at.name
                            );
                        }
                    }
                }
            }
        }
    }
}

fn values_of(tensor: &Tensor<2>) -> Vec<f64> {
    values(tensor)
}

fn axes(group: &AxisGroup) -> Vec<String> {
    let weights = group.parameters.iter().filter(|at| !at.is_buffer);
    weights
        .map(|at| format!("{}:{}", at.parameter, at.axis))
        .collect()
}

#[test]
fn groups_of_resnet8_are_the_stage_streams_and_the_inner_convolutions() {
    let config = ResNetConfig::cifar(8, [1, 28, 28], 10);
    let config = config.with_stem(Stem::Small { stride: 2 });
    let topology = NetworkConfig::from(config).topology().unwrap();
    let groups = AxisGroups::of(&topology);
    let sizes: Vec<(&str, usize)> = groups.iter().map(|g| (g.name.as_str(), g.size)).collect();
    assert_eq!(
        sizes,
        [
            ("conv1.weight:0", 16),
            ("layer1.0.conv1.weight:0", 16),
            ("layer2.0.conv1.weight:0", 32),
            ("layer2.0.conv2.weight:0", 32),
            ("layer3.0.conv1.weight:0", 64),
            ("layer3.0.conv2.weight:0", 64),
        ]
    );
    assert_eq!(
        axes(groups.get("conv1.weight:0").unwrap()),
        [
            "conv1.weight:0",
            "bn1.weight:0",
            "bn1.bias:0",
            "layer1.0.conv1.weight:1",
            "layer1.0.conv2.weight:0",
            "layer1.0.bn2.weight:0",
            "layer1.0.bn2.bias:0",
            "layer2.0.conv1.weight:1",
            "layer2.0.downsample.0.weight:1",
        ]
    );
    assert_eq!(
        axes(groups.get("layer3.0.conv2.weight:0").unwrap()),
        [
            "layer3.0.conv2.weight:0",
            "layer3.0.bn2.weight:0",
            "layer3.0.bn2.bias:0",
            "layer3.0.downsample.0.weight:0",
            "layer3.0.downsample.1.weight:0",
            "layer3.0.downsample.1.bias:0",
            "fc.weight:1",
        ]
    );
    let whole: Vec<usize> = (0..16).collect();
    assert!(
        groups
            .get("conv1.weight:0")
            .unwrap()
            .parameters
            .iter()
            .all(|at| at.indices == whole)
    );
    // One statistic pair a normalisation.
    let buffers = groups
        .iter()
        .flat_map(|g| &g.parameters)
        .filter(|at| at.is_buffer)
        .count();
    assert_eq!(buffers, 2 * 9);
}

#[test]
fn shortcuts_that_pad_tie_a_stage_to_the_middle_of_the_next() {
    let config = ResNetConfig::cifar(8, [3, 32, 32], 10).with_shortcut(Shortcut::Subsample);
    let groups = AxisGroups::of(&NetworkConfig::from(config).topology().unwrap());
    let stream = groups.get("conv1.weight:0").unwrap();
    let at = |group: &AxisGroup, name: &str, axis: usize| {
        let found = group
            .parameters
            .iter()
            .find(|at| at.parameter == name && at.axis == axis);
        found.unwrap().indices.clone()
    };
    assert_eq!(
        at(stream, "layer2.0.conv2.weight", 0),
        (8..24).collect::<Vec<_>>()
    );
    assert_eq!(at(stream, "fc.weight", 1), (24..40).collect::<Vec<_>>());
    let new = groups.get("layer2.0.conv2.weight:0").unwrap();
    assert_eq!(new.size, 16);
    assert_eq!(
        at(new, "layer2.0.bn2.weight", 0),
        (0..8).chain(24..32).collect::<Vec<_>>()
    );
}

#[test]
fn flattening_makes_a_channel_a_run_of_columns() {
    let config = CnnConfig::new([1, 8, 8], 10).with_widths(vec![4, 3]);
    let groups = AxisGroups::of(&NetworkConfig::from(config).topology().unwrap());
    let group = groups.get("conv2.weight:0").unwrap();
    let columns = group
        .parameters
        .iter()
        .find(|at| at.parameter == "fc.weight")
        .unwrap();
    assert_eq!(columns.of_unit(1, group.size), [4, 5, 6, 7]);
}

#[test]
fn what_is_no_permutation_is_refused() {
    let network = Network::new(
        MlpConfig::new([1, 2, 2], 2).with_hidden(vec![3]),
        1,
        &device(),
    )
    .unwrap();
    let groups = AxisGroups::of(network.topology());
    let group = groups.iter().next().unwrap();
    for wrong in [vec![0, 1], vec![0, 1, 1], vec![0, 1, 3], vec![]] {
        let result = group.permute(&wrong, &network.parameters());
        assert!(
            matches!(result, Err(Error::InvalidInput { .. })),
            "{wrong:?}"
        );
    }
}
