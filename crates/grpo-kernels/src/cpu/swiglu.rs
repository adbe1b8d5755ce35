use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;

use super::extension::{Host, Kernel, dims, host, values};
use super::simd::{exp, for_rows, vectorized};

/// `silu(gate) · up`.
#[derive(Debug)]
pub(crate) struct Swiglu;

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

impl Kernel for Swiglu {
    fn forward(&self, inputs: &[Host]) -> Host {
        let (gate, up) = (values(&inputs[0]), values(&inputs[1]));
        let [rows, columns] = dims(&inputs[0]);
        let mut out = vec![0.0; gate.len()];
        for_rows(&mut out, columns, |at, out| {
            let at = at.start * columns..at.end * columns;
            let (gate, up) = (&gate[at.clone()], &up[at]);
            vectorized(
                #[inline(always)]
                || {
                    for ((y, g), u) in out.iter_mut().zip(gate).zip(up) {
                        *y = g * sigmoid(*g) * u;
                    }
                },
            );
        });
        host(out, [rows, columns])
    }

    fn backward(&self, inputs: &[Host], gradient: &Host) -> Vec<Host> {
        let (gate, up, dy) = (values(&inputs[0]), values(&inputs[1]), values(gradient));
        let [rows, columns] = dims(&inputs[0]);
        let mut d_gate = vec![0.0; gate.len()];
        for_rows(&mut d_gate, columns, |at, out| {
            let at = at.start * columns..at.end * columns;
            let (gate, up, dy) = (&gate[at.clone()], &up[at.clone()], &dy[at]);
            vectorized(
                #[inline(always)]
                || {
                    for (((dg, g), u), dy) in out.iter_mut().zip(gate).zip(up).zip(dy) {
                        let s = sigmoid(*g);
                        *dg = dy * u * s * (1.0 + g * (1.0 - s));
                    }
                },
            );
        });
        let mut d_up = vec![0.0; gate.len()];
        for_rows(&mut d_up, columns, |at, out| {
            let at = at.start * columns..at.end * columns;
            let (gate, dy) = (&gate[at.clone()], &dy[at]);
            vectorized(
                #[inline(always)]
                || {
                    for ((du, g), dy) in out.iter_mut().zip(gate).zip(dy) {
                        *du = dy * g * sigmoid(*g);
                    }
                },
            );
        });
        vec![host(d_gate, [rows, columns]), host(d_up, [rows, columns])]
    }
}

/// `silu(gate) · up · w`, whose first product is not stored.
#[derive(Debug)]
pub(crate) struct SwigluProduct;

impl Kernel for SwigluProduct {
    fn forward(&self, inputs: &[Host]) -> Host {
        Flex::float_matmul(Swiglu.forward(&inputs[..2]), inputs[2].clone())
    }

    fn backward(&self, inputs: &[Host], gradient: &Host) -> Vec<Host> {
        let d_activation = Flex::float_matmul(gradient.clone(), Flex::float_transpose(inputs[2].clone()));
        let mut gradients = Swiglu.backward(&inputs[..2], &d_activation);
        let activation = Swiglu.forward(&inputs[..2]);
        gradients.push(Flex::float_matmul(Flex::float_transpose(activation), gradient.clone()));
        gradients
    }
}
