//! The two element-wise passes over a tile of logits that computing token log-probabilities requires.

use rayon::prelude::*;

use super::extension::{Host, dims, host, values};
use super::simd::{exp, for_rows, max, sum, vectorized};

/// Maximum, `Σ e^(z - max)` and `Σ e^(z - max) (z - max)` of each row of `z`: `[rows, 3]`.
pub(crate) fn statistics(z: &Host) -> Host {
    let [rows, columns] = dims(z);
    let z = values(z);
    let mut out = vec![0.0; rows * 3];
    out.par_chunks_exact_mut(3).enumerate().for_each(|(row, out)| {
        let z = &z[row * columns..][..columns];
        vectorized(
            #[inline(always)]
            || {
                let max = max(z);
                let total = sum(
                    z,
                    #[inline(always)]
                    |z| exp(z - max),
                );
                let weighted = sum(
                    z,
                    #[inline(always)]
                    |z| exp(z - max) * (z - max),
                );
                out.copy_from_slice(&[max, total, weighted]);
            },
        );
    });
    host(out, [rows, 3])
}

/// `-g · e^(z - log_sum_exp)`, with one `log_sum_exp` and one `g` per row of `z`.
pub(crate) fn vjp(z: &Host, log_sum_exp: &Host, g: &Host) -> Host {
    let [rows, columns] = dims(z);
    let (z, log_sum_exp, g) = (values(z), values(log_sum_exp), values(g));
    let mut out = vec![0.0; z.len()];
    for_rows(&mut out, columns, |at, out| {
        vectorized(
            #[inline(always)]
            || {
                for (row, out) in at.zip(out.chunks_exact_mut(columns)) {
                    let (shift, factor) = (log_sum_exp[row], -g[row]);
                    for (out, z) in out.iter_mut().zip(&z[row * columns..]) {
                        *out = factor * exp(z - shift);
                    }
                }
            },
        );
    });
    host(out, [rows, columns])
}
