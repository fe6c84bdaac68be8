//! Configurations: the defaults of `transformers`, and refusal of what is wrong or not supported.

use fire_assay_models::lm::{
    Activation, Architecture, CausalLm, LmConfig, Norm, Positions, RopeScaling,
};
use fire_assay_models::{Error, Result};
use serde_json::{Value, json};

use crate::device;

fn read(config: &Value) -> Result<LmConfig> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config.to_string()).unwrap();
    LmConfig::from_hugging_face(file.path())
}

fn rotary(config: &LmConfig) -> (f64, usize, RopeScaling) {
    match config.positions.clone() {
        Positions::Rotary {
            theta,
            rotated,
            scaling,
        } => (theta, rotated, scaling),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_left_out_is_as_in_transformers() {
    // Facts from the configuration classes of transformers 4.40.
    let sizes = |c: &LmConfig| {
        (
            c.vocabulary,
            c.width,
            c.layers,
            c.heads,
            c.kv_heads,
            c.feed_forward,
            c.context,
        )
    };
    let of = |kind: &str| read(&json!({ "model_type": kind })).unwrap();
    let llama = of("llama");
    assert_eq!(sizes(&llama), (32_000, 4096, 32, 32, 32, 11_008, 2048));
    assert_eq!(
        (llama.norm, llama.tied),
        (Norm::Rms { epsilon: 1e-6 }, false)
    );
    assert_eq!(rotary(&llama), (10_000.0, 128, RopeScaling::None));
    assert_eq!((llama.bos, &llama.eos[..]), (Some(1), &[2][..]));
    let mistral = of("mistral");
    assert_eq!(sizes(&mistral), (32_000, 4096, 32, 32, 8, 14_336, 131_072));
    assert_eq!(mistral.sliding_window, Some(4096));
    let qwen2 = of("qwen2");
    assert_eq!(sizes(&qwen2), (151_936, 4096, 32, 32, 32, 22_016, 32_768));
    assert_eq!(
        (qwen2.sliding_window, qwen2.qkv_bias, qwen2.output_bias),
        (None, true, false)
    );
    let neox = of("gpt_neox");
    assert_eq!(sizes(&neox), (50_432, 6144, 44, 64, 64, 24_576, 2048));
    assert_eq!(rotary(&neox), (10_000.0, 24, RopeScaling::None));
    assert_eq!(
        (neox.activation, neox.parallel_residual),
        (Activation::GeluErf, true)
    );
    let gpt2 = of("gpt2");
    assert_eq!(sizes(&gpt2), (50_257, 768, 12, 12, 12, 3072, 1024));
    assert_eq!((gpt2.activation, gpt2.tied), (Activation::GeluTanh, true));
    let opt = of("opt");
    assert_eq!(sizes(&opt), (50_272, 768, 12, 12, 12, 3072, 2048));
    assert_eq!(
        (opt.activation, &opt.positions),
        (Activation::Relu, &Positions::Learned { offset: 2 })
    );
}

/// Sizes that model cards and papers state, or Hugging Face counts in the weights of the models named here. Their
/// configurations cover every family, tied and untied, grouped queries, and biases.
#[test]
fn published_models_have_their_published_sizes() {
    let llama = |vocab_size: usize, kv_heads: usize, width: usize| {
        json!({
            "model_type": "llama", "vocab_size": vocab_size, "num_key_value_heads": kv_heads,
            "intermediate_size": width,
        })
    };
    let gpt2 = |width: usize, layers: usize, heads: usize| json!({ "model_type": "gpt2", "n_embd": width, "n_layer": layers, "n_head": heads });
    let pythia = |width: usize, layers: usize, heads: usize| {
        json!({
            "model_type": "gpt_neox", "vocab_size": 50_304, "hidden_size": width, "num_hidden_layers": layers,
            "num_attention_heads": heads, "intermediate_size": 4 * width,
        })
    };
    let smollm2 = json!({
        "model_type": "llama", "vocab_size": 49_152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": true,
    });
    let qwen2 = |width: usize, layers: usize, heads: usize, feed_forward: usize| {
        json!({
            "model_type": "qwen2", "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": heads / 7, "intermediate_size": feed_forward,
        })
    };
    let mut small_qwen2 = qwen2(896, 24, 14, 4864);
    small_qwen2["tie_word_embeddings"] = json!(true);
    let mut large_qwen2 = qwen2(3584, 28, 28, 18_944);
    large_qwen2["vocab_size"] = json!(152_064);
    let larger_opt = json!({
        "model_type": "opt", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32, "ffn_dim": 8192,
    });
    let published = [
        ("Llama 2 7B", llama(32_000, 32, 11_008), 6_738_415_616),
        ("Llama 3 8B", llama(128_256, 8, 14_336), 8_030_261_248),
        ("SmolLM2 135M", smollm2, 134_515_008),
        (
            "Mistral 7B",
            json!({ "model_type": "mistral" }),
            7_241_732_096,
        ),
        ("Qwen2 0.5B", small_qwen2, 494_032_768),
        ("Qwen2 7B", large_qwen2, 7_615_616_512),
        ("Pythia 70M", pythia(512, 6, 8), 70_426_624),
        ("Pythia 1.4B", pythia(2048, 24, 16), 1_414_647_808),
        (
            "GPT-NeoX 20B",
            json!({ "model_type": "gpt_neox" }),
            20_554_567_680,
        ),
        ("GPT-2", json!({ "model_type": "gpt2" }), 124_439_808),
        ("GPT-2 XL", gpt2(1600, 48, 25), 1_557_611_200),
        ("OPT 125M", json!({ "model_type": "opt" }), 125_239_296),
        ("OPT 1.3B", larger_opt, 1_315_758_080),
    ];
    for (name, config, parameters) in published {
        let found = read(&config).unwrap().parameters();
        assert_eq!(found as u64, parameters, "{name}");
    }
}

/// The presets by the formula of their family, put down in numbers: embedding and output, blocks of two gains, attention and
/// three matrices, and the last gain. A weight takes 4 bytes, and 3 more numbers while training with Adam.
#[test]
fn presets_have_the_sizes_of_their_formula() {
    let nano = 2 * 512 * 64 + 3 * (2 * 64 + 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160) + 64;
    let tiny = 2048 * 128 + 4 * (2 * 128 + 4 * 128 * 128 + 3 * 128 * 344) + 128;
    let small = 4096 * 256 + 6 * (2 * 256 + 2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 688) + 256;
    assert_eq!([nano, tiny, small], [195_008, 1_053_824, 5_401_856]);
    for (config, parameters) in [
        (LmConfig::nano(), nano),
        (LmConfig::tiny(), tiny),
        (LmConfig::small(), small),
    ] {
        config.validate().unwrap();
        assert_eq!(config.parameters(), parameters);
        let bytes = 4 * parameters as u64;
        let training = config.plan_memory(16, 64, true);
        let reading = config.plan_memory(16, 64, false);
        assert_eq!(
            training.total() - training.activations - training.mask,
            bytes + bytes + 2 * bytes
        );
        assert_eq!(reading.total() - reading.activations - reading.mask, bytes);
    }
}

#[test]
fn what_is_written_is_read_back() {
    let all = ["llama", "mistral", "qwen2", "gpt_neox", "gpt2", "opt"];
    for kind in all {
        let config = read(&json!({ "model_type": kind })).unwrap();
        assert_eq!(
            read(&config.to_hugging_face().unwrap()).unwrap(),
            config,
            "{kind}"
        );
    }
    let changes = [
        json!({ "model_type": "llama", "attention_bias": true, "mlp_bias": true, "head_dim": 96, "eos_token_id": [7, 9] }),
        json!({ "model_type": "llama", "rope_scaling": { "type": "linear", "factor": 4.0 }, "bos_token_id": null }),
        json!({ "model_type": "mistral", "sliding_window": null, "eos_token_id": null }),
        json!({ "model_type": "qwen2", "use_sliding_window": true, "max_window_layers": 0, "sliding_window": 77 }),
        json!({ "model_type": "gpt_neox", "attention_bias": false, "rotary_pct": 0.3, "hidden_act": "gelu_fast" }),
        json!({ "model_type": "gpt2", "tie_word_embeddings": false, "n_inner": 100 }),
    ];
    for change in changes {
        let config = read(&change).unwrap();
        assert_eq!(
            read(&config.to_hugging_face().unwrap()).unwrap(),
            config,
            "{change}"
        );
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<LmConfig>(&text).unwrap(), config);
    }
}

#[test]
fn no_number_of_key_value_heads_is_that_of_heads() {
    for kind in ["llama", "mistral", "qwen2"] {
        let of = |config: Value| read(&config).unwrap().kv_heads;
        let null =
            json!({ "model_type": kind, "num_attention_heads": 64, "num_key_value_heads": null });
        assert_eq!(of(null), 64, "{kind}");
        let given =
            json!({ "model_type": kind, "num_attention_heads": 64, "num_key_value_heads": 4 });
        assert_eq!(of(given), 4, "{kind}");
    }
}

#[test]
fn rotary_positions_are_read_from_old_and_new_files() {
    let llama3 = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let expected = RopeScaling::Llama3 {
        factor: 8.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original: 8192,
    };
    let old =
        read(&json!({ "model_type": "llama", "rope_theta": 5e5, "rope_scaling": llama3 })).unwrap();
    assert_eq!(rotary(&old), (5e5, 128, expected));
    let mut parameters = llama3;
    parameters["rope_theta"] = json!(5e5);
    let new = read(&json!({ "model_type": "llama", "rope_parameters": parameters })).unwrap();
    assert_eq!(new, old);
    let neox = json!({
        "model_type": "gpt_neox",
        "rope_parameters": { "rope_type": "default", "rope_theta": 3e4, "partial_rotary_factor": 0.5 },
    });
    assert_eq!(rotary(&read(&neox).unwrap()), (3e4, 48, RopeScaling::None));
}

#[test]
fn what_is_not_supported_is_refused() {
    let cases = [
        (
            json!({ "model_type": "opt", "do_layer_norm_before": false }),
            "do_layer_norm_before",
        ),
        (
            json!({ "model_type": "opt", "word_embed_proj_dim": 512 }),
            "word_embed_proj_dim",
        ),
        (
            json!({ "model_type": "opt", "_remove_final_layer_norm": true }),
            "_remove_final_layer_norm",
        ),
        (
            json!({ "model_type": "opt", "activation_function": "swish" }),
            "activation_function",
        ),
        (
            json!({ "model_type": "gpt2", "scale_attn_by_inverse_layer_idx": true }),
            "scale_attn_by_inverse_layer_idx",
        ),
        (
            json!({ "model_type": "gpt_neox", "hidden_act": "mish" }),
            "hidden_act",
        ),
        (
            json!({ "model_type": "llama", "hidden_act": "gelu" }),
            "hidden_act",
        ),
        (
            json!({ "model_type": "llama", "rope_scaling": { "type": "dynamic", "factor": 2.0 } }),
            "rope_scaling.rope_type",
        ),
        (
            json!({ "model_type": "qwen2", "use_sliding_window": true }),
            "max_window_layers",
        ),
        (
            json!({ "model_type": "qwen2", "rope_parameters": {
                "full_attention": { "rope_type": "default", "rope_theta": 1e6 },
                "sliding_attention": { "rope_type": "default", "rope_theta": 1e4 },
            } }),
            "rope_parameters.full_attention",
        ),
        (
            json!({ "model_type": "llama", "num_attention_heads": 0 }),
            "heads",
        ),
        (
            json!({ "model_type": "llama", "hidden_size": 100 }),
            "heads",
        ),
        (
            json!({ "model_type": "llama", "num_key_value_heads": 5 }),
            "kv_heads",
        ),
        (
            json!({ "model_type": "llama", "vocab_size": 0 }),
            "vocabulary",
        ),
        (
            json!({ "model_type": "llama", "rms_norm_eps": -1.0 }),
            "epsilon",
        ),
        (json!({ "model_type": "llama", "rope_theta": 0.0 }), "theta"),
        (
            json!({ "model_type": "llama", "hidden_size": 1_u64 << 60 }),
            "width",
        ),
        (
            json!({ "model_type": "mistral", "sliding_window": 0 }),
            "sliding_window",
        ),
        (
            json!({ "model_type": "gpt_neox", "rotary_pct": 1.5 }),
            "rotated",
        ),
        (
            json!({ "model_type": "llama", "rope_scaling": { "type": "linear", "factor": -2.0 } }),
            "scaling",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    for (config, wrong) in cases {
        std::fs::write(&path, config.to_string()).unwrap();
        match CausalLm::from_folder(folder.path(), &device()) {
            Err(Error::InvalidConfig { field, reason }) => {
                assert_eq!(field, wrong, "{config}");
                let file = format!("({})", path.display());
                assert_eq!(reason.matches(&file).count(), 1, "{reason}");
            }
            other => panic!("{config}: {:?}", other.map(drop)),
        }
    }
    match read(&json!({ "model_type": "bert" })) {
        Err(Error::UnsupportedArchitecture { found, .. }) => assert_eq!(found, "bert"),
        other => panic!("{other:?}"),
    }
    let broken = [
        json!({}),
        json!([1, 2]),
        json!({ "model_type": "llama", "hidden_size": "wide" }),
        json!({ "model_type": "llama", "hidden_size": -4 }),
        json!({ "model_type": "llama", "rope_scaling": { "type": "linear" } }),
        json!({ "model_type": "llama", "eos_token_id": [1, "two"] }),
    ];
    for config in broken {
        let result = read(&config);
        assert!(
            matches!(
                result,
                Err(Error::Parse { .. } | Error::UnsupportedArchitecture { .. })
            ),
            "{config}: {result:?}"
        );
    }
}

#[test]
fn models_are_only_made_of_sound_configurations() {
    type Change = fn(&mut LmConfig);
    let wrong: [(&str, Change); 8] = [
        ("kv_heads", |c| c.kv_heads = 3),
        ("rotated", |c| {
            c.positions = Positions::Rotary {
                theta: 1e4,
                rotated: 7,
                scaling: RopeScaling::None,
            };
        }),
        ("positions", |c| {
            c.positions = Positions::Learned { offset: 0 }
        }),
        ("norm", |c| c.norm = Norm::Layer { epsilon: 1e-5 }),
        ("activation", |c| c.activation = Activation::Relu),
        ("parallel_residual", |c| c.parallel_residual = true),
        ("sliding_window", |c| c.sliding_window = Some(4)),
        ("qkv_bias", |c| c.architecture = Architecture::Qwen2),
    ];
    for (name, change) in wrong {
        let mut config = LmConfig::nano();
        change(&mut config);
        match CausalLm::init(&config, 1, &device()) {
            Err(Error::InvalidConfig { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {:?}", other.is_ok()),
        }
        assert!(matches!(
            config.to_hugging_face(),
            Err(Error::InvalidConfig { .. })
        ));
    }
}
