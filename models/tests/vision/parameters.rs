//! Weights as values: read, computed with, put back.

use burn::module::Module;
use burn::tensor::Tensor;
use fire_assay_models::Error;
use fire_assay_models::parameters::{Parameters, is_buffer};
use fire_assay_models::tensors::HostTensor;
use fire_assay_models::vision::*;

use super::support::*;

fn pair() -> (Parameters, Parameters) {
    let tensor = |shape: Vec<usize>, values: Vec<f32>| HostTensor::new(shape, values).unwrap();
    let of = |a: [f32; 2], b: [f32; 4]| {
        let tensors = [
            ("a".to_owned(), tensor(vec![2], a.to_vec())),
            ("b.weight".to_owned(), tensor(vec![2, 2], b.to_vec())),
        ];
        Parameters::from_host(&tensors, &device()).unwrap()
    };
    (
        of([1.0, -2.0], [3.0, 0.0, 4.0, 1.0]),
        of([0.5, 1.0], [1.0, 2.0, -1.0, 0.0]),
    )
}

fn host(parameters: &Parameters) -> Vec<f32> {
    let tensors = parameters.to_host().unwrap();
    tensors
        .into_iter()
        .flat_map(|(_, tensor)| tensor.into_values())
        .collect()
}

#[test]
fn arithmetic_is_that_of_one_long_vector() {
    let (a, b) = pair();
    assert_eq!(
        host(&a.add_scaled(&b, 2.0).unwrap()),
        [2.0, 0.0, 5.0, 4.0, 2.0, 1.0]
    );
    assert_eq!(
        host(&a.difference(&b).unwrap()),
        [0.5, -3.0, 2.0, -2.0, 5.0, 1.0]
    );
    assert_eq!(host(&a.scaled(-2.0)), [-2.0, 4.0, -6.0, 0.0, -8.0, -2.0]);
    assert_eq!(a.dot(&b).unwrap(), 0.5 - 2.0 + 3.0 - 4.0);
    assert!((a.norm().unwrap() - 31_f64.sqrt()).abs() < 1e-6);
    assert_eq!((a.len(), a.count()), (2, 6));
    assert_eq!(Parameters::default().norm().unwrap(), 0.0);
}

#[test]
fn names_are_paths_and_running_statistics_are_apart() {
    let config = ResNetConfig::cifar(8, [3, 8, 8], 4).with_width(4);
    let network = Network::new(config, 1, &device()).unwrap();
    let (trained, buffers) = (Parameters::of(&network), Parameters::buffers_of(&network));
    assert!(
        trained
            .names()
            .any(|name| name == "layer2.0.downsample.0.weight")
    );
    assert_eq!(
        trained.shape("layer1.0.conv1.weight"),
        Some(&[4, 4, 3, 3][..])
    );
    assert!(buffers.names().all(is_buffer) && !trained.names().any(is_buffer));
    assert_eq!(buffers.len(), 2 * 9);
    let all: Vec<_> = Parameters::all_of(&network)
        .names()
        .map(str::to_owned)
        .collect();
    let expected = network
        .topology()
        .tensors()
        .iter()
        .map(|spec| spec.name.clone());
    assert_eq!(all, expected.collect::<Vec<_>>());
}

#[test]
fn what_is_put_into_a_module_is_read_out_of_it() {
    for (name, config) in zoo() {
        let a = randomised(Network::new(config.clone(), 1, &device()).unwrap(), 2);
        let b = Network::new(config, 3, &device()).unwrap();
        let merged = Parameters::of(&a).put_into(b.clone()).unwrap();
        let off = |x: &Parameters, y: &Parameters| x.difference(y).unwrap().norm().unwrap();
        assert_eq!(
            off(&Parameters::of(&merged), &Parameters::of(&a)),
            0.0,
            "{name}"
        );
        assert_eq!(
            off(
                &Parameters::buffers_of(&merged),
                &Parameters::buffers_of(&b)
            ),
            0.0,
            "{name}"
        );
        let whole = Parameters::all_of(&a).put_into(b).unwrap();
        let x = images(a.input_shape(), 3, 4);
        let [left, right] = [&a, &whole].map(|net| net.logits(x.clone(), Mode::Eval).unwrap());
        assert_eq!(max_difference(&left, &right), 0.0, "{name}");
    }
}

#[test]
fn a_module_in_training_stays_in_training() {
    let network = Network::new(MlpConfig::new([1, 2, 2], 2), 1, &device()).unwrap();
    let values = Parameters::of(&network).scaled(2.0);
    let network = values.put_into(network.train()).unwrap();
    let x = Tensor::<4>::ones([3, 1, 2, 2], &device()).autodiff();
    let loss = network.logits(x, Mode::Train).unwrap().square().sum();
    let gradients = Parameters::gradients_of(&network, &loss.backward());
    assert!(gradients.norm().unwrap() > 0.0);
    assert!(gradients.expect_same_layout(&values).is_ok());
}

#[test]
fn gradients_never_reach_running_statistics() {
    let network = Network::new(CnnConfig::new([1, 4, 4], 2), 1, &device()).unwrap();
    let network = network.train();
    let x = images([1, 4, 4], 3, 1).autodiff();
    let loss = network.logits(x, Mode::Eval).unwrap().square().sum();
    let gradients = loss.backward();
    struct Visitor<'g>(&'g burn::tensor::Gradients, Vec<String>, usize);
    impl burn::module::ModuleVisitor for Visitor<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.1.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.1.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            let buffer = is_buffer(&self.1.join("."));
            assert_eq!(param.val().grad(self.0).is_some(), !buffer, "{:?}", self.1);
            self.2 += 1;
        }
    }
    let mut visitor = Visitor(&gradients, Vec::new(), 0);
    network.visit(&mut visitor);
    assert_eq!(visitor.2, 12);
}

#[test]
fn files_keep_every_bit() {
    let (a, _) = pair();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values.safetensors");
    a.save(&path).unwrap();
    let back = Parameters::load(&path, &device()).unwrap();
    assert_eq!(back.to_host().unwrap(), a.to_host().unwrap());
}

#[test]
fn what_does_not_fit_is_named() {
    let (a, _) = pair();
    let network = Network::new(MlpConfig::new([1, 2, 2], 2), 1, &device()).unwrap();
    let own = Parameters::of(&network);
    let named = |result: Result<Parameters, Error>, expected: &str| {
        assert!(matches!(result, Err(Error::Parameter { name, .. }) if name == expected));
    };
    named(
        a.put_some_into(network.clone())
            .map(|net| Parameters::of(&net)),
        "a",
    );
    let part = own.select(|name| name != "fc2.bias");
    named(
        part.put_into(network.clone())
            .map(|net| Parameters::of(&net)),
        "fc2.bias",
    );
    assert!(part.put_some_into(network.clone()).is_ok());
    named(own.difference(&part), "fc2.bias");
    named(part.difference(&own), "fc2.bias");
    let wide = Network::new(MlpConfig::new([1, 2, 2], 3), 1, &device()).unwrap();
    named(own.add_scaled(&Parameters::of(&wide), 1.0), "fc2.weight");
    named(
        own.put_into(wide).map(|net| Parameters::of(&net)),
        "fc2.weight",
    );
    named(
        own.clone()
            .with_tensor("fc1.bias", Tensor::<1>::zeros([3], &device())),
        "fc1.bias",
    );
    assert!(own.tensor::<1>("fc1.weight").is_err());
    let twice = a.to_host().unwrap();
    let twice = [twice[0].clone(), twice[0].clone()];
    named(Parameters::from_host(&twice, &device()), "a");
}
