//! Model folders that are whole, in every form, and folders that are not: an error that names file and tensor.

use std::collections::BTreeMap;
use std::path::Path;

use grpo_qwen2::{Config, ModelError, Qwen2};
use half::{bf16, f16};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::{
    CHECKPOINTS, Stored, TIED, Tensors, UNTIED, change_tensors, copy_of, fixture, json, load, random_tokens,
    read, read_after, read_tensors, token_logprobs, uniform, values, write_json, write_tensors,
};

const NORM: &str = "model.norm.weight";
const Q_PROJ: &str = "model.layers.1.self_attn.q_proj.weight";

/// What loading a folder says after `change`.
fn error_after(change: impl FnOnce(&Path)) -> ModelError {
    read_after(TIED, change).expect_err("a damaged folder is refused")
}

/// What loading says after a change of one tensor.
fn error_after_tensor(name: &str, change: impl FnOnce(&mut Stored)) -> ModelError {
    error_after(|folder| change_tensors(folder, |tensors| change(tensors.get_mut(name).unwrap())))
}

/// What loading says after the change of one key of `config.json`; null takes the key away.
fn error_after_key(key: &str, value: &Value) -> ModelError {
    error_after(|folder| {
        let path = folder.join("config.json");
        let mut config = json(&path);
        config[key] = value.clone();
        write_json(&path, &config);
    })
}

fn weights(model: &Qwen2) -> BTreeMap<String, Vec<f32>> {
    model.weights().into_iter().map(|(name, weight)| (name, values(&weight))).collect()
}

/// Splits a folder's weights into two shards and an index.
fn shard(folder: &Path) {
    let single = folder.join("model.safetensors");
    let mut shards = [Tensors::new(), Tensors::new()];
    let mut map = BTreeMap::new();
    for (i, (name, tensor)) in read_tensors(&single).into_iter().enumerate() {
        map.insert(name.clone(), SHARDS[i % 2]);
        shards[i % 2].insert(name, tensor);
    }
    for (file, tensors) in SHARDS.iter().zip(&shards) {
        write_tensors(&folder.join(file), tensors);
    }
    write_json(&folder.join(INDEX), &json!({ "metadata": { "total_size": 0 }, "weight_map": map }));
    std::fs::remove_file(single).unwrap();
}

const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const INDEX: &str = "model.safetensors.index.json";

#[test]
fn shards_are_the_single_file() {
    for name in CHECKPOINTS {
        let folder = copy_of(name);
        shard(folder.path());
        assert_eq!(weights(&read(folder.path()).unwrap()), weights(&load(name)), "{name}");
    }
}

#[test]
fn half_precision_files_are_read_exactly() {
    check_dtype(Dtype::F32, |v| v, |v| v.to_le_bytes().to_vec());
    check_dtype(Dtype::BF16, |v| bf16::from_f32(v).to_f32(), |v| bf16::from_f32(v).to_le_bytes().to_vec());
    check_dtype(Dtype::F16, |v| f16::from_f32(v).to_f32(), |v| f16::from_f32(v).to_le_bytes().to_vec());
}

fn check_dtype(dtype: Dtype, rounded: fn(f32) -> f32, bytes: fn(f32) -> Vec<u8>) {
    let folder = copy_of(UNTIED);
    change_tensors(folder.path(), |tensors| {
        for tensor in tensors.values_mut() {
            let bytes = tensor.f32s().into_iter().flat_map(bytes).collect();
            *tensor = Stored { dtype, shape: tensor.shape.clone(), bytes };
        }
    });
    let mut expected = weights(&load(UNTIED));
    expected.values_mut().flatten().for_each(|v| *v = rounded(*v));
    assert_eq!(weights(&read(folder.path()).unwrap()), expected, "{dtype:?}");
}

#[test]
fn missing_files_are_named() {
    for name in ["config.json", "model.safetensors"] {
        let error = error_after(|folder| std::fs::remove_file(folder.join(name)).unwrap());
        assert!(matches!(&error, ModelError::MissingFile { path } if path.ends_with(name)), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let error = error_after(|folder| {
        shard(folder);
        std::fs::remove_file(folder.join(SHARDS[1])).unwrap();
    });
    assert!(matches!(&error, ModelError::MissingFile { path } if path.ends_with(SHARDS[1])), "{error:?}");
    let error = read(Path::new("no/such/folder")).unwrap_err();
    assert!(matches!(&error, ModelError::MissingFile { path } if path.ends_with("config.json")), "{error:?}");
}

#[test]
fn weights_cut_short_or_too_long_are_damaged() {
    let whole = std::fs::read(fixture(TIED).join("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for len in [0, 1, 7, 8, 9, header - 1, header, header + 1, whole.len() / 2, whole.len() - 1] {
        assert_damaged(&whole[..len], &format!("{len} bytes"));
    }
    assert_damaged(&[whole.as_slice(), &[0]].concat(), "a byte too many");
}

#[test]
fn headers_that_lie_are_damaged() {
    for claimed in [0, 9, 1 << 20, 100_000_001, u64::MAX - 7, u64::MAX] {
        assert_damaged(
            &[&claimed.to_le_bytes()[..], b"{}      "].concat(),
            &format!("a header of {claimed} bytes"),
        );
    }
    let tensor = |shape: &[u64], start: u64, end: u64| {
        json!({ "a": { "dtype": "U8", "shape": shape, "data_offsets": [start, end] } }).to_string()
    };
    // Eight tensors of 2^61 bytes less one each come close to the largest length there is.
    let size = (1u64 << 61) - 1;
    let huge: BTreeMap<String, Value> = (0..8)
        .map(|i| {
            (
                i.to_string(),
                json!({ "dtype": "U8", "shape": [size], "data_offsets": [i * size, (i + 1) * size] }),
            )
        })
        .collect();
    for header in [
        "".to_string(),
        "{".into(),
        "[]".into(),
        "{\"a\":1}".into(),
        tensor(&[4], 0, 4),
        tensor(&[4], 4, 0),
        tensor(&[1 << 40, 1 << 40], 0, 4),
        tensor(&[0], 0, u64::MAX),
        json!(huge).to_string(),
    ] {
        assert_damaged(&[&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat(), &header);
    }
}

fn assert_damaged(bytes: &[u8], what: &str) {
    let error = error_after(|folder| std::fs::write(folder.join("model.safetensors"), bytes).unwrap());
    assert!(
        matches!(&error, ModelError::Damaged { path, .. } if path.ends_with("model.safetensors")),
        "{what}: {error:?}"
    );
}

#[test]
fn missing_tensors_are_named() {
    for name in [NORM, Q_PROJ, "model.layers.0.self_attn.k_proj.bias", "model.embed_tokens.weight"] {
        let error = error_after(|folder| change_tensors(folder, |tensors| drop(tensors.remove(name))));
        assert!(
            matches!(&error, ModelError::MissingTensor { path, tensor }
                if path.ends_with("model.safetensors") && tensor == name),
            "{error:?}"
        );
    }
    let untied = error_after_key("tie_word_embeddings", &json!(false));
    assert!(
        matches!(&untied, ModelError::MissingTensor { tensor, .. } if tensor == "lm_head.weight"),
        "{untied:?}"
    );
}

#[test]
fn a_tensor_that_its_shard_does_not_hold_is_missing_there() {
    let error = error_after(|folder| {
        shard(folder);
        let mut index = json(&folder.join(INDEX));
        let place = &mut index["weight_map"][NORM];
        *place = json!(if *place == SHARDS[0] { SHARDS[1] } else { SHARDS[0] });
        write_json(&folder.join(INDEX), &index);
    });
    assert!(matches!(&error, ModelError::MissingTensor { tensor, .. } if tensor == NORM), "{error:?}");
    let error = error_after(|folder| {
        shard(folder);
        let mut index = json(&folder.join(INDEX));
        index["weight_map"].as_object_mut().unwrap().remove(NORM);
        write_json(&folder.join(INDEX), &index);
    });
    assert!(
        matches!(&error, ModelError::MissingTensor { path, tensor } if path.ends_with(INDEX) && tensor == NORM),
        "{error:?}"
    );
}

#[test]
fn shards_outside_the_folder_are_refused() {
    for file in ["../evil", "/etc/passwd", "a/b", "a/../b", ".", "..", "./model.safetensors", ""] {
        let error = error_after(|folder| {
            shard(folder);
            let mut index = json(&folder.join(INDEX));
            index["weight_map"][NORM] = json!(file);
            write_json(&folder.join(INDEX), &index);
        });
        assert!(
            matches!(&error, ModelError::Json { path, .. } if path.ends_with(INDEX)),
            "{file:?}: {error:?}"
        );
    }
}

#[test]
fn wrong_shapes_are_named() {
    let error = error_after_tensor(Q_PROJ, |tensor| tensor.shape = vec![32, 128]);
    assert!(
        matches!(&error, ModelError::WrongShape { tensor, found, expected, .. }
            if tensor == Q_PROJ && *found == [32, 128] && *expected == [64, 64]),
        "{error:?}"
    );
    let error = error_after_tensor(NORM, |tensor| tensor.shape = vec![1, 64]);
    assert!(matches!(&error, ModelError::WrongShape { tensor, .. } if tensor == NORM), "{error:?}");
}

#[test]
fn wrong_number_formats_are_named() {
    for (dtype, bytes) in [(Dtype::I32, 4), (Dtype::F64, 8), (Dtype::U8, 1), (Dtype::F8_E4M3, 1)] {
        let error = error_after_tensor(NORM, |tensor| {
            *tensor = Stored { dtype, shape: vec![64], bytes: vec![0; 64 * bytes] };
        });
        assert!(
            matches!(&error, ModelError::WrongDtype { tensor, found, .. }
                if tensor == NORM && *found == format!("{dtype:?}")),
            "{error:?}"
        );
    }
}

#[test]
fn weights_that_are_not_numbers_are_named() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = error_after_tensor(Q_PROJ, |tensor| tensor.set_f32(77, bad));
        assert!(
            matches!(&error, ModelError::NonFinite { tensor, value, index: 77, .. }
                if tensor == Q_PROJ && value.to_bits() == bad.to_bits()),
            "{error:?}"
        );
    }
}

#[test]
fn models_of_other_shapes_are_refused_by_key() {
    let huge = json!(1u64 << 60);
    let scaled = json!({ "rope_theta": 1e6, "rope_type": "yarn", "factor": 4.0 });
    for (key, value, named) in [
        ("model_type", json!("llama"), "model_type"),
        ("model_type", json!("qwen3_moe"), "model_type"),
        ("model_type", json!(null), "model_type"),
        ("hidden_act", json!("gelu"), "hidden_act"),
        ("use_sliding_window", json!(true), "use_sliding_window"),
        ("layer_types", json!(["full_attention", "sliding_attention"]), "layer_types"),
        ("rope_scaling", json!({ "type": "yarn", "factor": 4.0 }), "rope_scaling.type"),
        ("rope_parameters", scaled, "rope_parameters.rope_type"),
        ("rope_parameters", json!({ "type": "linear", "rope_theta": 1e6 }), "rope_parameters.type"),
        ("rope_theta", json!(0.0), "rope_theta"),
        ("rope_theta", json!(-1.0), "rope_theta"),
        ("rms_norm_eps", json!(-1e-6), "rms_norm_eps"),
        ("num_attention_heads", json!(3), "num_key_value_heads"),
        ("num_key_value_heads", json!(3), "num_key_value_heads"),
        ("hidden_size", json!(66), "hidden_size"),
        ("hidden_size", json!(12), "head_dim"),
        ("head_dim", json!(15), "head_dim"),
        ("head_dim", json!(0), "head_dim"),
        ("head_dim", huge.clone(), "head_dim"),
        ("vocab_size", json!(0), "vocab_size"),
        ("hidden_size", json!(0), "hidden_size"),
        ("intermediate_size", json!(0), "intermediate_size"),
        ("num_hidden_layers", json!(0), "num_hidden_layers"),
        ("num_attention_heads", json!(0), "num_attention_heads"),
        ("num_key_value_heads", json!(0), "num_key_value_heads"),
        ("max_position_embeddings", json!(0), "max_position_embeddings"),
        ("vocab_size", huge.clone(), "vocab_size"),
        ("hidden_size", huge.clone(), "hidden_size"),
        ("intermediate_size", huge.clone(), "intermediate_size"),
        ("num_hidden_layers", huge, "num_hidden_layers"),
    ] {
        let error = error_after_key(key, &value);
        assert!(
            matches!(&error, ModelError::Unsupported { path, key, .. }
                if path.ends_with("config.json") && *key == named),
            "{key} = {value}: {error:?}"
        );
    }
}

#[test]
fn configurations_that_are_not_json_are_refused() {
    let whole = std::fs::read(fixture(TIED).join("config.json")).unwrap();
    for text in [&b""[..], b"[]", b"\xff\xfe", &whole[..whole.len() - 3]] {
        let error = error_after(|folder| std::fs::write(folder.join("config.json"), text).unwrap());
        let path = match &error {
            ModelError::Json { path, .. } | ModelError::Io { path, .. } => path,
            _ => panic!("{error:?}"),
        };
        assert!(path.ends_with("config.json"), "{error:?}");
    }
    for (key, value) in
        [("hidden_size", json!("64")), ("hidden_size", json!(-64)), ("vocab_size", json!(null))]
    {
        let error = error_after_key(key, &value);
        assert!(
            matches!(&error, ModelError::Json { path, .. } if path.ends_with("config.json")),
            "{error:?}"
        );
    }
}

#[test]
fn huge_sizes_that_are_allowed_do_not_fit_the_weights() {
    for key in ["vocab_size", "intermediate_size", "num_hidden_layers", "head_dim"] {
        let error = error_after_key(key, &json!(1 << 28));
        assert!(
            matches!(error, ModelError::WrongShape { .. } | ModelError::MissingTensor { .. }),
            "{key}: {error:?}"
        );
    }
}

/// Random damage to `config.json` and to the header of the weights: the model loads and works, or there is an error.
#[test]
fn random_damage_never_panics() {
    let weights = std::fs::read(fixture(TIED).join("model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let config = std::fs::read(fixture(TIED).join("config.json")).unwrap();
    let folder = copy_of(TIED);
    let mut random = uniform(1);
    let mut below = |n: usize| (random.next().unwrap() * n as f64) as usize;
    let mut refused = 0;
    for i in 0..400 {
        let (file, whole, end) = if i % 2 == 0 {
            ("config.json", &config, config.len())
        } else {
            ("model.safetensors", &weights, header)
        };
        let mut bytes = whole.clone();
        for _ in 0..=below(3) {
            bytes[below(end)] ^= 1 << below(8);
        }
        std::fs::write(folder.path().join(file), &bytes).unwrap();
        match read(folder.path()) {
            Ok(model) => {
                let logprobs = token_logprobs(&model, &random_tokens(i, 6));
                assert!(logprobs.iter().all(|l| l.is_finite()), "case {i}: {:?}", model.config());
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains(folder.path().to_str().unwrap()), "case {i}: {error}");
            }
        }
        std::fs::write(folder.path().join(file), whole).unwrap();
    }
    assert!(refused > 100, "{refused} of 400 were refused");
    assert_eq!(Config::read(&folder.path().join("config.json")).unwrap(), *load(TIED).config());
}
