//! Files of a model folder: those in other forms are named, and so is what is there and not used.

use std::path::Path;

use grpo_qwen2::{ChatTokenizer, ModelError, ModelFiles};
use serde_json::{Value, json};

use crate::common::{
    LFS_POINTER, Stored, TIED, UNTIED, change_tensors, copy_of, json, read, read_after, warnings, write_json,
};

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
            tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), Stored::vector(8));
        });
    });
    assert!(positions.contains("inv_freq"), "{positions}");
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

/// Reads everything that a model folder has.
fn read_all(folder: &Path) -> Result<(), ModelError> {
    read(folder)?;
    ModelFiles::read(folder)?;
    ChatTokenizer::read(folder)?;
    Ok(())
}

#[test]
fn pointers_of_git_lfs_are_named() {
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "merges.txt"]
    {
        let folder = copy_of(TIED);
        std::fs::write(folder.path().join(file), LFS_POINTER).unwrap();
        let error = read_all(folder.path()).unwrap_err();
        assert!(matches!(&error, ModelError::LfsPointer { path } if path.ends_with(file)), "{error:?}");
        assert!(error.to_string().contains("git lfs pull"), "{error}");
    }
}
