//! Networks in files: exact both ways, and every mismatch named.

use fire_assay_models::Error;
use fire_assay_models::parameters::Parameters;
use fire_assay_models::tensors::{HostTensor, Safetensors, write_safetensors};
use fire_assay_models::vision::*;
use safetensors::tensor::{Dtype, TensorView};

use super::support::*;

fn cnn() -> CnnConfig {
    CnnConfig::new([1, 8, 8], 3).with_widths(vec![2, 3])
}

/// Writes the tensors of a network after a change, and reads them.
fn read_changed(change: impl FnOnce(&mut Vec<(String, HostTensor)>)) -> Result<Network, Error> {
    let network = Network::new(cnn(), 1, &device()).unwrap();
    let mut tensors = Parameters::all_of(&network).to_host().unwrap();
    change(&mut tensors);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, bytes(&tensors)).unwrap();
    Network::load_weights(cnn(), &path, &device())
}

/// Changes the second value of a tensor.
fn set(tensors: &mut [(String, HostTensor)], name: &str, value: f32) {
    let (_, tensor) = tensors.iter_mut().find(|(n, _)| n == name).unwrap();
    let mut values = tensor.values().to_vec();
    values[1] = value;
    *tensor = HostTensor::new(tensor.shape().to_vec(), values).unwrap();
}

/// A safetensors file with these tensors, whatever their values.
fn bytes(tensors: &[(String, HostTensor)]) -> Vec<u8> {
    let stored = tensors.iter().map(|(name, tensor)| {
        let bytes = tensor.values().iter().flat_map(|v| v.to_le_bytes());
        (name, tensor.shape(), bytes.collect::<Vec<u8>>())
    });
    let stored: Vec<_> = stored.collect();
    let views = stored.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
        (name, view)
    });
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn every_network_comes_back_as_it_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    for (name, config) in zoo() {
        let network = randomised(Network::new(config, 1, &device()).unwrap(), 2);
        let path = folder.path().join("model.safetensors");
        network.save(&path).unwrap();
        let back = Network::load(&path, &device()).unwrap();
        assert_eq!(back.config(), network.config(), "{name}");
        assert_eq!(back.topology(), network.topology(), "{name}");
        let (a, b) = (Parameters::all_of(&network), Parameters::all_of(&back));
        assert_eq!(a.to_host().unwrap(), b.to_host().unwrap(), "{name}");
    }
}

#[test]
fn a_file_that_fits_is_read() {
    let counter = HostTensor::new([1], vec![7.0]).unwrap();
    assert!(
        read_changed(|tensors| tensors.push(("bn1.num_batches_tracked".into(), counter))).is_ok()
    );
}

#[test]
fn a_missing_tensor_is_named() {
    let result = read_changed(|tensors| tensors.retain(|(name, _)| name != "bn2.running_var"));
    assert!(
        matches!(result, Err(Error::MissingTensor { tensor, .. }) if tensor == "bn2.running_var")
    );
}

#[test]
fn an_extra_tensor_is_named() {
    let extra = HostTensor::new([1], vec![0.0]).unwrap();
    let result = read_changed(|tensors| tensors.push(("conv3.weight".into(), extra)));
    assert!(
        matches!(result, Err(Error::ExtraTensors { tensors, .. }) if tensors == ["conv3.weight"])
    );
}

#[test]
fn a_misshaped_tensor_is_named() {
    let result = read_changed(|tensors| {
        let (_, tensor) = tensors
            .iter_mut()
            .find(|(name, _)| name == "fc.weight")
            .unwrap();
        *tensor = tensor.transposed().unwrap();
    });
    let Err(Error::Shape {
        tensor,
        expected,
        found,
        ..
    }) = result
    else {
        panic!("{result:?}");
    };
    assert_eq!(
        (tensor.as_str(), expected, found),
        ("fc.weight", vec![3, 12], vec![12, 3])
    );
}

#[test]
fn a_value_that_is_no_number_or_a_negative_variance_is_refused() {
    let read_with = |name: &str, value| read_changed(|tensors| set(tensors, name, value));
    for value in [f32::NAN, f32::INFINITY] {
        let result = read_with("conv1.weight", value);
        let Err(Error::NonFinite { tensor, index, .. }) = result else {
            panic!("{result:?}");
        };
        assert_eq!((tensor.as_str(), index), ("conv1.weight", 1));
    }
    assert!(matches!(
        read_with("bn1.running_var", -1.0),
        Err(Error::Parse { .. })
    ));
}

#[test]
fn a_file_keeps_what_else_is_to_be_known() {
    let network = Network::new(cnn(), 1, &device()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    network.save_with(&path, &[("classes", "a, b")]).unwrap();
    assert!(Network::load(&path, &device()).is_ok());
    let file = Safetensors::open(&path).unwrap();
    assert_eq!(file.metadata("classes"), Some("a, b"));
    let result = network.save_with(&path, &[("network", "none")]);
    assert!(matches!(result, Err(Error::InvalidInput { .. })));
}

/// Others may read what is written, as far as they may read any file that the user writes.
#[cfg(unix)]
#[test]
fn files_have_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let mode = |name: &str| {
        let file = std::fs::metadata(folder.path().join(name)).unwrap();
        file.permissions().mode()
    };
    std::fs::write(folder.path().join("plain"), "").unwrap();
    let network = Network::new(cnn(), 1, &device()).unwrap();
    network.save(folder.path().join("network")).unwrap();
    assert_eq!(mode("network"), mode("plain"));
}

#[test]
fn the_same_contents_are_the_same_bytes() {
    let one = HostTensor::new([1], vec![0.5]).unwrap();
    let tensors = ["b", "a"].map(|name| (name.to_owned(), one.clone()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let written = || {
        let entries = [("x", "1"), ("w", "2"), ("z", "3"), ("y", "\"4\"")];
        write_safetensors(&path, &tensors, &entries).unwrap();
        std::fs::read(&path).unwrap()
    };
    let first = written();
    assert!((0..8).all(|_| written() == first));
    let file = safetensors::SafeTensors::deserialize(&first).unwrap();
    assert_eq!(file.len(), 2);
    let (_, header) = safetensors::SafeTensors::read_metadata(&first).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["y"], "\"4\"");
    let metadata = [("__metadata__".to_owned(), one.clone())];
    for wrong in [&[tensors[0].clone(), tensors[0].clone()][..], &metadata] {
        let result = write_safetensors(&path, wrong, &[]);
        assert!(matches!(result, Err(Error::Parse { .. })), "{result:?}");
    }
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let network = Network::new(cnn(), 1, &device()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let with = |name: &str, value: f32| {
        let mut tensors = Parameters::all_of(&network).to_host().unwrap();
        set(&mut tensors, name, value);
        Parameters::from_host(&tensors, &device()).unwrap()
    };
    for (name, value) in [
        ("conv1.weight", f32::NAN),
        ("bn2.running_mean", f32::INFINITY),
    ] {
        let parameters = with(name, value);
        let changed = parameters.put_into(network.clone()).unwrap();
        for result in [changed.save(&path), parameters.save(&path)] {
            match result {
                Err(Error::NonFinite {
                    tensor,
                    path: found,
                    ..
                }) => {
                    assert_eq!((tensor.as_str(), &found), (name, &path));
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    let changed = with("bn1.running_var", -1.0);
    let result = changed.put_into(network.clone()).unwrap().save(&path);
    assert!(
        matches!(result, Err(Error::Parse { reason, .. }) if reason.contains("bn1.running_var"))
    );
    assert!(!path.exists());
}

#[test]
fn a_hostile_configuration_in_a_file_is_refused_at_once() {
    let many = 1_000_000_000_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for config in [
        NetworkConfig::from(ResNetConfig::new([3, 16, 16], 3, vec![many])),
        VitConfig::new([3, 16, 16], 3).with_depth(many).into(),
    ] {
        let config = serde_json::to_string(&config).unwrap();
        write_safetensors(&path, &[], &[("network", &config)]).unwrap();
        match Network::load(&path, &device()) {
            Err(Error::InvalidConfig { reason, .. }) => {
                assert!(reason.contains("model.safetensors"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_file_without_a_configuration_needs_one() {
    let network = Network::new(cnn(), 1, &device()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    Parameters::all_of(&network).save(&path).unwrap();
    assert!(matches!(
        Network::load(&path, &device()),
        Err(Error::Parse { .. })
    ));
    assert!(Network::load_weights(cnn(), &path, &device()).is_ok());
}
