//! Turns a function of numbers in memory into a burn operation, with or without autodiff.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, DispatchDevice, Flex};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// A tensor in this process's memory.
pub(crate) type Host = FloatTensor<Flex>;

/// The same under autodiff.
type Tracked = FloatTensor<Autodiff<Flex>>;

/// A function of tensors, and its gradient with respect to them. Kernels receive tensors in row-major order.
pub(crate) trait Kernel: Debug + Send + Sync + 'static {
    fn forward(&self, inputs: &[Host]) -> Host;

    /// What the backward pass needs: all inputs, unless the kernel overrides it.
    fn kept(&self, inputs: &[Host]) -> Vec<Host> {
        inputs.to_vec()
    }

    /// The gradient of a loss with respect to each input, given `gradient`, its gradient with respect to the output.
    fn backward(&self, kept: &[Host], gradient: &Host) -> Vec<Host>;
}

/// Whether tensors of `device` are in this process's memory, where the kernels can work on them.
pub(crate) fn is_host(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// A tensor of a host device without autodiff, in row-major order.
pub(crate) fn to_host<const D: usize>(tensor: Tensor<D>) -> Host {
    whole(tensor.try_into_primitive::<Flex>().expect("the device is checked, and is not under autodiff"))
}

pub(crate) fn from_host<const D: usize>(tensor: Host) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(tensor)
}

pub(crate) fn int_to_host(tensor: Tensor<1, Int>) -> Host {
    whole(tensor.try_into_primitive::<Flex>().expect("the device is checked"))
}

pub(crate) fn int_from_host(tensor: Host) -> Tensor<1, Int> {
    Tensor::from_primitive::<Flex>(tensor)
}

/// What a kernel is applied to.
pub(crate) enum Input {
    Plain(Host),
    Tracked(Tracked),
}

impl<const D: usize> From<Tensor<D>> for Input {
    fn from(tensor: Tensor<D>) -> Self {
        if tensor.device().is_autodiff() {
            Self::Tracked(tensor.try_into_primitive::<Autodiff<Flex>>().expect("the device is checked"))
        } else {
            Self::Plain(to_host(tensor))
        }
    }
}

impl Input {
    fn into_tracked(self) -> Tracked {
        match self {
            Self::Plain(tensor) => <Autodiff<Flex> as AutodiffBackend>::from_inner(tensor),
            Self::Tracked(tensor) => tensor,
        }
    }
}

/// The output of `kernel`, tracked by autodiff if one of the inputs is.
pub(crate) fn apply<const N: usize, const D: usize>(kernel: impl Kernel, inputs: [Input; N]) -> Tensor<D> {
    if inputs.iter().any(|input| matches!(input, Input::Tracked(_))) {
        let output = differentiate(Arc::new(kernel), inputs.map(Input::into_tracked));
        return Tensor::from_primitive::<Autodiff<Flex>>(output);
    }
    let inputs = inputs.map(|input| match input {
        Input::Plain(tensor) => tensor,
        Input::Tracked(_) => unreachable!("no input is tracked"),
    });
    from_host(kernel.forward(&inputs))
}

fn differentiate<const N: usize>(kernel: Arc<dyn Kernel>, inputs: [Tracked; N]) -> Tracked {
    let nodes = inputs.each_ref().map(|input| input.node());
    let inputs = inputs.map(|input| whole(input.into_primitive()));
    let output = kernel.forward(&inputs);
    match KernelVjp.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(Applied { kept: kernel.kept(&inputs), kernel }, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

/// A kernel and what it saved for the backward pass.
#[derive(Debug, Clone)]
struct Applied {
    kernel: Arc<dyn Kernel>,
    kept: Vec<Host>,
}

#[derive(Debug)]
struct KernelVjp;

impl<const N: usize> Backward<Flex, N> for KernelVjp {
    type State = Applied;

    fn backward(self, ops: Ops<Applied, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = whole(gradients.consume::<Flex>(&ops.node));
        let of_inputs = ops.state.kernel.backward(&ops.state.kept, &gradient);
        for (parent, gradient) in ops.parents.into_iter().zip(of_inputs) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// The tensor in row-major order, with storage of exactly its size.
fn whole(tensor: Host) -> Host {
    tensor.to_contiguous()
}

/// The numbers of a tensor in row-major order.
pub(crate) fn values(tensor: &Host) -> &[f32] {
    tensor.as_slice().expect("kernels get tensors in row-major order, of f32")
}

pub(crate) fn dims<const D: usize>(tensor: &Host) -> [usize; D] {
    let shape = tensor.layout().shape();
    std::array::from_fn(|i| shape[i])
}

pub(crate) fn host<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Host {
    Host::from_data(TensorData::new(values, shape))
}
