//! Configurations: known sizes, seeds, and what they refuse.

use burn::config::Config;
use burn::tensor::Tensor;
use fire_assay_models::Error;
use fire_assay_models::parameters::Parameters;
use fire_assay_models::vision::*;

use super::support::*;

fn count(config: impl Into<NetworkConfig>) -> usize {
    let topology = config.into().topology().unwrap();
    let trained = topology
        .tensors()
        .iter()
        .filter(|spec| !spec.name.contains("running"));
    trained
        .map(|spec| spec.shape.iter().product::<usize>())
        .sum()
}

#[test]
fn published_networks_have_their_published_sizes() {
    let small = [3, 32, 32];
    let large = [3, 224, 224];
    // 0.27 M and 0.46 M parameters in He et al., table 6.
    let plain = |depth| ResNetConfig::cifar(depth, small, 10).with_shortcut(Shortcut::Subsample);
    assert_eq!(count(plain(20)), 269_722);
    assert_eq!(count(plain(32)), 464_154);
    assert_eq!(count(ResNetConfig::cifar18(small, 10)), 11_173_962);
    assert_eq!(count(ResNetConfig::imagenet18(large, 1000)), 11_689_512);
    assert_eq!(count(ResNetConfig::imagenet50(large, 1000)), 25_557_032);
    let head = VggHead::ImageNet { hidden: 4096 };
    assert_eq!(
        count(VggConfig::new(large, 1000).with_head(head)),
        143_678_248
    );
    let vit = VitConfig::new(large, 1000)
        .with_patch(16)
        .with_width(768)
        .with_depth(12)
        .with_heads(12);
    assert_eq!(count(vit), 86_567_656);
    // The merging paper's feasibility network.
    let resnet8 = ResNetConfig::cifar(8, [1, 28, 28], 10);
    let resnet8 = NetworkConfig::from(resnet8.with_stem(Stem::Small { stride: 2 }));
    assert_eq!(count(resnet8.clone()), 77_754);
    let topology = resnet8.topology().unwrap();
    let macs: u64 = (0..topology.nodes().len())
        .map(|n| topology.multiplications(n))
        .sum();
    assert!((2_540_000..2_560_000).contains(&macs), "{macs}");
}

#[test]
fn every_name_makes_a_network_that_classifies() {
    for name in NETWORKS {
        let input = if name.contains("vgg") {
            [3, 32, 32]
        } else {
            [3, 16, 16]
        };
        let config = NetworkConfig::by_name(name, input, 4, 0.125).unwrap();
        let network = Network::new(config, 1, &device()).unwrap();
        assert_eq!((network.classes(), network.input_shape()), (4, input));
        let logits = network.logits(images(input, 2, 1), Mode::Eval).unwrap();
        assert_eq!(logits.dims(), [2, 4], "{name}");
        assert!(values(&logits).iter().all(|v| v.is_finite()), "{name}");
        let features = network.features(images(input, 2, 1), Mode::Eval).unwrap();
        assert_eq!(features.dims()[0], 2);
    }
}

#[test]
fn configurations_survive_json() {
    for (_, config) in zoo() {
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(NetworkConfig::load_binary(json.as_bytes()).unwrap(), config);
    }
}

#[test]
fn seeds_decide_the_weights() {
    for (name, config) in zoo() {
        let values = |seed| {
            let network = Network::new(config.clone(), seed, &device()).unwrap();
            Parameters::all_of(&network).to_host().unwrap()
        };
        assert_eq!(values(1), values(1), "{name}");
        assert_ne!(values(1), values(2), "{name}");
    }
}

/// Mean, standard deviation and largest absolute value of a new network's tensor.
fn spread(network: &Network, name: &str) -> (f64, f64, f64) {
    let values = values(&network.parameters().values(name).unwrap());
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    (mean, square.sqrt(), largest)
}

#[test]
fn weights_are_drawn_with_the_documented_spread() {
    let network = Network::new(ResNetConfig::cifar18([3, 32, 32], 10), 7, &device()).unwrap();
    // He by outputs: sqrt(2 / (256 * 9)).
    let (mean, deviation, _) = spread(&network, "layer3.0.conv1.weight");
    let expected = (2.0_f64 / (256.0 * 9.0)).sqrt();
    assert!(mean.abs() < 0.01 * expected && (deviation / expected - 1.0).abs() < 0.01);
    // Uniform within 1 / sqrt(512).
    let (_, deviation, largest) = spread(&network, "fc.weight");
    let bound = 512_f64.sqrt().recip();
    assert!(largest <= bound && largest > 0.99 * bound);
    assert!((deviation / (bound / 3_f64.sqrt()) - 1.0).abs() < 0.03);
}

#[test]
fn patches_are_projected_as_in_torchvision() {
    let vit = |input, patch, width| {
        let config = VitConfig::new(input, 3).with_depth(0).with_patch(patch);
        Network::new(config.with_width(width), 7, &device()).unwrap()
    };
    // sqrt(1 / (3 * 16)), far from where it is cut off.
    let (mean, deviation, largest) = spread(&vit([3, 16, 16], 4, 1024), "conv_proj.weight");
    let expected = 48_f64.sqrt().recip();
    assert!(mean.abs() < 0.02 * expected && (deviation / expected - 1.0).abs() < 0.02);
    assert!(largest > 3.0 * expected);
    // 1, cut off at 2, which leaves 0.8796.
    let (_, deviation, largest) = spread(&vit([1, 4, 4], 1, 4096), "conv_proj.weight");
    assert!(largest <= 2.0 && largest > 1.9);
    assert!((deviation / 0.8796 - 1.0).abs() < 0.04, "{deviation}");
}

#[test]
fn merged_widths_are_accepted_and_checked() {
    let config = ResNetConfig::cifar(8, [3, 16, 16], 5).with_width(4);
    let widths = ResNetWidths {
        stem: 7,
        streams: vec![7, 9, 16],
        inner: vec![vec![vec![5]], vec![vec![11]], vec![vec![13]]],
    };
    let merged = config.clone().with_widths(Some(widths.clone()));
    let network = Network::new(merged, 1, &device()).unwrap();
    let sizes: Vec<usize> = AxisGroups::of(network.topology())
        .iter()
        .map(|g| g.size)
        .collect();
    assert_eq!(sizes, [7, 5, 11, 9, 13, 16]);
    assert!(
        network
            .logits(images([3, 16, 16], 2, 1), Mode::Train)
            .is_ok()
    );
    let mut wrong = widths.clone();
    wrong.inner[1] = Vec::new();
    assert!(Network::new(config.clone().with_widths(Some(wrong)), 1, &device()).is_err());
    let mut wrong = widths;
    wrong.inner[2][0] = vec![3, 3];
    assert!(Network::new(config.with_widths(Some(wrong)), 1, &device()).is_err());
}

#[test]
fn what_makes_no_network_is_refused() {
    let input = [3, 16, 16];
    let refused = |config: NetworkConfig, field: &str| {
        let result = Network::new(config, 1, &device());
        assert!(
            matches!(&result, Err(Error::InvalidConfig { field: found, .. }) if found == field),
            "{field}: {result:?}"
        );
    };
    refused(MlpConfig::new([0, 4, 4], 3).into(), "input");
    refused(MlpConfig::new([usize::MAX, 4, 4], 3).into(), "input");
    refused(MlpConfig::new(input, 1).into(), "classes");
    refused(
        MlpConfig::new(input, 3).with_hidden(vec![0]).into(),
        "fc1.weight",
    );
    refused(
        MlpConfig::new(input, 3)
            .with_hidden(vec![usize::MAX / 2])
            .into(),
        "fc1.weight",
    );
    refused(
        CnnConfig::new(input, 3).with_widths(vec![2; 5]).into(),
        "pool5",
    );
    refused(
        CnnConfig::new(input, 3).with_widths(vec![0]).into(),
        "conv1",
    );
    refused(ResNetConfig::new(input, 3, vec![]).into(), "blocks");
    refused(ResNetConfig::new(input, 3, vec![1, 0]).into(), "blocks");
    refused(
        ResNetConfig::cifar(8, input, 3).with_slope(f64::NAN).into(),
        "slope",
    );
    refused(
        ResNetConfig::cifar(8, input, 3)
            .with_stem(Stem::Small { stride: 0 })
            .into(),
        "conv1",
    );
    refused(
        ResNetConfig::cifar(8, input, 3).with_width(0).into(),
        "conv1",
    );
    refused(VggConfig::new(input, 3).with_width(1).into(), "features.52");
    refused(VitConfig::new(input, 3).with_patch(17).into(), "conv_proj");
    refused(VitConfig::new(input, 3).with_patch(0).into(), "conv_proj");
    let heads = "encoder.layers.encoder_layer_0.self_attention";
    refused(VitConfig::new(input, 3).with_heads(3).into(), heads);
    refused(VitConfig::new(input, 3).with_heads(0).into(), heads);
    // Sizes that no machine has, some of whose products do not even fit a word.
    refused(MlpConfig::new([1, 1 << 40, 1], 3).into(), "input");
    let large = CnnConfig::new([1, 1 << 16, 1 << 15], 3);
    refused(large.with_widths(vec![2]).into(), "conv1");
    let large = usize::MAX;
    let vgg = VggConfig::new([3, 32, 32], 10).with_width(large);
    refused(vgg.into(), "features.0.weight");
    let vit = VitConfig::new(input, 3).with_hidden(Some(large));
    refused(vit.into(), "encoder.layers.encoder_layer_0.mlp.0.weight");
    for (name, width) in [
        ("resnet21", 1.0),
        ("mlp", 0.0),
        ("mlp", f64::NAN),
        ("mlp", 1e9),
    ] {
        assert!(NetworkConfig::by_name(name, input, 3, width).is_err());
    }
}

#[test]
fn numbers_of_layers_are_bounded_before_memory_is_taken_for_them() {
    let input = [3, 16, 16];
    let many = 1_000_000_000_000;
    for blocks in [vec![many], vec![1, many], vec![usize::MAX, 2]] {
        let config = ResNetConfig::new(input, 3, blocks);
        for error in [
            config.resolved_widths().map(drop),
            NetworkConfig::from(config).topology().map(drop),
        ] {
            assert!(matches!(error, Err(Error::InvalidConfig { field, .. }) if field == "blocks"));
        }
    }
    let vit = NetworkConfig::from(VitConfig::new(input, 3).with_width(4).with_depth(many));
    let error = vit.topology().map(drop);
    assert!(
        matches!(&error, Err(Error::InvalidConfig { reason, .. }) if reason.contains("operations")),
        "{error:?}"
    );
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let network = Network::new(
        ResNetConfig::cifar(8, [3, 4, 4], 3).with_width(2),
        1,
        &device(),
    )
    .unwrap();
    let refused = |images: Tensor<4>, mode| {
        let result = network.logits(images, mode);
        assert!(matches!(result, Err(Error::InvalidInput { .. })));
    };
    refused(images([1, 4, 4], 2, 1), Mode::Eval);
    refused(images([3, 4, 5], 2, 1), Mode::Eval);
    refused(Tensor::zeros([0, 3, 4, 4], &device()), Mode::Eval);
    // The last stage is 1x1: one image is no batch to normalise by.
    refused(images([3, 4, 4], 1, 1), Mode::Train);
    assert!(network.logits(images([3, 4, 4], 1, 1), Mode::Eval).is_ok());
    assert!(network.logits(images([3, 4, 4], 2, 1), Mode::Train).is_ok());
}
