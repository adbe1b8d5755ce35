//! Splits completions among the processes of a collective.

use grpo_rollout::PromptCompletions;

/// The completions of each process, in their order and with about as many tokens as every other's; with few completions, some processes
/// have none. A prompt whose completions are split goes through the model in each process that has some of them.
pub(crate) fn shares<'a>(
    prompts: &[PromptCompletions<'a>],
    processes: usize,
) -> Vec<Vec<PromptCompletions<'a>>> {
    // Completions of a prompt share its tokens.
    let cost = |of: &PromptCompletions<'_>, completion: &[u32]| {
        completion.len() + of.prompt.len() / of.completions.len()
    };
    let costs = |of: &PromptCompletions<'_>| of.completions.iter().map(|c| cost(of, c)).sum::<usize>();
    let total = prompts.iter().map(costs).sum::<usize>().max(1);
    let mut shares = vec![Vec::new(); processes];
    let mut before = 0;
    for of_prompt in prompts {
        let mut last = None;
        for &completion in &of_prompt.completions {
            // A completion goes to the process in whose part of the tokens its middle lies.
            let cost = cost(of_prompt, completion);
            let process = ((2 * before + cost) * processes / (2 * total)).min(processes - 1);
            let share: &mut Vec<PromptCompletions<'a>> = &mut shares[process];
            match share.last_mut().filter(|_| last == Some(process)) {
                Some(part) => part.completions.push(completion),
                None => {
                    let prompt = of_prompt.prompt;
                    share.push(PromptCompletions { prompt, completions: vec![completion] });
                }
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

    const TOKENS: [u32; 1000] = [1; 1000];

    fn prompt(length: usize, lengths: &[usize]) -> PromptCompletions<'static> {
        let completions = lengths.iter().map(|n| &TOKENS[..*n]).collect();
        PromptCompletions { prompt: &TOKENS[..length], completions }
    }

    fn lengths(share: &[PromptCompletions<'_>]) -> Vec<Vec<usize>> {
        share.iter().map(|of| of.completions.iter().map(|c| c.len()).collect()).collect()
    }

    /// Shares as the lengths of the completions of each prompt, which has 10 tokens.
    #[track_caller]
    fn check(prompts: &[&[usize]], processes: usize, expected: &[&[&[usize]]]) {
        let prompts: Vec<_> = prompts.iter().map(|lengths| prompt(10, lengths)).collect();
        let found: Vec<_> = shares(&prompts, processes).iter().map(|share| lengths(share)).collect();
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
    fn a_long_prompt_is_nobodys_alone() {
        let found = shares(&[prompt(1000, &[100; 8])], 4);
        let found: Vec<_> = found.iter().map(|share| lengths(share)).collect();
        assert_eq!(found, [[[100, 100]]; 4]);
    }

    #[test]
    fn shares_are_all_completions_in_their_order() {
        let prompts: Vec<_> = (0..7)
            .map(|i| prompt(1 + 40 * i % 97, &(0..i).map(|j| (i * 61 + j * 37) % 90).collect::<Vec<_>>()))
            .collect();
        let in_order = |prompts: &[PromptCompletions<'_>]| lengths(prompts).concat();
        for processes in 1..20 {
            let shares = shares(&prompts, processes);
            assert_eq!(shares.len(), processes);
            assert_eq!(in_order(&shares.concat()), in_order(&prompts));
        }
    }

    #[test]
    fn some_processes_may_have_none() {
        check(&[&[], &[50], &[]], 3, &[&[], &[&[50]], &[]]);
        check(&[&[]], 2, &[&[], &[]]);
        check(&[], 2, &[&[], &[]]);
    }
}
