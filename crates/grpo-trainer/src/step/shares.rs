//! Splits completions among the processes of a collective.

use grpo_rollout::PromptCompletions;

/// The completions of each process, in their order and with about as many tokens as every other's. A prompt whose completions are split
/// goes through the model in each process that has some of them.
pub(crate) fn shares<'a>(
    prompts: &[PromptCompletions<'a>],
    processes: usize,
) -> Vec<Vec<PromptCompletions<'a>>> {
    let with_completions = prompts.iter().filter(|of| !of.completions.is_empty());
    let tokens = |of: &PromptCompletions<'_>| of.prompt.len() + of.completions.concat().len();
    let total: usize = with_completions.map(tokens).sum();
    let mut shares = vec![Vec::new(); processes];
    let mut before = 0;
    for &PromptCompletions { prompt, ref completions } in prompts {
        let mut last = None;
        for (i, completion) in completions.iter().enumerate() {
            // The first completion brings the prompt with it, and where its middle lies decides.
            let cost = completion.len() + if i == 0 { prompt.len() } else { 0 };
            let process = ((2 * before + cost) * processes / (2 * total)).min(processes - 1);
            let share: &mut Vec<PromptCompletions<'a>> = &mut shares[process];
            match share.last_mut().filter(|_| last == Some(process)) {
                Some(of_prompt) => of_prompt.completions.push(completion),
                None => share.push(PromptCompletions { prompt, completions: vec![completion] }),
            }
            last = Some(process);
            before += cost;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [u32; 100] = [1; 100];

    /// Shares as the lengths of the completions of each prompt.
    #[track_caller]
    fn check(prompts: &[&[usize]], processes: usize, expected: &[&[&[usize]]]) {
        let prompt = |lengths: &&[usize]| PromptCompletions {
            prompt: &TOKENS[..10],
            completions: lengths.iter().map(|n| &TOKENS[..*n]).collect(),
        };
        let prompts: Vec<_> = prompts.iter().map(prompt).collect();
        let lengths = |p: &PromptCompletions<'_>| p.completions.iter().map(|c| c.len()).collect::<Vec<_>>();
        let shares = shares(&prompts, processes);
        let found: Vec<Vec<_>> = shares.iter().map(|share| share.iter().map(lengths).collect()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_process_has_about_as_many_tokens() {
        check(&[&[20, 20], &[20, 20]], 1, &[&[&[20, 20], &[20, 20]]]);
        check(&[&[20, 20], &[20, 20]], 2, &[&[&[20, 20]], &[&[20, 20]]]);
        check(&[&[90, 10, 10, 10]], 2, &[&[&[90]], &[&[10, 10, 10]]]);
        check(&[&[10, 10, 90, 10], &[20, 20]], 3, &[&[&[10, 10]], &[&[90]], &[&[10], &[20, 20]]]);
    }

    #[test]
    fn some_processes_may_have_none() {
        check(&[&[], &[50], &[]], 3, &[&[], &[&[50]], &[]]);
        check(&[&[]], 2, &[&[], &[]]);
        check(&[&[0, 0]], 2, &[&[], &[&[0, 0]]]);
    }
}
