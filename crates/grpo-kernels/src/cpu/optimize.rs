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
    let factors = update.factors();
    let [weight, first, second] =
        [weight, first, second].map(|tensor| tensor.storage_mut::<f32>().par_chunks_mut(TASK));
    let moved = weight.zip(first).zip(second).zip(values(gradient).par_chunks(TASK));
    moved.for_each(|(((weight, first), second), gradient)| {
        vectorized(
            #[inline(always)]
            || {
                for (((w, m), v), g) in weight.iter_mut().zip(first).zip(second).zip(gradient) {
                    (*w, [*m, *v]) = factors.step(*w, [*m, *v], *g);
                }
            },
        );
    });
}

/// The same with both moments in BF16, in a word.
pub(crate) fn adamw_in_words(update: &AdamWUpdate, weight: &mut Host, gradient: &Host, words: &mut Host) {
    let factors = update.factors();
    let weight = weight.storage_mut::<f32>().par_chunks_mut(TASK);
    let words = words.storage_mut::<u32>().par_chunks_mut(TASK);
    let moved = weight.zip(words).zip(values(gradient).par_chunks(TASK));
    moved.enumerate().for_each(|(task, ((weight, words), gradient))| {
        vectorized(
            #[inline(always)]
            || {
                let numbers = weight.iter_mut().zip(words).zip(gradient);
                for (i, ((w, word), g)) in (task * TASK..).zip(numbers) {
                    (*w, *word) = factors.step_word(*w, *word, *g, i);
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
