//! Log-probabilities of given tokens, forward and backward, in tiles of positions and vocabulary.
//!
//! With hidden states `h` `[n, hidden]` and a head `W` `[vocab, hidden]`, the logits `h Wᵀ / temperature` are never
//! materialized in full: only one tile of [`POSITIONS`] × [`VOCABULARY`] of them exists at a time, whatever `n` is. The forward
//! pass keeps a running maximum and sum per position. All reductions are in f32.
//!
//! With respect to `h`, the gradient of a log-probability is the target's row of `W` less the mean row under the distribution.
//! If `W` is frozen, the forward pass forms it while it has the logits, as attention does with `W` for keys and values, and the
//! backward pass only scales it. The gradient with respect to `W` sums over positions whose factors are not known before the
//! loss is, so the backward pass of a trained head recomputes each tile.

use std::ops::Range;

use burn::tensor::Tensor;
use grpo_kernels::{Statistics, float_tensor, matmul, softmax_vjp, to_host};

use crate::Table;
use crate::table::{TableGradient, Tile, tiles};

/// Positions per tile.
const POSITIONS: usize = 512;
/// Vocabulary entries per tile.
const VOCABULARY: usize = 8192;

/// What the backward pass through a head is to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Differentiate {
    /// Nothing: there is none.
    Nothing,
    /// The gradient with respect to `h`; `W` is frozen.
    Hidden,
    /// The gradients with respect to `h` and `W`.
    All,
}

/// The log-probabilities of tokens, and what the backward pass needs.
pub(crate) struct HeadPass {
    kept: Kept,
    targets: Vec<u32>,
    temperature: f32,
    /// The log-probability of each target, in nats.
    pub(crate) logprobs: Vec<f32>,
    /// The entropy of each position's distribution, in nats.
    pub(crate) entropies: Vec<f32>,
}

/// What the forward pass keeps.
#[allow(clippy::large_enum_variant)] // there is one at a time
enum Kept {
    Nothing,
    /// The mean row of `W` under each position's distribution, `[n, hidden]`.
    MeanRows(Tensor<2>),
    Logits {
        /// `[n, hidden]`, divided by the temperature.
        h: Tensor<2>,
        /// The log-sum-exp of each position's logits, `[n, 1]`.
        log_sum_exp: Tensor<2>,
    },
}

/// Running results of some positions over the vocabulary.
struct Running {
    statistics: Statistics,
    /// `Σ e^(z - max) W`, if wanted: `[positions, hidden]`.
    weighted_rows: Option<Tensor<2>>,
}

fn rows(x: &Tensor<2>, range: Range<usize>) -> Tensor<2> {
    x.clone().slice(range)
}

impl HeadPass {
    /// Log-probabilities under `softmax(h Wᵀ / temperature)` of `targets`, one for each row of `h`.
    pub(crate) fn new(
        h: Tensor<2>,
        w: &Table,
        targets: &[u32],
        temperature: f32,
        differentiate: Differentiate,
    ) -> Self {
        let h = if temperature == 1.0 { h } else { h.div_scalar(temperature) };
        let with_rows = differentiate == Differentiate::Hidden;
        let chunks: Vec<_> =
            tiles(targets.len(), POSITIONS).map(|at| Running::over(&rows(&h, at), w, with_rows)).collect();
        let column = |of: fn(&Statistics) -> Tensor<2>| {
            Tensor::cat(chunks.iter().map(|c| of(&c.statistics)).collect(), 0)
        };
        let log_sum_exp = column(|s| s.max.clone() + s.sum.clone().log());
        // H = log Σ e^z - Σ p z, with the maximum subtracted from z on both sides.
        let entropies = column(|s| s.sum.clone().log() - s.weighted.clone() / s.sum.clone());
        let chosen = w.select(targets);
        let logprobs = (h.clone() * chosen).sum_dim(1) - log_sum_exp.clone();
        // Together, so that a device is waited for once.
        let both = to_host(Tensor::cat(vec![logprobs, entropies], 1));
        let (logprobs, entropies) = both.chunks_exact(2).map(|of_one| (of_one[0], of_one[1])).unzip();
        let kept = match differentiate {
            Differentiate::Nothing => Kept::Nothing,
            Differentiate::Hidden => {
                Kept::MeanRows(Tensor::cat(chunks.into_iter().map(Running::mean_rows).collect(), 0))
            }
            Differentiate::All => Kept::Logits { h, log_sum_exp },
        };
        Self { kept, targets: targets.to_vec(), temperature, logprobs, entropies }
    }

    /// The vector-Jacobian product of `gradient`, the gradient of a loss with respect to each log-probability: returns the
    /// gradient with respect to `h` `[n, hidden]` and, of a trained head, adds the gradient with respect to `W` to `dw`
    /// `[vocab, hidden]`.
    ///
    /// # Panics
    ///
    /// If `dw` is given, but the pass was to differentiate something else.
    pub(crate) fn backward(self, w: &Table, gradient: &[f32], dw: Option<&mut TableGradient>) -> Tensor<2> {
        let Self { kept, targets, temperature, .. } = self;
        let chosen = w.select(&targets);
        let g = float_tensor(gradient.to_vec(), [gradient.len(), 1], &chosen.device());
        let dh = match (kept, dw) {
            (Kept::MeanRows(mean), None) => (chosen - mean) * g,
            (Kept::Logits { h, log_sum_exp }, Some(dw)) => {
                // With respect to the target's logit: g · (onehot - p). The one-hot part is a row of W, and a row of dW.
                dw.add_rows(w, &targets, h.clone() * g.clone());
                backward_through_tiles(&h, w, &log_sum_exp, &g, chosen * g.clone(), dw)
            }
            _ => panic!("the forward pass kept what another backward pass needs"),
        };
        if temperature == 1.0 { dh } else { dh.div_scalar(temperature) }
    }
}

/// Adds what all tokens contribute to `dh`, which it returns, and to `dw`: tile by tile, `dz = -g p`.
fn backward_through_tiles(
    h: &Tensor<2>,
    w: &Table,
    log_sum_exp: &Tensor<2>,
    g: &Tensor<2>,
    mut dh: Tensor<2>,
    dw: &mut TableGradient,
) -> Tensor<2> {
    let [n, _] = h.dims();
    for Tile { part, range, rows: w } in w.tiles(VOCABULARY) {
        let mut tile_dw: Option<Tensor<2>> = None;
        for at in tiles(n, POSITIONS) {
            let h = rows(h, at.clone());
            let logits = matmul(h.clone(), w.clone().transpose());
            let dz = softmax_vjp(logits, rows(log_sum_exp, at.clone()), rows(g, at.clone()));
            let part = matmul(dz.clone(), w.clone());
            dh.inplace(|dh| {
                let sum = dh.clone().slice(at.clone()) + part;
                dh.slice_assign(at, sum)
            });
            let part = matmul(dz.transpose(), h);
            tile_dw = Some(match tile_dw {
                Some(sum) => sum + part,
                None => part,
            });
        }
        if let Some(sum) = tile_dw {
            dw.add_tile(part, range, sum);
        }
    }
    dh
}

impl Running {
    /// Those of the positions `h` over the whole vocabulary.
    fn over(h: &Tensor<2>, w: &Table, with_rows: bool) -> Self {
        w.tiles(VOCABULARY)
            .map(|tile| Self::of_tile(h, tile.rows, with_rows))
            .reduce(Self::merge)
            .expect("a vocabulary is not empty")
    }

    fn of_tile(h: &Tensor<2>, w: Tensor<2>, with_rows: bool) -> Self {
        let z = matmul(h.clone(), w.clone().transpose());
        let statistics = Statistics::of(z.clone());
        let weighted_rows = with_rows.then(|| {
            let max = statistics.max.clone();
            let minus_one = max.zeros_like() - 1.0;
            matmul(softmax_vjp(z, max, minus_one), w)
        });
        Self { statistics, weighted_rows }
    }

    fn merge(self, other: Self) -> Self {
        let maxima = [self.statistics.max.clone(), other.statistics.max.clone()];
        let statistics = self.statistics.merge(other.statistics);
        let [a, b] = maxima.map(|max| (max - statistics.max.clone()).exp());
        let weighted_rows = self.weighted_rows.zip(other.weighted_rows).map(|(x, y)| x * a + y * b);
        Self { statistics, weighted_rows }
    }

    /// The mean row of `W` under each position's distribution.
    ///
    /// # Panics
    ///
    /// If the rows were not wanted.
    fn mean_rows(self) -> Tensor<2> {
        self.weighted_rows.expect("the rows were wanted") / self.statistics.sum
    }
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
            let pass = HeadPass::new(h, &table, &targets, temperature, Differentiate::All);
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
        for temperature in [1.0, 0.6] {
            let pass = |differentiate| HeadPass::new(h.clone(), &table, &targets, temperature, differentiate);
            let (trained, frozen) = (pass(Differentiate::All), pass(Differentiate::Hidden));
            assert_eq!(frozen.logprobs, trained.logprobs);
            assert_eq!(frozen.entropies, trained.entropies);
            let mut dw = table.take_gradient(&mut GradientsParams::new());
            let expected = to_host(trained.backward(&table, &g, Some(&mut dw)));
            assert_close("frozen", &to_host(frozen.backward(&table, &g, None)), &expected, 2e-5);
        }
    }

    #[test]
    fn a_head_in_several_tensors_gives_the_same() {
        let (h, w, targets, g) = (matrix(1, N, 2.0), matrix(2, VOCAB, 3.0), targets(), random(4, N));
        let results = |table: Table| {
            let logits = to_host(table.product_transposed(h.clone()));
            let pass = HeadPass::new(h.clone(), &table, &targets, 0.7, Differentiate::All);
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
