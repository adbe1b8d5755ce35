use grpo_math::exp;

use crate::InvalidOption;

/// The number of partial sums, which allows several additions at once.
const LANES: usize = 16;
/// The number of masses per stored sum; the sums speed up the search for a token.
const BLOCK: usize = 256;

/// How the next token is drawn from the logits of a position.
///
/// The options apply in the order of transformers: temperature, top-k, top-p, min-p. They are named as in TRL's
/// `GRPOConfig`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Sampling {
    /// Divides the logits; 0 selects the most probable token.
    pub temperature: f32,
    /// Keeps the `top_k` most probable tokens.
    pub top_k: Option<usize>,
    /// Keeps the fewest most probable tokens whose probabilities sum to at least `top_p`.
    pub top_p: Option<f32>,
    /// Keeps tokens at least `min_p` times as probable as the most probable one.
    pub min_p: Option<f32>,
}

impl Default for Sampling {
    /// The model's own distribution: temperature 1, nothing cut off.
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None, min_p: None }
    }
}

/// A token drawn from a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// The token's id.
    pub token: u32,
    /// Its natural log-probability under `softmax(logits / temperature)` over the whole vocabulary.
    ///
    /// Tokens that top-k, top-p and min-p cut off still count in the denominator: training also computes the
    /// log-probability over the whole vocabulary, so the two agree (TRL does the same). Under greedy decoding
    /// (temperature 0), it is the log-probability at temperature 1.
    pub logprob: f32,
    /// The entropy of the same distribution, in nats.
    pub entropy: f32,
}

impl Sampling {
    /// Selects the most probable token.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Checks that every option is in its range.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        let invalid = |option, value, expected| Err(InvalidOption::new(option, value, expected));
        // A subnormal temperature has no finite inverse.
        if self.temperature != 0.0 && !(self.temperature > 0.0 && self.temperature.is_normal()) {
            return invalid("temperature", self.temperature, "it must be 0 or a positive number");
        }
        if self.top_k == Some(0) {
            return Err(InvalidOption::new("top_k", 0, "it must be at least 1"));
        }
        for (option, value) in [("top_p", self.top_p), ("min_p", self.min_p)] {
            if let Some(p) = value.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
                return invalid(option, p, "it must be above 0 and at most 1");
            }
        }
        Ok(())
    }

    /// Draws a token from `logits` (one position, all finite) with the uniform number `u` in `[0, 1)`; `None` if
    /// the logits are not finite.
    pub fn draw(&self, logits: &[f32], u: f64) -> Option<Draw> {
        let (best, max) = argmax(logits)?;
        let inverse = if self.temperature == 0.0 { 1.0 } else { 1.0 / self.temperature };
        let mut masses: Vec<f32> = logits.iter().map(|z| exp((z - max) * inverse)).collect();
        let total: f64 = block_sums(&masses).iter().sum();
        if !total.is_finite() {
            return None;
        }
        let entropy = total.ln() - weighted_sum(&masses, logits, max, inverse) / total;
        let token = if self.temperature == 0.0 {
            best
        } else {
            self.truncate(&mut masses);
            invert(&masses, u)
        };
        let logprob = f64::from((logits[token] - max) * inverse) - total.ln();
        Some(Draw { token: token as u32, logprob: logprob as f32, entropy: entropy as f32 })
    }

    /// Sets the mass of every token that is cut off to 0.
    fn truncate(&self, masses: &mut [f32]) {
        if self.top_k.is_none() && self.top_p.is_none() && self.min_p.is_none() {
            return;
        }
        let mut order: Vec<usize> = (0..masses.len()).collect();
        let heavier = |a: &usize, b: &usize| masses[*b].total_cmp(&masses[*a]).then(a.cmp(b));
        if let Some(k) = self.top_k.filter(|k| *k < order.len()) {
            order.select_nth_unstable_by(k - 1, heavier);
            order.truncate(k);
        }
        order.sort_unstable_by(heavier);
        if let Some(p) = self.top_p {
            let total: f64 = order.iter().map(|i| f64::from(masses[*i])).sum();
            let mut sum = 0.0;
            let enough = order.iter().position(|i| {
                sum += f64::from(masses[*i]);
                sum >= f64::from(p) * total
            });
            order.truncate(enough.map_or(order.len(), |last| last + 1));
        }
        if let Some(p) = self.min_p {
            let least = p * masses[order[0]];
            order.retain(|i| masses[*i] >= least);
        }
        let mut kept = vec![0.0; masses.len()];
        for i in order {
            kept[i] = masses[i];
        }
        masses.copy_from_slice(&kept);
    }
}

/// The first index of the largest value; `None` if a value is NaN or infinite, or there is none.
fn argmax(logits: &[f32]) -> Option<(usize, f32)> {
    // Only finite values give 0; the sums are separate so that they can be computed in parallel.
    let mut largest = [f32::NEG_INFINITY; LANES];
    let mut zeros = [0.0f32; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, z) in chunk.iter().enumerate() {
            largest[lane] = if *z > largest[lane] { *z } else { largest[lane] };
            zeros[lane] += z * 0.0;
        }
    }
    let finite = zeros.iter().all(|zero| *zero == 0.0) && rest.iter().all(|z| z.is_finite());
    let max = largest.iter().chain(rest).copied().reduce(f32::max)?;
    let index = logits.iter().position(|z| *z == max)?;
    finite.then_some((index, max))
}

/// The sums of masses (unnormalized probabilities), one for each [`BLOCK`] of them.
fn block_sums(masses: &[f32]) -> Vec<f64> {
    let sum = |block: &[f32]| {
        let mut lanes = [0.0f64; LANES];
        for chunk in block.chunks(LANES) {
            lanes.iter_mut().zip(chunk).for_each(|(sum, w)| *sum += f64::from(*w));
        }
        lanes.iter().sum()
    };
    masses.chunks(BLOCK).map(sum).collect()
}

/// The sum of `mass · (logit − max) · inverse`: of masses, times their logarithms.
fn weighted_sum(masses: &[f32], logits: &[f32], max: f32, inverse: f32) -> f64 {
    // A mass is 0 long before its logarithm reaches this, and 0 times infinity is NaN.
    let logarithm = |z: f32| ((z - max) * inverse).max(-1000.0);
    let sum = |(masses, logits): (&[f32], &[f32])| {
        let mut lanes = [0.0f64; LANES];
        for (masses, logits) in masses.chunks(LANES).zip(logits.chunks(LANES)) {
            let terms = masses.iter().zip(logits).map(|(w, z)| f64::from(w * logarithm(*z)));
            lanes.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
        lanes.iter().sum::<f64>()
    };
    masses.chunks(BLOCK).zip(logits.chunks(BLOCK)).map(sum).sum()
}

/// The first index at which the running sum of `masses` exceeds `u` times their sum.
fn invert(masses: &[f32], u: f64) -> usize {
    let sums = block_sums(masses);
    let mut rest = u * sums.iter().sum::<f64>();
    for (block, sum) in sums.iter().enumerate() {
        // Search any block in which rounding may let the sum pass the target.
        if rest > sum * (1.0 + 1e-9) {
            rest -= sum;
            continue;
        }
        for (i, w) in
            masses.iter().enumerate().skip(block * BLOCK).take(BLOCK).filter(|(_, mass)| **mass > 0.0)
        {
            rest -= f64::from(*w);
            if rest < 0.0 {
                return i;
            }
        }
    }
    masses.iter().rposition(|w| *w > 0.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SampleKey;

    const LOGITS: [f32; 6] = [1.0, -0.5, 2.0, 0.0, 1.5, -3.0];

    fn probabilities(temperature: f32) -> Vec<f64> {
        let masses: Vec<f64> = LOGITS.iter().map(|z| f64::from(z / temperature).exp()).collect();
        let total: f64 = masses.iter().sum();
        masses.iter().map(|w| w / total).collect()
    }

    /// Draws many tokens, checks their log-probabilities, and returns how often each was drawn.
    fn frequencies(sampling: &Sampling, n: usize) -> Vec<f64> {
        let full = probabilities(sampling.temperature);
        let entropy: f64 = full.iter().map(|p| -p * p.ln()).sum();
        let key = SampleKey { seed: 11, step: 0, problem: 0, sample: 0 };
        let mut counts = vec![0.0; LOGITS.len()];
        for token in 0..n {
            let draw = sampling.draw(&LOGITS, key.uniform(token)).unwrap();
            assert!((f64::from(draw.logprob) - full[draw.token as usize].ln()).abs() < 1e-6);
            assert!((f64::from(draw.entropy) - entropy).abs() < 1e-6);
            counts[draw.token as usize] += 1.0;
        }
        counts
    }

    /// Chi-squared test of the sampled frequencies against the expected ones at p = 0.001.
    fn check(sampling: Sampling, kept: &[usize]) {
        let n = 100_000;
        let counts = frequencies(&sampling, n);
        let full = probabilities(sampling.temperature);
        let mass: f64 = kept.iter().map(|i| full[*i]).sum();
        let mut chi_squared = 0.0;
        for (i, count) in counts.iter().enumerate() {
            if !kept.contains(&i) {
                assert_eq!(*count, 0.0, "token {i} is cut off by {sampling:?}");
                continue;
            }
            let expected = n as f64 * full[i] / mass;
            chi_squared += (count - expected) * (count - expected) / expected;
        }
        let critical = [0.0, 10.83, 13.82, 16.27, 18.47, 20.52][kept.len() - 1];
        assert!(chi_squared <= critical, "{sampling:?}: chi-squared {chi_squared} > {critical}");
    }

    #[test]
    fn frequencies_match_the_distribution() {
        let all = [0, 1, 2, 3, 4, 5];
        check(Sampling::default(), &all);
        check(Sampling { temperature: 0.5, ..Sampling::default() }, &all);
        check(Sampling { temperature: 2.5, ..Sampling::default() }, &all);
        check(Sampling { top_k: Some(3), ..Sampling::default() }, &[0, 2, 4]);
        check(Sampling { top_k: Some(60), ..Sampling::default() }, &all);
        // Probabilities: 0.18, 0.04, 0.48, 0.065, 0.29, 0.003.
        check(Sampling { top_p: Some(0.7), ..Sampling::default() }, &[2, 4]);
        check(Sampling { min_p: Some(0.3), ..Sampling::default() }, &[0, 2, 4]);
        check(Sampling { top_k: Some(3), top_p: Some(0.8), ..Sampling::default() }, &[2, 4]);
        check(Sampling { top_p: Some(0.0001), ..Sampling::default() }, &[2]);
    }

    proptest! {
        /// For any logits, options and uniform number: the token is one that the options keep, by their definitions, and
        /// comes with its probability in the whole distribution.
        #[test]
        fn a_token_is_one_that_is_kept(
            logits in prop::collection::vec(-40.0_f32..40.0, 1..300),
            temperature in 0.05_f32..10.0,
            top_k in prop::option::of(1_usize..50),
            top_p in prop::option::of(0.01_f32..=1.0),
            min_p in prop::option::of(0.001_f32..=1.0),
            u in 0.0..1.0,
        ) {
            let sampling = Sampling { temperature, top_k, top_p, min_p };
            sampling.validate().unwrap();
            let draw = sampling.draw(&logits, u).unwrap();
            let token = draw.token as usize;
            let max = logits.iter().copied().fold(f32::MIN, f32::max);
            let mass = |z: f32| f64::from((z - max) / temperature).exp();
            let total: f64 = logits.iter().map(|z| mass(*z)).sum();
            let own = mass(logits[token]);
            prop_assert!((f64::from(draw.logprob) - (own / total).ln()).abs() < 1e-3, "{draw:?}");
            prop_assert!((-1e-3..=(logits.len() as f64).ln() + 1e-3).contains(&f64::from(draw.entropy)), "{draw:?}");
            let heavier: Vec<f64> =
                logits.iter().map(|z| mass(*z)).filter(|w| *w > own * (1.0 + 1e-4)).collect();
            prop_assert!(top_k.is_none_or(|k| heavier.len() < k));
            prop_assert!(min_p.is_none_or(|p| own >= f64::from(p) * (1.0 - 1e-4)));
            // Among the tokens that top-k keeps, those before this one have less than `top_p` together.
            let mut kept: Vec<f64> = logits.iter().map(|z| mass(*z)).collect();
            kept.sort_by(|a, b| b.total_cmp(a));
            kept.truncate(top_k.unwrap_or(usize::MAX));
            let before: f64 = heavier.iter().sum();
            let mass = kept.iter().sum::<f64>();
            prop_assert!(top_p.is_none_or(|p| before < (f64::from(p) + 1e-4) * mass));
        }
    }

    #[test]
    fn greedy_takes_the_first_best_token_with_its_logprob() {
        let draw = Sampling::greedy().draw(&[0.0, 3.0, 3.0], 0.99).unwrap();
        assert_eq!(draw.token, 1);
        assert!((draw.logprob - (-((2.0 + (-3f32).exp()).ln()))).abs() < 1e-6);
    }

    #[test]
    fn ends_of_the_unit_interval_stay_inside_the_vocabulary() {
        for u in [0.0, 1.0 - f64::EPSILON / 2.0] {
            let draw = Sampling::default().draw(&[f32::MIN, 0.0, f32::MIN], u).unwrap();
            assert_eq!((draw.token, draw.entropy), (1, 0.0));
        }
    }

    #[test]
    fn logits_that_are_not_numbers_are_refused() {
        assert_eq!(Sampling::default().draw(&[0.0, f32::NAN], 0.5), None);
        assert_eq!(Sampling::greedy().draw(&[0.0, f32::INFINITY], 0.5), None);
        assert_eq!(Sampling::default().draw(&[], 0.5), None);
    }

    #[test]
    fn the_smallest_and_largest_temperatures_can_be_drawn_at() {
        for (temperature, u) in [(f32::MIN_POSITIVE, 0.99), (f32::MAX, 0.5)] {
            let sampling = Sampling { temperature, ..Sampling::default() };
            sampling.validate().unwrap();
            let draw = sampling.draw(&[1.0, 0.0, 3.0], u).unwrap();
            assert!(draw.logprob.is_finite(), "{temperature}: {draw:?}");
        }
    }

    #[test]
    fn options_out_of_range_are_named() {
        let bad = [
            (Sampling { temperature: -1.0, ..Sampling::default() }, "temperature"),
            (Sampling { temperature: f32::NAN, ..Sampling::default() }, "temperature"),
            (Sampling { temperature: f32::INFINITY, ..Sampling::default() }, "temperature"),
            (Sampling { temperature: 1e-39, ..Sampling::default() }, "temperature"),
            (Sampling { top_k: Some(0), ..Sampling::default() }, "top_k"),
            (Sampling { top_p: Some(0.0), ..Sampling::default() }, "top_p"),
            (Sampling { min_p: Some(1.5), ..Sampling::default() }, "min_p"),
        ];
        for (sampling, name) in bad {
            let message = sampling.validate().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
