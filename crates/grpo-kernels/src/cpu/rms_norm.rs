use rayon::prelude::*;

use super::extension::{Host, Kernel, dims, host, values};
use super::simd::{dot, for_rows, vectorized};

/// `x / √(mean(x²) + epsilon) · gamma`, the mean over each row.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    pub(crate) epsilon: f32,
}

impl RmsNorm {
    /// `1 / √(mean(x²) + epsilon)`
    #[inline(always)]
    fn scale(&self, x: &[f32]) -> f32 {
        1.0 / (dot(x, x) / x.len() as f32 + self.epsilon).sqrt()
    }
}

impl Kernel for RmsNorm {
    fn forward(&self, inputs: &[Host]) -> Host {
        let (x, gamma) = (values(&inputs[0]), values(&inputs[1]));
        let [rows, columns] = dims(&inputs[0]);
        let mut out = vec![0.0; x.len()];
        for_rows(&mut out, columns, |at, out| {
            vectorized(
                #[inline(always)]
                || {
                    for (row, y) in at.zip(out.chunks_exact_mut(columns)) {
                        let x = &x[row * columns..][..columns];
                        let scale = self.scale(x);
                        for ((y, x), gamma) in y.iter_mut().zip(x).zip(gamma) {
                            *y = x * scale * gamma;
                        }
                    }
                },
            );
        });
        host(out, [rows, columns])
    }

    fn backward(&self, inputs: &[Host], gradient: &Host) -> Vec<Host> {
        /// Rows whose gradients with respect to gamma are summed before they are added to those of other rows.
        const ROWS: usize = 64;
        let (x, gamma, dy) = (values(&inputs[0]), values(&inputs[1]), values(gradient));
        let [rows, columns] = dims(&inputs[0]);
        let mut d_x = vec![0.0; x.len()];
        let parts: Vec<Vec<f32>> = d_x
            .par_chunks_mut(ROWS * columns)
            .enumerate()
            .map(|(i, dx)| {
                let at = i * ROWS * columns..i * ROWS * columns + dx.len();
                let mut d_gamma = vec![0.0; columns];
                let (x, dy) = (x[at.clone()].chunks_exact(columns), dy[at].chunks_exact(columns));
                vectorized(
                    #[inline(always)]
                    || {
                        for ((dx, x), dy) in dx.chunks_exact_mut(columns).zip(x).zip(dy) {
                            self.row_backward(x, gamma, dy, dx, &mut d_gamma);
                        }
                    },
                );
                d_gamma
            })
            .collect();
        let mut d_gamma = vec![0.0; columns];
        for part in parts {
            d_gamma.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        vec![host(d_x, [rows, columns]), host(d_gamma, [columns])]
    }
}

impl RmsNorm {
    #[inline(always)]
    fn row_backward(&self, x: &[f32], gamma: &[f32], dy: &[f32], dx: &mut [f32], d_gamma: &mut [f32]) {
        let n = x.len();
        let (gamma, dy) = (&gamma[..n], &dy[..n]);
        let scale = self.scale(x);
        let (dx, d_gamma) = (&mut dx[..n], &mut d_gamma[..n]);
        for i in 0..n {
            dx[i] = dy[i] * gamma[i];
            d_gamma[i] += dy[i] * x[i] * scale;
        }
        let inward = dot(dx, x) * scale * scale * scale / n as f32;
        for i in 0..n {
            dx[i] = dx[i] * scale - x[i] * inward;
        }
    }
}
