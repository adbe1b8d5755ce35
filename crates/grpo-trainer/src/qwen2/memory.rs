//! How much memory a run will take, estimated from its configuration alone.

use std::fmt;

use grpo_kernels::DeviceMemory;
use grpo_qwen2::{Architecture, Config};
use grpo_rollout::SamplerKind;

use crate::{
    AdamW, Policy, Qwen2PolicyConfig, Qwen2Reference, RolloutDtype, TrainedQwen2, Trainer, TrainerConfig,
};

/// Bytes per f32.
const F32: u64 = 4;
/// What a process takes besides: the program, the tokenizer, a tile of logits.
const PROGRAM: u64 = 100_000_000;
/// Buffers of products, and freed memory that is not reused, add one part in this many of all other parts together.
const BUFFERS: u64 = 20;

/// The memory of a run, part by part, at the peak of a step: in the backward pass of the largest micro-batch.
/// `docs/benchmarks.md` shows how close it comes to measured peaks.
///
/// ```
/// # use grpo_qwen2::{Architecture, Config, LoraConfig};
/// # use grpo_trainer::{MemoryPlan, Qwen2PolicyConfig, TrainerConfig, Workload};
/// # let model = Config {
/// #     architecture: Architecture::Qwen2, vocab_size: 151_936, hidden_size: 896, intermediate_size: 4864, num_hidden_layers: 24,
/// #     num_attention_heads: 14, num_key_value_heads: 2, head_dim: 64, max_position_embeddings: 32_768,
/// #     rms_norm_eps: 1e-6, rope_theta: 1e6, tie_word_embeddings: true,
/// # };
/// let (config, policy) = (TrainerConfig::default(), Qwen2PolicyConfig::default());
/// let workload = Workload {
///     problems: 1,
///     prompt: 200,
///     is_half: true,
///     on_gpu: false,
///     activation_checkpointing: false,
///     continues_adapter: false,
/// };
/// let full = MemoryPlan::new(&model, &config, &policy, &workload);
/// let lora = Qwen2PolicyConfig { lora: Some(LoraConfig::default()), ..policy };
/// assert!(MemoryPlan::new(&model, &config, &lora, &workload).total() < full.total() / 2);
/// println!("{full}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Names and bytes.
    pub parts: Vec<(&'static str, u64)>,
}

/// What memory depends on besides the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Problems per step.
    pub problems: usize,
    /// The tokens of the longest prompt.
    pub prompt: usize,
    /// Whether frozen matrices are held in half precision, as those of a checkpoint in BF16 are.
    pub is_half: bool,
    /// Whether the run is on a GPU, which caches keys and values in the dtype of rollouts.
    pub on_gpu: bool,
    /// Whether only the input of every layer is stored for the backward pass.
    pub activation_checkpointing: bool,
    /// Whether the run continues adapters, of which the reference has a copy.
    pub continues_adapter: bool,
}

impl MemoryPlan {
    /// The plan of a run with a model of the shape `model`.
    pub fn new(
        model: &Config,
        config: &TrainerConfig,
        policy: &Qwen2PolicyConfig,
        workload: &Workload,
    ) -> Self {
        let Workload { problems, prompt, is_half, on_gpu, activation_checkpointing, continues_adapter } =
            *workload;
        let all = model.parameters() as u64;
        let frozen = if is_half { F32 / 2 } else { F32 };
        let (weights, trained) = match &policy.lora {
            Some(lora) => (frozen * all, model.adapter_parameters(lora) as u64),
            None => (F32 * all, all),
        };
        let reference = match &policy.lora {
            _ if !config.needs_reference() => 0,
            Some(_) if continues_adapter => F32 * trained,
            Some(_) => 0,
            // A reference that moves no longer equals its checkpoint.
            None if config.reference_sync.is_some() => F32 * all,
            None => frozen * all,
        };
        let rows = (problems * config.group_size).min(config.batch_rows) as u64;
        let length = prompt + config.max_completion_length;
        let step = problems * (prompt + config.group_size * config.max_completion_length);
        let tokens = step.min(config.micro_batch_tokens.max(length)) as u64;
        let adapters = if policy.lora.is_some() { F32 * trained } else { 0 };
        let is_rounded = policy.rollout_dtype != RolloutDtype::F32;
        let copied = if is_rounded { all } else { 0 };
        let cached = if is_rounded && on_gpu { F32 / 2 } else { F32 };
        let moment = policy.optimizer.moments_dtype.dtype().size() as u64;
        let parts = vec![
            ("weights", weights),
            ("adapters", adapters),
            ("reference", reference),
            ("rounded copy", F32 / 2 * copied),
            ("weights that sample", if config.lag > 0 { F32 * trained } else { 0 }),
            ("gradients", F32 * trained),
            ("optimizer", 2 * moment * trained),
            ("key-value cache", rows * length as u64 * model.cached_per_token() as u64 * cached),
            ("activations", tokens * activations(model, activation_checkpointing) * F32),
        ];
        let sum: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
        let rest = ("program and buffers", PROGRAM + sum / BUFFERS);
        Self { parts: parts.into_iter().filter(|(_, bytes)| *bytes > 0).chain([rest]).collect() }
    }

    /// The sum of all parts, in bytes.
    pub fn total(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Numbers stored per token for the backward pass, including those of the layer being computed.
fn activations(model: &Config, activation_checkpointing: bool) -> u64 {
    let (hidden, inner) = (model.hidden_size, model.intermediate_size);
    let (q, kv) = (model.num_attention_heads * model.head_dim, model.num_key_value_heads * model.head_dim);
    // Queries and keys before their norms.
    let not_normalized = if model.architecture == Architecture::Qwen3 { q + kv } else { 0 };
    // Residual streams and their norms; queries and attention outputs; keys and values; gate and up.
    let layer = 4 * hidden + 2 * q + 2 * kv + not_normalized + 2 * inner;
    let at_work = 3 * inner + 4 * hidden;
    let kept = if activation_checkpointing {
        model.num_hidden_layers * hidden + layer
    } else {
        model.num_hidden_layers * layer
    };
    (kept + at_work) as u64
}

impl<X, T> Trainer<Policy<X, TrainedQwen2, AdamW, Qwen2Reference>, T> {
    /// How much memory training takes, with this many problems per step and prompts of at most `prompt` tokens.
    pub fn memory_plan(&self, problems: usize, prompt: usize) -> MemoryPlan {
        let Policy { model, rollouts, optimizer, reference, .. } = self.policy();
        let policy = Qwen2PolicyConfig {
            lora: model.lora().cloned(),
            rollout_dtype: match rollouts.sampler_kind() {
                // Or F16, which takes as much.
                SamplerKind::Narrow(correction) => RolloutDtype::Bf16(correction),
                SamplerKind::Own | SamplerKind::Remote { .. } => RolloutDtype::F32,
            },
            optimizer: optimizer.config,
        };
        let frozen = reference.as_ref().map_or(model.get(), Qwen2Reference::model);
        let (is_half, activation_checkpointing) = (frozen.is_half(), model.activation_checkpointing());
        let on_gpu = DeviceMemory::of(&model.get().device()).largest_tensor.is_some();
        let continues_adapter = reference.as_ref().is_some_and(|reference| reference.model().has_lora());
        let workload =
            Workload { problems, prompt, is_half, on_gpu, activation_checkpointing, continues_adapter };
        MemoryPlan::new(model.get().config(), self.config(), &policy, &workload)
    }

    /// Bytes that this process has reserved on the device of the policy; none on the CPU.
    pub fn device_memory(&self) -> Option<u64> {
        DeviceMemory::reserved(&self.policy().model.get().device())
    }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = if self.total() < 1 << 30 { (1 << 20, "MiB") } else { (1 << 30, "GiB") };
        let size = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(unit));
        let parts: Vec<String> =
            self.parts.iter().map(|(part, bytes)| format!("{part} {}", size(*bytes))).collect();
        write!(f, "{} {name}: {}", size(self.total()), parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdamWConfig, MomentsDtype};

    #[test]
    fn moments_in_bf16_take_half_the_memory() {
        let workload = Workload {
            problems: 1,
            prompt: 200,
            is_half: true,
            on_gpu: false,
            activation_checkpointing: true,
            continues_adapter: false,
        };
        let optimizer = |moments_dtype| {
            let optimizer = AdamWConfig { moments_dtype, ..AdamWConfig::default() };
            let policy = Qwen2PolicyConfig { optimizer, ..Qwen2PolicyConfig::default() };
            let plan =
                MemoryPlan::new(&Config::qwen2_5_0_5b(), &TrainerConfig::default(), &policy, &workload);
            plan.parts.into_iter().find(|(part, _)| *part == "optimizer").unwrap().1
        };
        let parameters = Config::qwen2_5_0_5b().parameters() as u64;
        assert_eq!(
            [MomentsDtype::F32, MomentsDtype::Bf16].map(optimizer),
            [8, 4].map(|bytes| bytes * parameters)
        );
    }
}
