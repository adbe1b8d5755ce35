//! Saved models are the models, and a save that fails leaves what was there.

use std::path::Path;

use grpo_qwen2::{Dtype, ModelError, Qwen2};
use grpo_test_device::device;
use half::bf16;
use safetensors::tensor::Dtype as StoredDtype;
use tempfile::TempDir;

use crate::common::{CHECKPOINTS, TIED, Tensors, UNTIED, copy_of, files, fixture, json, load, read_tensors};

fn saved(name: &str, dtype: Dtype) -> (TempDir, Tensors) {
    let folder = TempDir::new().unwrap();
    load(name).save(&files(&fixture(name)), &folder.path().join("new/model"), dtype).unwrap();
    let tensors = read_tensors(&folder.path().join("new/model/model.safetensors"));
    (folder, tensors)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn f32_keeps_every_bit() {
    for name in CHECKPOINTS {
        let (folder, tensors) = saved(name, Dtype::F32);
        assert_eq!(tensors, read_tensors(&fixture(name).join("model.safetensors")), "{name}");
        let folder = folder.path().join("new/model");
        assert_eq!(names(&folder), ["config.json", "model.safetensors"]);
        Qwen2::load(&folder, &device()).unwrap();
    }
}

#[test]
fn bf16_rounds_to_the_nearest() {
    for name in CHECKPOINTS {
        let mut expected = read_tensors(&fixture(name).join("model.safetensors"));
        for tensor in expected.values_mut() {
            tensor.bytes = tensor.f32s().into_iter().flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect();
            tensor.dtype = StoredDtype::BF16;
        }
        assert_eq!(saved(name, Dtype::Bf16).1, expected, "{name}");
    }
}

#[test]
fn the_configuration_says_the_number_format() {
    for (form, key) in [("config.json", "torch_dtype"), ("config.transformers5.json", "dtype")] {
        for (dtype, value) in [(Dtype::F32, "float32"), (Dtype::Bf16, "bfloat16")] {
            let source = copy_of(TIED);
            std::fs::copy(fixture(TIED).join(form), source.path().join("config.json")).unwrap();
            let folder = TempDir::new().unwrap();
            load(TIED).save(&files(source.path()), folder.path(), dtype).unwrap();
            let mut expected = json(&fixture(TIED).join(form));
            expected[key] = value.into();
            assert_eq!(json(&folder.path().join("config.json")), expected);
        }
    }
}

#[test]
fn text_files_are_copied() {
    let (source, folder) = (copy_of(TIED), TempDir::new().unwrap());
    for name in ["tokenizer.json", "chat_template.jinja", "generation_config.json", "notes.txt"] {
        std::fs::write(source.path().join(name), name).unwrap();
    }
    load(TIED).save(&files(source.path()), folder.path(), Dtype::F32).unwrap();
    let expected = [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    ];
    assert_eq!(names(folder.path()), expected);
    assert_eq!(std::fs::read_to_string(folder.path().join("tokenizer.json")).unwrap(), "tokenizer.json");
}

/// Whoever may read the configuration may read the weights.
#[cfg(unix)]
#[test]
fn all_files_have_the_same_permissions() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, _) = saved(TIED, Dtype::F32);
    let mode = |name: &str| {
        std::fs::metadata(folder.path().join("new/model").join(name)).unwrap().permissions().mode()
    };
    assert_eq!(mode("model.safetensors"), mode("config.json"));
}

/// Files of the Hub's cache are read-only; copies of them must not be.
#[test]
fn a_copy_of_a_read_only_file_can_be_written() {
    let (source, folder) = (copy_of(TIED), TempDir::new().unwrap());
    let file = source.path().join("tokenizer.json");
    std::fs::write(&file, "{}").unwrap();
    let mut permissions = std::fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&file, permissions).unwrap();
    for _ in 0..2 {
        load(TIED).save(&files(source.path()), folder.path(), Dtype::F32).unwrap();
    }
    assert!(!std::fs::metadata(folder.path().join("tokenizer.json")).unwrap().permissions().readonly());
}

#[test]
fn a_model_can_be_saved_where_it_was_loaded() {
    let folder = copy_of(UNTIED);
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    load(UNTIED).save(&files(folder.path()), folder.path(), Dtype::Bf16).unwrap();
    assert_eq!(names(folder.path()), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("tokenizer.json")).unwrap(), "{}");
    Qwen2::load_frozen(folder.path(), &device()).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for target in [file.clone(), file.join("model")] {
        let error = load(TIED).save(&files(&fixture(TIED)), &target, Dtype::F32).unwrap_err();
        assert!(matches!(&error, ModelError::Io { path, .. } if *path == target), "{error:?}");
    }
}

#[test]
fn a_failed_save_leaves_the_older_model() {
    let whole = std::fs::read(fixture(UNTIED).join("model.safetensors")).unwrap();
    let folder = copy_of(UNTIED);
    let obstacle = "model.safetensors.partial";
    std::fs::create_dir(folder.path().join(obstacle)).unwrap();
    let error = load(TIED).save(&files(&fixture(TIED)), folder.path(), Dtype::F32).unwrap_err();
    assert!(
        matches!(&error, ModelError::Io { path, .. } if path.ends_with("model.safetensors")),
        "{error:?}"
    );
    assert!(std::fs::read(folder.path().join("model.safetensors")).unwrap() == whole);
    assert_eq!(names(folder.path()), ["config.json", "model.safetensors", obstacle]);
}

/// A model can be saved when the folder it came from has gone.
#[test]
fn files_are_read_before_they_are_needed() {
    let (source, folder) = (copy_of(TIED), TempDir::new().unwrap());
    std::fs::write(source.path().join("tokenizer.json"), "{}").unwrap();
    let files = files(source.path());
    drop(source);
    load(TIED).save(&files, folder.path(), Dtype::F32).unwrap();
    assert_eq!(names(folder.path()), ["config.json", "model.safetensors", "tokenizer.json"]);
}

#[test]
fn a_file_that_cannot_be_replaced_leaves_no_partial_file() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("model.safetensors")).unwrap();
    let error = load(TIED).save(&files(&fixture(TIED)), folder.path(), Dtype::F32).unwrap_err();
    assert!(
        matches!(&error, ModelError::Io { path, .. } if path.ends_with("model.safetensors")),
        "{error:?}"
    );
    assert_eq!(names(folder.path()), ["model.safetensors"]);
}
