//! Splits completions into micro-batches.

use grpo_rollout::PromptCompletions;

/// Splits the completions of prompts into batches of at most `max_tokens` tokens, or of a single completion that is longer.
/// Completions of the same prompt stay together if they fit, so that the prompt is computed once.
pub(crate) fn micro_batches<'a>(
    prompts: &[PromptCompletions<'a>],
    max_tokens: usize,
) -> Vec<Vec<PromptCompletions<'a>>> {
    let mut batches: Vec<Vec<PromptCompletions<'a>>> = Vec::new();
    let mut room = 0;
    for PromptCompletions { prompt, completions } in prompts {
        let mut rest = completions.as_slice();
        while !rest.is_empty() {
            let (n, tokens) = fitting(prompt, rest, max_tokens);
            let part = PromptCompletions { prompt, completions: rest[..n].to_vec() };
            rest = &rest[n..];
            match batches.last_mut() {
                Some(batch) if tokens <= room => batch.push(part),
                _ => {
                    batches.push(vec![part]);
                    room = max_tokens;
                }
            }
            room = room.saturating_sub(tokens);
        }
    }
    batches
}

/// How many of the first completions fit together with their prompt (at least one), and their tokens, including the prompt.
fn fitting(prompt: &[u32], completions: &[&[u32]], max_tokens: usize) -> (usize, usize) {
    let mut total = prompt.len();
    for (n, completion) in completions.iter().enumerate() {
        if n > 0 && total + completion.len() > max_tokens {
            return (n, total);
        }
        total += completion.len();
    }
    (completions.len(), total)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [u32; 100] = [1; 100];

    /// Completions of these lengths for a prompt of 10 tokens.
    fn prompt(lengths: &[usize]) -> PromptCompletions<'static> {
        let completions = lengths.iter().map(|n| &TOKENS[..*n]).collect();
        PromptCompletions { prompt: &TOKENS[..10], completions }
    }

    /// Batches as the lengths of the completions of each prompt.
    #[track_caller]
    fn check(prompts: &[&[usize]], max_tokens: usize, expected: &[&[&[usize]]]) {
        let prompts: Vec<_> = prompts.iter().map(|lengths| prompt(lengths)).collect();
        let lengths = |p: &PromptCompletions<'_>| p.completions.iter().map(|c| c.len()).collect::<Vec<_>>();
        let batches = micro_batches(&prompts, max_tokens);
        let found: Vec<Vec<_>> = batches.iter().map(|batch| batch.iter().map(lengths).collect()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn completions_of_a_prompt_stay_together_where_they_fit() {
        let (a, b, c): (&[usize], &[usize], &[usize]) = (&[5, 5], &[4, 6], &[3, 7]);
        check(&[a, b, c], 60, &[&[a, b, c]]);
        check(&[a, b, c], 59, &[&[a, b], &[c]]);
        check(&[a, b, c], 20, &[&[a], &[b], &[c]]);
    }

    #[test]
    fn what_is_too_long_is_split() {
        let long: &[usize] = &[5, 5, 90, 5];
        check(&[long], 20, &[&[&[5, 5]], &[&[90]], &[&[5]]]);
        check(&[long], 1, &[&[&[5]], &[&[5]], &[&[90]], &[&[5]]]);
    }

    #[test]
    fn a_prompt_without_completions_is_left_out() {
        check(&[&[], &[5], &[]], 20, &[&[&[5]]]);
        check(&[], 20, &[]);
    }
}
