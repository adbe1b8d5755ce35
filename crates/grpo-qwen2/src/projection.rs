//! Linear layers, with or without a low-rank adapter next to the matrix.

use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};
use grpo_kernels::{matmul, product, swiglu_product};

/// `x · weight + bias`, plus the adapter's output; computed in f32, however the weight is stored.
#[derive(Module, Debug)]
pub(crate) struct Projection {
    /// `[in, out]`
    pub(crate) weight: Param<Tensor<2>>,
    /// `[out]`
    pub(crate) bias: Option<Param<Tensor<1>>>,
    pub(crate) adapter: Option<Adapter>,
}

/// `x · a · b` times a scale: a change, with few parameters, to the matrix next to it (LoRA).
#[derive(Module, Debug)]
pub(crate) struct Adapter {
    /// `[in, rank]`
    pub(crate) a: Param<Tensor<2>>,
    /// `[rank, out]`
    pub(crate) b: Param<Tensor<2>>,
    /// The scale is this value divided by the rank.
    #[module(skip)]
    pub(crate) alpha: f64,
    /// … or by the square root of the rank (rsLoRA, arXiv 2312.03732).
    #[module(skip)]
    pub(crate) rank_stabilized: bool,
}

impl Adapter {
    pub(crate) fn rank(&self) -> usize {
        self.a.val().dims()[1]
    }

    pub(crate) fn scale(&self) -> f64 {
        let rank = self.rank() as f64;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }
}

impl Projection {
    pub(crate) fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        self.add(product(x.clone(), self.weight.val()), |a| product(x, a))
    }

    /// The same for `swiglu(gate, up)`, which is not stored for the backward pass.
    pub(crate) fn apply_gated(&self, gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
        let y = swiglu_product(gate.clone(), up.clone(), self.weight.val());
        self.add(y, |a| swiglu_product(gate, up, a))
    }

    /// Adds the bias and the adapter's output to `y`; `inward` is the input times the adapter's first matrix.
    fn add(&self, y: Tensor<2>, inward: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let y = match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        };
        match &self.adapter {
            Some(adapter) => {
                let inward = inward(adapter.a.val()).mul_scalar(adapter.scale());
                y + product(inward, adapter.b.val())
            }
            None => y,
        }
    }

    /// The matrix with the adapter merged into it, in f32.
    pub(crate) fn merged(&self) -> Tensor<2> {
        let weight = self.weight.val().cast(DType::F32);
        match &self.adapter {
            Some(adapter) => weight + matmul(adapter.a.val(), adapter.b.val()).mul_scalar(adapter.scale()),
            None => weight,
        }
    }

    /// Width of the input and the output.
    pub(crate) fn dims(&self) -> [usize; 2] {
        self.weight.val().dims()
    }
}
