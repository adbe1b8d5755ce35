use burn::module::Param;
use burn::nn::RmsNorm;
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::freeze::frozen_dtype;
use crate::model::{Attention, Block, HeadNorms, Mlp};
use crate::names::{EMBED_TOKENS, K_NORM, LM_HEAD, NORM, Q_NORM, layer};
use crate::projection::Projection;
use crate::transpose::transpose;
use crate::weight_source::WeightSource;
use crate::{Architecture, Config, LoraTarget, Qwen2, Table};

/// Builds a model from the values of a source.
pub(crate) struct Builder<'a, S> {
    pub(crate) source: &'a mut S,
    /// Whether matrices are held as frozen ones are.
    pub(crate) frozen: bool,
    pub(crate) device: &'a Device,
}

impl<S: WeightSource> Builder<'_, S> {
    pub(crate) fn model(mut self, config: Config) -> Result<Qwen2, S::Error> {
        let Config { vocab_size, hidden_size, .. } = config;
        let untied = !config.tie_word_embeddings;
        Ok(Qwen2 {
            embed_tokens: self.table(EMBED_TOKENS, [vocab_size, hidden_size])?,
            layers: (0..config.num_hidden_layers)
                .map(|i| self.block(i, &config))
                .collect::<Result<_, _>>()?,
            norm: self.norm(NORM, config.hidden_size, &config)?,
            lm_head: untied.then(|| self.table(LM_HEAD, [vocab_size, hidden_size])).transpose()?,
            cache_dtype: DType::F32,
            config,
        })
    }

    fn block(&mut self, i: usize, config: &Config) -> Result<Block, S::Error> {
        let biased = config.architecture == Architecture::Qwen2;
        let mut projection = |target: LoraTarget, bias| {
            self.linear(&layer(i, &target.part()), config.projection(target), bias)
        };
        let q_proj = projection(LoraTarget::QProj, biased)?;
        let k_proj = projection(LoraTarget::KProj, biased)?;
        let v_proj = projection(LoraTarget::VProj, biased)?;
        let o_proj = projection(LoraTarget::OProj, false)?;
        let mlp = Mlp {
            gate_proj: projection(LoraTarget::GateProj, false)?,
            up_proj: projection(LoraTarget::UpProj, false)?,
            down_proj: projection(LoraTarget::DownProj, false)?,
        };
        let mut norm = |part: &str, width| self.norm(&layer(i, part), width, config);
        let mut head_norm = |part| norm(part, config.head_dim);
        let head_norms = match config.architecture {
            Architecture::Qwen2 => None,
            Architecture::Qwen3 => Some(HeadNorms { q_norm: head_norm(Q_NORM)?, k_norm: head_norm(K_NORM)? }),
        };
        Ok(Block {
            input_layernorm: norm("input_layernorm", config.hidden_size)?,
            self_attn: Attention { q_proj, k_proj, v_proj, o_proj, head_norms },
            post_attention_layernorm: norm("post_attention_layernorm", config.hidden_size)?,
            mlp,
        })
    }

    fn table(&mut self, name: &str, [rows, columns]: [usize; 2]) -> Result<Table, S::Error> {
        let values = self.source.read(name, &[rows, columns])?;
        let per_part = Table::rows_per_part(columns, self.device);
        if rows <= per_part {
            return Ok(Table::new(vec![self.matrix(values, [rows, columns])]));
        }
        let dtype = self.dtype(&values);
        let part = |values: &[f32]| self.matrix_in(dtype, values.to_vec(), [values.len() / columns, columns]);
        Ok(Table::new(values.chunks(per_part * columns).map(part).collect()))
    }

    /// A linear layer `[in, out]`, stored for `x · W`; files hold `[out, in]`.
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

    fn norm(&mut self, name: &str, width: usize, config: &Config) -> Result<RmsNorm, S::Error> {
        let gamma = self.vector(&format!("{name}.weight"), width)?;
        Ok(RmsNorm { gamma, epsilon: config.rms_norm_eps })
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Param<Tensor<1>>, S::Error> {
        let values = self.source.read(name, &[len])?;
        Ok(Param::from_tensor(Tensor::from_data(TensorData::new(values, [len]), self.device)))
    }

    fn matrix(&self, values: Vec<f32>, shape: [usize; 2]) -> Param<Tensor<2>> {
        self.matrix_in(self.dtype(&values), values, shape)
    }

    fn dtype(&self, values: &[f32]) -> DType {
        if self.frozen { frozen_dtype(values, self.device) } else { DType::F32 }
    }

    fn matrix_in(&self, dtype: DType, values: Vec<f32>, shape: [usize; 2]) -> Param<Tensor<2>> {
        let tensor = Tensor::<2>::from_data(TensorData::new(values, shape), self.device);
        Param::from_tensor(tensor.cast(dtype))
    }
}
