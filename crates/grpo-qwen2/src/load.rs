use std::path::Path;

use burn::module::{Module, Param};
use burn::nn::RmsNorm;
use burn::tensor::{DType, Device, Tensor, TensorData};
use half::bf16;

use crate::init::Random;
use crate::model::{Attention, Block, Mlp};
use crate::model_tensors::ModelTensors;
use crate::names::{EMBED_TOKENS, LM_HEAD, NORM, layer};
use crate::projection::Projection;
use crate::{Config, LoraTarget, ModelError, Qwen2};

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
        Ok(load(folder, true, device)?.no_grad())
    }

    /// The model, which was read from `folder`, if it is of this shape.
    pub fn of_shape(self, config: &Config, folder: &Path) -> Result<Self, ModelError> {
        match self.config == *config {
            true => Ok(self),
            false => Err(ModelError::OtherShape { path: folder.into() }),
        }
    }

    /// A model that has learned nothing, to be trained: matrices drawn from a normal distribution of deviation 0.02
    /// (transformers' `initializer_range`), biases 0 and norms 1. The same seed gives the same model.
    pub fn init(config: Config, seed: u64, device: &Device) -> Self {
        let Ok(model) = Builder { source: &mut Random::new(seed), frozen: false, device }.model(config);
        model
    }
}

fn load(folder: &Path, frozen: bool, device: &Device) -> Result<Qwen2, ModelError> {
    let config = Config::read(&folder.join("config.json"))?;
    let mut source = ModelTensors::open(folder, &config)?;
    let model = Builder { source: &mut source, frozen, device }.model(config)?;
    source.check_all_read(model.config())?;
    Ok(model)
}

struct Builder<'a, S> {
    source: &'a mut S,
    frozen: bool,
    device: &'a Device,
}

impl<S: Source> Builder<'_, S> {
    fn model(mut self, config: Config) -> Result<Qwen2, S::Error> {
        let Config { vocab_size, hidden_size, .. } = config;
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
        let mut projection = |target: LoraTarget, bias| {
            self.linear(&layer(i, &target.part()), config.projection(target), bias)
        };
        let self_attn = Attention {
            q_proj: projection(LoraTarget::QProj, true)?,
            k_proj: projection(LoraTarget::KProj, true)?,
            v_proj: projection(LoraTarget::VProj, true)?,
            o_proj: projection(LoraTarget::OProj, false)?,
        };
        let mlp = Mlp {
            gate_proj: projection(LoraTarget::GateProj, false)?,
            up_proj: projection(LoraTarget::UpProj, false)?,
            down_proj: projection(LoraTarget::DownProj, false)?,
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
    fn linear(
        &mut self,
        name: &str,
        [rows, columns]: [usize; 2],
        bias: bool,
    ) -> Result<Projection, S::Error> {
        let values = self.source.read(&format!("{name}.weight"), &[columns, rows])?;
        let weight = self.matrix(transpose(&values, columns, rows), [rows, columns]);
        let bias = bias.then(|| self.vector(&format!("{name}.bias"), columns)).transpose()?;
        Ok(Projection { weight, bias, adapter: None })
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
