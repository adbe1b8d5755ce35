//! Keys of `config.json` as other tools write them: what changes the model is refused, by its name.

use grpo_qwen2::{Architecture, Config, ModelError, Qwen2};
use serde_json::{Value, json};

use crate::common::{QWEN3, TIED, fixture, json, load, read_after, write_json};

/// The same after keys of `config.json` are set.
fn read_with_keys(keys: &Value) -> Result<Qwen2, ModelError> {
    read_after(TIED, |folder| {
        let path = folder.join("config.json");
        let mut config = json(&path);
        // The fixture's own, so that a key of another form is alone.
        config.as_object_mut().unwrap().remove("rope_parameters");
        config.as_object_mut().unwrap().remove("rope_theta");
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        write_json(&path, &config);
    })
}

#[test]
fn the_base_of_positions_is_found_wherever_it_stands() {
    let default = |theta: f64| json!({ "rope_theta": theta, "rope_type": "default" });
    let full = |theta: f64| json!({ "full_attention": default(theta) });
    for (keys, expected) in [
        (json!({}), Ok(10_000.0)),
        (json!({ "rope_theta": null, "rope_parameters": null, "rope_scaling": null }), Ok(10_000.0)),
        (json!({ "rope_theta": 1e6 }), Ok(1e6)),
        (json!({ "rope_theta": 1_000_000 }), Ok(1e6)),
        (json!({ "rope_parameters": default(1e6) }), Ok(1e6)),
        (json!({ "rope_parameters": full(1e6) }), Ok(1e6)),
        (
            json!({ "rope_parameters": { "full_attention": default(1e6), "sliding_attention": default(1e6) } }),
            Ok(1e6),
        ),
        (json!({ "rope_theta": 1e6, "rope_scaling": { "rope_type": "default" } }), Ok(1e6)),
        (json!({ "rope_theta": 1e6, "rope_scaling": { "type": "default", "factor": 1.0 } }), Ok(1e6)),
        (json!({ "rope_theta": 1e6, "rope_parameters": full(1e6) }), Ok(1e6)),
        (
            json!({ "rope_parameters": { "full_attention": default(1e6), "sliding_attention": default(1e4) } }),
            Err("rope_parameters.sliding_attention.rope_theta"),
        ),
        (json!({ "rope_theta": 1e4, "rope_parameters": default(1e6) }), Err("rope_parameters.rope_theta")),
        (json!({ "rope_theta": "1e6" }), Err("rope_theta")),
        (json!({ "rope_parameters": [1e6] }), Err("rope_parameters")),
        (json!({ "rope_parameters": { "rope_theta": 1e6, "full_attention": {} } }), Ok(1e6)),
        (
            json!({ "rope_parameters": { "rope_theta": 1e6, "full_attention": { "rope_theta": 1e4 } } }),
            Err("rope_parameters.full_attention.rope_theta"),
        ),
        (
            json!({ "rope_parameters": { "rope_type": "yarn", "full_attention": {} } }),
            Err("rope_parameters.rope_type"),
        ),
        (json!({ "rope_scaling": { "rope_type": "dynamic" } }), Err("rope_scaling.rope_type")),
        (json!({ "rope_scaling": { "rope_type": "default", "factor": 4.0 } }), Err("rope_scaling.factor")),
        (
            json!({ "rope_scaling": { "rope_type": "default", "mrope_section": [16, 24, 24] } }),
            Err("rope_scaling.mrope_section"),
        ),
        (
            json!({ "rope_parameters": { "partial_rotary_factor": 0.5 } }),
            Err("rope_parameters.partial_rotary_factor"),
        ),
    ] {
        match (read_with_keys(&keys), expected) {
            (Ok(model), Ok(theta)) => assert_eq!(model.config().rope_theta, theta, "{keys}"),
            (Err(ModelError::Unsupported { key, .. }), Err(named)) => assert_eq!(key, named, "{keys}"),
            (found, _) => panic!("{keys}: {:?}", found.map(|model| model.config().clone())),
        }
    }
}

#[test]
fn keys_are_read_as_transformers_reads_them() {
    for (keys, refused) in [
        (
            json!({ "use_sliding_window": null, "layer_types": null, "head_dim": null, "hidden_act": null }),
            None,
        ),
        (json!({ "rms_norm_eps": null, "max_position_embeddings": null, "quantization_config": null }), None),
        (json!({ "architectures": ["Qwen2ForCausalLM"], "use_cache": false, "use_mrope": false }), None),
        (json!({ "architectures": [], "auto_map": { "AutoModel": "x" }, "attention_dropout": 0.1 }), None),
        (json!({ "unknown_to_everybody": 3, "_attn_implementation_autoset": true }), None),
        (json!({ "architectures": ["Qwen2ForSequenceClassification"] }), Some("architectures")),
        (json!({ "architectures": ["Qwen2Model"] }), Some("architectures")),
        (json!({ "is_causal": false }), Some("is_causal")),
        (json!({ "use_mrope": true }), Some("use_mrope")),
        (json!({ "add_cross_attention": true }), Some("add_cross_attention")),
        (json!({ "pruned_heads": { "0": [1] } }), Some("pruned_heads")),
    ] {
        match (read_with_keys(&keys), refused) {
            (Ok(_), None) => (),
            (Err(ModelError::Unsupported { key, .. }), Some(named)) => assert_eq!(key, named, "{keys}"),
            (found, _) => panic!("{keys}: {:?}", found.map(|model| model.config().clone())),
        }
    }
}

/// Other models have other keys for their sizes: what is missing is not the sizes.
#[test]
fn other_models_are_named_by_their_type() {
    for config in [
        json!({ "model_type": "qwen2_5_vl", "text_config": { "model_type": "qwen2_5_vl_text", "hidden_size": 64 } }),
        json!({ "model_type": "gpt2", "n_embd": 768, "n_layer": 12 }),
        json!({ "model_type": "qwen3_moe", "num_experts": 128 }),
        json!({ "architectures": ["LlamaForCausalLM"] }),
    ] {
        let error = read_after(TIED, |folder| write_json(&folder.join("config.json"), &config)).unwrap_err();
        let ModelError::Unsupported { key, value, .. } = &error else { panic!("{error:?}") };
        let expected = config["model_type"].as_str().unwrap_or("missing");
        assert_eq!((key.as_str(), value.as_str()), ("model_type", expected));
    }
}

#[test]
fn quantized_models_are_named_by_their_method() {
    for (key, value, expected) in [
        (
            "quantization_config",
            json!({ "quant_method": "gptq", "bits": 4, "group_size": 128 }),
            "gptq, 4 bits",
        ),
        (
            "quantization_config",
            json!({ "quant_method": "awq", "bits": 4, "version": "gemm" }),
            "awq, 4 bits",
        ),
        ("quantization_config", json!({ "quant_method": "awq", "w_bit": 4 }), "awq, 4 bits"),
        (
            "quantization_config",
            json!({ "quant_method": "bitsandbytes", "load_in_4bit": true }),
            "bitsandbytes",
        ),
        ("quantization_config", json!({ "load_in_8bit": true, "llm_int8_threshold": 6.0 }), "bitsandbytes"),
        (
            "quantization_config",
            json!({ "quant_method": "compressed-tensors", "format": "int-quantized" }),
            "compressed-tensors",
        ),
        ("compression_config", json!({ "quant_method": "compressed-tensors" }), "compressed-tensors"),
        ("quantization_config", json!({ "quant_method": "fp8", "activation_scheme": "dynamic" }), "fp8"),
        ("quantization_config", json!({ "quant_method": "hqq" }), "hqq"),
        ("quantization", json!({ "group_size": 64, "bits": 4 }), "MLX, 4 bits"),
    ] {
        let error = read_with_keys(&json!({ key: value })).unwrap_err();
        assert!(matches!(&error, ModelError::Quantized { method, .. } if method == expected), "{error:?}");
        assert!(error.to_string().contains("BF16, F16 or F32"), "{error}");
    }
}

/// Tools on Windows put a byte order mark in front of what they save.
#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let model = read_after(TIED, |folder| {
        let text = std::fs::read_to_string(fixture(TIED).join("config.json")).unwrap();
        std::fs::write(folder.join("config.json"), format!("\u{feff}{text}")).unwrap();
    });
    assert_eq!(model.unwrap().config(), load(TIED).config());
}

/// Qwen3-0.6B's file, without the tokens' ids.
fn qwen3() -> Value {
    json!({
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "head_dim": 128,
        "hidden_act": "silu", "hidden_size": 1024, "initializer_range": 0.02, "intermediate_size": 3072,
        "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16,
        "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_scaling": null,
        "rope_theta": 1_000_000, "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false, "vocab_size": 151_936,
    })
}

fn read_config(config: &Value) -> Result<Config, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    write_json(&path, config);
    Config::read(&path)
}

#[test]
fn a_published_qwen3_is_read() {
    let config = read_config(&qwen3()).unwrap();
    assert_eq!((config.architecture, config.head_dim), (Architecture::Qwen3, 128));
    assert_eq!(config.parameters(), 596_049_920);
    let mut without = qwen3();
    without.as_object_mut().unwrap().remove("head_dim");
    assert_eq!(
        read_config(&without).unwrap(),
        config,
        "its default is not the width of a share of the stream"
    );
}

#[test]
fn a_qwen3_with_biases_is_refused() {
    let mut biased = qwen3();
    biased["attention_bias"] = true.into();
    let error = read_config(&biased).unwrap_err();
    assert!(matches!(&error, ModelError::Unsupported { key, .. } if key == "attention_bias"), "{error:?}");
}

#[test]
fn weights_of_the_other_architecture_are_not_loaded() {
    for (name, model_type, tensor) in [(TIED, "qwen3", "q_norm.weight"), (QWEN3, "qwen2", "q_proj.bias")] {
        let error = read_after(name, |folder| {
            let path = folder.join("config.json");
            let mut config = json(&path);
            config["model_type"] = model_type.into();
            config["head_dim"] = if name == TIED { 16 } else { 32 }.into();
            write_json(&path, &config);
        });
        let error = error.unwrap_err();
        assert!(
            matches!(&error, ModelError::MissingTensor { tensor: missing, .. } if missing.ends_with(tensor)),
            "{error:?}"
        );
    }
}
