//! Damaged or unfitting checkpoints are refused with the file and the tensor.

use std::path::{Path, PathBuf};

use fire_assay_models::Error;
use fire_assay_models::lm::CausalLm;
use fire_assay_models::tensors::{HostTensor, Safetensors, TensorSource};
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;

use crate::{FAMILIES, device, folder};

/// A copy of a checkpoint with its tensors changed.
fn changed(name: &str, change: impl FnOnce(&mut Vec<(String, HostTensor)>)) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(
        folder(name).join("config.json"),
        copy.path().join("config.json"),
    )
    .unwrap();
    let source = Safetensors::open(folder(name)).unwrap();
    let read = |name: String| {
        let tensor = source.read(&name).unwrap();
        (name, tensor)
    };
    let mut tensors = source.names().into_iter().map(read).collect();
    change(&mut tensors);
    std::fs::write(file(&copy), bytes(&tensors)).unwrap();
    copy
}

/// The file with these tensors; `write_safetensors` waits for the disk, which hundreds of files would feel.
fn bytes(tensors: &[(String, HostTensor)]) -> Vec<u8> {
    let stored: Vec<(Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(_, tensor)| {
            let bytes = tensor.values().iter().flat_map(|v| v.to_le_bytes());
            (tensor.shape().to_vec(), bytes.collect())
        })
        .collect();
    let views = tensors
        .iter()
        .zip(&stored)
        .map(|((name, _), (shape, bytes))| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
            (name, view)
        });
    safetensors::serialize(views, None).unwrap()
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("model.safetensors")
}

fn refusal(folder: impl AsRef<Path>) -> Error {
    match CausalLm::from_folder(folder, &device()) {
        Ok(_) => panic!("the folder was accepted"),
        Err(error) => error,
    }
}

fn position(tensors: &[(String, HostTensor)], name: &str) -> usize {
    tensors.iter().position(|(n, _)| n == name).unwrap()
}

#[test]
fn every_tensor_is_needed() {
    for name in FAMILIES {
        let names = Safetensors::open(folder(name)).unwrap().names();
        for tensor in names {
            // The output layer of a family that may tie it is looked for only if it is not tied.
            let copy = changed(name, |tensors| {
                let place = position(tensors, &tensor);
                tensors.remove(place);
            });
            match refusal(&copy) {
                Error::MissingTensor {
                    path,
                    tensor: found,
                } => {
                    assert_eq!(path, file(&copy));
                    // Without the embedding, the prefix is not known either.
                    assert!(
                        found == tensor,
                        "{name}: {found} is said to be missing, not {tensor}"
                    );
                }
                other => panic!("{name} without {tensor}: {other}"),
            }
        }
    }
}

#[test]
fn every_tensor_has_its_shape() {
    for name in FAMILIES {
        let names = Safetensors::open(folder(name)).unwrap().names();
        for tensor in names {
            let mut shape = Vec::new();
            let copy = changed(name, |tensors| {
                let place = position(tensors, &tensor);
                shape = tensors[place].1.shape().to_vec();
                let mut longer = shape.clone();
                longer[0] += 1;
                let count = longer.iter().product();
                tensors[place].1 = HostTensor::new(longer, vec![0.5; count]).unwrap();
            });
            match refusal(&copy) {
                Error::Shape {
                    path,
                    tensor: found,
                    expected,
                    found: longer,
                } => {
                    assert_eq!((path, &found, &expected), (file(&copy), &tensor, &shape));
                    assert_eq!(longer[0], shape[0] + 1);
                }
                other => panic!("{name} with a longer {tensor}: {other}"),
            }
        }
    }
}

#[test]
fn every_value_is_a_number() {
    for name in FAMILIES {
        let names = Safetensors::open(folder(name)).unwrap().names();
        for tensor in names {
            let copy = changed(name, |tensors| {
                let place = position(tensors, &tensor);
                let mut values = tensors[place].1.values().to_vec();
                values[1] = f32::NAN;
                tensors[place].1 = HostTensor::new(tensors[place].1.shape(), values).unwrap();
            });
            match refusal(&copy) {
                Error::NonFinite {
                    path,
                    tensor: found,
                    index: 1,
                    value,
                } => {
                    assert_eq!((path, found), (file(&copy), tensor));
                    assert!(value.is_nan());
                }
                other => panic!("{name} with NaN in {tensor}: {other}"),
            }
        }
    }
}

#[test]
fn nothing_is_left_over_but_constants_of_old_releases() {
    let one = || HostTensor::new([1], vec![1.0]).unwrap();
    for name in FAMILIES {
        let copy = changed(name, |tensors| {
            tensors.push(("adapter.weight".to_owned(), one()))
        });
        match refusal(&copy) {
            Error::ExtraTensors { path, tensors } => {
                assert_eq!(
                    (path, tensors),
                    (file(&copy), vec!["adapter.weight".to_owned()])
                );
            }
            other => panic!("{name}: {other}"),
        }
    }
    let constants = [
        ("llama", "model.layers.1.self_attn.rotary_emb.inv_freq"),
        ("gpt_neox", "gpt_neox.layers.0.attention.bias"),
        ("gpt_neox", "gpt_neox.layers.0.attention.masked_bias"),
        (
            "gpt_neox",
            "gpt_neox.layers.1.attention.rotary_emb.inv_freq",
        ),
        ("gpt2", "transformer.h.1.attn.bias"),
        ("gpt2", "transformer.h.0.attn.masked_bias"),
    ];
    for (name, constant) in constants {
        let copy = changed(name, |tensors| tensors.push((constant.to_owned(), one())));
        CausalLm::from_folder(&copy, &device()).unwrap();
        // Not those of another family.
        let other = if name == "gpt2" { "llama" } else { "gpt2" };
        let copy = changed(other, |tensors| tensors.push((constant.to_owned(), one())));
        assert!(
            matches!(refusal(&copy), Error::ExtraTensors { .. }),
            "{other} with {constant}"
        );
    }
}

#[test]
fn names_may_lack_the_prefix_of_the_whole_model() {
    let prefixes = [
        ("llama", "model."),
        ("gpt_neox", "gpt_neox."),
        ("gpt2", "transformer."),
        ("opt", "model."),
        ("opt", "model.decoder."),
    ];
    for (name, prefix) in prefixes {
        let copy = changed(name, |tensors| {
            for (name, _) in tensors {
                if let Some(rest) = name.strip_prefix(prefix) {
                    *name = rest.to_owned();
                }
            }
        });
        let tokens = fire_assay_models::lm::TokenBatch::single(&[1, 2, 3]).unwrap();
        let found = CausalLm::from_folder(&copy, &device())
            .unwrap()
            .mean_nll(&tokens)
            .unwrap();
        assert_eq!(found, crate::load(name).mean_nll(&tokens).unwrap());
    }
}

#[test]
fn a_tied_output_layer_equals_the_embedding() {
    for (name, embedding) in [
        ("qwen2", "model.embed_tokens.weight"),
        ("gpt2", "transformer.wte.weight"),
        ("opt", "model.decoder.embed_tokens.weight"),
    ] {
        let tied = |scale: f32| {
            changed(name, |tensors| {
                let tensor = &tensors[position(tensors, embedding)].1;
                let values = tensor.values().iter().map(|v| v * scale).collect();
                let output = HostTensor::new(tensor.shape(), values).unwrap();
                tensors.push(("lm_head.weight".to_owned(), output));
            })
        };
        CausalLm::from_folder(tied(1.0), &device()).unwrap();
        let copy = tied(2.0);
        match refusal(&copy) {
            Error::NotTied {
                path,
                tensor,
                embedding: found,
            } => {
                assert_eq!(
                    (path, &*tensor, &*found),
                    (file(&copy), "lm_head.weight", embedding)
                );
            }
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn truncated_files_are_refused() {
    let copy = changed("llama", |_| {});
    let whole = std::fs::read(file(&copy)).unwrap();
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(file(&copy), &whole[..length]).unwrap();
        match refusal(&copy) {
            Error::Truncated {
                path,
                needed,
                found,
            } => {
                assert_eq!((path, found), (file(&copy), length as u64));
                assert!(needed > found);
            }
            other => panic!("{length} bytes: {other}"),
        }
    }
}

#[test]
fn other_files_are_refused() {
    let copy = changed("llama", |_| {});
    let zip = b"PK\x03\x04 pytorch archives begin like this, and so on and on";
    std::fs::write(file(&copy), zip).unwrap();
    assert!(matches!(refusal(&copy), Error::Parse { path, .. } if path == file(&copy)));

    std::fs::remove_file(file(&copy)).unwrap();
    assert!(matches!(refusal(&copy), Error::Io { path, .. } if path == file(&copy)));
}

#[test]
fn an_index_names_what_its_shards_have() {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder("llama_sharded")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let path = copy.path().join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&path).unwrap();
    CausalLm::from_folder(&copy, &device()).unwrap();

    let renamed = text.replace("model.norm.weight", "model.mean.weight");
    assert_ne!(renamed, text);
    std::fs::write(&path, renamed).unwrap();
    match refusal(&copy) {
        Error::Parse {
            path: found,
            reason,
            ..
        } => {
            assert_eq!(found, path);
            assert!(reason.contains("model.mean.weight"), "{reason}");
        }
        other => panic!("{other}"),
    }

    std::fs::write(&path, &text).unwrap();
    std::fs::remove_file(copy.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(
        matches!(refusal(&copy), Error::Io { path, .. } if path.ends_with("model-00002-of-00002.safetensors"))
    );
}
