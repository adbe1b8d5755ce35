//! Rollouts of a decoder that is a table: what is asked of it, how completions end, and what is drawn.

use std::cell::RefCell;
use std::ops::ControlFlow;

use burn::tensor::Tensor;
use grpo_core::Finish;
use grpo_rollout::{
    Decoder, Draw, DrawRequest, Ended, Request, RolloutError, Sample, SampleKey, Sampler, Sampling,
};

use crate::table::{CONTEXT, Call, Table, VOCABULARY, count};

const WEIGHTS: [f32; VOCABULARY] = [0.05, 0.4, 0.1, 0.2, 0.15, 0.1];

/// The same distribution everywhere.
fn fixed(_: &[u32]) -> [f32; VOCABULARY] {
    WEIGHTS.map(f32::ln)
}

fn sampler(stop: &[u32], max_tokens: usize) -> Sampler {
    Sampler { sampling: Sampling::default(), stop: stop.to_vec(), max_tokens, batch_rows: 64 }
}

fn keys_of(problem: u64, n: u64) -> Vec<SampleKey> {
    (0..n).map(|sample| SampleKey { seed: 3, step: 1, problem, sample }).collect()
}

/// A group of `n` completions of every prompt.
fn sample(
    sampler: &Sampler,
    table: &Table,
    prompts: &[&[u32]],
    n: u64,
) -> Result<Vec<Vec<Sample>>, RolloutError> {
    let keys: Vec<Vec<SampleKey>> = (0..prompts.len()).map(|i| keys_of(i as u64, n)).collect();
    let requests: Vec<Request<'_>> =
        prompts.iter().zip(&keys).map(|(prompt, keys)| Request { prompt, keys }).collect();
    sampler.sample(table, &requests)
}

/// The one completion of a prompt that counts upward.
fn counted(prompt: u32, stop: &[u32], max_tokens: usize) -> (Vec<u32>, Finish) {
    let samples = sample(&sampler(stop, max_tokens), &Table::new(count), &[&[prompt]], 1).unwrap();
    let sample = samples.into_iter().flatten().next().unwrap();
    assert_eq!(sample.logprobs.len(), sample.tokens.len());
    (sample.tokens, sample.finish)
}

#[test]
fn completions_end_with_a_stop_token_or_at_the_limit() {
    assert_eq!(counted(0, &[3], 10), (vec![1, 2, 3], Finish::Stop));
    assert_eq!(counted(0, &[5, 2], 10), (vec![1, 2], Finish::Stop));
    assert_eq!(counted(2, &[3], 10), (vec![3], Finish::Stop));
    assert_eq!(counted(0, &[5], 3), (vec![1, 2, 3], Finish::Length));
    assert_eq!(counted(0, &[], 8), (vec![1, 2, 3, 4, 5, 0, 1, 2], Finish::Length));
    assert_eq!(counted(0, &[3], 3), (vec![1, 2, 3], Finish::Stop), "a stop token at the limit is a stop");
    assert_eq!(counted(0, &[3], 2), (vec![1, 2], Finish::Length));
    assert_eq!(counted(4, &[0], 1), (vec![5], Finish::Length));
    assert_eq!(
        counted(3, &[3], 7),
        (vec![4, 5, 0, 1, 2, 3], Finish::Stop),
        "the prompt's own token stops nothing"
    );
}

#[test]
fn prompts_are_read_once_and_finished_rows_leave() {
    let table = Table::new(count);
    let samples = sample(&sampler(&[5], 10), &table, &[&[3, 1], &[3]], 2).unwrap();
    let tokens: Vec<Vec<u32>> = samples.into_iter().flatten().map(|sample| sample.tokens).collect();
    assert_eq!(tokens, [vec![2, 3, 4, 5], vec![2, 3, 4, 5], vec![4, 5], vec![4, 5]]);
    let expected = [
        Call::Cache(4, 12),
        Call::Prefill(vec![vec![3, 1], vec![3]]),
        Call::Start(vec![0, 1], vec![3, 1]),
        Call::Start(vec![2, 3], vec![3]),
        Call::Decode(vec![0, 1, 2, 3], vec![vec![3, 1, 2], vec![3, 1, 2], vec![3, 4], vec![3, 4]]),
        Call::Decode(vec![0, 1], vec![vec![3, 1, 2, 3], vec![3, 1, 2, 3]]),
        Call::Decode(vec![0, 1], vec![vec![3, 1, 2, 3, 4], vec![3, 1, 2, 3, 4]]),
    ];
    assert_eq!(*table.calls.borrow(), expected);
}

#[test]
fn a_completion_joins_when_another_ends() {
    let table = Table::new(count);
    let sampler = Sampler { batch_rows: 2, ..sampler(&[5], 10) };
    let samples = sample(&sampler, &table, &[&[2], &[0], &[4], &[3]], 1).unwrap();
    let tokens: Vec<Vec<u32>> = samples.into_iter().flatten().map(|sample| sample.tokens).collect();
    assert_eq!(tokens, [vec![3, 4, 5], vec![1, 2, 3, 4, 5], vec![5], vec![4, 5]]);
    let expected = [
        Call::Cache(2, 11),
        Call::Prefill(vec![vec![2], vec![0]]),
        Call::Start(vec![0], vec![2]),
        Call::Start(vec![1], vec![0]),
        Call::Decode(vec![0, 1], vec![vec![2, 3], vec![0, 1]]),
        Call::Decode(vec![0, 1], vec![vec![2, 3, 4], vec![0, 1, 2]]),
        // The first completion has ended. The third consists of its first token alone, so the row is still free.
        Call::Prefill(vec![vec![4]]),
        Call::Prefill(vec![vec![3]]),
        Call::Start(vec![0], vec![3]),
        Call::Decode(vec![1, 0], vec![vec![0, 1, 2, 3], vec![3, 4]]),
        Call::Decode(vec![1], vec![vec![0, 1, 2, 3, 4]]),
    ];
    assert_eq!(*table.calls.borrow(), expected);
}

#[test]
fn the_prompt_that_was_read_last_is_known() {
    let table = Table::new(count);
    let sampler = Sampler { batch_rows: 2, ..sampler(&[5], 10) };
    sample(&sampler, &table, &[&[2], &[0], &[4], &[3]], 1).unwrap();
    assert_eq!(*table.known.borrow(), [None, Some(vec![0]), Some(vec![4])]);
}

#[test]
fn completions_are_handed_out_as_they_end_until_that_is_enough() {
    let (decoder, keys) = (Table::new(count), [keys_of(0, 1), keys_of(1, 1), keys_of(2, 1)]);
    // They count to the stop token: the last has the shortest way.
    let prompts: [&[u32]; 3] = [&[1], &[2], &[3]];
    let requests: Vec<Request<'_>> =
        prompts.iter().zip(&keys).map(|(prompt, keys)| Request { prompt, keys }).collect();
    let sampler = sampler(&[5], 10);
    let all = sampler.sample(&decoder, &requests).unwrap();
    let mut ended = Vec::new();
    let mut receive = |enough| {
        ended.clear();
        sampler
            .sample_each(&decoder, &requests, &mut |completion: Ended| {
                ended.push(completion);
                if ended.len() == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        ended.clone()
    };
    let order: Vec<usize> = receive(usize::MAX).iter().map(|completion| completion.request).collect();
    assert_eq!(order, [2, 1, 0]);
    for Ended { request, index, sample } in receive(usize::MAX) {
        assert_eq!(sample, all[request][index]);
    }
    decoder.calls.borrow_mut().clear();
    assert_eq!(receive(1).len(), 1);
    let decoded = decoder.calls.borrow().iter().filter(|call| matches!(call, Call::Decode(..))).count();
    assert!(decoded < 3, "{decoded} steps after which nobody asked for more");
}

#[test]
fn completions_of_one_token_take_no_row() {
    let table = Table::new(count);
    let samples =
        sample(&Sampler { batch_rows: 2, ..sampler(&[], 1) }, &table, &[&[0], &[1], &[2]], 3).unwrap();
    let tokens: Vec<Vec<u32>> = samples.iter().flatten().map(|sample| sample.tokens.clone()).collect();
    assert_eq!(tokens, [1, 1, 1, 2, 2, 2, 3, 3, 3].map(|token| vec![token]));
    assert!(!table.calls.take().iter().any(|call| matches!(call, Call::Start(..) | Call::Decode(..))));
}

#[test]
fn the_rows_of_a_batch_are_always_taken_and_change_no_sample() {
    let table = Table::new(fixed);
    let sampler = Sampler { batch_rows: 3, ..sampler(&[0], 20) };
    let prompts: [&[u32]; 3] = [&[1], &[2, 2], &[3]];
    let found = sample(&sampler, &table, &prompts, 4).unwrap();
    let calls = table.calls.take();
    let read: Vec<Call> = calls.iter().filter(|c| matches!(c, Call::Prefill(_))).cloned().collect();
    assert_eq!(read, prompts.map(|prompt| Call::Prefill(vec![prompt.to_vec()])), "each prompt is read once");
    let rows: Vec<usize> = calls
        .iter()
        .filter_map(|c| if let Call::Decode(rows, _) = c { Some(rows.len()) } else { None })
        .collect();
    let last = rows.iter().rposition(|rows| *rows == 3).unwrap();
    assert!(rows[..last].iter().all(|rows| *rows == 3), "{rows:?}");
    for batch_rows in [1, 2, 5, 8, 100] {
        let sampler = Sampler { batch_rows, ..sampler.clone() };
        assert_eq!(sample(&sampler, &table, &prompts, 4).unwrap(), found, "{batch_rows} rows");
    }
}

#[test]
fn requests_without_keys_have_no_completions() {
    let table = Table::new(count);
    assert_eq!(sampler(&[5], 10).sample(&table, &[]).unwrap(), Vec::<Vec<Sample>>::new());
    assert_eq!(sample(&sampler(&[5], 10), &table, &[&[1], &[2]], 0).unwrap(), [vec![], vec![]]);
    assert!(table.calls.take().is_empty());
    let keys = keys_of(0, 1);
    let requests = [Request { prompt: &[1], keys: &[] }, Request { prompt: &[2], keys: &keys }];
    let samples = sampler(&[5], 10).sample(&table, &requests).unwrap();
    assert_eq!((samples[0].len(), samples[1][0].tokens.as_slice()), (0, &[3, 4, 5][..]));
}

/// Chi-squared test of frequencies against probabilities, at the critical value for p = 0.001.
fn check_frequencies(counts: &[usize], probabilities: &[f32], critical: f64) {
    let n: usize = counts.iter().sum();
    let statistic: f64 = counts
        .iter()
        .zip(probabilities)
        .map(|(count, p)| {
            let expected = n as f64 * f64::from(*p);
            (*count as f64 - expected).powi(2) / expected
        })
        .sum();
    assert!(statistic < critical, "chi-squared {statistic} of {counts:?}");
}

#[test]
fn tokens_come_with_their_probabilities_and_independently() {
    let prompts: Vec<&[u32]> = vec![&[1]; 20];
    let samples = sample(&sampler(&[], 40), &Table::new(fixed), &prompts, 50).unwrap().concat();
    let mut singles = [0; VOCABULARY];
    let mut neighbours = [0; VOCABULARY * VOCABULARY];
    let mut across = [0; VOCABULARY * VOCABULARY];
    let pair = |a: u32, b: u32| a as usize * VOCABULARY + b as usize;
    for sample in &samples {
        for (token, logprob) in sample.tokens.iter().zip(&sample.logprobs) {
            singles[*token as usize] += 1;
            assert!((logprob - WEIGHTS[*token as usize].ln()).abs() < 1e-6);
        }
        for two in sample.tokens.chunks_exact(2) {
            neighbours[pair(two[0], two[1])] += 1;
        }
    }
    for two in samples.chunks_exact(2) {
        for (a, b) in two[0].tokens.iter().zip(&two[1].tokens) {
            across[pair(*a, *b)] += 1;
        }
    }
    let pairs: Vec<f32> = WEIGHTS.iter().flat_map(|a| WEIGHTS.map(|b| a * b)).collect();
    check_frequencies(&singles, &WEIGHTS, 20.52);
    check_frequencies(&neighbours, &pairs, 66.62);
    check_frequencies(&across, &pairs, 66.62);
}

/// The error of a rollout, before which the decoder was not asked anything.
fn error_of(sampler: &Sampler, prompts: &[&[u32]]) -> RolloutError {
    let table = Table::new(count);
    let error = sample(sampler, &table, prompts, 2).unwrap_err();
    assert!(table.calls.take().is_empty(), "{error}");
    error
}

#[test]
fn options_out_of_range_are_refused() {
    for (bad, name) in [
        (sampler(&[], 0), "max_tokens"),
        (Sampler { batch_rows: 0, ..sampler(&[], 5) }, "batch_rows"),
        (
            Sampler { sampling: Sampling { top_k: Some(0), ..Sampling::default() }, ..sampler(&[], 5) },
            "top_k",
        ),
    ] {
        let error = error_of(&bad, &[&[1]]);
        assert!(
            matches!(&error, RolloutError::InvalidOption(invalid) if invalid.option == name),
            "{error:?}"
        );
    }
}

#[test]
fn prompts_that_cannot_be_continued_are_refused() {
    assert_eq!(error_of(&sampler(&[], 5), &[&[1], &[]]), RolloutError::EmptyPrompt { prompt: 1 });
    let unknown = RolloutError::UnknownToken { prompt: 0, token: 6, vocabulary: VOCABULARY };
    assert_eq!(error_of(&sampler(&[], 5), &[&[1, 6], &[7]]), unknown);
    let long = [1; CONTEXT];
    for (tokens, max_tokens) in [(CONTEXT, 1), (CONTEXT - 4, 5), (1, usize::MAX)] {
        let expected = RolloutError::PromptTooLong { prompt: 0, tokens, max_tokens, context: CONTEXT };
        assert_eq!(error_of(&sampler(&[], max_tokens), &[&long[..tokens]]), expected);
    }
}

#[test]
fn a_prompt_may_fill_the_context() {
    let prompt = [1; CONTEXT - 4];
    let samples = sample(&sampler(&[], 4), &Table::new(count), &[&prompt], 1).unwrap();
    assert_eq!(samples[0][0].tokens, [2, 3, 4, 5]);
}

#[test]
fn logits_that_are_not_finite_name_the_first_row() {
    let broken = |row: &[u32]| {
        let mut logits = count(row);
        if row.len() == 3 && row[0] > 0 {
            logits[0] = f32::NAN;
        }
        logits
    };
    let error = sample(&sampler(&[], 5), &Table::new(broken), &[&[0], &[1], &[2]], 2).unwrap_err();
    assert_eq!(error, RolloutError::NonFiniteLogits { prompt: 1, token: 2 });
}

/// A decoder that draws by itself: what its row says, until a number is too small for it.
struct Draws {
    table: Table,
    least: f64,
    asked: RefCell<Vec<Vec<DrawRequest>>>,
}

impl Decoder for Draws {
    type Cache = Vec<Vec<u32>>;
    type Prompt = Vec<u32>;

    fn context(&self) -> usize {
        CONTEXT
    }

    fn vocabulary(&self) -> usize {
        VOCABULARY
    }

    fn prefill(&self, prompts: &[&[u32]], known: Option<&Vec<u32>>) -> (Vec<Vec<u32>>, Tensor<2>) {
        self.table.prefill(prompts, known)
    }

    fn cache(&self, rows: usize, positions: usize) -> Self::Cache {
        self.table.cache(rows, positions)
    }

    fn start(&self, cache: &mut Self::Cache, rows: &[usize], prompt: &Vec<u32>) {
        self.table.start(cache, rows, prompt);
    }

    fn decode(&self, cache: &mut Self::Cache, rows: &[usize], tokens: &[u32]) -> Tensor<2> {
        self.table.decode(cache, rows, tokens)
    }

    fn draw(&self, _: Tensor<2>, requests: &[DrawRequest], _: &Sampling) -> Vec<Option<Draw>> {
        self.asked.borrow_mut().push(requests.to_vec());
        let draw = |r: &DrawRequest| Draw { token: r.row as u32, logprob: -0.5, entropy: 0.25 };
        requests.iter().map(|r| (r.uniform >= self.least).then(|| draw(r))).collect()
    }
}

#[test]
fn a_decoder_can_draw_by_itself() {
    let draws = |least| Draws { table: Table::new(count), least, asked: RefCell::default() };
    let (decoder, keys) = (draws(0.0), [keys_of(0, 2), keys_of(1, 1)]);
    let requests = [Request { prompt: &[1], keys: &keys[0] }, Request { prompt: &[2], keys: &keys[1] }];
    // The row of the second prompt says 1, which stops; then two rows are left, of which the second says 1.
    let samples = sampler(&[1], 3).sample(&decoder, &requests).unwrap();
    let tokens: Vec<&[u32]> = samples.iter().flatten().map(|sample| sample.tokens.as_slice()).collect();
    assert_eq!(tokens, [&[0, 0, 0][..], &[0, 1], &[1]]);
    assert_eq!((samples[0][0].logprobs[2], samples[0][0].entropies[2]), (-0.5, 0.25));
    let request = |row, problem: usize, sample: usize, token| DrawRequest {
        row,
        uniform: keys[problem][sample].uniform(token),
    };
    // At first a row of logits for each prompt, then one for each running row.
    let expected = [
        vec![request(0, 0, 0, 0), request(0, 0, 1, 0), request(1, 1, 0, 0)],
        vec![request(0, 0, 0, 1), request(1, 0, 1, 1)],
        vec![request(0, 0, 0, 2)],
    ];
    assert_eq!(decoder.asked.take(), expected);

    let error = sampler(&[], 3).sample(&draws(1.0), &requests).unwrap_err();
    assert_eq!(error, RolloutError::NonFiniteLogits { prompt: 0, token: 0 });
}
