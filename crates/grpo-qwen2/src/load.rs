use std::path::Path;

use burn::module::Param;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::bf16;

use crate::checkpoint::Checkpoint;
use crate::init::Random;
use crate::model::{Attention, Block, Mlp};
use crate::names::{EMBED_TOKENS, LM_HEAD, NORM, layer};
use crate::{Config, ModelError, Qwen2};

/// Where the values of a model's weights come from.
pub(crate) trait Source {
    type Error;

    /// The values, in row-major order, of the tensor that files have under `name`.
    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Self::Error>;
}

impl Qwen2 {
    /// Loads the model of a folder in Hugging Face layout: `config.json`, and `model.safetensors` or its shards and
    /// their index, in BF16, F16 or F32. Held in F32, to be trained.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        load(folder, false, device)
    }

    /// Loads a model that is not to be trained, in as little memory as holds it exactly: a matrix whose values are all BF16
    /// numbers, as in the published checkpoints, is held as such. Computes the same as [`load`](Self::load)'s.
    pub fn load_frozen(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        load(folder, true, device)
    }

    /// A model that has learned nothing, to be trained: matrices drawn from a normal distribution of deviation 0.02
    /// (transformers' `initializer_range`), biases 0 and norms 1. The same seed gives the same model.
    pub fn init(config: Config, seed: u64, device: &Device) -> Self {
        let Ok(model) = Builder { source: Random::new(seed), frozen: false, device }.model(config);
        model
    }
}

fn load(folder: &Path, frozen: bool, device: &Device) -> Result<Qwen2, ModelError> {
    let config = Config::read(&folder.join("config.json"))?;
    let source = Checkpoint::open(folder)?;
    Builder { source, frozen, device }.model(config)
}

struct Builder<'a, S> {
    source: S,
    frozen: bool,
    device: &'a Device,
}

impl<S: Source> Builder<'_, S> {
    fn model(mut self, config: Config) -> Result<Qwen2, S::Error> {
        let Config { vocab_size, hidden_size, .. } = config;
        // A tied checkpoint may hold a copy of the embedding as its head: the configuration decides.
        let untied = !config.tie_word_embeddings;
        Ok(Qwen2 {
            embed_tokens: self.table(EMBED_TOKENS, [vocab_size, hidden_size])?,
            layers: (0..config.num_hidden_layers)
                .map(|i| self.block(i, &config))
                .collect::<Result<_, _>>()?,
            norm: self.norm(NORM, &config)?,
            lm_head: untied.then(|| self.table(LM_HEAD, [vocab_size, hidden_size])).transpose()?,
            config,
        })
    }

    fn block(&mut self, i: usize, config: &Config) -> Result<Block, S::Error> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let mut linear = |part, shape, bias| self.linear(&layer(i, part), shape, bias);
        let self_attn = Attention {
            q_proj: linear("self_attn.q_proj", [hidden, q], true)?,
            k_proj: linear("self_attn.k_proj", [hidden, kv], true)?,
            v_proj: linear("self_attn.v_proj", [hidden, kv], true)?,
            o_proj: linear("self_attn.o_proj", [q, hidden], false)?,
        };
        let mlp = Mlp {
            gate_proj: linear("mlp.gate_proj", [hidden, inner], false)?,
            up_proj: linear("mlp.up_proj", [hidden, inner], false)?,
            down_proj: linear("mlp.down_proj", [inner, hidden], false)?,
        };
        Ok(Block {
            input_layernorm: self.norm(&layer(i, "input_layernorm"), config)?,
            self_attn,
            post_attention_layernorm: self.norm(&layer(i, "post_attention_layernorm"), config)?,
            mlp,
        })
    }

    fn table(&mut self, name: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, S::Error> {
        let values = self.source.read(name, &shape)?;
        Ok(self.matrix(values, shape))
    }

    /// A linear layer of `[in, out]`, laid out for `x · W`; files hold `[out, in]`.
    fn linear(&mut self, name: &str, [rows, columns]: [usize; 2], bias: bool) -> Result<Linear, S::Error> {
        let values = self.source.read(&format!("{name}.weight"), &[columns, rows])?;
        let weight = self.matrix(transpose(&values, columns, rows), [rows, columns]);
        let bias = bias.then(|| self.vector(&format!("{name}.bias"), columns)).transpose()?;
        Ok(Linear { weight, bias })
    }

    fn norm(&mut self, name: &str, config: &Config) -> Result<RmsNorm, S::Error> {
        let gamma = self.vector(&format!("{name}.weight"), config.hidden_size)?;
        Ok(RmsNorm { gamma, epsilon: config.rms_norm_eps })
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Param<Tensor<1>>, S::Error> {
        let values = self.source.read(name, &[len])?;
        Ok(Param::from_tensor(Tensor::from_data(TensorData::new(values, [len]), self.device)))
    }

    fn matrix(&self, values: Vec<f32>, shape: [usize; 2]) -> Param<Tensor<2>> {
        let supported = self.device.supports_dtype(DType::BF16);
        let narrow = self.frozen && supported && values.iter().all(|v| bf16::from_f32(*v).to_f32() == *v);
        let tensor = Tensor::<2>::from_data(TensorData::new(values, shape), self.device);
        Param::from_tensor(if narrow { tensor.cast(DType::BF16) } else { tensor })
    }
}

/// The transpose of a row-major matrix, block by block so that both sides stay in cache.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const BLOCK: usize = 32;
    let mut out = vec![0.0; values.len()];
    for r in (0..rows).step_by(BLOCK) {
        for c in (0..columns).step_by(BLOCK) {
            for i in r..(r + BLOCK).min(rows) {
                for j in c..(c + BLOCK).min(columns) {
                    out[j * rows + i] = values[i * columns + j];
                }
            }
        }
    }
    out
}
