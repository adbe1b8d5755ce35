use rayon::prelude::*;

use super::extension::{Host, values};
use super::simd::{dot, vectorized};
use crate::AdamWUpdate;

/// Numbers per task.
const TASK: usize = 1 << 14;

/// Updates `weight` and its two moments, in place if they are not shared.
pub(crate) fn adamw(
    update: &AdamWUpdate,
    weight: &mut Host,
    gradient: &Host,
    [first, second]: [&mut Host; 2],
) {
    let (factors, epsilon) = (update.factors(), update.epsilon);
    let (beta1, beta2) = (update.beta1, update.beta2);
    let [weight, first, second] =
        [weight, first, second].map(|tensor| tensor.storage_mut::<f32>().par_chunks_mut(TASK));
    let moved = weight.zip(first).zip(second).zip(values(gradient).par_chunks(TASK));
    moved.for_each(|(((weight, first), second), gradient)| {
        vectorized(
            #[inline(always)]
            || {
                for (((w, m), v), g) in weight.iter_mut().zip(first).zip(second).zip(gradient) {
                    let g = g * factors.gradient;
                    *m = *m * beta1 + g * (1.0 - beta1);
                    *v = *v * beta2 + g * g * (1.0 - beta2);
                    let root = (*v / factors.second).sqrt() + epsilon;
                    *w = *w * factors.decay - *m / factors.first / root * factors.learning_rate;
                }
            },
        );
    });
}

pub(crate) fn sum_of_squares(x: &Host) -> f64 {
    let of_task = |x: &[f32]| {
        vectorized(
            #[inline(always)]
            || f64::from(dot(x, x)),
        )
    };
    let sums: Vec<f64> = values(x).par_chunks(TASK).map(of_task).collect();
    sums.iter().sum()
}
