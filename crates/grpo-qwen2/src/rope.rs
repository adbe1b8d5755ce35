use burn::tensor::{Device, Tensor, TensorData};

/// Rotary position embedding of a set of positions: half-split, as Qwen2 has it (the first half of a head turns
/// with the second), not interleaved.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    /// `[positions, 1, head_dim]`
    cos: Tensor<3>,
    /// `[positions, 1, head_dim]`, negative in the first half.
    sin: Tensor<3>,
}

impl Rope {
    pub(crate) fn new(positions: &[usize], head_dim: usize, theta: f64, device: &Device) -> Self {
        let half = head_dim / 2;
        // The angle is a product of two f32 numbers, as in transformers.
        let frequencies: Vec<f32> =
            (0..half).map(|i| (1.0 / theta.powf(2.0 * i as f64 / head_dim as f64)) as f32).collect();
        let mut cos = Vec::with_capacity(positions.len() * head_dim);
        let mut sin = Vec::with_capacity(positions.len() * head_dim);
        for &position in positions {
            let angles = || frequencies.iter().map(|f| position as f32 * f);
            cos.extend(angles().chain(angles()).map(f32::cos));
            sin.extend(angles().map(|a| -a.sin()).chain(angles().map(f32::sin)));
        }
        let tensor =
            |values| Tensor::from_data(TensorData::new(values, [positions.len(), 1, head_dim]), device);
        Self { cos: tensor(cos), sin: tensor(sin) }
    }

    /// Turns the heads `x` `[positions, heads, head_dim]`.
    pub(crate) fn apply(&self, x: Tensor<3>) -> Tensor<3> {
        let half = x.dims()[2] / 2;
        let [first, second] = [x.clone().narrow(2, 0, half), x.clone().narrow(2, half, half)];
        let swapped = Tensor::cat(vec![second, first], 2);
        x * self.cos.clone() + swapped * self.sin.clone()
    }
}
