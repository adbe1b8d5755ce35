//! Token log-probabilities of packed batches and their gradients with respect to the weights.
//!
//! The backward pass goes through the model layer by layer. The forward pass stores everything that a layer's gradient needs
//! or, with [`ActivationCheckpointing`], only the layer's input. In that case the backward pass runs the layer again, and
//! memory is that of one layer's activations, whatever the depth. The result is identical, bit for bit.

use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use grpo_kernels::{CausalAttention, Rope};
use grpo_rollout::{PromptCompletions, TokenGradients, TokenLogProbs};

use crate::head::{Differentiate, HeadPass};
use crate::model::{Attend, Block, Qwen2, Residual, int_tensor, normalize};
use crate::packed::Packed;

/// Whether the backward pass runs layers again to save memory (PyTorch's `torch.utils.checkpoint`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationCheckpointing {
    /// The forward pass stores all activations that gradients need: nothing is computed twice.
    Off,
    /// The forward pass stores only the input of each layer: less memory, but a second forward pass through every layer.
    EveryLayer,
}

/// A forward pass that can be differentiated.
pub struct Pass {
    packed: Packed,
    /// None if no completion has any tokens.
    layers: Option<LayerPasses>,
}

/// A forward pass through all layers.
struct LayerPasses {
    rope: Rope,
    attention: CausalAttention,
    layers: Vec<LayerPass>,
    /// The residual stream after the last layer.
    x: Tensor<2>,
    head: HeadPass,
}

/// What is stored for a layer.
#[allow(clippy::large_enum_variant)] // there are as many as layers: their size is nothing
enum LayerPass {
    Input(Tensor<2>),
    Graph(LayerGraph),
}

/// A layer under autodiff, from its input to its output.
struct LayerGraph {
    block: Block,
    x: Tensor<2>,
    y: Tensor<2>,
}

impl Qwen2 {
    /// The log-probabilities of the completions of `batch`: one element per completion, prompt by prompt.
    ///
    /// # Panics
    ///
    /// If the temperature is not above 0, a prompt is empty, or a token id is not below the vocabulary size.
    pub fn logprobs(&self, batch: &[PromptCompletions<'_>], temperature: f32) -> Vec<TokenLogProbs> {
        let packed = self.pack(batch, temperature);
        if packed.targets.is_empty() {
            return split(&packed, None);
        }
        let rope = self.rope(&packed.positions);
        let x = self.blocks(&packed.tokens, &rope, &mut packed.attention(&self.device()));
        let head = self.head_pass(&packed, x.total(), temperature, Differentiate::Nothing);
        split(&packed, Some(&head))
    }

    /// Like [`logprobs`](Self::logprobs), together with what [`Pass::backward`] needs.
    ///
    /// # Panics
    ///
    /// Under the same conditions as [`logprobs`](Self::logprobs).
    pub fn forward(
        &self,
        batch: &[PromptCompletions<'_>],
        temperature: f32,
        activation_checkpointing: ActivationCheckpointing,
    ) -> (Vec<TokenLogProbs>, Pass) {
        let packed = self.pack(batch, temperature);
        if packed.targets.is_empty() {
            return (split(&packed, None), Pass { packed, layers: None });
        }
        let rope = self.rope(&packed.positions);
        let mut attention = packed.attention(&self.device());
        let mut x = self.embed_tokens.select(&packed.tokens);
        let mut layers = Vec::with_capacity(self.layers.len());
        for (layer, block) in self.layers.iter().enumerate() {
            let (pass, y) = match activation_checkpointing {
                ActivationCheckpointing::Off => {
                    let graph = LayerGraph::new(self, layer, x, &rope, &mut attention);
                    let y = graph.y.clone().inner();
                    (LayerPass::Graph(graph), y)
                }
                ActivationCheckpointing::EveryLayer => {
                    let y = run(block, layer, x.clone(), &rope, self, &mut attention);
                    (LayerPass::Input(x), y)
                }
            };
            layers.push(pass);
            x = y;
        }
        let differentiate = if self.has_lora() { Differentiate::Hidden } else { Differentiate::All };
        let head = self.head_pass(&packed, x.clone(), temperature, differentiate);
        let logprobs = split(&packed, Some(&head));
        (logprobs, Pass { packed, layers: Some(LayerPasses { rope, attention, layers, x, head }) })
    }

    /// The layout of a batch. Panics on a batch whose log-probabilities would be those of something else.
    fn pack(&self, batch: &[PromptCompletions<'_>], temperature: f32) -> Packed {
        assert!(temperature > 0.0, "the temperature is {temperature}, but it must be above 0");
        assert!(batch.iter().all(|item| !item.prompt.is_empty()), "a prompt is empty");
        let packed = Packed::new(batch);
        let vocabulary = self.config().vocab_size;
        let unknown =
            packed.tokens.iter().chain(&packed.targets).find(|token| **token as usize >= vocabulary);
        assert!(unknown.is_none(), "token id {unknown:?} is not below the vocabulary's size of {vocabulary}");
        packed
    }

    fn head_pass(
        &self,
        packed: &Packed,
        x: Tensor<2>,
        temperature: f32,
        differentiate: Differentiate,
    ) -> HeadPass {
        let h = normalize(&self.norm, x.select(0, int_tensor(&packed.predictors, &self.device())));
        HeadPass::new(h, self.head(), &packed.targets, temperature, differentiate)
    }
}

impl Pass {
    /// Adds the gradient of a loss with respect to every trainable weight to `gradients`. `slopes` is the gradient of the loss
    /// with respect to the log-probabilities: one element per completion, in their order.
    ///
    /// # Panics
    ///
    /// If `slopes` does not have one number per token of each completion.
    pub fn backward(self, model: &Qwen2, slopes: &[TokenGradients], gradients: &mut GradientsParams) {
        let Self { packed, layers } = self;
        let of_completions = || slopes.iter().map(|completion| completion.logprobs.as_slice());
        let lengths = of_completions().map(<[f32]>::len);
        assert!(lengths.eq(packed.lengths.iter().copied()), "every token of a completion needs one gradient");
        let Some(LayerPasses { rope, mut attention, layers, x, head }) = layers else { return };
        let slopes = of_completions().collect::<Vec<_>>().concat();
        let mut dx = head_backward(model, &packed, head, x, &slopes, gradients);
        for (layer, pass) in layers.into_iter().enumerate().rev() {
            let LayerGraph { block, x, y } = match pass {
                LayerPass::Graph(graph) => graph,
                LayerPass::Input(x) => LayerGraph::new(model, layer, x, &rope, &mut attention),
            };
            dx = vjp(&block, x, y, dx, gradients);
        }
        if model.has_lora() {
            return; // the table is frozen
        }
        let table = &model.embed_tokens;
        let mut gradient = table.take_gradient(gradients);
        gradient.add_rows(table, &packed.tokens, dx);
        table.register_gradient(gradient, gradients);
    }
}

/// Backward through the output head and the final norm: the gradient with respect to the last residual stream.
fn head_backward(
    model: &Qwen2,
    packed: &Packed,
    head: HeadPass,
    x: Tensor<2>,
    slopes: &[f32],
    gradients: &mut GradientsParams,
) -> Tensor<2> {
    let table = model.head();
    let mut dw = (!model.has_lora()).then(|| table.take_gradient(gradients));
    let dh = head.backward(table, slopes, dw.as_mut());
    if let Some(dw) = dw {
        table.register_gradient(dw, gradients);
    }

    let norm = model.norm.clone().train();
    let x = x.autodiff().require_grad();
    let h = normalize(&norm, x.clone().select(0, int_tensor(&packed.predictors, &model.device())));
    vjp(&norm, x, h, dh, gradients)
}

/// The output of one layer.
fn run(
    block: &Block,
    layer: usize,
    x: Tensor<2>,
    rope: &Rope,
    model: &Qwen2,
    attend: &mut impl Attend,
) -> Tensor<2> {
    block.forward(layer, Residual::new(x), rope, model.config(), attend).total()
}

impl LayerGraph {
    fn new(model: &Qwen2, layer: usize, x: Tensor<2>, rope: &Rope, attend: &mut impl Attend) -> Self {
        let block = model.layers[layer].clone().train();
        let x = x.autodiff().require_grad();
        let y = run(&block, layer, x.clone(), rope, model, attend);
        Self { block, x, y }
    }
}

/// The vector-Jacobian product of `dy`, the gradient of a loss with respect to `y`: returns the gradient with respect to `x`,
/// and adds the gradients with respect to the weights of `module` to `gradients`.
fn vjp<M: Module>(
    module: &M,
    x: Tensor<2>,
    y: Tensor<2>,
    dy: Tensor<2>,
    gradients: &mut GradientsParams,
) -> Tensor<2> {
    let mut found = (y * dy.autodiff()).sum().backward();
    let dx = x.grad_remove(&mut found).expect("the output depends on the input");
    module.visit(&mut Accumulate { found: GradientsParams::from_module(&mut found, module), sum: gradients });
    dx
}

/// Adds the gradients of a module to the existing ones.
struct Accumulate<'a> {
    found: GradientsParams,
    sum: &'a mut GradientsParams,
}

impl burn::module::ModuleVisitor for Accumulate<'_> {
    fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
        let Some(new) = self.found.remove::<D>(param.id) else { return };
        let sum = match take(self.sum, param.id) {
            Some(old) => old + new,
            None => new,
        };
        self.sum.register(param.id, sum);
    }
}

fn take<const D: usize>(gradients: &mut GradientsParams, id: ParamId) -> Option<Tensor<D>> {
    gradients.remove(id)
}

/// What the head computes for every completion; no `head` if no completion has any tokens.
fn split(packed: &Packed, head: Option<&HeadPass>) -> Vec<TokenLogProbs> {
    let (logprobs, entropies) = head.map_or((&[][..], &[][..]), |head| (&head.logprobs, &head.entropies));
    let mut start = 0;
    packed
        .lengths
        .iter()
        .map(|length| {
            let range = start..start + length;
            start = range.end;
            TokenLogProbs { logprobs: logprobs[range.clone()].to_vec(), entropies: entropies[range].to_vec() }
        })
        .collect()
}
