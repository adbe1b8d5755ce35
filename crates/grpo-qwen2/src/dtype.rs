/// The number format of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// Four bytes a weight: no bit of what was trained is lost.
    F32,
    /// Two bytes a weight, rounded to nearest: as the published checkpoints have it.
    Bf16,
}
