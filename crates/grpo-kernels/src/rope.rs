use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor};

use crate::{float_tensor, on_cpu, on_cube};

/// Rotary position embedding of a set of positions: half-split, as in Qwen2 (the first half of a head rotates with the second),
/// not interleaved.
#[derive(Debug, Clone)]
pub struct Rope {
    head_dim: usize,
    /// `[positions, head_dim / 2]`, both.
    cos: Arc<Vec<f32>>,
    sin: Arc<Vec<f32>>,
    /// The same as tensors `[positions, 1, head_dim / 2]`, created on first use and shared by all layers.
    tensors: OnceLock<[Tensor<3>; 2]>,
    /// The same as one tensor for kernels of devices, `[positions, head_dim]`.
    #[cfg(feature = "cube")]
    on_device: OnceLock<Tensor<2>>,
}

impl Rope {
    /// The rotations of `positions` for the base `theta`.
    pub fn new(positions: &[usize], head_dim: usize, theta: f64) -> Self {
        let half = head_dim / 2;
        // The angle is a product of two f32 numbers, as in transformers.
        let frequencies: Vec<f32> =
            (0..half).map(|i| (1.0 / theta.powf(2.0 * i as f64 / head_dim as f64)) as f32).collect();
        let angles = positions.iter().flat_map(|p| frequencies.iter().map(move |f| *p as f32 * f));
        let (cos, sin) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Self {
            head_dim,
            cos: Arc::new(cos),
            sin: Arc::new(sin),
            tensors: OnceLock::new(),
            #[cfg(feature = "cube")]
            on_device: OnceLock::new(),
        }
    }

    /// Rotates the heads `x` `[positions, heads, head_dim]`, in f32.
    pub fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        on_cpu!(x, crate::cpu::rotate(x, &self.cos, &self.sin));
        on_cube!(x, {
            let table = self.on_device.get_or_init(|| self.table(&x.device().inner())).clone();
            crate::cube::rotate(x, table)
        });
        self.composed(x)
    }

    fn composed(&self, x: Tensor<3>) -> Tensor<3> {
        let half = self.head_dim / 2;
        let tables = || [&self.cos, &self.sin].map(|table| self.half_table(table, &x.device().inner()));
        let [cos, sin] = self.tensors.get_or_init(tables).clone();
        let [first, second] = [x.clone().narrow(2, 0, half), x.narrow(2, half, half)];
        let turned = first.clone() * cos.clone() - second.clone() * sin.clone();
        Tensor::cat(vec![turned, second * cos + first * sin], 2)
    }

    /// The cosines and, after them, the sines of each position: `[positions, head_dim]`.
    #[cfg(feature = "cube")]
    pub(crate) fn table(&self, device: &Device) -> Tensor<2> {
        let half = self.head_dim / 2;
        let both = self.cos.chunks(half).zip(self.sin.chunks(half));
        let values: Vec<f32> = both.flat_map(|(cos, sin)| [cos, sin].concat()).collect();
        let shape = [values.len() / self.head_dim, self.head_dim];
        float_tensor(values, shape, device)
    }

    /// A table as `[positions, 1, head_dim / 2]`.
    fn half_table(&self, table: &[f32], device: &Device) -> Tensor<3> {
        let half = self.head_dim / 2;
        let shape = [table.len() / half, 1, half];
        float_tensor(table.to_vec(), shape, device)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::tests::{check1, matrix};

    #[test]
    fn the_kernel_is_what_it_is_composed_of() {
        for (heads, dim) in [(1, 2), (3, 16), (14, 64)] {
            let rope = Rope::new(&[0, 1, 2, 700, 31], dim, 1e6);
            let x = matrix(1, [5, heads * dim], 1.0).reshape([5, heads, dim]);
            check1("rope", |x| rope.apply(x), |x| rope.composed(x), x, 1e-6);
        }
    }
}
