/// The number format of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// Four bytes per weight: no bit of what was trained is lost.
    F32,
    /// Two bytes per weight, rounded to nearest: the format of the published checkpoints.
    Bf16,
}
