use burn::tensor::{Device, Tensor, TensorData};

use crate::attention::{attention, merge_heads};
use crate::on_cpu;

/// Attention of one new token of every row to cached keys and values, all in f32.
///
/// Queries are `[rows, heads, head_dim]`, keys and values `[rows, key_value_heads, slots, head_dim]`; row `i` sees the slots
/// `starts[i]..len`. Returns `[rows, heads * head_dim]`.
pub fn cached_attention(
    q: Tensor<3>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    starts: &[usize],
    len: usize,
) -> Tensor<2> {
    on_cpu!(q, crate::cpu::cached_attention(q, k.clone(), v.clone(), starts, len));
    composed(q, k, v, starts, len)
}

fn composed(q: Tensor<3>, k: &Tensor<4>, v: &Tensor<4>, starts: &[usize], len: usize) -> Tensor<2> {
    let mask = mask(starts, len, &q.device());
    let seen = |x: &Tensor<4>| x.clone().narrow(2, 0, len);
    merge_heads(attention(q.unsqueeze_dim(2), seen(k), seen(v), mask))
}

/// The additive mask `[rows, 1, 1, len]` of the slots before each row's first; none if all rows start at slot 0.
fn mask(starts: &[usize], len: usize, device: &Device) -> Option<Tensor<4>> {
    if starts.iter().all(|start| *start == 0) {
        return None;
    }
    let row = |start: usize| (0..len).map(move |j| if j < start { f32::NEG_INFINITY } else { 0.0 });
    let values: Vec<f32> = starts.iter().flat_map(|start| row(*start)).collect();
    Some(Tensor::from_data(TensorData::new(values, [starts.len(), 1, 1, len]), device))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::tests::{assert_close, matrix, numbers};

    #[test]
    fn the_kernel_is_what_it_is_composed_of() {
        for (heads, groups, dim) in [(2, 1, 4), (4, 2, 16), (14, 2, 64)] {
            let (rows, slots) = (3, 40);
            let q = matrix(1, [rows, heads * dim], 2.0).reshape([rows, heads, dim]);
            let [k, v] = [2, 3].map(|seed| {
                matrix(seed, [rows, groups * slots * dim], 2.0).reshape([rows, groups, slots, dim])
            });
            for (starts, len) in [([0, 0, 0], 1), ([0, 0, 0], 33), ([5, 0, 38], 39)] {
                let found = numbers(cached_attention(q.clone(), &k, &v, &starts, len));
                let expected = numbers(composed(q.clone(), &k, &v, &starts, len));
                assert_close("attention", &found, &expected, 1e-5);
            }
        }
    }
}
