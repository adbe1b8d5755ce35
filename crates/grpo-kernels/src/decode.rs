use burn::tensor::{Device, Int, Tensor};

use crate::Rope;

/// Attention of one new token per row to cached keys and values, with the kernels of a device: tables and first slots are copied
/// there once per batch.
#[derive(Debug, Clone)]
#[cfg(feature = "cube")]
pub struct DeviceAttention {
    /// The cosines and sines of every position, `[positions, head_dim]`.
    table: Tensor<2>,
    /// The first slot of each row.
    starts: Tensor<1, Int>,
}

#[cfg(feature = "cube")]
impl DeviceAttention {
    /// For rows that start at the slots `starts`, with the rotations of all positions from 0; none if the device has no kernels.
    pub fn new(rope: &Rope, starts: &[usize], device: &Device) -> Option<Self> {
        crate::is_plain_cube(device).then(|| Self {
            table: rope.table(device),
            starts: crate::int_tensor(starts.iter().copied(), device),
        })
    }

    /// The same for other rows.
    pub fn select(self, rows: Tensor<1, Int>) -> Self {
        Self { starts: self.starts.select(0, rows), ..self }
    }

    /// Adds `bias` `[(heads + 2 * key_value_heads) * head_dim]` to the queries, keys and values of one token per row, `qkv`
    /// `[rows, …]`; rotates them; appends keys and values to `cache` `[rows, key_value_heads, slots, head_dim]` at `slot`, in
    /// place; and attends to all slots up to there. Returns `[rows, heads * head_dim]` and the cache. The cache may be in half
    /// precision; all else is in f32.
    pub fn step(
        &self,
        qkv: Tensor<2>,
        bias: Tensor<1>,
        cache: [Tensor<4>; 2],
        slot: usize,
    ) -> (Tensor<2>, [Tensor<4>; 2]) {
        let (table, starts) = (self.table.clone(), self.starts.clone());
        let (q, [k, v]) = crate::cube::append(qkv, bias, table, starts.clone(), cache, slot);
        (crate::cube::cached_attention(q, k.clone(), v.clone(), starts, slot + 1), [k, v])
    }
}

/// Attention on a device with kernels, of which this build has none.
#[derive(Debug, Clone)]
#[cfg(not(feature = "cube"))]
pub enum DeviceAttention {}

#[cfg(not(feature = "cube"))]
impl DeviceAttention {
    /// None.
    pub fn new(_: &Rope, _: &[usize], _: &Device) -> Option<Self> {
        None
    }

    /// Never called.
    pub fn select(self, _: Tensor<1, Int>) -> Self {
        self
    }

    /// Never called.
    pub fn step(
        &self,
        _: Tensor<2>,
        _: Tensor<1>,
        _: [Tensor<4>; 2],
        _: usize,
    ) -> (Tensor<2>, [Tensor<4>; 2]) {
        match *self {}
    }
}
