use std::sync::OnceLock;

use burn::tensor::{Device, Tensor};

use crate::attention::{attention, merge_heads};
use crate::{float_tensor, int_tensor, on_cpu};

/// Where a new token goes in a cache of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The row of the cache.
    pub row: usize,
    /// The slot in the row: the number of tokens that the row has seen before.
    pub slot: usize,
}

/// Attention of new tokens, at most one per row of a cache, to the keys and values of their rows.
pub struct CachedAttention {
    places: Vec<Place>,
    /// Created on first use and shared by all layers.
    mask: OnceLock<Option<Tensor<4>>>,
}

impl CachedAttention {
    /// For new tokens at these places.
    pub fn new(places: Vec<Place>) -> Self {
        Self { places, mask: OnceLock::new() }
    }

    /// Writes the keys or values `new` `[tokens, key_value_heads, head_dim]` into `cache` `[rows, key_value_heads, slots,
    /// head_dim]`, both in f32.
    pub fn append(&self, cache: Tensor<4>, new: Tensor<3>) -> Tensor<4> {
        on_cpu!(new, crate::cpu::append(cache, new, &self.places));
        self.composed_append(cache, new)
    }

    fn composed_append(&self, mut cache: Tensor<4>, new: Tensor<3>) -> Tensor<4> {
        let [_, heads, _, dim] = cache.dims();
        for (i, Place { row, slot }) in self.places.iter().enumerate() {
            let token = new.clone().narrow(0, i, 1).unsqueeze_dim(2);
            let at = [*row..row + 1, 0..heads, *slot..slot + 1, 0..dim];
            cache.inplace(|cache| cache.slice_assign(at, token));
        }
        cache
    }

    /// Maps queries `[tokens, heads, head_dim]`, keys and values `[rows, key_value_heads, slots, head_dim]`, all in f32, to
    /// `[tokens, heads * head_dim]`. Each token sees its row up to its own slot.
    pub fn attend(&self, q: Tensor<3>, k: &Tensor<4>, v: &Tensor<4>) -> Tensor<2> {
        on_cpu!(q, crate::cpu::cached_attention(q, k.clone(), v.clone(), &self.places));
        self.composed_attend(q, k, v)
    }

    fn composed_attend(&self, q: Tensor<3>, k: &Tensor<4>, v: &Tensor<4>) -> Tensor<2> {
        let device = q.device();
        let rows = int_tensor(self.places.iter().map(|place| place.row), &device);
        let longest = self.places.iter().map(|place| place.slot + 1).max().unwrap_or(0);
        let seen = |x: &Tensor<4>| x.clone().narrow(2, 0, longest).select(0, rows.clone());
        let mask = self.mask.get_or_init(|| mask(&self.places, longest, &device)).clone();
        merge_heads(attention(q.unsqueeze_dim(2), seen(k), seen(v), mask))
    }
}

/// The additive mask `[tokens, 1, 1, slots]` of the slots after each token's own; none if all have the same.
fn mask(places: &[Place], slots: usize, device: &Device) -> Option<Tensor<4>> {
    if places.iter().all(|place| place.slot + 1 == slots) {
        return None;
    }
    let row = |own: usize| (0..slots).map(move |slot| if slot > own { f32::NEG_INFINITY } else { 0.0 });
    let values: Vec<f32> = places.iter().flat_map(|place| row(place.slot)).collect();
    Some(float_tensor(values, [places.len(), 1, 1, slots], device))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::tests::{assert_close, matrix, numbers};

    #[test]
    fn the_kernels_are_what_they_are_composed_of() {
        for (heads, kv_heads, dim) in [(2, 1, 4), (4, 2, 16), (14, 2, 64)] {
            let (rows, slots) = (4, 40);
            let tensor =
                |seed, tokens, heads| matrix(seed, [tokens, heads * dim], 2.0).reshape([tokens, heads, dim]);
            let [k, v] = [2, 3].map(|seed| {
                matrix(seed, [rows, kv_heads * slots * dim], 2.0).reshape([rows, kv_heads, slots, dim])
            });
            for places in
                [&[(0, 0), (1, 0)][..], &[(0, 32), (1, 32), (2, 32), (3, 32)], &[(3, 5), (0, 39), (2, 0)]]
            {
                let places: Vec<Place> =
                    places.iter().map(|(row, slot)| Place { row: *row, slot: *slot }).collect();
                let (q, new) = (tensor(1, places.len(), heads), tensor(4, places.len(), kv_heads));
                let cached = CachedAttention::new(places);
                let [found_k, expected_k] = [CachedAttention::append, CachedAttention::composed_append]
                    .map(|append| append(&cached, k.clone(), new.clone()));
                assert_eq!(numbers(found_k.clone()), numbers(expected_k));
                let found = numbers(cached.attend(q.clone(), &found_k, &v));
                let expected = numbers(cached.composed_attend(q, &found_k, &v));
                assert_close("attention", &found, &expected, 1e-5);
            }
        }
    }
}
