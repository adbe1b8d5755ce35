//! Log-probabilities of given tokens, forward and backward, in tiles of positions and vocabulary.
//!
//! With hidden states `h` `[n, hidden]` and a head `W` `[vocab, hidden]`, the logits `h Wᵀ / temperature` are never
//! materialized in full: only one tile of [`POSITIONS`] × [`VOCABULARY`] of them exists at a time, whatever `n` is. The forward
//! pass keeps a running maximum and sum per position; the backward pass recomputes each tile. All reductions are in f32.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use grpo_kernels::{Statistics, float_tensor, matmul, softmax_vjp, to_host};

use crate::model::int_tensor;

/// Positions per tile.
const POSITIONS: usize = 512;
/// Vocabulary entries per tile.
const VOCABULARY: usize = 8192;

/// The log-probabilities of tokens, and what the backward pass needs.
pub(crate) struct HeadPass {
    /// `[n, hidden]`, divided by the temperature.
    h: Tensor<2>,
    targets: Vec<u32>,
    temperature: f32,
    /// The log-sum-exp of each position's logits, `[n, 1]`.
    log_sum_exp: Tensor<2>,
    /// The log-probability of each target, in nats.
    pub(crate) logprobs: Vec<f32>,
    /// The entropy of each position's distribution, in nats.
    pub(crate) entropies: Vec<f32>,
}

/// The tiles of `0..n` in steps of `size`.
fn tiles(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(size).map(move |start| start..(start + size).min(n))
}

/// Rows of a matrix, in f32.
fn rows(x: &Tensor<2>, range: Range<usize>) -> Tensor<2> {
    x.clone().slice(range).cast(DType::F32)
}

impl HeadPass {
    /// Log-probabilities under `softmax(h Wᵀ / temperature)` of `targets`, one for each row of `h`.
    pub(crate) fn new(h: Tensor<2>, w: &Tensor<2>, targets: &[u32], temperature: f32) -> Self {
        let h = if temperature == 1.0 { h } else { h.div_scalar(temperature) };
        let chunks: Vec<_> = tiles(targets.len(), POSITIONS).map(|at| statistics(rows(&h, at), w)).collect();
        let column = |pick: fn(&Statistics) -> Tensor<2>| Tensor::cat(chunks.iter().map(pick).collect(), 0);
        let log_sum_exp = column(|s| s.max.clone() + s.sum.clone().log());
        // H = log Σ e^z - Σ p z, with the maximum subtracted from z on both sides.
        let entropies = column(|s| s.sum.clone().log() - s.weighted.clone() / s.sum.clone());
        let chosen = w.clone().select(0, int_tensor(targets, &w.device())).cast(DType::F32);
        let logprobs = (h.clone() * chosen).sum_dim(1) - log_sum_exp.clone();
        // Together, so that a device is waited for once.
        let both = to_host(Tensor::cat(vec![logprobs, entropies], 1));
        let (logprobs, entropies) = both.chunks_exact(2).map(|of_one| (of_one[0], of_one[1])).unzip();
        Self { h, targets: targets.to_vec(), temperature, log_sum_exp, logprobs, entropies }
    }

    /// The vector-Jacobian product of `gradient`, the gradient of a loss with respect to each log-probability: returns the
    /// gradient with respect to `h` `[n, hidden]` and, if wanted, adds the gradient with respect to `W` to `dw`
    /// `[vocab, hidden]`.
    pub(crate) fn backward(
        self,
        w: &Tensor<2>,
        gradient: &[f32],
        mut dw: Option<&mut Tensor<2>>,
    ) -> Tensor<2> {
        let device = self.h.device();
        let g = float_tensor(gradient.to_vec(), [gradient.len(), 1], &device);
        // With respect to the target's logit: g · (onehot - p). The one-hot part is a row of W, and a row of dW.
        let ids = int_tensor(&self.targets, &device);
        let mut dh = w.clone().select(0, ids.clone()).cast(DType::F32) * g.clone();
        if let Some(dw) = dw.as_deref_mut() {
            let own = self.h.clone() * g.clone();
            dw.inplace(|dw| dw.select_assign(0, ids, own, burn::tensor::IndexingUpdateOp::Add));
        }
        let [vocabulary, _] = w.dims();
        for of in tiles(vocabulary, VOCABULARY) {
            let w = rows(w, of.clone());
            let mut tile_dw: Option<Tensor<2>> = None;
            for at in tiles(self.targets.len(), POSITIONS) {
                let h = rows(&self.h, at.clone());
                let logits = matmul(h.clone(), w.clone().transpose());
                let of_rows = |column: &Tensor<2>| column.clone().slice(at.clone());
                let dz = softmax_vjp(logits, of_rows(&self.log_sum_exp), of_rows(&g));
                let part = matmul(dz.clone(), w.clone());
                dh.inplace(|dh| {
                    let sum = dh.clone().slice(at.clone()) + part;
                    dh.slice_assign(at, sum)
                });
                if dw.is_some() {
                    let part = matmul(dz.transpose(), h);
                    tile_dw = Some(match tile_dw {
                        Some(sum) => sum + part,
                        None => part,
                    });
                }
            }
            if let (Some(dw), Some(part)) = (dw.as_deref_mut(), tile_dw) {
                dw.inplace(|dw| {
                    let sum = dw.clone().slice(of.clone()) + part;
                    dw.slice_assign(of, sum)
                });
            }
        }
        if self.temperature == 1.0 { dh } else { dh.div_scalar(self.temperature) }
    }
}

/// Running statistics of the logits of some positions over the whole vocabulary.
fn statistics(h: Tensor<2>, w: &Tensor<2>) -> Statistics {
    tiles(w.dims()[0], VOCABULARY)
        .map(|of| Statistics::of(matmul(h.clone(), rows(w, of).transpose())))
        .reduce(Statistics::merge)
        .expect("a vocabulary is not empty")
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use burn::tensor::activation::log_softmax;
    use grpo_rollout::SampleKey;

    use super::*;

    /// Several tiles in both directions, the last of them partial.
    const N: usize = POSITIONS + 100;
    const VOCAB: usize = 2 * VOCABULARY + 100;
    const HIDDEN: usize = 8;

    /// Numbers between -1 and 1, the same in every run.
    fn random(seed: u64, n: usize) -> Vec<f32> {
        let key = SampleKey { seed, step: 0, problem: 0, sample: 0 };
        (0..n).map(|i| 2.0 * key.uniform(i) as f32 - 1.0).collect()
    }

    fn matrix(seed: u64, rows: usize, scale: f32) -> Tensor<2> {
        let values = random(seed, rows * HIDDEN).into_iter().map(|v| scale * v).collect();
        Tensor::from_data(TensorData::new(values, [rows, HIDDEN]), &grpo_test_device::device())
    }

    fn targets() -> Vec<u32> {
        random(3, N).into_iter().map(|v| ((v + 1.0) / 2.0 * VOCAB as f32) as u32).collect()
    }

    fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let largest = found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f32::max);
        assert!(largest <= tolerance, "{what}: {largest} > {tolerance}");
    }

    #[test]
    fn tiles_give_the_values_and_gradients_of_log_softmax() {
        for temperature in [1.0, 0.6] {
            let (h, w, targets, g) = (matrix(1, N, 2.0), matrix(2, VOCAB, 3.0), targets(), random(4, N));

            let (h_leaf, w_leaf) = (h.clone().autodiff().require_grad(), w.clone().autodiff().require_grad());
            let logits = h_leaf.clone().matmul(w_leaf.clone().transpose()).div_scalar(temperature);
            let all = log_softmax(logits, 1);
            let entropies = (all.clone().exp() * all.clone()).sum_dim(1).neg();
            let ids = int_tensor(&targets, &all.device()).unsqueeze_dim(1);
            let chosen = all.gather(1, ids);
            let weights = Tensor::<1>::from_floats(g.as_slice(), &chosen.device()).unsqueeze_dim(1);
            let gradients = (chosen.clone() * weights).sum().backward();

            let pass = HeadPass::new(h, &w, &targets, temperature);
            assert_close("log-probabilities", &pass.logprobs, &to_host(chosen.inner()), 1e-4);
            assert_close("entropies", &pass.entropies, &to_host(entropies.inner()), 1e-4);
            // Gradients are added to the existing ones.
            let mut dw = Tensor::ones(w.shape(), &w.device());
            let dh = pass.backward(&w, &g, Some(&mut dw));
            assert_close(
                "gradient with respect to h",
                &to_host(dh),
                &to_host(h_leaf.grad(&gradients).unwrap()),
                1e-4,
            );
            let expected = w_leaf.grad(&gradients).unwrap() + 1.0;
            assert_close("gradient with respect to W", &to_host(dw), &to_host(expected), 1e-4);
        }
    }

    #[test]
    fn a_frozen_head_gives_the_same_gradient_with_respect_to_h() {
        let (h, w, targets, g) = (matrix(1, N, 2.0), matrix(2, VOCAB, 3.0), targets(), random(4, N));
        let pass = || HeadPass::new(h.clone(), &w, &targets, 1.0);
        let mut dw = Tensor::zeros(w.shape(), &w.device());
        let expected = pass().backward(&w, &g, Some(&mut dw));
        assert_eq!(to_host(pass().backward(&w, &g, None)), to_host(expected));
    }
}
