//! Model folders as other tools write them: what is right is read, and what would load as another model is refused with its cause.

use std::path::Path;

use burn::tensor::Device;
use grpo_qwen2::{ChatTokenizer, LoraConfig, ModelError, ModelFiles, Qwen2};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::{
    Stored, TIED, Tensors, UNTIED, change_tensors, copy_of, fixture, json, load, read_tensors,
    token_logprobs, warnings, write_json, write_tensors,
};

const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";

fn read(folder: &Path) -> Result<Qwen2, ModelError> {
    Qwen2::load(folder, &Device::flex())
}

/// What loading a copy of `name` says after `change`.
fn read_after(name: &str, change: impl FnOnce(&Path)) -> Result<Qwen2, ModelError> {
    let folder = copy_of(name);
    change(folder.path());
    read(folder.path())
}

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

fn rename_tensors(folder: &Path, name: impl Fn(String) -> String) {
    change_tensors(folder, |tensors| {
        *tensors = std::mem::take(tensors).into_iter().map(|(old, tensor)| (name(old), tensor)).collect();
    });
}

fn vector(n: usize) -> Stored {
    Stored { dtype: Dtype::F32, shape: vec![n], bytes: vec![0; 4 * n] }
}

#[test]
fn tensors_that_the_model_has_no_place_for_are_named() {
    for (name, len) in [
        ("model.layers.2.input_layernorm.weight", 64),
        ("model.layers.0.self_attn.o_proj.bias", 64),
        ("model.layers.0.self_attn.q_norm.weight", 16),
        ("model.layers.0.mlp.down_proj.bias", 64),
        ("model.layers.1.self_attn.q_proj.lora_A.default.weight", 64),
        ("score.weight", 64),
        ("v_head.summary.weight", 64),
        ("model.embed_tokens.weight_scale", 1),
        ("model.norm.bias", 64),
    ] {
        let error = read_after(TIED, |folder| {
            change_tensors(folder, |tensors| drop(tensors.insert(name.into(), vector(len))));
        });
        let error = error.unwrap_err();
        assert!(
            matches!(&error, ModelError::UnreadTensors { tensors, .. } if *tensors == [name]),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_copy_in_another_shard_is_named() {
    let error = read_after(TIED, |folder| {
        let tensors = read_tensors(&folder.join("model.safetensors"));
        let map: Value = tensors.keys().map(|name| (name.clone(), json!("a.safetensors"))).collect();
        write_tensors(&folder.join("a.safetensors"), &tensors);
        let norm = "model.norm.weight";
        write_tensors(&folder.join("b.safetensors"), &Tensors::from([(norm.into(), tensors[norm].clone())]));
        let mut index = json!({ "weight_map": map });
        index["weight_map"]["model.layers.0.mlp.up_proj.weight"] = json!("b.safetensors");
        write_json(&folder.join("model.safetensors.index.json"), &index);
        std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    });
    assert!(
        matches!(error.unwrap_err(), ModelError::MissingTensor { .. }),
        "the index names a shard without it"
    );
}

/// What changes nothing, but is not used either, is named in a warning.
#[test]
fn what_is_not_used_is_named() {
    let named = |change: &dyn Fn(&Path)| {
        let folder = copy_of(TIED);
        change(folder.path());
        warnings(|| drop(read(folder.path()).unwrap()))
    };
    let with_keys = |keys: Value| {
        named(&|folder| {
            let path = folder.join("config.json");
            let mut config = json(&path);
            config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            write_json(&path, &config);
        })
    };
    assert_eq!(named(&|_| ()), "", "nothing is strange in a whole folder");
    let harmless = json!({ "use_cache": true, "torch_dtype": "float32", "_attn_implementation_autoset": true, "x": null, "y": false });
    assert_eq!(with_keys(harmless), "");
    let keys =
        with_keys(json!({ "attention_dropout": 0.1, "unheard_of": 3, "auto_map": { "AutoModel": "x" } }));
    for expected in ["config.json", "attention_dropout", "unheard_of", "auto_map"] {
        assert!(keys.contains(expected), "{keys}");
    }
    let shards = named(&|folder| {
        write_json(
            &folder.join("model.safetensors.index.json"),
            &json!({ "weight_map": { "a": "b.safetensors" } }),
        )
    });
    assert!(shards.contains("index.json"), "{shards}");
    let whole = named(&|folder| {
        let index = json!({ "weight_map": { "a": "model.safetensors" } });
        write_json(&folder.join("model.safetensors.index.json"), &index);
    });
    assert_eq!(whole, "", "an index of one file names what is read");
    let adapter = named(&|folder| std::fs::write(folder.join("adapter_config.json"), "{}").unwrap());
    assert!(adapter.contains("adapter"), "{adapter}");
    let positions = named(&|folder| {
        change_tensors(folder, |tensors| {
            tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), vector(8));
        });
    });
    assert!(positions.contains("inv_freq"), "{positions}");
}

#[test]
fn a_tied_head_is_the_embedding_or_refused() {
    let with_head = |change: fn(&mut Stored)| {
        read_after(TIED, |folder| {
            change_tensors(folder, |tensors| {
                let mut head = tensors["model.embed_tokens.weight"].clone();
                change(&mut head);
                tensors.insert("lm_head.weight".into(), head);
            });
        })
    };
    assert!(with_head(|_| ()).is_ok());
    for change in [|head: &mut Stored| head.bytes.fill(0), |head: &mut Stored| head.set_f32(77, 0.5)] {
        let error = with_head(change).unwrap_err();
        assert!(matches!(error, ModelError::OtherHead { .. }), "{error:?}");
    }
}

/// Of a tied model, safetensors' `save_model` keeps one of the two names.
#[test]
fn a_tied_embedding_may_be_stored_as_the_head() {
    let renamed = |name: &str| {
        read_after(name, |folder| {
            rename_tensors(folder, |name| name.replace("model.embed_tokens.weight", "lm_head.weight"));
        })
    };
    let found = renamed(TIED).unwrap();
    assert_eq!(token_logprobs(&found, &[2, 3, 4]), token_logprobs(&load(TIED), &[2, 3, 4]));
    assert!(renamed(UNTIED).is_err(), "the head of an untied model is not its embedding");
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
        json!({ "model_type": "qwen3" }),
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

/// As the tools lay them out: beside or in place of the matrix.
#[test]
fn quantized_models_are_known_by_their_tensors() {
    let stored = |dtype, shape: &[usize], size: usize| Stored {
        dtype,
        shape: shape.to_vec(),
        bytes: vec![0; size * shape.iter().product::<usize>()],
    };
    let cases: [(&str, Option<Stored>, &[&str]); 7] = [
        ("GPTQ", None, &["qweight", "qzeros", "scales", "g_idx"]),
        ("compressed-tensors", None, &["weight_packed", "weight_scale", "weight_shape"]),
        (
            "bitsandbytes, 4 bits",
            Some(stored(Dtype::U8, &[2048, 1], 1)),
            &["weight.absmax", "weight.quant_map"],
        ),
        ("bitsandbytes, 8 bits", Some(stored(Dtype::I8, &[64, 64], 1)), &["SCB", "weight_format"]),
        ("MLX", Some(stored(Dtype::U32, &[64, 8], 4)), &["scales", "biases"]),
        ("FP8", Some(stored(Dtype::F8_E4M3, &[64, 64], 1)), &["weight_scale"]),
        ("FP8 in blocks", Some(stored(Dtype::F8_E4M3, &[64, 64], 1)), &["weight_scale_inv"]),
    ];
    for (what, weight, siblings) in cases {
        let error = read_after(TIED, |folder| {
            change_tensors(folder, |tensors| {
                let name = "model.layers.0.self_attn.q_proj.weight";
                tensors.remove(name);
                tensors.extend(weight.map(|weight| (name.to_owned(), weight)));
                let sibling = |ending: &&str| (name.replace("weight", "") + ending, vector(1));
                tensors.extend(siblings.iter().map(sibling));
            });
        });
        let error = error.unwrap_err();
        assert!(matches!(error, ModelError::Quantized { .. }), "{what}: {error:?}");
    }
}

#[test]
fn names_that_a_wrapper_changed_are_explained() {
    let prefix = |prefix: &'static str| move |name: String| format!("{prefix}{name}");
    type Rename = Box<dyn Fn(String) -> String>;
    let cases: [(Rename, &str); 7] = [
        (Box::new(prefix("_orig_mod.")), "torch.compile"),
        (Box::new(prefix("base_model.model.")), "merge_and_unload"),
        (Box::new(prefix("module.")), "DataParallel"),
        (Box::new(prefix("_fsdp_wrapped_module.")), "FSDP"),
        (Box::new(|name| name.replace("model.", "model.language_model.")), "vision"),
        (Box::new(|name| name.replace("model.", "")), "head"),
        (Box::new(|name| name.replace("q_proj.weight", "q_proj.base_layer.weight")), "merge_and_unload"),
    ];
    for (change, reason) in cases {
        let error = read_after(TIED, |folder| rename_tensors(folder, change)).unwrap_err();
        let ModelError::OtherNames { tensor, found, .. } = &error else { panic!("{reason}: {error:?}") };
        assert_ne!(tensor, found);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn weights_in_other_forms_are_named() {
    for (files, found, advice) in [
        (
            &["pytorch_model.bin", "training_args.bin", "optimizer.pt"][..],
            "pytorch_model.bin",
            "save_pretrained",
        ),
        (&["pytorch_model-00001-of-00002.bin"], "pytorch_model-00001-of-00002.bin", "save_pretrained"),
        (&["consolidated.00.pth", "a.gguf"], "consolidated.00.pth", "save_pretrained"),
        (&["model-q4_k_m.gguf"], "model-q4_k_m.gguf", "gguf_file"),
        (&["adapter_model.safetensors", "adapter_config.json"], "adapter_config.json", "it is an adapter"),
        (&["adapter_model.bin"], "adapter_model.bin", "it is an adapter"),
        (&["model.fp16.safetensors"], "model.fp16.safetensors", "save_pretrained"),
        (&["weights.npz"], "weights.npz", "save_pretrained"),
        (&["model-00001-of-00002.safetensors"], "model-00001-of-00002.safetensors", "index.json"),
        (&["zero_to_fp32.py", "training_args.bin"], "zero_to_fp32.py", "ZeRO"),
    ] {
        // Folders of adapters and of GGUF files have no configuration either.
        for without in [&["model.safetensors"][..], &["model.safetensors", "config.json"]] {
            let error = read_after(UNTIED, |folder| {
                without.iter().for_each(|file| std::fs::remove_file(folder.join(file)).unwrap());
                files.iter().for_each(|file| std::fs::write(folder.join(file), "x").unwrap());
            });
            let error = error.unwrap_err();
            assert!(matches!(&error, ModelError::OtherWeights { found: f, .. } if f == found), "{error:?}");
            assert!(error.to_string().contains(advice), "{error}");
        }
    }
    for file in ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "spiece.model"] {
        let error = read_after(UNTIED, |folder| {
            std::fs::remove_file(folder.join("model.safetensors")).unwrap();
            std::fs::write(folder.join(file), "x").unwrap();
        });
        assert!(matches!(error.unwrap_err(), ModelError::MissingFile { .. }), "{file} holds no weights");
    }
}

#[test]
fn pointers_of_git_lfs_are_named() {
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "merges.txt"]
    {
        let folder = copy_of(TIED);
        std::fs::write(folder.path().join(file), LFS_POINTER).unwrap();
        let folder = folder.path();
        let model = read(folder).map(drop).and_then(|()| ModelFiles::read(folder).map(drop));
        let error = model.and_then(|()| ChatTokenizer::read(folder).map(drop)).unwrap_err();
        assert!(matches!(&error, ModelError::LfsPointer { path } if path.ends_with(file)), "{error:?}");
        assert!(error.to_string().contains("git lfs pull"), "{error}");
    }
}

/// An adapter of the tied model, changed.
fn adapter_after(change: impl FnOnce(&Path)) -> Result<Qwen2, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let adapted = load(TIED).with_lora(&LoraConfig { rank: 4, ..LoraConfig::default() }, 1);
    adapted.save_adapter(folder.path(), "base").unwrap();
    change(folder.path());
    load(TIED).load_adapter(folder.path())
}

fn with_option(key: &str, value: &Value) -> Result<Qwen2, ModelError> {
    adapter_after(|folder| {
        let path = folder.join("adapter_config.json");
        let mut config = json(&path);
        config[key] = value.clone();
        write_json(&path, &config);
    })
}

#[test]
fn options_of_an_adapter_that_change_nothing_are_taken() {
    for (key, value) in [
        ("ensure_weight_tying", json!(true)),
        ("ensure_weight_tying", json!(false)),
        ("target_parameters", json!(null)),
        ("trainable_token_indices", json!(null)),
        ("alora_invocation_tokens", json!(null)),
        ("arrow_config", json!(null)),
        ("kasa_config", json!(null)),
        ("rank_pattern", json!({})),
        ("modules_to_save", json!([])),
        ("init_lora_weights", json!("orthogonal")),
        ("qalora_group_size", json!(16)),
    ] {
        assert!(with_option(key, &value).is_ok(), "{key}: {value}");
    }
    for (key, value) in [
        ("use_dora", json!(true)),
        ("alpha_pattern", json!({ "q_proj": 4 })),
        ("modules_to_save", json!(["lm_head"])),
        ("trainable_token_indices", json!([1, 2])),
        ("init_lora_weights", json!("pissa")),
        ("layer_replication", json!([[0, 1]])),
        ("a_new_option", json!(3)),
    ] {
        let error = with_option(key, &value).unwrap_err();
        assert!(matches!(&error, ModelError::Unsupported { key: named, .. } if named == key), "{error:?}");
    }
}

#[test]
fn adapters_in_other_forms_are_explained() {
    let weights = "adapter_model.safetensors";
    let rename = |folder: &Path, change: fn(&str) -> String| {
        let tensors = read_tensors(&folder.join(weights));
        let tensors = tensors.into_iter().map(|(name, tensor)| (change(&name), tensor)).collect();
        write_tensors(&folder.join(weights), &tensors);
    };
    let error = adapter_after(|folder| rename(folder, |name| name.replace(".weight", ".default.weight")));
    let error = error.unwrap_err();
    assert!(
        matches!(&error, ModelError::OtherNames { tensor, found, .. }
            if tensor.ends_with("lora_A.weight") && found.ends_with("lora_A.default.weight")),
        "{error:?}"
    );
    let error = adapter_after(|folder| {
        std::fs::rename(folder.join(weights), folder.join("adapter_model.bin")).unwrap();
    });
    assert!(
        matches!(error.unwrap_err(), ModelError::OtherWeights { found, .. } if found == "adapter_model.bin")
    );
    let error =
        adapter_after(|folder| std::fs::write(folder.join(weights), LFS_POINTER).unwrap()).unwrap_err();
    assert!(matches!(error, ModelError::LfsPointer { .. }), "{error:?}");
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
