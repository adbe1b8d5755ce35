//! What the tests share: fixtures, numbers that are the same at every run, and checkpoints taken apart.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use grpo_qwen2::{ModelError, ModelFiles, Qwen2, Weight};
use grpo_rollout::{PromptCompletions, SampleKey};
use grpo_test_device::{device, is_cpu};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const TIED: &str = "tiny-qwen2-tied";
pub(crate) const UNTIED: &str = "tiny-qwen2-untied";
pub(crate) const QWEN3: &str = "tiny-qwen3-tied";
const UNTIED_QWEN3: &str = "tiny-qwen3-untied";
/// What stands in place of a file that Git LFS has not downloaded.
pub(crate) const LFS_POINTER: &str =
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";

pub(crate) const CHECKPOINTS: [&str; 4] = [TIED, UNTIED, QWEN3, UNTIED_QWEN3];

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A checkpoint among the fixtures, in f32.
pub(crate) fn load(name: &str) -> Qwen2 {
    read(&fixture(name)).unwrap()
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(crate) fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, value.to_string()).unwrap();
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

pub(crate) fn ids(value: &Value) -> Vec<u32> {
    list(value).iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

pub(crate) fn floats(value: &Value) -> Vec<f32> {
    list(value).iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance, "{what}[{i}]: {f} is not {e} to {tolerance}");
    }
}

/// That what a frozen model computes is what the model in F32 computes: to the bit on the CPU, whose products convert a matrix in
/// half precision; a device's product with it has another order.
pub(crate) fn assert_unchanged(what: &str, frozen: &[f32], expected: &[f32]) {
    assert_close(what, frozen, expected, if is_cpu() { 0.0 } else { 5e-5 });
}

pub(crate) fn host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().convert::<f32>().try_into_vec().unwrap()
}

/// Scores all tokens of a sequence but the first.
pub(crate) fn token_logprobs(model: &Qwen2, ids: &[u32]) -> Vec<f32> {
    let batch = [PromptCompletions { prompt: &ids[..1], completions: vec![&ids[1..]] }];
    model.logprobs(&batch, 1.0).remove(0).logprobs
}

/// The values of a weight, laid out as in its file.
pub(crate) fn values(weight: &Weight<'_>) -> Vec<f32> {
    match weight {
        Weight::Matrix(w) => host(w.val().transpose()),
        Weight::Table(table) => table.parts().iter().flat_map(|w| host(w.val())).collect(),
        Weight::Vector(w) => host(w.val()),
    }
}

/// The gradient of every weight, laid out as in its file.
pub(crate) fn by_name(model: &Qwen2, gradients: &GradientsParams) -> BTreeMap<String, Vec<f32>> {
    let gradient = |weight: &Weight<'_>| match weight {
        Weight::Matrix(w) => host(gradients.get::<2>(w.id).unwrap().transpose()),
        Weight::Table(table) => {
            table.parts().iter().flat_map(|w| host(gradients.get::<2>(w.id).unwrap())).collect()
        }
        Weight::Vector(w) => host(gradients.get::<1>(w.id).unwrap()),
    };
    model.weights().into_iter().map(|(name, weight)| (name, gradient(&weight))).collect()
}

/// Uniform numbers in `[0, 1)`, the same at every run.
pub(crate) fn uniform(seed: u64) -> impl Iterator<Item = f64> {
    let key = SampleKey { seed, step: 0, problem: 0, sample: 0 };
    (0..).map(move |i| key.uniform(i))
}

/// Token ids of the tiny checkpoints, without those below 2.
pub(crate) fn random_tokens(seed: u64, n: usize) -> Vec<u32> {
    uniform(seed).take(n).map(|u| 2 + (u * 510.0) as u32).collect()
}

/// A tensor of a safetensors file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Stored {
    /// Zeros in F32.
    pub(crate) fn vector(n: usize) -> Self {
        Self { dtype: Dtype::F32, shape: vec![n], bytes: vec![0; 4 * n] }
    }

    /// The values of an F32 tensor.
    pub(crate) fn f32s(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32);
        self.bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    pub(crate) fn set_f32(&mut self, index: usize, value: f32) {
        self.bytes[4 * index..][..4].copy_from_slice(&value.to_le_bytes());
    }
}

pub(crate) type Tensors = BTreeMap<String, Stored>;

pub(crate) fn read_tensors(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let stored = |view: TensorView<'_>| Stored {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(name, view)| (name, stored(view))).collect()
}

pub(crate) fn write_tensors(path: &Path, tensors: &Tensors) {
    let views =
        tensors.iter().map(|(name, t)| (name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

/// A folder with the configuration and weights of a fixture, to be changed.
pub(crate) fn copy_of(name: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture(name).join(file), folder.path().join(file)).unwrap();
    }
    folder
}

pub(crate) fn read(folder: &Path) -> Result<Qwen2, ModelError> {
    Qwen2::load(folder, &device())
}

/// What loading a copy of `name` says after `change`.
pub(crate) fn read_after(name: &str, change: impl FnOnce(&Path)) -> Result<Qwen2, ModelError> {
    let folder = copy_of(name);
    change(folder.path());
    read(folder.path())
}

/// Rewrites the tensors of a folder.
pub(crate) fn change_tensors(folder: &Path, change: impl FnOnce(&mut Tensors)) {
    let path = folder.join("model.safetensors");
    let mut tensors = read_tensors(&path);
    change(&mut tensors);
    write_tensors(&path, &tensors);
}

/// The warnings that `work` logs.
pub(crate) fn warnings(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(move || writer.clone());
    tracing::subscriber::with_default(subscriber.finish(), work);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// What a folder holds besides weights.
pub(crate) fn files(folder: &Path) -> ModelFiles {
    ModelFiles::read(folder).unwrap()
}
