//! Log-probabilities of given tokens, forward and backward, in tiles of positions and vocabulary.
//!
//! With hidden states `h` `[n, hidden]` and a head `W` `[vocab, hidden]`, the logits `h Wᵀ / temperature` are never
//! materialized in full: only one tile of [`POSITIONS`] × [`VOCABULARY`] of them exists at a time, whatever `n` is. The forward
//! pass keeps a running maximum and sum per position; the backward pass recomputes each tile. All reductions are in f32.

use std::ops::Range;

use burn::tensor::Tensor;
use grpo_kernels::{Statistics, float_tensor, matmul, softmax_vjp, to_host};

use crate::Table;
use crate::table::{TableGradient, Tile, tiles};

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

fn rows(x: &Tensor<2>, range: Range<usize>) -> Tensor<2> {
    x.clone().slice(range)
}

impl HeadPass {
    /// Log-probabilities under `softmax(h Wᵀ / temperature)` of `targets`, one for each row of `h`.
    pub(crate) fn new(h: Tensor<2>, w: &Table, targets: &[u32], temperature: f32) -> Self {
        let h = if temperature == 1.0 { h } else { h.div_scalar(temperature) };
        let chunks: Vec<_> = tiles(targets.len(), POSITIONS).map(|at| statistics(rows(&h, at), w)).collect();
        let column = |pick: fn(&Statistics) -> Tensor<2>| Tensor::cat(chunks.iter().map(pick).collect(), 0);
        let log_sum_exp = column(|s| s.max.clone() + s.sum.clone().log());
        // H = log Σ e^z - Σ p z, with the maximum subtracted from z on both sides.
        let entropies = column(|s| s.sum.clone().log() - s.weighted.clone() / s.sum.clone());
        let chosen = w.select(targets);
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
        w: &Table,
        gradient: &[f32],
        mut dw: Option<&mut TableGradient>,
    ) -> Tensor<2> {
        let device = self.h.device();
        let g = float_tensor(gradient.to_vec(), [gradient.len(), 1], &device);
        // With respect to the target's logit: g · (onehot - p). The one-hot part is a row of W, and a row of dW.
        let mut dh = w.select(&self.targets) * g.clone();
        if let Some(dw) = dw.as_deref_mut() {
            dw.add_rows(w, &self.targets, self.h.clone() * g.clone());
        }
        for Tile { part, range, rows: w } in w.tiles(VOCABULARY) {
            let mut tile_dw: Option<Tensor<2>> = None;
            for at in tiles(self.targets.len(), POSITIONS) {
                let h = rows(&self.h, at.clone());
                let logits = matmul(h.clone(), w.clone().transpose());
                let of_rows = |column| rows(column, at.clone());
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
            if let (Some(dw), Some(sum)) = (dw.as_deref_mut(), tile_dw) {
                dw.add_tile(part, range, sum);
            }
        }
        if self.temperature == 1.0 { dh } else { dh.div_scalar(self.temperature) }
    }
}

/// Running statistics of the logits of some positions over the whole vocabulary.
fn statistics(h: Tensor<2>, w: &Table) -> Statistics {
    w.tiles(VOCABULARY)
        .map(|tile| Statistics::of(matmul(h.clone(), tile.rows.transpose())))
        .reduce(Statistics::merge)
        .expect("a vocabulary is not empty")
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::optim::GradientsParams;
    use burn::tensor::TensorData;
    use burn::tensor::activation::log_softmax;
    use grpo_rollout::SampleKey;

    use super::*;
    use crate::model::int_tensor;

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

    fn table(w: &Tensor<2>) -> Table {
        Table::new(vec![Param::from_tensor(w.clone())])
    }

    fn whole(gradient: TableGradient) -> Vec<f32> {
        gradient.parts().into_iter().flat_map(to_host).collect()
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

            let table = table(&w);
            let pass = HeadPass::new(h, &table, &targets, temperature);
            assert_close("log-probabilities", &pass.logprobs, &to_host(chosen.inner()), 1e-4);
            assert_close("entropies", &pass.entropies, &to_host(entropies.inner()), 1e-4);
            // Gradients are added to the existing ones.
            let mut gradients_so_far = GradientsParams::new();
            gradients_so_far.register(table.parts()[0].id, Tensor::<2>::ones(w.shape(), &w.device()));
            let mut dw = table.take_gradient(&mut gradients_so_far);
            let dh = pass.backward(&table, &g, Some(&mut dw));
            assert_close(
                "gradient with respect to h",
                &to_host(dh),
                &to_host(h_leaf.grad(&gradients).unwrap()),
                1e-4,
            );
            let expected = w_leaf.grad(&gradients).unwrap() + 1.0;
            assert_close("gradient with respect to W", &whole(dw), &to_host(expected), 1e-4);
        }
    }

    #[test]
    fn a_frozen_head_gives_the_same_gradient_with_respect_to_h() {
        let (h, w, targets, g) = (matrix(1, N, 2.0), matrix(2, VOCAB, 3.0), targets(), random(4, N));
        let table = table(&w);
        let pass = || HeadPass::new(h.clone(), &table, &targets, 1.0);
        let mut dw = table.take_gradient(&mut GradientsParams::new());
        let expected = pass().backward(&table, &g, Some(&mut dw));
        assert_eq!(to_host(pass().backward(&table, &g, None)), to_host(expected));
    }

    #[test]
    fn a_head_in_several_tensors_gives_the_same() {
        let (h, w, targets, g) = (matrix(1, N, 2.0), matrix(2, VOCAB, 3.0), targets(), random(4, N));
        let results = |table: Table| {
            let logits = to_host(table.product_transposed(h.clone()));
            let pass = HeadPass::new(h.clone(), &table, &targets, 0.7);
            let (logprobs, entropies) = (pass.logprobs.clone(), pass.entropies.clone());
            let mut dw = table.take_gradient(&mut GradientsParams::new());
            let dh = to_host(pass.backward(&table, &g, Some(&mut dw)));
            [logits, logprobs, entropies, dh, whole(dw)]
        };
        let (one, several) = (results(table(&w)), results(table(&w).split(5000)));
        for (one, several) in one.iter().zip(several) {
            assert_close("one and several", &several, one, 1e-4);
        }
    }
}
