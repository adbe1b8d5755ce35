use burn::tensor::{Device, Tensor};

/// How tokens are drawn on a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawOptions {
    /// Multiplies the logits.
    pub inverse_temperature: f32,
    /// Takes the most probable token.
    pub greedy: bool,
    /// Keeps the `top_k` most probable tokens; of equally probable ones, those with the lowest ids.
    pub top_k: Option<usize>,
    /// Keeps the fewest most probable tokens whose probabilities sum to at least `top_p`.
    pub top_p: Option<f32>,
    /// Keeps tokens at least `min_p` times as probable as the most probable one.
    pub min_p: Option<f32>,
}

/// A token drawn on a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeviceDraw {
    /// The token's id.
    pub token: u32,
    /// Its natural log-probability in the whole distribution.
    pub logprob: f32,
    /// The entropy of the whole distribution, in nats.
    pub entropy: f32,
}

/// Whether `device` has kernels for decoding: [`DeviceAttention`](crate::DeviceAttention) and [`draw`].
pub fn decodes_on(device: &Device) -> bool {
    cfg!(feature = "cube") && crate::is_plain_cube(device)
}

/// Draws a token for each row index and uniform number in `[0, 1)`, from logits `[rows, vocabulary]` in f32, on their device:
/// four numbers per token come to the host, in one synchronization. `None` if the logits are not finite.
///
/// The distribution is that of `grpo_rollout::Sampling::draw`, with sums in f32 instead of f64. The token is therefore the same
/// unless the uniform number is within 2e-6 of a boundary between two tokens. For tokens that are cut off, the same holds of
/// `top_p`, and of probabilities that differ by less than the device's exponential resolves.
///
/// # Panics
///
/// If [`decodes_on`] is false for the device of `logits`, or a row index is not below their number of rows.
#[cfg(feature = "cube")]
pub fn draw(logits: Tensor<2>, requests: &[(usize, f64)], options: &DrawOptions) -> Vec<Option<DeviceDraw>> {
    let (device, n) = (logits.device(), requests.len());
    let [rows, _] = logits.dims();
    assert!(requests.iter().all(|(row, _)| *row < rows), "there are logits of {rows} rows only");
    let rows = crate::int_tensor(requests.iter().map(|(row, _)| *row), &device);
    // An f64 as two f32, so that the uniform number does not add an error of its own.
    let split = |u: f64| [u as f32, (u - f64::from(u as f32)) as f32];
    let uniforms: Vec<f32> = requests.iter().flat_map(|(_, uniform)| split(*uniform)).collect();
    let uniforms = crate::float_tensor(uniforms, [n, 2], &device);
    let numbers = crate::to_host(crate::cube::draw(logits, rows, uniforms, options.clone()));
    let drawn = |four: &[f32]| {
        let [token, logprob, entropy, not_finite] = four.try_into().expect("a draw is four numbers");
        // Negative if nothing has a mass.
        (not_finite == 0.0 && token >= 0.0).then_some(DeviceDraw { token: token as u32, logprob, entropy })
    };
    numbers.chunks_exact(4).map(drawn).collect()
}

/// Never called.
#[cfg(not(feature = "cube"))]
pub fn draw(_: Tensor<2>, _: &[(usize, f64)], _: &DrawOptions) -> Vec<Option<DeviceDraw>> {
    unreachable!("without the kernels nothing is drawn on a device")
}
