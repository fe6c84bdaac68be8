//! Running statistics: exact over many batches, and untouched unless asked.

use burn::tensor::Tensor;
use fire_assay_models::Error;
use fire_assay_models::parameters::Parameters;
use fire_assay_models::vision::*;

use super::support::*;

fn resnet8() -> Network {
    let config = ResNetConfig::cifar(8, [3, 16, 16], 5).with_width(4);
    randomised(Network::new(config, 1, &device()).unwrap(), 2)
}

fn buffers_off(a: &Network, b: &Network) -> f64 {
    let difference = Parameters::buffers_of(a).difference(&Parameters::buffers_of(b));
    difference.unwrap().norm().unwrap()
}

#[test]
fn joined_statistics_are_those_of_all_images_together() {
    let network = resnet8();
    let all = images([3, 16, 16], 7, 3).mul_scalar(3.0).add_scalar(20.0);
    let parts = [all.clone().narrow(0, 0, 2), all.clone().narrow(0, 2, 5)];
    let of = |images: Tensor<4>| network.logits_with_statistics(images).unwrap().1;
    let joined = of(parts[0].clone()).join(of(parts[1].clone())).unwrap();
    let together = of(all);
    // What the first layer reads does not depend on the batch.
    let (joined, together) = (&joined.layers[0], &together.layers[0]);
    assert_eq!(joined.count, 7 * 16 * 16);
    assert!(max_difference(&joined.mean, &together.mean) < 1e-4);
    let scale = norm(&values(&together.variance));
    assert!(max_difference(&joined.variance, &together.variance) < 1e-5 * scale);
}

#[test]
fn recomputed_layer_by_layer_every_layer_is_standardised_in_evaluation() {
    let batches = || (0..3).map(|n| images([3, 16, 16], 3 + n, n as u64));
    let network = resnet8();
    let network = network
        .recompute_running_statistics(Recompute::LayerByLayer, batches)
        .unwrap();
    let all = Tensor::cat(batches().collect(), 0);
    let mut checked = 0;
    let mut tap = |node: &Node, output: &Activation| {
        if !matches!(node.operation, Operation::BatchNorm { .. }) {
            return;
        }
        let rows = output.by_unit();
        let count = rows.dims()[1] as f64;
        let (variance, mean) = rows.var_mean(1);
        let weight = network
            .parameters()
            .tensor::<1>(&format!("{}.weight", node.name))
            .unwrap();
        let bias = network
            .parameters()
            .tensor::<1>(&format!("{}.bias", node.name))
            .unwrap();
        for (channel, ((v, m), (w, b))) in values(&variance)
            .into_iter()
            .zip(values(&mean))
            .zip(values(&weight).into_iter().zip(values(&bias)))
            .enumerate()
        {
            assert!(
                (m - b).abs() < 1e-4 * (1.0 + b.abs()),
                "{} {channel}: {m} {b}",
                node.name
            );
            assert!(
                (v - w * w).abs() < 1e-3 * (w * w + 1.0),
                "{} {channel} {count}",
                node.name
            );
        }
        checked += 1;
    };
    network.trace(all, Mode::Eval, &mut tap).unwrap();
    assert_eq!(checked, 9);
}

#[test]
fn recomputed_in_one_pass_over_one_batch_evaluation_is_training() {
    let network = resnet8();
    let x = images([3, 16, 16], 64, 3);
    let before = network.logits(x.clone(), Mode::Eval).unwrap();
    let one = || [x.clone()];
    let network = network
        .recompute_running_statistics(Recompute::OnePass, one)
        .unwrap();
    let train = network.logits(x.clone(), Mode::Train).unwrap();
    let eval = network.logits(x.clone(), Mode::Eval).unwrap();
    // They differ by the unbiased variance alone: n / (n - 1) with n = 1024 and more values a channel.
    assert!(max_difference(&train, &eval) < 1e-2);
    assert!(max_difference(&train, &before) > 0.1);
}

#[test]
fn resetting_gives_what_a_new_network_has() {
    let network = resnet8();
    let new = Network::new(network.config().clone(), 5, &device()).unwrap();
    assert!(buffers_off(&network, &new) > 1.0);
    assert_eq!(buffers_off(&network.with_reset_statistics(), &new), 0.0);
}

#[test]
fn statistics_of_no_images_or_of_another_network_are_refused() {
    for how in [Recompute::OnePass, Recompute::LayerByLayer] {
        let result = resnet8().recompute_running_statistics(how, Vec::new);
        assert!(matches!(result, Err(Error::InvalidInput { .. })));
    }
    let (_, own) = resnet8()
        .logits_with_statistics(images([3, 16, 16], 2, 1))
        .unwrap();
    let other = Network::new(CnnConfig::new([3, 16, 16], 5), 1, &device()).unwrap();
    assert!(other.clone().with_running_update(&own).is_err());
    let (_, others) = other
        .logits_with_statistics(images([3, 16, 16], 2, 1))
        .unwrap();
    assert!(own.join(others).is_err());
}
