//! The kernels that have gradients, as operations of burn's with and without autodiff.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata, backend_extension};
#[cfg(feature = "fusion")]
use burn::tensor::DType;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::ops::CubeOps;

/// The operations; `super` says what they compute.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"), Autodiff)]
pub(crate) trait DifferentiableOps: Backend {
    #[fusion(dtype = x, shape = x)]
    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self>;

    #[fusion(meta = multiplied)]
    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(dtype = gate, shape = gate)]
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn rotated(x: FloatTensor<Self>, table: FloatTensor<Self>) -> FloatTensor<Self>;
}

#[cfg(feature = "fusion")]
fn multiplied(a: &TensorSpec, b: &TensorSpec) -> TensorSpec {
    let mut shape = a.shape.clone();
    let last = shape.num_dims() - 1;
    shape[last] = b.shape[last];
    TensorSpec::new(shape, DType::F32)
}

impl DifferentiableOps for CubeBackend {
    fn product(a: CubeTensor, b: CubeTensor) -> CubeTensor {
        super::product::product(a, b)
    }

    fn rms_norm(x: CubeTensor, gamma: CubeTensor, epsilon: f32) -> CubeTensor {
        super::norm::rms_norm(x, gamma, epsilon)
    }

    fn swiglu(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
        super::swiglu::swiglu(gate, up)
    }

    fn rotated(x: CubeTensor, table: CubeTensor) -> CubeTensor {
        super::rope::rotate(x, table, 1.0)
    }
}

impl<B: DifferentiableOps + CubeOps, C: CheckpointStrategy> DifferentiableOps for Autodiff<B, C> {
    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node()];
        let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
        let y = B::rms_norm(x.clone(), gamma.clone(), epsilon);
        match RmsNormVjp.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x, gamma, epsilon), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [a.node(), b.node()];
        let (needs_a, needs_b) = (b.is_tracked(), a.is_tracked());
        let (a, b) = (a.into_primitive(), b.into_primitive());
        let y = B::product(a.clone(), b.clone());
        match ProductVjp.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((needs_a.then_some(a), needs_b.then_some(b)), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [gate.node(), up.node()];
        let (gate, up) = (gate.into_primitive(), up.into_primitive());
        let y = B::swiglu(gate.clone(), up.clone());
        match SwigluVjp.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((gate, up), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn rotated(x: FloatTensor<Self>, table: FloatTensor<Self>) -> FloatTensor<Self> {
        let (node, table) = (x.node(), table.into_primitive());
        let y = B::rotated(x.into_primitive(), table.clone());
        match RotatedVjp.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(table, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[derive(Debug)]
struct RmsNormVjp;

impl<B: CubeOps> Backward<B, 2> for RmsNormVjp {
    type State = (FloatTensor<B>, FloatTensor<B>, f32);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let (x, gamma, epsilon) = ops.state;
        let columns = gamma.shape().num_elements();
        let (dx, by_row) = B::rms_norm_backward(x, gamma, dy, epsilon);
        let [of_x, of_gamma] = ops.parents;
        if let Some(parent) = of_x {
            gradients.register::<B>(parent.id, dx);
        }
        if let Some(parent) = of_gamma {
            let dgamma = B::float_reshape(B::float_sum_dim(by_row, 0), Shape::new([columns]));
            gradients.register::<B>(parent.id, dgamma);
        }
    }
}

#[derive(Debug)]
struct ProductVjp;

impl<B: DifferentiableOps> Backward<B, 2> for ProductVjp {
    /// Each factor if the other has a gradient.
    type State = (Option<FloatTensor<B>>, Option<FloatTensor<B>>);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let (a, b) = ops.state;
        let [of_a, of_b] = ops.parents;
        if let (Some(parent), Some(b)) = (of_a, b) {
            gradients.register::<B>(parent.id, B::product(dy.clone(), B::float_transpose(b)));
        }
        if let (Some(parent), Some(a)) = (of_b, a) {
            gradients.register::<B>(parent.id, B::product(B::float_transpose(a), dy));
        }
    }
}

#[derive(Debug)]
struct SwigluVjp;

impl<B: CubeOps> Backward<B, 2> for SwigluVjp {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let (gate, up) = ops.state;
        let (dgate, dup) = B::swiglu_backward(gate, up, dy);
        for (parent, gradient) in ops.parents.into_iter().zip([dgate, dup]) {
            if let Some(parent) = parent {
                gradients.register::<B>(parent.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct RotatedVjp;

impl<B: CubeOps> Backward<B, 1> for RotatedVjp {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            gradients.register::<B>(parent.id, B::rotate(dy, ops.state, -1.0));
        }
    }
}
