//! Tensors that the model has no place for, and those that stand under another name or in another form.

use std::path::Path;

use grpo_qwen2::ModelError;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::{
    Stored, TIED, Tensors, UNTIED, change_tensors, load, read_after, read_tensors, token_logprobs,
    write_json, write_tensors,
};

fn rename_tensors(folder: &Path, name: impl Fn(String) -> String) {
    change_tensors(folder, |tensors| {
        *tensors = std::mem::take(tensors).into_iter().map(|(old, tensor)| (name(old), tensor)).collect();
    });
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
            change_tensors(folder, |tensors| drop(tensors.insert(name.into(), Stored::vector(len))));
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
                let sibling = |ending: &&str| (name.replace("weight", "") + ending, Stored::vector(1));
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
