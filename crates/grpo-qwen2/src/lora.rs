//! Low-rank adapters (LoRA, arXiv 2106.09685): a few parameters next to frozen matrices, trained instead of them.

use std::fmt;
use std::str::FromStr;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use grpo_kernels::to_host;
use grpo_rollout::InvalidOption;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Uniform};
use serde::{Deserialize, Serialize};

use crate::model::Block;
use crate::projection::{Adapter, Projection};
use crate::{ModelError, Qwen2};

/// Far above any useful rank, and far below where memory is certain to run out.
const MAX_RANK: usize = 1 << 16;

/// Which adapters a model has, in PEFT's terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Columns of the first and rows of the second matrix of an adapter (PEFT's `r`).
    pub rank: usize,
    /// An adapter's output is scaled by `alpha / rank` (PEFT's `lora_alpha`).
    pub alpha: f64,
    /// The linear layers that have an adapter, in every decoder layer (PEFT's `target_modules`).
    pub targets: Vec<LoraTarget>,
    /// Seed of the random numbers that initialize new adapters.
    pub seed: u64,
}

impl Default for LoraConfig {
    /// Rank 16 and alpha 32 for every linear layer.
    fn default() -> Self {
        Self { rank: 16, alpha: 32.0, targets: LoraTarget::ALL.to_vec(), seed: 0 }
    }
}

impl LoraConfig {
    /// Adapters of a rank for every linear layer, with an alpha of twice the rank.
    pub fn of_rank(rank: usize, seed: u64) -> Self {
        Self { rank, alpha: 2.0 * rank as f64, seed, ..Self::default() }
    }

    /// Checks that every option is in its range.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        if self.rank == 0 {
            return Err(InvalidOption::new("rank", 0, "an adapter has a rank of at least 1"));
        }
        if self.rank > MAX_RANK {
            return Err(InvalidOption::new("rank", self.rank, "an adapter has a rank of at most 65536"));
        }
        if self.targets.is_empty() {
            return Err(InvalidOption::new(
                "targets",
                "empty",
                "adapters need a linear layer to stand beside",
            ));
        }
        InvalidOption::check_positive("alpha", self.alpha)
    }
}

/// A linear layer of a decoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // they have the names that they have in every Qwen2 checkpoint
pub enum LoraTarget {
    QProj,
    KProj,
    VProj,
    OProj,
    GateProj,
    UpProj,
    DownProj,
}

impl LoraTarget {
    /// All of them, in the order of the forward pass.
    pub const ALL: [Self; 7] =
        [Self::QProj, Self::KProj, Self::VProj, Self::OProj, Self::GateProj, Self::UpProj, Self::DownProj];

    /// Its name in checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::QProj => "q_proj",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::OProj => "o_proj",
            Self::GateProj => "gate_proj",
            Self::UpProj => "up_proj",
            Self::DownProj => "down_proj",
        }
    }

    /// Its place in a decoder layer.
    pub(crate) fn part(self) -> String {
        let module = match self {
            Self::QProj | Self::KProj | Self::VProj | Self::OProj => "self_attn",
            Self::GateProj | Self::UpProj | Self::DownProj => "mlp",
        };
        format!("{module}.{}", self.name())
    }
}

impl fmt::Display for LoraTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LoraTarget {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let known = Self::ALL.into_iter().find(|target| target.name() == name);
        known.ok_or_else(|| ModelError::UnknownTarget { name: name.into() })
    }
}

impl Block {
    pub(crate) fn projection(&self, target: LoraTarget) -> &Projection {
        let (attention, mlp) = (&self.self_attn, &self.mlp);
        match target {
            LoraTarget::QProj => &attention.q_proj,
            LoraTarget::KProj => &attention.k_proj,
            LoraTarget::VProj => &attention.v_proj,
            LoraTarget::OProj => &attention.o_proj,
            LoraTarget::GateProj => &mlp.gate_proj,
            LoraTarget::UpProj => &mlp.up_proj,
            LoraTarget::DownProj => &mlp.down_proj,
        }
    }

    pub(crate) fn projection_mut(&mut self, target: LoraTarget) -> &mut Projection {
        let (attention, mlp) = (&mut self.self_attn, &mut self.mlp);
        match target {
            LoraTarget::QProj => &mut attention.q_proj,
            LoraTarget::KProj => &mut attention.k_proj,
            LoraTarget::VProj => &mut attention.v_proj,
            LoraTarget::OProj => &mut attention.o_proj,
            LoraTarget::GateProj => &mut mlp.gate_proj,
            LoraTarget::UpProj => &mut mlp.up_proj,
            LoraTarget::DownProj => &mut mlp.down_proj,
        }
    }
}

impl Qwen2 {
    /// The model with new adapters, its own weights frozen: a backward pass computes gradients of the adapters alone. At first
    /// its outputs are unchanged, because the second matrix of every adapter is zero. The first matrix is drawn as in PEFT
    /// (uniform within ±1/√in); the same seed gives the same values.
    ///
    /// Weights are shared, not copied: an earlier clone serves as the reference model at no cost in memory.
    ///
    /// # Panics
    ///
    /// If the rank is 0.
    pub fn with_lora(self, config: &LoraConfig) -> Self {
        assert!(config.rank > 0, "an adapter has a rank of at least 1");
        let mut generator = ChaCha8Rng::seed_from_u64(config.seed);
        let device = self.device();
        self.adapted(|_, target, projection| {
            config.targets.contains(&target).then(|| {
                let [input, output] = projection.dims();
                Adapter {
                    a: Param::from_tensor(uniform([input, config.rank], &mut generator, &device)),
                    b: Param::from_tensor(Tensor::zeros([config.rank, output], &device)),
                    alpha: config.alpha,
                    rank_stabilized: false,
                }
            })
        })
    }

    /// The model with its own weights frozen and the adapters that `adapter` returns for each projection of a layer.
    pub(crate) fn adapted(
        self,
        mut adapter: impl FnMut(usize, LoraTarget, &Projection) -> Option<Adapter>,
    ) -> Self {
        let mut model = self.without_lora().no_grad();
        for (layer, block) in model.layers.iter_mut().enumerate() {
            for target in LoraTarget::ALL {
                let projection = block.projection_mut(target);
                projection.adapter = adapter(layer, target, projection);
            }
        }
        model
    }

    /// The model without its adapters, frozen; weights are shared, not copied.
    pub fn without_lora(&self) -> Self {
        let mut model = self.clone();
        for block in &mut model.layers {
            for target in LoraTarget::ALL {
                block.projection_mut(target).adapter = None;
            }
        }
        model
    }

    /// Whether adapters are trained instead of the weights.
    pub fn has_lora(&self) -> bool {
        self.adapters().next().is_some()
    }

    /// Whether any adapter changes what the model computes: new ones have zeros in their second matrix.
    pub(crate) fn is_changed_by_lora(&self) -> bool {
        self.adapters().any(|(_, _, adapter)| to_host(adapter.b.val()).iter().any(|value| *value != 0.0))
    }

    /// The matrices `[in, rank]` and `[rank, out]` of an adapter; none if there is no adapter.
    pub fn adapter_weights(&self, layer: usize, target: LoraTarget) -> Option<[&Param<Tensor<2>>; 2]> {
        let adapter = self.layers.get(layer)?.projection(target).adapter.as_ref()?;
        Some([&adapter.a, &adapter.b])
    }

    /// Every adapter, with its layer and its projection.
    pub(crate) fn adapters(&self) -> impl Iterator<Item = (usize, LoraTarget, &Adapter)> {
        self.layers.iter().enumerate().flat_map(|(layer, block)| {
            let adapter = move |target| block.projection(target).adapter.as_ref().map(|a| (layer, target, a));
            LoraTarget::ALL.into_iter().filter_map(adapter)
        })
    }
}

/// Numbers within ±1/√rows.
fn uniform(shape: [usize; 2], generator: &mut ChaCha8Rng, device: &Device) -> Tensor<2> {
    let bound = 1.0 / (shape[0] as f32).sqrt();
    let numbers = Uniform::new_inclusive(-bound, bound).expect("the bound is a positive number");
    let values: Vec<f32> = numbers.sample_iter(generator).take(shape[0] * shape[1]).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
