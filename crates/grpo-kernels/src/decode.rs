use burn::tensor::{Device, Int, Tensor};

use crate::{Place, Rope};

/// Attention of new tokens, at most one per row of a cache, with the kernels of a device: the table of rotations is copied there
/// once per cache.
#[derive(Debug, Clone)]
#[cfg(feature = "cube")]
pub struct DeviceAttention {
    /// The cosines and sines of every position, `[positions, head_dim]`.
    table: Tensor<2>,
}

#[cfg(feature = "cube")]
impl DeviceAttention {
    /// With the rotations of all positions from 0; none if the device has no kernels.
    pub fn new(rope: &Rope, device: &Device) -> Option<Self> {
        crate::is_plain_cube(device).then(|| Self { table: rope.table(device) })
    }

    /// Places of new tokens on the device, for [`step`](Self::step): `[tokens * 2]`, the row and the slot of each.
    pub fn places(&self, places: &[Place]) -> Tensor<1, Int> {
        crate::int_tensor(places.iter().flat_map(|place| [place.row, place.slot]), &self.table.device())
    }

    /// Adds `bias` `[(heads + 2 * key_value_heads) * head_dim]` to the queries, keys and values of new tokens, `qkv`
    /// `[tokens, …]`; rotates them; appends keys and values to `cache` `[rows, key_value_heads, slots, head_dim]` at `places`, in
    /// place; and attends to the token's row up to there. Returns `[tokens, heads * head_dim]` and the cache. The cache may be in
    /// half precision; all else is in f32.
    pub fn step(
        &self,
        qkv: Tensor<2>,
        bias: Tensor<1>,
        cache: [Tensor<4>; 2],
        places: Tensor<1, Int>,
    ) -> (Tensor<2>, [Tensor<4>; 2]) {
        let (q, [k, v]) = crate::cube::append(qkv, bias, self.table.clone(), places.clone(), cache);
        (crate::cube::cached_attention(q, k.clone(), v.clone(), places), [k, v])
    }
}

/// Attention on a device with kernels, of which this build has none.
#[derive(Debug, Clone)]
#[cfg(not(feature = "cube"))]
pub enum DeviceAttention {}

#[cfg(not(feature = "cube"))]
impl DeviceAttention {
    /// None.
    pub fn new(_: &Rope, _: &Device) -> Option<Self> {
        None
    }

    /// Never called.
    pub fn places(&self, _: &[Place]) -> Tensor<1, Int> {
        match *self {}
    }

    /// Never called.
    pub fn step(
        &self,
        _: Tensor<2>,
        _: Tensor<1>,
        _: [Tensor<4>; 2],
        _: Tensor<1, Int>,
    ) -> (Tensor<2>, [Tensor<4>; 2]) {
        match *self {}
    }
}
