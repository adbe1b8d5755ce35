//! Token log-probabilities of packed batches and their gradients by the weights.
//!
//! The backward pass goes through the model layer by layer. What the forward pass keeps of a layer is a choice,
//! [`Keep`]: everything that its gradient needs, or its input alone; then the layer is run again when its turn comes, and
//! memory is that of one layer's activations, whatever the depth. The result is the same to the bit.

use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{IndexingUpdateOp, Tensor};
use grpo_kernels::{CausalAttention, Rope};

use crate::head::HeadPass;
use crate::model::{Attend, Block, Qwen2, int_tensor, normalize};
use crate::packed::{Group, Packed};

/// The log-probability and entropy of every token of a completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// `log p(token | prompt, tokens before)` under `softmax(logits / temperature)`, in nats.
    pub logprobs: Vec<f32>,
    /// The entropy of the distribution that the token was scored under, in nats.
    pub entropies: Vec<f32>,
}

/// What a forward pass keeps of each layer for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All that the gradient needs: nothing is computed twice.
    Activations,
    /// Its input: little memory, and a second forward pass of every layer (gradient checkpointing).
    Inputs,
}

/// A forward pass that can be differentiated.
pub struct Pass {
    packed: Packed,
    /// None if there was nothing to score.
    run: Option<Run>,
}

/// A forward pass through all layers.
struct Run {
    rope: Rope,
    attention: CausalAttention,
    layers: Vec<LayerPass>,
    /// The residual stream after the last layer.
    x: Tensor<2>,
    head: HeadPass,
}

/// What is kept of a layer.
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
    /// Scores the completions of `groups`, in their order, one group after the other.
    ///
    /// # Panics
    ///
    /// If the temperature is not above 0, a prompt is empty, or a token id is not below the vocabulary's size.
    pub fn score(&self, groups: &[Group<'_>], temperature: f32) -> Vec<Scores> {
        let packed = self.pack(groups, temperature);
        if packed.targets.is_empty() {
            return split(&packed, None);
        }
        let rope = self.rope(&packed.positions);
        let x = self.blocks(&packed.tokens, &rope, &mut packed.attention(&self.device()));
        split(&packed, Some(&self.head_pass(&packed, x, temperature)))
    }

    /// Like [`score`](Self::score), with what [`Pass::backward`] needs.
    ///
    /// # Panics
    ///
    /// As [`score`](Self::score) does.
    pub fn forward(&self, groups: &[Group<'_>], temperature: f32, keep: Keep) -> (Vec<Scores>, Pass) {
        let packed = self.pack(groups, temperature);
        if packed.targets.is_empty() {
            return (split(&packed, None), Pass { packed, run: None });
        }
        let rope = self.rope(&packed.positions);
        let mut attention = packed.attention(&self.device());
        let mut x = self.embed(&packed.tokens);
        let mut layers = Vec::with_capacity(self.layers.len());
        for (layer, block) in self.layers.iter().enumerate() {
            let (pass, y) = match keep {
                Keep::Activations => {
                    let graph = LayerGraph::new(self, layer, x, &rope, &mut attention);
                    let y = graph.y.clone().inner();
                    (LayerPass::Graph(graph), y)
                }
                Keep::Inputs => {
                    let y = block.forward(layer, x.clone(), &rope, self.config(), &mut attention);
                    (LayerPass::Input(x), y)
                }
            };
            layers.push(pass);
            x = y;
        }
        let head = self.head_pass(&packed, x.clone(), temperature);
        let scores = split(&packed, Some(&head));
        (scores, Pass { packed, run: Some(Run { rope, attention, layers, x, head }) })
    }

    /// The layout of groups that can be scored; panics on others, which would get the scores of something else.
    fn pack(&self, groups: &[Group<'_>], temperature: f32) -> Packed {
        assert!(temperature > 0.0, "the temperature is {temperature}, but it must be above 0");
        assert!(groups.iter().all(|group| !group.prompt.is_empty()), "a prompt is empty");
        let packed = Packed::new(groups);
        let vocabulary = self.config().vocab_size;
        let unknown =
            packed.tokens.iter().chain(&packed.targets).find(|token| **token as usize >= vocabulary);
        assert!(unknown.is_none(), "token id {unknown:?} is not below the vocabulary's size of {vocabulary}");
        packed
    }

    fn head_pass(&self, packed: &Packed, x: Tensor<2>, temperature: f32) -> HeadPass {
        let h = normalize(&self.norm, x.select(0, int_tensor(&packed.predictors, &self.device())));
        HeadPass::new(h, &self.head().val(), &packed.targets, temperature)
    }
}

impl Pass {
    /// Adds to `gradients` the gradient by every trainable weight of a loss whose gradient by the scored tokens'
    /// log-probabilities is `by_logprob`: one list for each completion, in the order of the scores.
    ///
    /// # Panics
    ///
    /// If `by_logprob` does not have a number for every scored token.
    pub fn backward(self, model: &Qwen2, by_logprob: &[Vec<f32>], gradients: &mut GradientsParams) {
        let Self { packed, run } = self;
        let lengths = by_logprob.iter().map(Vec::len);
        assert!(lengths.eq(packed.lengths.iter().copied()), "every scored token needs one gradient");
        let Some(Run { rope, mut attention, layers, x, head }) = run else { return };
        let mut dx = head_backward(model, &packed, head, x, &by_logprob.concat(), gradients);
        for (layer, pass) in layers.into_iter().enumerate().rev() {
            let LayerGraph { block, x, y } = match pass {
                LayerPass::Graph(graph) => graph,
                LayerPass::Input(x) => LayerGraph::new(model, layer, x, &rope, &mut attention),
            };
            dx = pull_back(&block, x, y, dx, gradients);
        }
        if model.has_lora() {
            return; // the table is frozen
        }
        let table = &model.embed_tokens;
        let ids = int_tensor(&packed.tokens, &model.device());
        let mut gradient = take_or_zeros(gradients, table);
        gradient.inplace(|g| g.select_assign(0, ids, dx, IndexingUpdateOp::Add));
        gradients.register(table.id, gradient);
    }
}

/// Through the output head and the final norm: the gradient by the last residual stream.
fn head_backward(
    model: &Qwen2,
    packed: &Packed,
    head: HeadPass,
    x: Tensor<2>,
    by_logprob: &[f32],
    gradients: &mut GradientsParams,
) -> Tensor<2> {
    let table = model.head();
    let mut dw = (!model.has_lora()).then(|| take_or_zeros(gradients, table));
    let dh = head.backward(&table.val(), by_logprob, dw.as_mut());
    if let Some(dw) = dw {
        gradients.register(table.id, dw);
    }

    let norm = model.norm.clone().train();
    let x = x.autodiff().require_grad();
    let h = normalize(&norm, x.clone().select(0, int_tensor(&packed.predictors, &model.device())));
    pull_back(&norm, x, h, dh, gradients)
}

impl LayerGraph {
    fn new(model: &Qwen2, layer: usize, x: Tensor<2>, rope: &Rope, attend: &mut impl Attend) -> Self {
        let block = model.layers[layer].clone().train();
        let x = x.autodiff().require_grad();
        let y = block.forward(layer, x.clone(), rope, model.config(), attend);
        Self { block, x, y }
    }
}

/// The gradient by `x`, and by the weights of `module` into `gradients`, of a loss whose gradient by `y` is `dy`.
fn pull_back<M: Module>(
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

/// Adds the gradients of a module to those already there.
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

fn take_or_zeros(gradients: &mut GradientsParams, param: &burn::module::Param<Tensor<2>>) -> Tensor<2> {
    let value = param.val();
    take(gradients, param.id).unwrap_or_else(|| Tensor::zeros(value.shape(), &value.device()))
}

/// The scores of every completion; no `head` if none has a token.
fn split(packed: &Packed, head: Option<&HeadPass>) -> Vec<Scores> {
    let (logprobs, entropies) = head.map_or((&[][..], &[][..]), |head| (&head.logprobs, &head.entropies));
    let mut start = 0;
    packed
        .lengths
        .iter()
        .map(|length| {
            let range = start..start + length;
            start = range.end;
            Scores { logprobs: logprobs[range.clone()].to_vec(), entropies: entropies[range].to_vec() }
        })
        .collect()
}
