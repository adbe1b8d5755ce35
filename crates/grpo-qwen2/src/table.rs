//! The embedding and the output head: a row per token of the vocabulary.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, IndexingUpdateOp, Tensor};
use grpo_kernels::{DeviceMemory, for_matmul, product_transposed, to_host};

use crate::freeze::frozen_dtype;
use crate::model::int_tensor;

/// Bytes of an f32.
const F32: u64 = 4;

/// A matrix `[vocab_size, hidden_size]`: one tensor, or several on a device whose largest tensor is smaller.
#[derive(Module, Debug)]
pub struct Table {
    /// All but the last have the same number of rows.
    parts: Vec<Param<Tensor<2>>>,
}

/// Rows of a table that lie in one part.
pub(crate) struct Tile {
    /// The part's index.
    pub(crate) part: usize,
    /// Rows of the part.
    pub(crate) range: Range<usize>,
    /// The rows, as `matmul` takes them.
    pub(crate) rows: Tensor<2>,
}

/// The gradient with respect to a table, part by part.
pub(crate) struct TableGradient(Vec<Tensor<2>>);

/// Some of a sequence of ids: those whose rows lie in one part.
struct Local {
    part: usize,
    /// Rows of the part.
    rows: Vec<u32>,
    /// Where they stand in the sequence.
    positions: Vec<u32>,
}

impl Table {
    /// The rows that `device` can hold in one tensor.
    pub(crate) fn rows_per_part(hidden_size: usize, device: &Device) -> usize {
        let row = F32 * hidden_size as u64;
        DeviceMemory::of(device).largest_tensor.map_or(usize::MAX, |largest| (largest / row).max(1) as usize)
    }

    pub(crate) fn new(parts: Vec<Param<Tensor<2>>>) -> Self {
        assert!(!parts.is_empty(), "a table has rows");
        Self { parts }
    }

    /// The tensors that hold the rows, one after the other.
    pub fn parts(&self) -> &[Param<Tensor<2>>] {
        &self.parts
    }

    /// `[vocab_size, hidden_size]`
    pub fn dims(&self) -> [usize; 2] {
        let [_, columns] = self.parts[0].dims();
        [self.parts.iter().map(|part| part.dims()[0]).sum(), columns]
    }

    /// The same in tensors of at most `rows` rows.
    pub(crate) fn split(&self, rows: usize) -> Self {
        let whole = Tensor::cat(self.parts.iter().map(Param::val).collect(), 0);
        let is_trained = self.parts[0].is_require_grad();
        let part = |part| Param::from_tensor(part).set_require_grad(is_trained);
        Self { parts: whole.split(rows, 0).into_iter().map(part).collect() }
    }

    /// The same, held as frozen matrices are.
    pub(crate) fn freeze(self) -> Self {
        if self.dtype() != DType::F32 {
            return self;
        }
        let values: Vec<f32> = self.parts.iter().flat_map(|part| to_host(part.val())).collect();
        let dtype = frozen_dtype(&values, &self.device());
        Self { parts: self.parts.into_iter().map(|part| part.map(|rows| rows.cast(dtype))).collect() }
    }

    pub(crate) fn device(&self) -> Device {
        self.parts[0].val().device()
    }

    /// That of all parts.
    pub(crate) fn dtype(&self) -> DType {
        self.parts[0].val().dtype()
    }

    /// The rows of these ids, in f32.
    pub(crate) fn select(&self, ids: &[u32]) -> Tensor<2> {
        let device = self.device();
        let of_part = |part: usize, rows: &[u32]| {
            self.parts[part].val().select(0, int_tensor(rows, &device)).cast(DType::F32)
        };
        if let [_] = self.parts[..] {
            return of_part(0, ids);
        }
        let local = self.by_part(ids);
        let mut order = vec![0; ids.len()];
        for (found, position) in local.iter().flat_map(|local| &local.positions).enumerate() {
            order[*position as usize] = found as u32;
        }
        let found = local.iter().map(|local| of_part(local.part, &local.rows)).collect();
        Tensor::cat(found, 0).select(0, int_tensor(&order, &device))
    }

    /// `x · tableᵀ`: `[rows, vocab_size]`.
    pub(crate) fn product_transposed(&self, x: Tensor<2>) -> Tensor<2> {
        if let [w] = &self.parts[..] {
            return product_transposed(x, w.val());
        }
        let of_parts: Vec<_> = self.parts.iter().map(|w| product_transposed(x.clone(), w.val())).collect();
        Tensor::cat(of_parts, 1)
    }

    /// All rows, at most `rows` at a time.
    pub(crate) fn tiles(&self, rows: usize) -> impl Iterator<Item = Tile> {
        self.parts.iter().enumerate().flat_map(move |(part, w)| {
            tiles(w.dims()[0], rows).map(move |range| Tile {
                part,
                range: range.clone(),
                rows: for_matmul(w.val().slice(range)),
            })
        })
    }

    fn by_part(&self, ids: &[u32]) -> Vec<Local> {
        debug_assert!(ids.iter().all(|id| (*id as usize) < self.dims()[0]), "an id is not in the vocabulary");
        let rows_per_part = self.parts[0].dims()[0];
        let local = |part: usize| {
            let start = part * rows_per_part;
            let is_here = |id: u32| (id as usize) / rows_per_part == part;
            let here = ids.iter().zip(0u32..).filter(|(id, _)| is_here(**id));
            let (rows, positions) = here.map(|(id, position)| (id - start as u32, position)).unzip();
            Local { part, rows, positions }
        };
        (0..self.parts.len()).map(local).filter(|local| !local.rows.is_empty()).collect()
    }

    /// The gradient so far, which is taken out of `gradients`; zeros if there is none.
    pub(crate) fn take_gradient(&self, gradients: &mut GradientsParams) -> TableGradient {
        let of_part = |w: &Param<Tensor<2>>| {
            let zeros = || Tensor::zeros(w.dims(), &w.val().device());
            gradients.remove::<2>(w.id).unwrap_or_else(zeros)
        };
        TableGradient(self.parts.iter().map(of_part).collect())
    }

    pub(crate) fn register_gradient(&self, gradient: TableGradient, gradients: &mut GradientsParams) {
        for (w, gradient) in self.parts.iter().zip(gradient.0) {
            gradients.register(w.id, gradient);
        }
    }
}

impl TableGradient {
    /// Adds `rows` to the rows of `ids`.
    pub(crate) fn add_rows(&mut self, table: &Table, ids: &[u32], rows: Tensor<2>) {
        let device = rows.device();
        let mut add = |part: usize, ids: &[u32], rows: Tensor<2>| {
            let ids = int_tensor(ids, &device);
            self.0[part].inplace(|sum| sum.select_assign(0, ids, rows, IndexingUpdateOp::Add));
        };
        if let [_] = table.parts[..] {
            return add(0, ids, rows);
        }
        for Local { part, rows: ids, positions } in table.by_part(ids) {
            add(part, &ids, rows.clone().select(0, int_tensor(&positions, &device)));
        }
    }

    /// Adds `term` to the rows of a tile.
    pub(crate) fn add_tile(&mut self, part: usize, range: Range<usize>, term: Tensor<2>) {
        self.0[part].inplace(|sum| {
            let new = sum.clone().slice(range.clone()) + term;
            sum.slice_assign(range, new)
        });
    }

    /// The gradient of each part.
    #[cfg(test)]
    pub(crate) fn parts(self) -> Vec<Tensor<2>> {
        self.0
    }
}

/// The tiles of `0..n` in steps of `size`.
pub(crate) fn tiles(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(size).map(move |start| start..(start + size).min(n))
}
