use std::sync::Arc;

use super::extension::{Host, Kernel, dims, host, values};
use super::simd::{for_rows, vectorized};

/// Rotates the first half of every head with the second, by the angle of its position.
#[derive(Debug)]
pub(crate) struct Rotate {
    /// `[positions, head_dim / 2]`, both.
    pub(crate) cos: Arc<Vec<f32>>,
    pub(crate) sin: Arc<Vec<f32>>,
}

impl Rotate {
    /// Rotates `x` `[positions, heads, head_dim]` forward (`1.0`) or back (`-1.0`).
    fn turn(&self, x: &Host, direction: f32) -> Host {
        let [positions, heads, dim] = dims(x);
        let (x, half) = (values(x), dim / 2);
        let mut out = vec![0.0; x.len()];
        for_rows(&mut out, heads * dim, |at, out| {
            let x = &x[at.start * heads * dim..at.end * heads * dim];
            vectorized(
                #[inline(always)]
                || {
                    let rows = out.chunks_exact_mut(heads * dim).zip(x.chunks_exact(heads * dim));
                    for (position, (out, x)) in at.zip(rows) {
                        let cos = &self.cos[position * half..][..half];
                        let sin = &self.sin[position * half..][..half];
                        for (out, x) in out.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
                            let (a, b) = out.split_at_mut(half);
                            let (first, second) = x.split_at(half);
                            for i in 0..half {
                                let sin = direction * sin[i];
                                a[i] = first[i] * cos[i] - second[i] * sin;
                                b[i] = second[i] * cos[i] + first[i] * sin;
                            }
                        }
                    }
                },
            );
        });
        host(out, [positions, heads, dim])
    }
}

impl Kernel for Rotate {
    fn forward(&self, inputs: &[Host]) -> Host {
        self.turn(&inputs[0], 1.0)
    }

    fn kept(&self, _: &[Host]) -> Vec<Host> {
        Vec::new()
    }

    fn backward(&self, _: &[Host], gradient: &Host) -> Vec<Host> {
        vec![self.turn(gradient, -1.0)]
    }
}
