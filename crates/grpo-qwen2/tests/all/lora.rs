//! Low-rank adapters: the same model at first, gradients of the adapters alone, and PEFT's files.

use std::path::Path;

use burn::optim::GradientsParams;
use grpo_qwen2::{ActivationCheckpointing, Dtype, LoraConfig, LoraTarget, ModelError, Qwen2, Weight};
use grpo_rollout::{PromptCompletions, Request, SampleKey, Sampler, Sampling, TokenGradients};
use grpo_test_device::device;
use safetensors::tensor::Dtype as StoredDtype;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{
    CHECKPOINTS, Stored, TIED, Tensors, assert_close, assert_unchanged, by_name, files, fixture, host, json,
    load, random_tokens, read_tensors, token_logprobs, uniform, write_json, write_tensors,
};

const RANK: usize = 4;
const SCALE: f32 = 2.0;
const LAYERS: usize = 2;

fn numbers(seed: u64, n: usize) -> Vec<f32> {
    uniform(seed).take(n).map(|u| 0.2 * (u as f32 - 0.5)).collect()
}

/// The adapter matrices, `[rank, in]` and `[out, rank]`, of a projection of the tiny checkpoints.
fn matrices(layer: usize, target: LoraTarget, [output, input]: [usize; 2]) -> [Vec<f32>; 2] {
    let seed = 100 + 10 * layer as u64 + target as u64;
    [numbers(seed, RANK * input), numbers(1000 + seed, output * RANK)]
}

fn place(layer: usize, target: LoraTarget) -> String {
    let module = if target as usize <= LoraTarget::OProj as usize { "self_attn" } else { "mlp" };
    format!("model.layers.{layer}.{module}.{target}")
}

/// An adapter folder for a fixture, as PEFT writes it, that changes every projection.
fn adapter(name: &str) -> TempDir {
    let base = read_tensors(&fixture(name).join("model.safetensors"));
    let mut tensors = Tensors::new();
    for layer in 0..LAYERS {
        for target in LoraTarget::ALL {
            let place = place(layer, target);
            let shape: [usize; 2] = base[&format!("{place}.weight")].shape.clone().try_into().unwrap();
            let [a, b] = matrices(layer, target, shape);
            for (matrix, values, shape) in
                [("lora_A", a, vec![RANK, shape[1]]), ("lora_B", b, vec![shape[0], RANK])]
            {
                let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
                let stored = Stored { dtype: StoredDtype::F32, shape, bytes };
                tensors.insert(format!("base_model.model.{place}.{matrix}.weight"), stored);
            }
        }
    }
    let folder = TempDir::new().unwrap();
    write_tensors(&folder.path().join("adapter_model.safetensors"), &tensors);
    write_json(&folder.path().join("adapter_config.json"), &config());
    folder
}

/// What PEFT 0.21 writes, as far as it matters.
fn config() -> Value {
    json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 8, "lora_dropout": 0.0, "bias": "none",
        "fan_in_fan_out": false, "use_rslora": false, "use_dora": false, "modules_to_save": null, "rank_pattern": {},
        "alpha_pattern": {}, "lora_bias": false, "init_lora_weights": true, "layer_replication": null, "loftq_config": {}, "target_modules": ["q_proj", "down_proj"], "inference_mode": true,
    })
}

/// A fixture with an adapter on every projection.
pub(crate) fn adapted(name: &str) -> Qwen2 {
    load(name).load_adapter(adapter(name).path()).unwrap()
}

/// A loss with a different weight for every token: its value, and its gradients.
fn gradients(model: &Qwen2, activation_checkpointing: ActivationCheckpointing) -> GradientsParams {
    let (prompt, completion) = (random_tokens(1, 5), random_tokens(2, 20));
    let batch = [PromptCompletions { prompt: &prompt, completions: vec![&completion] }];
    let (_, pass) = model.forward(&batch, 1.0, activation_checkpointing);
    let mut gradients = GradientsParams::new();
    pass.backward(model, &[TokenGradients::of_logprobs(numbers(3, 20))], &mut gradients);
    gradients
}

#[test]
fn new_adapters_change_nothing_and_old_weights_are_shared() {
    for name in CHECKPOINTS {
        let base = load(name);
        let model = base.clone().with_lora(&LoraConfig { seed: 7, ..LoraConfig::default() });
        let tokens = random_tokens(4, 30);
        assert!(model.has_lora() && !base.has_lora() && !model.without_lora().has_lora());
        assert_eq!(token_logprobs(&model, &tokens), token_logprobs(&base, &tokens), "{name}");
    }
}

/// By the chain rule from the gradient of the merged matrix, which is transformers' (`gradients_match_transformers`).
#[test]
fn gradients_are_those_of_the_merged_matrix_and_of_nothing_else() {
    for name in CHECKPOINTS {
        let model = adapted(name);
        let folder = TempDir::new().unwrap();
        model.save(&files(&fixture(name)), folder.path(), Dtype::F32).unwrap();
        let dense = Qwen2::load(folder.path(), &device()).unwrap();
        let by_matrix = by_name(&dense, &gradients(&dense, ActivationCheckpointing::Off));
        let shapes = read_tensors(&fixture(name).join("model.safetensors"));
        for checkpointing in [ActivationCheckpointing::Off, ActivationCheckpointing::EveryLayer] {
            let mut found = gradients(&model, checkpointing);
            let frozen = |(_, weight): (String, Weight<'_>)| match weight {
                Weight::Matrix(w) => found.get::<2>(w.id).is_none(),
                Weight::Table(table) => table.parts().iter().all(|w| found.get::<2>(w.id).is_none()),
                Weight::Vector(w) => found.get::<1>(w.id).is_none(),
            };
            assert!(model.weights().into_iter().all(frozen), "{name}: a frozen weight has a gradient");
            for layer in 0..LAYERS {
                for target in LoraTarget::ALL {
                    let place = format!("{}.weight", place(layer, target));
                    let shape: [usize; 2] = shapes[&place].shape.clone().try_into().unwrap();
                    let expected = of_adapter(&by_matrix[&place], matrices(layer, target, shape), shape);
                    let weights = model.adapter_weights(layer, target).unwrap();
                    for (param, expected) in weights.into_iter().zip(expected) {
                        let gradient = found.remove::<2>(param.id).expect("an adapter has a gradient");
                        let gradient = host(gradient.transpose());
                        let largest = expected.iter().fold(0f32, |a, b| a.max(b.abs()));
                        assert_close(&format!("{name} {place}"), &gradient, &expected, 2e-4 * largest);
                    }
                }
            }
        }
    }
}

/// Of `W + scale · B A`: the gradients `scale · Bᵀ dW` and `scale · dW Aᵀ`, all as in files.
fn of_adapter(dw: &[f32], [a, b]: [Vec<f32>; 2], [output, input]: [usize; 2]) -> [Vec<f32>; 2] {
    let mut by = [vec![0.0; RANK * input], vec![0.0; output * RANK]];
    for o in 0..output {
        for i in 0..input {
            for r in 0..RANK {
                by[0][r * input + i] += SCALE * b[o * RANK + r] * dw[o * input + i];
                by[1][o * RANK + r] += SCALE * a[r * input + i] * dw[o * input + i];
            }
        }
    }
    by
}

#[test]
fn a_merged_model_and_a_decoder_compute_the_same() {
    for name in CHECKPOINTS {
        let model = adapted(name);
        let tokens = random_tokens(5, 40);
        let expected = token_logprobs(&model, &tokens);
        let base = token_logprobs(&load(name), &tokens);
        assert!(base.iter().zip(&expected).any(|(a, b)| (a - b).abs() > 0.01), "{name}: nothing has changed");
        let folder = TempDir::new().unwrap();
        model.save(&files(&fixture(name)), folder.path(), Dtype::F32).unwrap();
        let merged = Qwen2::load(folder.path(), &device()).unwrap();
        assert_close(name, &token_logprobs(&merged, &tokens), &expected, 1e-4);

        let keys = [SampleKey { seed: 0, step: 0, problem: 0, sample: 0 }];
        let sampler = Sampler { sampling: Sampling::default(), stop: vec![], max_tokens: 20, batch_rows: 8 };
        let sample = &sampler.sample(&model, &[Request { prompt: &tokens[..3], keys: &keys }]).unwrap()[0][0];
        let batch = [PromptCompletions { prompt: &tokens[..3], completions: vec![&sample.tokens] }];
        let scores = model.logprobs(&batch, 1.0).remove(0);
        assert_close(name, &scores.logprobs, &sample.logprobs, 1e-4);
        assert_close(name, &scores.entropies, &sample.entropies, 1e-4);
    }
}

#[test]
fn adapters_next_to_weights_in_half_precision_have_the_same_gradients() {
    let folder = TempDir::new().unwrap();
    load(TIED).save(&files(&fixture(TIED)), folder.path(), Dtype::Bf16).unwrap();
    let adapter = adapter(TIED);
    let [f32, half] = [Qwen2::load, Qwen2::load_frozen]
        .map(|load| load(folder.path(), &device()).unwrap().load_adapter(adapter.path()).unwrap());
    for checkpointing in [ActivationCheckpointing::Off, ActivationCheckpointing::EveryLayer] {
        let [mut expected, mut found] = [gradients(&f32, checkpointing), gradients(&half, checkpointing)];
        let [expected, found] = [(&f32, &mut expected), (&half, &mut found)].map(|(model, gradients)| {
            let [a, _] = model.adapter_weights(0, LoraTarget::DownProj).unwrap();
            host(gradients.remove::<2>(a.id).unwrap())
        });
        assert_unchanged("", &found, &expected);
    }
}

#[test]
fn what_is_saved_is_loaded_to_the_bit() {
    let model = adapted(TIED);
    let folder = TempDir::new().unwrap();
    model.save_adapter(folder.path(), "Qwen/some-model").unwrap();
    let weights = |folder: &Path| read_tensors(&folder.join("adapter_model.safetensors"));
    assert_eq!(weights(folder.path()), weights(adapter(TIED).path()));
    let config = json(&folder.path().join("adapter_config.json"));
    assert_eq!(config["base_model_name_or_path"], "Qwen/some-model");
    assert_eq!((config["r"].as_u64(), config["lora_alpha"].as_f64()), (Some(4), Some(8.0)));
    let again = load(TIED).load_adapter(folder.path()).unwrap();
    let tokens = random_tokens(6, 30);
    assert_eq!(token_logprobs(&again, &tokens), token_logprobs(&model, &tokens));
}

#[test]
fn the_configuration_knows_how_many_weights_there_are() {
    for name in CHECKPOINTS {
        let lora = LoraConfig { rank: 3, targets: LoraTarget::ALL[2..].to_vec(), ..LoraConfig::default() };
        let model = load(name).with_lora(&lora);
        let size = |(_, weight): (String, Weight<'_>)| weight.elements();
        assert_eq!(model.config().parameters(), model.weights().into_iter().map(size).sum::<usize>());
        let adapters = (0..LAYERS).flat_map(|layer| LoraTarget::ALL.map(|target| (layer, target)));
        let weights = adapters.filter_map(|(layer, target)| model.adapter_weights(layer, target)).flatten();
        let numbers: usize = weights.map(|w| w.shape().num_elements()).sum();
        assert_eq!(model.config().adapter_parameters(&lora), numbers);
    }
}

#[test]
fn some_projections_may_have_one_and_others_not() {
    let targets = vec!["q_proj".parse().unwrap(), "down_proj".parse().unwrap()];
    let config = LoraConfig { rank: 2, alpha: 2.0, targets, seed: 0 };
    let model = load(TIED).with_lora(&config);
    assert!(model.adapter_weights(1, LoraTarget::DownProj).is_some());
    assert!(model.adapter_weights(1, LoraTarget::UpProj).is_none());
    let folder = TempDir::new().unwrap();
    model.save_adapter(folder.path(), "").unwrap();
    let again = load(TIED).load_adapter(folder.path()).unwrap();
    assert!(again.adapter_weights(0, LoraTarget::QProj).is_some());
    assert!(again.adapter_weights(0, LoraTarget::KProj).is_none());
}

/// The error that loading an adapter ends in after `change`.
fn refused(change: impl FnOnce(&mut Value, &mut Tensors)) -> ModelError {
    let folder = adapter(TIED);
    let (config, weights) =
        (folder.path().join("adapter_config.json"), folder.path().join("adapter_model.safetensors"));
    let (mut json, mut tensors) = (json(&config), read_tensors(&weights));
    change(&mut json, &mut tensors);
    write_json(&config, &json);
    write_tensors(&weights, &tensors);
    load(TIED).load_adapter(folder.path()).unwrap_err()
}

#[test]
fn what_cannot_be_loaded_is_named() {
    let a = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    for (key, value) in [
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("modules_to_save", json!(["lm_head"])),
        ("rank_pattern", json!({ "q_proj": 2 })),
        ("peft_type", json!("IA3")),
        ("alora_invocation_tokens", json!([5, 6])),
        ("init_lora_weights", json!("pissa")),
        ("use_what_comes_next", json!(true)),
        ("r", json!(0)),
    ] {
        let error = refused(|config, _| config[key] = value);
        assert!(matches!(&error, ModelError::Unsupported { key: found, .. } if *found == key), "{error}");
    }
    let error = refused(|config, _| config["r"] = json!(8));
    assert!(matches!(&error, ModelError::WrongShape { .. }), "{error}");
    let error = refused(|_, tensors| drop(tensors.remove(a)));
    assert!(matches!(&error, ModelError::MissingTensor { tensor, .. } if tensor == a), "{error}");
    let error = refused(|_, tensors| {
        let tensor = tensors[a].clone();
        tensors.insert("base_model.model.lm_head.lora_A.weight".into(), tensor);
    });
    assert!(
        matches!(&error, ModelError::UnknownTensor { tensor, .. } if tensor.contains("lm_head")),
        "{error}"
    );
    let error = refused(|_, tensors| tensors.clear());
    assert!(matches!(&error, ModelError::MissingTensor { .. }), "{error}");
    let error = "w1".parse::<LoraTarget>().unwrap_err().to_string();
    assert!(error.contains("w1") && error.contains("gate_proj"), "{error}");
}

/// The scale of rank-stabilized LoRA is `alpha / √r`.
#[test]
fn rslora_is_another_scale() {
    let folder = adapter(TIED);
    let mut json = config();
    json["use_rslora"] = json!(true);
    json["lora_alpha"] = json!(4);
    write_json(&folder.path().join("adapter_config.json"), &json);
    let model = load(TIED).load_adapter(folder.path()).unwrap();
    let tokens = random_tokens(6, 30);
    assert_eq!(token_logprobs(&model, &tokens), token_logprobs(&adapted(TIED), &tokens));
}

#[test]
fn options_out_of_their_range_are_refused() {
    let valid = LoraConfig::default();
    assert!(valid.validate().is_ok());
    assert!(LoraConfig { rank: 65536, ..valid.clone() }.validate().is_ok());
    for (config, expected) in [
        (LoraConfig { rank: 0, ..valid.clone() }, "option `rank` is 0: an adapter has a rank of at least 1"),
        (
            LoraConfig { rank: 65537, ..valid.clone() },
            "option `rank` is 65537: an adapter has a rank of at most 65536",
        ),
        (
            LoraConfig { targets: vec![], ..valid.clone() },
            "option `targets` is empty: adapters need a linear layer to stand beside",
        ),
        (LoraConfig { alpha: 0.0, ..valid.clone() }, "option `alpha` is 0: it must be a positive number"),
        (LoraConfig { alpha: -1.5, ..valid.clone() }, "option `alpha` is -1.5: it must be a positive number"),
        (
            LoraConfig { alpha: f64::INFINITY, ..valid.clone() },
            "option `alpha` is inf: it must be a positive number",
        ),
        (LoraConfig { alpha: f64::NAN, ..valid }, "option `alpha` is NaN: it must be a positive number"),
    ] {
        assert_eq!(config.validate().unwrap_err().to_string(), expected);
    }
}
