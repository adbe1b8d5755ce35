use std::sync::OnceLock;

use burn::tensor::{Device, Tensor};

use crate::attention::{attention, merge_heads};
use crate::{float_tensor, on_cpu};

/// Attention of one new token per row to cached keys and values: row `i` sees the slots `starts[i]..len`.
pub struct CachedAttention {
    starts: Vec<usize>,
    len: usize,
    /// Created on first use and shared by all layers.
    mask: OnceLock<Option<Tensor<4>>>,
}

impl CachedAttention {
    /// Attention to the slots `starts[i]..len` of each row `i`.
    pub fn new(starts: Vec<usize>, len: usize) -> Self {
        Self { starts, len, mask: OnceLock::new() }
    }

    /// Maps queries `[rows, heads, head_dim]`, keys and values `[rows, key_value_heads, slots, head_dim]`, all in f32, to
    /// `[rows, heads * head_dim]`.
    pub fn attend(&self, q: Tensor<3>, k: &Tensor<4>, v: &Tensor<4>) -> Tensor<2> {
        on_cpu!(q, crate::cpu::cached_attention(q, k.clone(), v.clone(), &self.starts, self.len));
        self.composed(q, k, v)
    }

    fn composed(&self, q: Tensor<3>, k: &Tensor<4>, v: &Tensor<4>) -> Tensor<2> {
        let mask = self.mask.get_or_init(|| mask(&self.starts, self.len, &q.device())).clone();
        let seen = |x: &Tensor<4>| x.clone().narrow(2, 0, self.len);
        merge_heads(attention(q.unsqueeze_dim(2), seen(k), seen(v), mask))
    }
}

/// The additive mask `[rows, 1, 1, len]` of the slots before each row's first; none if all rows start at slot 0.
fn mask(starts: &[usize], len: usize, device: &Device) -> Option<Tensor<4>> {
    if starts.iter().all(|start| *start == 0) {
        return None;
    }
    let row = |start: usize| (0..len).map(move |j| if j < start { f32::NEG_INFINITY } else { 0.0 });
    let values: Vec<f32> = starts.iter().flat_map(|start| row(*start)).collect();
    Some(float_tensor(values, [starts.len(), 1, 1, len], device))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::tests::{assert_close, matrix, numbers};

    #[test]
    fn the_kernel_is_what_it_is_composed_of() {
        for (heads, kv_heads, dim) in [(2, 1, 4), (4, 2, 16), (14, 2, 64)] {
            let (rows, slots) = (3, 40);
            let q = matrix(1, [rows, heads * dim], 2.0).reshape([rows, heads, dim]);
            let [k, v] = [2, 3].map(|seed| {
                matrix(seed, [rows, kv_heads * slots * dim], 2.0).reshape([rows, kv_heads, slots, dim])
            });
            for (starts, len) in [([0, 0, 0], 1), ([0, 0, 0], 33), ([5, 0, 38], 39)] {
                let cached = CachedAttention::new(starts.to_vec(), len);
                let found = numbers(cached.attend(q.clone(), &k, &v));
                let expected = numbers(cached.composed(q.clone(), &k, &v));
                assert_close("attention", &found, &expected, 1e-5);
            }
        }
    }
}
