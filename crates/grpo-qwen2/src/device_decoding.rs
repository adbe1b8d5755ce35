//! Decoding on a device with kernels of its own.

use burn::tensor::{DType, Int, Tensor};
use grpo_kernels::{DeviceAttention, DrawOptions, Place, decodes_on, product};
use grpo_rollout::{Draw, DrawRequest, Sampling, draw_on_host};

use crate::model::{Attention, AttentionInput, Qwen2};
use crate::projection::{Adapter, Projection};

/// What the kernels need besides keys and values, made once per cache.
#[derive(Debug, Clone)]
pub(crate) struct DeviceDecoding {
    attention: DeviceAttention,
    /// The projections of every layer.
    joined: Vec<Joined>,
}

/// The projections of a layer to queries, keys and values, side by side: one product instead of three.
#[derive(Debug, Clone)]
struct Joined {
    /// `[hidden_size, (heads + 2 * key_value_heads) * head_dim]`
    weight: Tensor<2>,
    bias: Tensor<1>,
    /// The first matrices of the adapters side by side, and the second ones, scaled, as blocks of a diagonal.
    adapter: Option<[Tensor<2>; 2]>,
}

impl DeviceDecoding {
    /// For a cache of `slots` slots; none if the device has no kernels.
    pub(crate) fn new(model: &Qwen2, slots: usize) -> Option<Self> {
        let positions: Vec<usize> = (0..slots).collect();
        let attention = DeviceAttention::new(&model.rope(&positions), &model.device())?;
        let joined = model.layers.iter().map(|layer| Joined::new(&layer.self_attn)).collect();
        Some(Self { attention, joined })
    }

    /// Places of new tokens on the device, for [`step`](Self::step).
    pub(crate) fn places(&self, places: &[Place]) -> Tensor<1, Int> {
        self.attention.places(places)
    }

    /// The heads' outputs of a layer for new tokens, whose keys and values are appended to `cache` at `places`.
    pub(crate) fn step(
        &self,
        layer: usize,
        input: &AttentionInput<'_>,
        cache: [&mut Tensor<4>; 2],
        places: Tensor<1, Int>,
    ) -> Tensor<2> {
        let joined = &self.joined[layer];
        let qkv = input.normalize_joined(joined.apply(input.x.clone()));
        // Emptied for the time being, so that the kernel has the only handle and writes in place.
        let device = qkv.device();
        let [k, v] = cache;
        let old = [&mut *k, &mut *v].map(|part| std::mem::replace(part, Tensor::empty([0; 4], &device)));
        let (y, new) = self.attention.step(qkv, joined.bias.clone(), old, places);
        [*k, *v] = new;
        y
    }
}

impl Joined {
    fn new(projections: &Attention) -> Self {
        let all = projections.qkv();
        let bias = |projection: &Projection| match &projection.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([projection.dims()[1]], &projection.weight.val().device()),
        };
        let bias = Tensor::cat(all.map(bias).to_vec(), 0);
        let weights = all.map(|projection| projection.weight.val());
        // Matrices may be held in different dtypes, which cannot be joined.
        let are_mixed = weights.iter().any(|weight| weight.dtype() != weights[0].dtype());
        let weights = weights.map(|weight| if are_mixed { weight.cast(DType::F32) } else { weight });
        Self { weight: Tensor::cat(weights.to_vec(), 1), bias, adapter: joined_adapters(all) }
    }

    /// Queries, keys and values, without the bias.
    fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        let y = product(x.clone(), self.weight.clone());
        match &self.adapter {
            Some([a, b]) => y + product(product(x, a.clone()), b.clone()),
            None => y,
        }
    }
}

/// The adapters of some projections of the same input as one of all their outputs, side by side.
fn joined_adapters(all: [&Projection; 3]) -> Option<[Tensor<2>; 2]> {
    let adapters: Vec<&Adapter> = all.iter().filter_map(|projection| projection.adapter.as_ref()).collect();
    if adapters.is_empty() {
        return None;
    }
    let a: Vec<Tensor<2>> = adapters.iter().map(|adapter| adapter.a.val()).collect();
    let a = Tensor::cat(a, 1);
    let [_, ranks] = a.dims();
    let mut before = 0;
    let columns = all.map(|projection| {
        let [_, out] = projection.dims();
        let block = Tensor::zeros([ranks, out], (&a.device(), a.dtype()));
        let Some(adapter) = &projection.adapter else { return block };
        let rows = before..before + adapter.rank();
        before = rows.end;
        block.slice_assign([rows, 0..out], adapter.b.val().mul_scalar(adapter.scale()))
    });
    Some([a, Tensor::cat(columns.to_vec(), 1)])
}

/// Draws tokens where the logits are.
pub(crate) fn draw(logits: Tensor<2>, requests: &[DrawRequest], sampling: &Sampling) -> Vec<Option<Draw>> {
    if !decodes_on(&logits.device()) {
        return draw_on_host(logits, requests, sampling);
    }
    let greedy = sampling.temperature == 0.0;
    let options = DrawOptions {
        inverse_temperature: if greedy { 1.0 } else { 1.0 / sampling.temperature },
        greedy,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        min_p: sampling.min_p,
    };
    let requests: Vec<(usize, f64)> = requests.iter().map(|request| (request.row, request.uniform)).collect();
    let drawn = grpo_kernels::draw(logits, &requests, &options);
    let of = |drawn: grpo_kernels::DeviceDraw| Draw {
        token: drawn.token,
        logprob: drawn.logprob,
        entropy: drawn.entropy,
    };
    drawn.into_iter().map(|drawn| drawn.map(of)).collect()
}
