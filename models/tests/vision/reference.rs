//! Agreement with PyTorch: logits, statistics and gradients of committed checkpoints
//! (`tests/data/vision`, made by `tests/data/make/vision.py`).

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData, activation};
use fire_assay_models::parameters::Parameters;
use fire_assay_models::tensors::{Safetensors, TensorSource};
use fire_assay_models::vision::*;

use super::support::*;

/// Labels of the reference images.
const LABELS: [usize; 4] = [3, 9, 0, 3];

fn networks() -> Vec<(&'static str, NetworkConfig)> {
    let (grey, colour) = ([1, 28, 28], [3, 32, 32]);
    let resnet20 = ResNetConfig::cifar(20, colour, 10);
    let vgg = VggConfig::new(colour, 10).with_width(2);
    vec![
        ("mlp", MlpConfig::new(grey, 10).into()),
        (
            "small_cnn",
            CnnConfig::new(grey, 10).with_widths(vec![8, 16]).into(),
        ),
        (
            "resnet20_a",
            resnet20
                .clone()
                .with_width(4)
                .with_shortcut(Shortcut::Subsample)
                .into(),
        ),
        ("resnet20_b", resnet20.with_width(2).into()),
        (
            "resnet18_cifar",
            ResNetConfig::cifar18(colour, 10).with_width(2).into(),
        ),
        (
            "resnet18_torchvision",
            ResNetConfig::imagenet18(colour, 10).with_width(2).into(),
        ),
        (
            "bottleneck_torchvision",
            ResNetConfig::imagenet50(colour, 10)
                .with_width(2)
                .with_blocks(vec![1, 2, 1, 1])
                .into(),
        ),
        (
            "r32p",
            ResNetConfig::preact32(colour, 10).with_width(4).into(),
        ),
        ("vgg19_bn", vgg.clone().into()),
        (
            "vgg11_bn",
            vgg.with_depth(VggDepth::Eleven)
                .with_head(VggHead::Deep { hidden: 16 })
                .into(),
        ),
        (
            "vit",
            VitConfig::new(grey, 10)
                .with_patch(7)
                .with_width(32)
                .with_depth(2)
                .with_hidden(Some(48))
                .into(),
        ),
    ]
}

struct Reference {
    name: &'static str,
    network: Network,
    images: Tensor<4>,
    expected: Safetensors,
}

impl Reference {
    fn all() -> Vec<Self> {
        let inputs = Safetensors::open(data("inputs.safetensors")).unwrap();
        let one = |(name, config): (&'static str, NetworkConfig)| {
            let folder = data(name);
            let network =
                Network::load_weights(config, folder.join("model.safetensors"), &device()).unwrap();
            let [c, h, w] = network.input_shape();
            let images = inputs.read(&format!("x_{c}x{h}x{w}")).unwrap();
            Self {
                name,
                network,
                images: images.to_tensor(&device()).unwrap(),
                expected: Safetensors::open(folder.join("reference.safetensors")).unwrap(),
            }
        };
        networks().into_iter().map(one).collect()
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        self.expected
            .read(name)
            .unwrap()
            .to_tensor(&device())
            .unwrap()
    }
}

fn loss(logits: Tensor<2>) -> Tensor<1> {
    let [batch, classes] = logits.dims();
    let mut picks = vec![0.0_f32; batch * classes];
    for (row, &label) in LABELS.iter().enumerate() {
        picks[row * classes + label] = -1.0 / batch as f32;
    }
    let picks = TensorData::new(picks, [batch, classes]);
    let picks = Tensor::<2>::from_data(picks, &logits.device());
    (activation::log_softmax(logits, 1) * picks).sum()
}

#[test]
fn logits_equal_pytorch_in_both_modes() {
    for case in Reference::all() {
        for (mode, name) in [(Mode::Eval, "logits_eval"), (Mode::Train, "logits_train")] {
            let logits = case.network.logits(case.images.clone(), mode).unwrap();
            let off = max_difference(&logits, &case.tensor(name));
            println!("{} {mode:?}: {off:.1e}", case.name);
            assert!(off <= 1e-4, "{} {mode:?}: {off}", case.name);
        }
    }
}

#[test]
fn running_statistics_equal_pytorch_after_a_step() {
    let mut compared = 0;
    for case in Reference::all() {
        let (logits, statistics) = case
            .network
            .logits_with_statistics(case.images.clone())
            .unwrap();
        assert!(max_difference(&logits, &case.tensor("logits_train")) <= 1e-4);
        let before = Parameters::buffers_of(&case.network);
        let after = case
            .network
            .clone()
            .with_running_update(&statistics)
            .unwrap();
        assert_eq!(
            before
                .difference(&Parameters::buffers_of(&case.network))
                .unwrap()
                .norm()
                .unwrap(),
            0.0
        );
        let after = Parameters::buffers_of(&after);
        for name in after.names() {
            let expected = case.tensor::<1>(&format!("after.{name}"));
            let off = max_difference(&after.tensor::<1>(name).unwrap(), &expected);
            let scale = norm(&values(&expected)).max(1.0);
            assert!(off <= 1e-5 * scale, "{} {name}: {off}", case.name);
            compared += 1;
        }
    }
    assert!(compared > 200, "{compared} statistics compared");
}

#[test]
fn gradients_equal_pytorch() {
    for case in Reference::all() {
        let meta = std::fs::read_to_string(data(case.name).join("meta.json")).unwrap();
        let meta: serde_json::Value = serde_json::from_str(&meta).unwrap();
        let norms: BTreeMap<String, f64> =
            serde_json::from_value(meta["grad_norms"].clone()).unwrap();

        let network = case.network.clone().train();
        let (logits, _) = network
            .logits_with_statistics(case.images.clone().autodiff())
            .unwrap();
        let loss = loss(logits);
        let off = (values(&loss)[0] - meta["train_loss_f64"].as_f64().unwrap()).abs();
        assert!(off <= 1e-5, "{}: loss off by {off}", case.name);
        let gradients = Parameters::gradients_of(&network, &loss.backward());

        assert_eq!(gradients.len(), norms.len(), "{}", case.name);
        let largest = norms.values().fold(0.0_f64, |a, &b| a.max(b));
        let mut worst: f64 = 0.0;
        for (name, &expected) in &norms {
            let found = gradients.values(name).unwrap();
            // Gradients that cancel (a bias before a batch normalisation) are zero but for rounding.
            let scale = expected.max(1e-2 * largest);
            worst = worst.max((norm(&values(&found)) - expected).abs() / scale);
            let full = format!("grad.{name}");
            if case.expected.shape(&full).is_some() {
                let expected = case.expected.read(&full).unwrap();
                let found = &values(&found)[..expected.values().len()];
                let pairs = found.iter().zip(expected.values());
                let off: Vec<f64> = pairs.map(|(a, &b)| a - f64::from(b)).collect();
                worst = worst.max(norm(&off) / scale);
            }
        }
        println!("{}: {worst:.1e}", case.name);
        assert!(worst <= 1e-4, "{}: gradients off by {worst}", case.name);
    }
}

#[test]
fn names_and_shapes_are_torchvisions() {
    let text = std::fs::read_to_string(data("torchvision_names.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let input = [3, 224, 224];
    let head = VggHead::ImageNet { hidden: 4096 };
    for (name, config) in [
        (
            "resnet18",
            NetworkConfig::from(ResNetConfig::imagenet18(input, 1000)),
        ),
        ("resnet50", ResNetConfig::imagenet50(input, 1000).into()),
        (
            "vgg19_bn",
            VggConfig::new(input, 1000).with_head(head).into(),
        ),
    ] {
        let mut expected: BTreeMap<String, Vec<usize>> =
            serde_json::from_value(all[name].clone()).unwrap();
        expected.retain(|name, _| !name.ends_with("num_batches_tracked"));
        let topology = config.topology().unwrap();
        let found = topology
            .tensors()
            .iter()
            .map(|spec| (spec.name.clone(), spec.shape.clone()));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "{name}");
    }
}

#[test]
fn training_mode_is_the_same_with_and_without_autodiff() {
    for case in Reference::all() {
        let plain = case
            .network
            .logits(case.images.clone(), Mode::Train)
            .unwrap();
        let recorded = case.network.clone().train();
        let recorded = recorded.logits(case.images.clone(), Mode::Train).unwrap();
        // Some operations are fused only where nothing is recorded.
        assert!(max_difference(&plain, &recorded) <= 1e-5, "{}", case.name);
    }
}
