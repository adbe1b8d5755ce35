use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::ops::{empty_like, groups, whole};
use super::{THREADS, largest, sum};
use crate::draw::DrawOptions;

/// Masses that are added up before the sum is added to others: rounding errors grow with this number and with the number of such
/// sums, not with their product.
const BLOCK: usize = 32;
/// The bits of an f32 that is not finite.
const NOT_FINITE: u32 = 0x7F80_0000;
/// The bits of a number above the largest mass, 1.
const ABOVE: u32 = 0x3F80_0001;
/// Bisections of the bits of a mass until one is left.
const BISECTIONS: u32 = 31;

/// The logits of a position, and the part of them that a thread works on.
#[derive(CubeType, Clone, Copy)]
struct Position {
    /// Where they start.
    start: usize,
    /// The thread's part.
    begin: usize,
    end: usize,
    /// The largest.
    high: f32,
    inverse_temperature: f32,
}

/// Which tokens are kept: those with a mass above `mass`, and those with this mass and an id below `end`.
#[derive(CubeType, Clone, Copy)]
struct Kept {
    mass: f32,
    end: usize,
}

/// The mass of a token: its probability, relative to that of the most probable one.
#[cube]
fn mass_of(logits: &Tensor<f32>, position: &Position, id: usize) -> f32 {
    f32::exp((logits[position.start + id] - position.high) * position.inverse_temperature)
}

#[cube]
fn is_kept(kept: &Kept, mass: f32, id: usize) -> bool {
    mass > kept.mass || (mass == kept.mass && id < kept.end)
}

/// The number or the sum of the masses that are kept and at least `least`, in the thread's part.
#[cube]
fn own_tally(
    logits: &Tensor<f32>,
    position: &Position,
    kept: &Kept,
    least: f32,
    #[comptime] counts: bool,
) -> f32 {
    let mut total = 0.0f32;
    let mut id = position.begin;
    while id < position.end {
        let end = min(id + BLOCK, position.end);
        let mut block = 0.0f32;
        while id < end {
            let mass = mass_of(logits, position, id);
            if mass >= least && is_kept(kept, mass, id) {
                if counts {
                    block += 1.0f32;
                } else {
                    block += mass;
                }
            }
            id += 1;
        }
        total += block;
    }
    total
}

#[cube]
fn tally(
    logits: &Tensor<f32>,
    position: &Position,
    kept: &Kept,
    least: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] counts: bool,
    #[comptime] threads: usize,
) -> f32 {
    let own = own_tally(logits, position, kept, least, counts);
    sum(own, shared, threads)
}

/// The bits of the largest mass from which on the tally reaches `target`.
#[cube]
fn bisect(
    logits: &Tensor<f32>,
    position: &Position,
    kept: &Kept,
    target: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] counts: bool,
    #[comptime] threads: usize,
) -> u32 {
    let mut low = u32::reinterpret(kept.mass);
    let mut high = ABOVE.runtime();
    for _ in 0..BISECTIONS {
        let middle = low + (high - low) / 2;
        let reached =
            tally(logits, position, kept, f32::reinterpret(middle), shared, counts, threads) >= target;
        if reached && high - low > 1 {
            low = middle;
        } else {
            high = max(middle, low + 1);
        }
    }
    low
}

/// The number of tokens in the thread's part that are kept and have the mass `mass`.
#[cube]
fn own_ties(logits: &Tensor<f32>, position: &Position, kept: &Kept, mass: f32) -> f32 {
    let mut ties = 0.0f32;
    for id in position.begin..position.end {
        if mass_of(logits, position, id) == mass && is_kept(kept, mass, id) {
            ties += 1.0f32;
        }
    }
    ties
}

/// The id after the `n`th of the tokens that are kept and have the mass `mass`.
#[cube]
fn end_of_ties(
    logits: &Tensor<f32>,
    position: &Position,
    kept: &Kept,
    mass: f32,
    n: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] threads: usize,
) -> usize {
    let own = own_ties(logits, position, kept, mass);
    sync_cube();
    shared[UNIT_POS_X as usize] = own;
    sync_cube();
    let mut before = 0.0f32;
    for unit in 0..UNIT_POS_X as usize {
        before += shared[unit];
    }
    // Only the thread in whose part the nth tie is has an answer.
    let mut end = 0.0f32;
    if before < n && before + own >= n {
        let mut seen = before;
        for id in position.begin..position.end {
            if seen < n && mass_of(logits, position, id) == mass && is_kept(kept, mass, id) {
                seen += 1.0f32;
                end = f32::cast_from(id + 1);
            }
        }
    }
    usize::cast_from(largest(end, shared, threads))
}

#[cube(launch)]
#[allow(unused_assignments)] // the kernel has one of the branches alone
fn draw_kernel(
    logits: &Tensor<f32>,
    rows: &Tensor<i32>,
    uniforms: &Tensor<f32>,
    draws: &mut Tensor<f32>,
    vocabulary: usize,
    inverse_temperature: f32,
    top_k: f32,
    top_p: f32,
    min_p: f32,
    #[comptime] greedy: bool,
    #[comptime] cuts_k: bool,
    #[comptime] cuts_p: bool,
    #[comptime] cuts_min: bool,
    #[comptime] threads: usize,
) {
    let unit = UNIT_POS_X as usize;
    let own = CUBE_POS;
    if own >= rows.len() {
        terminate!();
    }
    let start = rows[own] as usize * vocabulary;
    let part = vocabulary.div_ceil(threads);
    let begin = min(unit * part, vocabulary);
    let end = min(begin + part, vocabulary);
    let mut shared = Shared::<[f32]>::new_slice(threads);

    let mut high = f32::MIN.runtime();
    let mut not_finite = 0.0f32;
    for id in begin..end {
        let z = logits[start + id];
        high = max(high, z);
        if (u32::reinterpret(z) & NOT_FINITE) == NOT_FINITE {
            not_finite += 1.0f32;
        }
    }
    let high = largest(high, &mut shared, threads);
    let not_finite = sum(not_finite, &mut shared, threads);
    let position = Position { start, begin, end, high, inverse_temperature };

    // The whole distribution.
    let mut total = 0.0f32;
    let mut weighted = 0.0f32;
    let mut id = begin;
    while id < end {
        let stop = min(id + BLOCK, end);
        let mut block = 0.0f32;
        let mut block_weighted = 0.0f32;
        while id < stop {
            let logarithm = (logits[start + id] - high) * inverse_temperature;
            let mass = f32::exp(logarithm);
            block += mass;
            // A mass is 0 long before its logarithm is this low.
            block_weighted += mass * max(logarithm, -1000.0f32);
            id += 1;
        }
        total += block;
        weighted += block_weighted;
    }
    let total = sum(total, &mut shared, threads);
    let weighted = sum(weighted, &mut shared, threads);

    let mut token = (-1.0f32).runtime();
    if greedy {
        // The first of the best.
        let mut best = f32::cast_from(vocabulary);
        for id in begin..end {
            if logits[start + id] == high {
                best = min(best, f32::cast_from(id));
            }
        }
        token = -largest(-best, &mut shared, threads);
    } else {
        let mut kept = Kept { mass: 0.0f32.runtime(), end: vocabulary };
        if cuts_k {
            let bits = bisect(logits, &position, &kept, top_k, &mut shared, true, threads);
            let above = f32::reinterpret(bits + 1);
            let more = tally(logits, &position, &kept, above, &mut shared, true, threads);
            let mass = f32::reinterpret(bits);
            let end = end_of_ties(logits, &position, &kept, mass, top_k - more, &mut shared, threads);
            kept.mass = mass;
            kept.end = end;
        }
        if cuts_p {
            let target = top_p * tally(logits, &position, &kept, 0.0f32, &mut shared, false, threads);
            let bits = bisect(logits, &position, &kept, target, &mut shared, false, threads);
            let above = f32::reinterpret(bits + 1);
            let more = tally(logits, &position, &kept, above, &mut shared, false, threads);
            let mass = f32::reinterpret(bits);
            let n = max(f32::ceil((target - more) / mass), 1.0f32);
            let all = own_ties(logits, &position, &kept, mass);
            let n = min(n, sum(all, &mut shared, threads));
            let end = end_of_ties(logits, &position, &kept, mass, n, &mut shared, threads);
            kept.mass = mass;
            kept.end = end;
        }
        if cuts_min && min_p > kept.mass {
            kept.mass = min_p;
            kept.end = vocabulary;
        }

        // The first token at which the running sum passes the uniform number times the sum.
        let own_sum = own_tally(logits, &position, &kept, 0.0f32, false);
        sync_cube();
        shared[unit] = own_sum;
        sync_cube();
        let mut kept_total = 0.0f32;
        for other in 0..threads {
            kept_total += shared[other];
        }
        let target = uniforms[2 * own] * kept_total + uniforms[2 * own + 1] * kept_total;
        let mut before = 0.0f32;
        for other in 0..unit {
            before += shared[other];
        }
        // The last thread with a mass takes what rounding leaves over.
        let mut is_last = own_sum > 0.0f32;
        for other in unit + 1..threads {
            if shared[other] > 0.0f32 {
                is_last = false;
            }
        }
        let mut found = (-1.0f32).runtime();
        if own_sum > 0.0f32 && target >= before && (target < before + own_sum || is_last) {
            let mut rest = target - before;
            let mut searching = true.runtime();
            let mut id = begin;
            while id < end {
                let first = id;
                let stop = min(id + BLOCK, end);
                let mut block = 0.0f32;
                let mut last = (-1.0f32).runtime();
                while id < stop {
                    let mass = mass_of(logits, &position, id);
                    if mass > 0.0f32 && is_kept(&kept, mass, id) {
                        block += mass;
                        last = f32::cast_from(id);
                    }
                    id += 1;
                }
                if searching && last >= 0.0f32 {
                    // If rounding lets the sum never pass, the last token with a mass is taken.
                    found = last;
                    if rest < block {
                        for id in first..stop {
                            let mass = mass_of(logits, &position, id);
                            if searching && mass > 0.0f32 && is_kept(&kept, mass, id) {
                                found = f32::cast_from(id);
                                rest -= mass;
                                searching = rest >= 0.0f32;
                            }
                        }
                        searching = false.runtime();
                    } else {
                        rest -= block;
                    }
                }
            }
        }
        token = largest(found, &mut shared, threads);
    }

    if unit == 0 {
        let id = usize::cast_from(max(token, 0.0f32));
        let log_total = f32::ln(total);
        draws[4 * own] = token;
        draws[4 * own + 1] = (logits[start + id] - high) * inverse_temperature - log_total;
        draws[4 * own + 2] = log_total - weighted / total;
        draws[4 * own + 3] = not_finite;
    }
}

pub(super) fn draw(
    logits: CubeTensor,
    rows: CubeTensor,
    uniforms: CubeTensor,
    options: &DrawOptions,
) -> CubeTensor {
    let (logits, rows, uniforms) = (whole(logits), whole(rows), whole(uniforms));
    let [_, vocabulary] = logits.meta.shape().dims();
    let [n] = rows.meta.shape().dims();
    let draws = empty_like(&logits, [n, 4]);
    let (top_k, top_p) = (options.top_k.filter(|k| *k < vocabulary), options.top_p.filter(|p| *p < 1.0));
    let (client, count) = (logits.client.clone(), groups(&logits, n));
    draw_kernel::launch(
        &client,
        count,
        CubeDim::new_1d(THREADS as u32),
        logits.into_tensor_arg(),
        rows.into_tensor_arg(),
        uniforms.into_tensor_arg(),
        draws.clone().into_tensor_arg(),
        vocabulary,
        options.inverse_temperature,
        top_k.unwrap_or(0) as f32,
        top_p.unwrap_or(0.0),
        options.min_p.unwrap_or(0.0),
        options.greedy,
        top_k.is_some(),
        top_p.is_some(),
        options.min_p.is_some(),
        THREADS,
    );
    draws
}
