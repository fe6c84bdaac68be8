//! A GGUF file as a language model.

use std::collections::BTreeMap;
use std::path::Path;

use fire_assay_models::gguf::GgufFile;
use fire_assay_models::lm::{
    CausalLm, GenerateOptions, GgufCheckpoint, LmConfig, Positions, RopeScaling, Sampling,
    TokenBatch,
};
use fire_assay_models::tensors::{HostTensor, Safetensors, TensorSource};
use fire_assay_models::{Error, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::writer::Writer;
use crate::{data, device, json, read, refusal};

/// A checkpoint with the rows of queries and keys as the file has them: in the wrong order for the network.
pub(crate) struct WrongLayout<'c>(pub(crate) &'c GgufCheckpoint);

impl TensorSource for WrongLayout<'_> {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.shape(name)
    }

    fn read(&self, name: &str) -> Result<HostTensor> {
        let tensor = self.0.read(name)?;
        if !(name.contains("q_proj") || name.contains("k_proj")) {
            return Ok(tensor);
        }
        let [rows, columns] = tensor.shape()[..] else {
            panic!("{name} is no matrix");
        };
        let width = self.0.config().head_width;
        let mut values = Vec::new();
        for row in 0..rows {
            let (head, within) = (row / width, row % width);
            let source = head * width + within % 2 * (width / 2) + within / 2;
            values.extend_from_slice(&tensor.values()[source * columns..][..columns]);
        }
        HostTensor::new([rows, columns], values)
    }
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn logits_and_continuation_are_those_of_transformers() {
    let (model, _) = CausalLm::from_gguf(data("gguf/llama.gguf"), &device()).unwrap();
    let text = std::fs::read_to_string(data("gguf/llama_reference.json")).unwrap();
    let reference: serde_json::Value = serde_json::from_str(&text).unwrap();
    let list = |key: &str| serde_json::from_value::<Vec<u32>>(reference[key].clone()).unwrap();
    let (tokens, greedy) = (list("ids"), list("greedy"));
    let expected = Safetensors::open(data("gguf/llama_expected.safetensors")).unwrap();
    let expected = expected.read("logits").unwrap();

    let batch = TokenBatch::single(&tokens).unwrap();
    let logits = |model: &CausalLm| {
        HostTensor::from_tensor(&model.logits(&batch).unwrap())
            .unwrap()
            .into_values()
    };
    let right = difference(&logits(&model), expected.values());
    let checkpoint = GgufCheckpoint::open(data("gguf/llama.gguf")).unwrap();
    let wrong =
        CausalLm::from_tensors(checkpoint.config(), &WrongLayout(&checkpoint), &device()).unwrap();
    let wrong = difference(&logits(&wrong), expected.values());
    println!("largest difference of logits: {right:e}; with rows as they are in the file: {wrong}");
    assert!(right < 1e-4);
    assert!(wrong > 0.5);

    let options = GenerateOptions {
        stop_at_end: false,
        ..GenerateOptions::new(Sampling::greedy(), greedy.len())
    };
    let continuation = model
        .generate(&tokens, &options, &mut StdRng::seed_from_u64(0))
        .unwrap();
    assert_eq!(continuation.tokens, greedy);
}

#[test]
fn other_architectures_are_the_checkpoints_they_were_made_of() {
    for name in ["qwen2", "gpt2", "gpt_neox"] {
        let checkpoint = GgufCheckpoint::open(data(&format!("gguf/{name}.gguf"))).unwrap();
        let folder = data(&format!("lm/{name}"));
        let source = Safetensors::open(&folder).unwrap();
        for tensor in source.names() {
            assert_eq!(
                checkpoint.shape(&tensor),
                source.shape(&tensor),
                "{name}: {tensor}"
            );
            assert!(
                checkpoint.read(&tensor).unwrap() == source.read(&tensor).unwrap(),
                "{name}: {tensor}"
            );
        }
        assert_eq!(checkpoint.names(), source.names(), "{name}");
        assert_eq!(
            *checkpoint.config(),
            LmConfig::from_hugging_face(folder.join("config.json")).unwrap(),
            "{name}"
        );
        CausalLm::from_tensors(checkpoint.config(), &checkpoint, &device()).unwrap();
    }
}

/// The files of the test above are made by a script of ours. llama.cpp's own converter makes the same tensors of the same
/// checkpoints: equal names, shapes and values.
#[test]
fn other_architectures_lie_in_files_as_llama_cpp_puts_them() {
    #[derive(Deserialize, Debug, PartialEq)]
    struct Expected {
        shape: Vec<usize>,
        xxh3: String,
    }
    let mut reference = json("gguf/llama_cpp.json");
    for name in ["qwen2", "gpt2", "gpt_neox"] {
        let expected: BTreeMap<String, Expected> =
            serde_json::from_value(reference["files"][name].take()).unwrap();
        let file = GgufFile::open(data(&format!("gguf/{name}.gguf"))).unwrap();
        let found = file.names().into_iter().map(|tensor| {
            let values = file.read(&tensor).unwrap();
            let bytes: Vec<u8> = values
                .values()
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect();
            let found = Expected {
                shape: values.shape().to_vec(),
                xxh3: format!("{:016x}", xxh3_64(&bytes)),
            };
            (tensor, found)
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "{name}");
    }
}

#[test]
fn the_scaling_of_llama_3_is_recognised_by_its_effect() {
    let checkpoint = GgufCheckpoint::open(data("gguf/llama3_rope.gguf")).unwrap();
    let expected = Positions::Rotary {
        theta: 500_000.0,
        rotated: 64,
        scaling: RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original: 8192,
        },
    };
    assert_eq!(checkpoint.config().positions, expected);
    // Other factors are not recognised.
    let mut factors = checkpoint
        .file()
        .read("rope_freqs.weight")
        .unwrap()
        .into_values();
    let file = |factors: &[f32]| {
        header("llama", 4).f32("llama.rope.freq_base", 5e5).floats(
            "rope_freqs.weight",
            &[32],
            factors,
        )
    };
    assert_eq!(positions(file(&factors)), expected);
    // Nor are they with another scaling on top.
    let field = "llama.rope.scaling.factor";
    match config_error(file(&factors).f32(field, 2.0)) {
        Error::InvalidConfig { field: found, .. } => assert_eq!(found, field),
        other => panic!("{other}"),
    }
    factors[20] *= 1.01;
    let error = config_error(file(&factors));
    assert!(matches!(&error, Error::InvalidConfig { .. }), "{error}");
}

#[test]
fn scaling_by_a_factor_need_not_be_named() {
    let linear = RopeScaling::Linear { factor: 4.0 };
    let base = || header("llama", 4);
    let typed = |name: &str| base().string("llama.rope.scaling.type", name);
    let (new, old) = ("llama.rope.scaling.factor", "llama.rope.scale_linear");
    for (writer, expected) in [
        (base(), RopeScaling::None),
        (base().f32(new, 4.0), linear.clone()),
        (base().f32(old, 4.0), linear.clone()),
        (base().f32(old, 2.0).f32(new, 4.0), linear.clone()),
        (typed("linear").f32(new, 4.0), linear.clone()),
        (typed("linear").f32(old, 4.0), linear),
        (typed("linear"), RopeScaling::None),
        (base().f32(new, 0.0), RopeScaling::None),
        (typed("none").f32(new, 4.0), RopeScaling::None),
    ] {
        match positions(writer) {
            Positions::Rotary { scaling, .. } => assert_eq!(scaling, expected),
            other => panic!("{other:?}"),
        }
    }
    match config_error(base().f32(new, -4.0)) {
        Error::InvalidConfig { field, .. } => assert_eq!(field, "scaling"),
        other => panic!("{other}"),
    }
}

#[test]
fn errors_call_tensors_as_the_file_does() {
    for name in ["llama", "qwen2", "gpt2", "gpt_neox"] {
        let checkpoint = GgufCheckpoint::open(data(&format!("gguf/{name}.gguf"))).unwrap();
        let mut of_blocks = 0;
        for tensor in checkpoint.names() {
            let there = checkpoint.name_in_file(&tensor);
            assert!(checkpoint.file().shape(&there).is_some(), "{there}");
            // The same of a block that is not there.
            let absent = tensor.replace(".0.", ".99.");
            if absent != tensor {
                assert_eq!(checkpoint.shape(&absent), None);
                let expected = there.replace("blk.0.", "blk.99.");
                assert_eq!(checkpoint.name_in_file(&absent), expected);
                of_blocks += 1;
            }
        }
        assert!(of_blocks > 7, "{name}: {of_blocks}");
        assert_eq!(checkpoint.name_in_file("adapter"), "adapter");
    }
}

/// The metadata of a network with an embedding for so many tokens and no other tensors.
fn header(architecture: &str, rows: u64) -> Writer {
    let key = |key: &str| format!("{architecture}.{key}");
    Writer::new()
        .string("general.architecture", architecture)
        .u32(&key("block_count"), 1)
        .u32(&key("context_length"), 64)
        .u32(&key("embedding_length"), 64)
        .u32(&key("feed_forward_length"), 8)
        .u32(&key("attention.head_count"), 1)
        .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
        .floats(
            "token_embd.weight",
            &[64, rows],
            &vec![0.5; 64 * rows as usize],
        )
}

fn positions(writer: Writer) -> Positions {
    let checkpoint = GgufCheckpoint::new(read(writer.bytes()).unwrap()).unwrap();
    checkpoint.config().positions.clone()
}

fn config_error(writer: Writer) -> Error {
    refusal(GgufCheckpoint::new(read(writer.bytes()).unwrap()))
}

#[test]
fn numbers_of_tokens_must_agree() {
    let tokens = ["a", "b", "c", "d"];
    let with_tokens = header("llama", 4).strings("tokenizer.ggml.tokens", &tokens);
    assert!(GgufCheckpoint::new(read(with_tokens.bytes()).unwrap()).is_ok());
    let mismatches = [
        header("llama", 5).strings("tokenizer.ggml.tokens", &tokens),
        header("llama", 3).strings("tokenizer.ggml.tokens", &tokens),
        with_tokens.clone().u32("llama.vocab_size", 5),
    ];
    for (writer, wanted) in mismatches.into_iter().zip([5, 3, 5]) {
        match config_error(writer) {
            Error::VocabularyMismatch {
                path,
                tokenizer,
                network,
            } => {
                assert_eq!(path.to_str(), Some("memory.gguf"));
                assert_eq!((tokenizer, network), (4, wanted));
            }
            other => panic!("{other}"),
        }
    }
    // Without a tokenizer, loading tells the shape.
    let file = read(header("llama", 4).u32("llama.vocab_size", 5).bytes()).unwrap();
    let checkpoint = GgufCheckpoint::new(file).unwrap();
    let error = refusal(CausalLm::from_tensors(
        checkpoint.config(),
        &checkpoint,
        &device(),
    ));
    assert!(matches!(&error, Error::Shape { .. }), "{error}");
}

#[test]
fn metadata_that_make_no_network_are_refused() {
    let architecture = |name: &str| config_error(header(name, 4));
    for name in ["gemma3", "", "Llama"] {
        let error = architecture(name);
        assert!(
            matches!(&error, Error::UnsupportedArchitecture { found, .. } if found == name),
            "{error}"
        );
    }
    for (writer, wanted) in [
        (header("llama", 4).u32("llama.expert_count", 8), "experts"),
        (
            header("llama", 4).string("llama.rope.scaling.type", "yarn"),
            "yarn",
        ),
    ] {
        let error = config_error(writer);
        assert!(
            matches!(&error, Error::UnsupportedArchitecture { found, .. } if found.contains(wanted)),
            "{error}"
        );
    }
    let base = header("llama", 4);
    for (writer, field) in [
        (
            base.clone().u32("llama.attention.head_count_kv", 3),
            "kv_heads",
        ),
        (
            base.clone().u32("llama.attention.value_length", 5),
            "llama.attention.value_length",
        ),
        (base.clone().u32("llama.rope.dimension_count", 7), "rotated"),
        (
            base.clone()
                .u32("llama.attention.key_length", 3)
                .u32("llama.rope.dimension_count", 2),
            "llama.attention.key_length",
        ),
        (base.clone().f32("llama.rope.freq_base", 0.0), "theta"),
        (
            base.clone().u32("tokenizer.ggml.eos_token_id", 4),
            "tokenizer.ggml.eos_token_id",
        ),
    ] {
        match config_error(writer) {
            Error::InvalidConfig {
                field: found,
                reason,
            } => {
                assert_eq!(found, field);
                assert!(reason.ends_with("(memory.gguf)"), "{reason}");
            }
            other => panic!("{field}: {other}"),
        }
    }
    // Broken types and absent values name the key.
    for (writer, key) in [
        (Writer::new(), "general.architecture"),
        (
            base.clone().f32("llama.attention.head_count_kv", 1.0),
            "llama.attention.head_count_kv",
        ),
        (
            base.clone().f32("llama.rope.freq_base", f32::NAN),
            "llama.rope.freq_base",
        ),
        (
            Writer::new()
                .string("general.architecture", "llama")
                .floats("token_embd.weight", &[1, 1], &[0.0]),
            "llama.embedding_length",
        ),
    ] {
        match config_error(writer) {
            Error::Parse { reason, .. } => assert!(reason.contains(key), "{reason}"),
            other => panic!("{key}: {other}"),
        }
    }
    let error = config_error(Writer::new().string("general.architecture", "llama"));
    assert!(matches!(&error, Error::MissingTensor { tensor, .. } if tensor == "token_embd.weight"));
}

#[test]
fn no_tensor_hides_another() {
    let one = |name: &str| header("llama", 4).floats(name, &[1], &[0.5]);
    // The embedding under its own name in checkpoints.
    match config_error(one("model.embed_tokens.weight")) {
        Error::Parse { path, reason, .. } => {
            assert_eq!(path.to_str(), Some("memory.gguf"));
            for name in ["`model.embed_tokens.weight`", "`token_embd.weight`"] {
                assert!(reason.contains(name), "{reason}");
            }
        }
        other => panic!("{other}"),
    }
    // Other ways to write a number are other names.
    for name in ["blk.01.attn_v.weight", "blk.+1.attn_v.weight"] {
        let twice = one(name).floats("blk.1.attn_v.weight", &[1], &[0.5]);
        let checkpoint = GgufCheckpoint::new(read(twice.bytes()).unwrap()).unwrap();
        let names = checkpoint.names();
        assert!(names.contains(&name.to_owned()), "{names:?}");
        assert!(names.contains(&"model.layers.1.self_attn.v_proj.weight".to_owned()));
    }
}

/// The tensors of a file by name, to leave some out or add some.
fn rewritten(change: impl FnOnce(&mut BTreeMap<String, HostTensor>)) -> GgufCheckpoint {
    let file = GgufFile::open(data("gguf/llama.gguf")).unwrap();
    let mut tensors: BTreeMap<String, HostTensor> = file
        .names()
        .into_iter()
        .map(|name| (name.clone(), file.read(&name).unwrap()))
        .collect();
    change(&mut tensors);
    let config = GgufCheckpoint::open(data("gguf/llama.gguf"))
        .unwrap()
        .config()
        .clone();
    let mut writer = Writer::new().string("general.architecture", "llama");
    for (key, value) in [
        ("block_count", config.layers),
        ("context_length", config.context),
        ("embedding_length", config.width),
        ("feed_forward_length", config.feed_forward),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
    ] {
        writer = writer.u32(&format!("llama.{key}"), value as u32);
    }
    writer = writer.f32("llama.attention.layer_norm_rms_epsilon", 1e-3);
    for (name, tensor) in tensors {
        let dimensions: Vec<u64> = tensor.shape().iter().rev().map(|&d| d as u64).collect();
        writer = writer.floats(&name, &dimensions, tensor.values());
    }
    GgufCheckpoint::new(read(writer.bytes()).unwrap()).unwrap()
}

#[test]
fn tensors_must_be_those_of_the_network() {
    let load = |checkpoint: &GgufCheckpoint| {
        CausalLm::from_tensors(checkpoint.config(), checkpoint, &device())
    };
    assert!(load(&rewritten(|_| ())).is_ok());
    let missing = rewritten(|tensors| {
        tensors.remove("blk.1.ffn_up.weight");
    });
    match refusal(load(&missing)) {
        Error::MissingTensor { tensor, .. } => assert_eq!(tensor, "blk.1.ffn_up.weight"),
        other => panic!("{other}"),
    }
    let extra = rewritten(|tensors| {
        let tensor = HostTensor::new([1], vec![0.0]).unwrap();
        tensors.insert("blk.0.surprise.weight".to_owned(), tensor);
    });
    match refusal(load(&extra)) {
        Error::ExtraTensors { tensors, .. } => assert_eq!(tensors, ["blk.0.surprise.weight"]),
        other => panic!("{other}"),
    }
    let odd = rewritten(|tensors| {
        let tensor = HostTensor::new([3, 5], vec![0.0; 15]).unwrap();
        tensors.insert("blk.0.attn_q.weight".to_owned(), tensor);
    });
    match refusal(load(&odd)) {
        Error::Shape { tensor, found, .. } => {
            assert_eq!(
                (tensor.as_str(), found),
                ("blk.0.attn_q.weight", vec![3, 5])
            );
        }
        other => panic!("{other}"),
    }
}
