use crate::{Experience, Group};

/// Completions of some groups that are passed through the model together.
pub(crate) struct MicroBatch<'a> {
    parts: Vec<Part<'a>>,
}

/// Completions of one group.
struct Part<'a> {
    group: &'a Group,
    members: Vec<Member<'a>>,
}

/// A completion of a micro-batch, and where it comes from.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) group: &'a Group,
    /// Its index in the group.
    pub(crate) sample: usize,
    /// Its index among the completions of all groups.
    pub(crate) index: usize,
    pub(crate) experience: &'a Experience,
}

impl<'a> MicroBatch<'a> {
    pub(crate) fn members(&self) -> impl Iterator<Item = Member<'a>> {
        self.parts.iter().flat_map(|part| part.members.iter().copied())
    }

    /// Calls `f` with the batch's tokens.
    pub(crate) fn packed<R>(&self, f: impl FnOnce(&[grpo_qwen2::Group<'_>]) -> R) -> R {
        let completions: Vec<Vec<&[u32]>> = self
            .parts
            .iter()
            .map(|part| part.members.iter().map(|m| m.experience.sample.tokens.as_slice()).collect())
            .collect();
        let groups: Vec<grpo_qwen2::Group<'_>> = self
            .parts
            .iter()
            .zip(&completions)
            .map(|(part, completions)| grpo_qwen2::Group { prompt: &part.group.prompt, completions })
            .collect();
        f(&groups)
    }
}

/// Splits the completions that `keep` lets pass into batches of at most `max_tokens` tokens, or of one completion if that
/// is longer. A group that fits stays whole, so that its prompt is computed once.
pub(crate) fn micro_batches(
    groups: &[Group],
    max_tokens: usize,
    keep: impl Fn(&Group, &Experience) -> bool,
) -> Vec<MicroBatch<'_>> {
    let mut batches: Vec<MicroBatch<'_>> = Vec::new();
    let (mut room, mut offset) = (0, 0);
    for group in groups {
        let all = group.experiences.iter().enumerate();
        let member = |(sample, experience)| Member { group, sample, index: offset + sample, experience };
        let kept: Vec<Member<'_>> =
            all.filter(|(_, experience)| keep(group, experience)).map(member).collect();
        offset += group.experiences.len();
        let mut rest = kept.as_slice();
        while !rest.is_empty() {
            let (n, tokens) = fitting(rest, group.prompt.len(), max_tokens);
            let part = Part { group, members: rest[..n].to_vec() };
            rest = &rest[n..];
            match batches.last_mut() {
                Some(batch) if tokens <= room => batch.parts.push(part),
                _ => {
                    batches.push(MicroBatch { parts: vec![part] });
                    room = max_tokens;
                }
            }
            room = room.saturating_sub(tokens);
        }
    }
    batches
}

/// How many of the first completions fit with their prompt, at least one; and their tokens, the prompt included.
fn fitting(members: &[Member<'_>], prompt: usize, max_tokens: usize) -> (usize, usize) {
    let mut total = prompt;
    for (n, member) in members.iter().enumerate() {
        let tokens = member.experience.sample.tokens.len();
        if n > 0 && total + tokens > max_tokens {
            return (n, total);
        }
        total += tokens;
    }
    (members.len(), total)
}

#[cfg(test)]
mod tests {
    use grpo_core::{Completion, Finish};
    use grpo_reward::Scores;
    use grpo_rollout::Sample;

    use super::*;

    fn sample(n: usize) -> Sample {
        let zeros = vec![0.0; n];
        Sample { tokens: vec![1; n], logprobs: zeros.clone(), entropies: zeros, finish: Finish::Stop }
    }

    fn group(problem: u64, prompt: usize, lengths: &[usize]) -> Group {
        let experience = |n: &usize| Experience {
            sample: sample(*n),
            completion: Completion { text: String::new(), n_tokens: *n, finish: Finish::Stop },
            scores: Scores { total: 0.0, each: vec![], paid: vec![] },
            advantage: 0.0,
            reference: vec![],
        };
        Group { problem, prompt: vec![1; prompt], experiences: lengths.iter().map(experience).collect() }
    }

    /// Batches as (problem, index in the group, index among all).
    fn check(groups: &[Group], max_tokens: usize, expected: &[&[(u64, usize, usize)]]) {
        let batches =
            micro_batches(groups, max_tokens, |group, e| group.problem != 9 && !e.sample.tokens.is_empty());
        let found: Vec<Vec<_>> = batches
            .iter()
            .map(|b| b.members().map(|m| (m.group.problem, m.sample, m.index)).collect())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn groups_stay_whole_where_they_fit() {
        let groups = [group(0, 10, &[5, 5]), group(1, 10, &[5, 5]), group(2, 10, &[5, 5])];
        let [a, b, c] = [0, 1, 2].map(|p| [(p, 0, 2 * p as usize), (p, 1, 2 * p as usize + 1)]);
        check(&groups, 60, &[&[a, b, c].concat()]);
        check(&groups, 59, &[&[a, b].concat(), &c]);
        check(&groups, 20, &[&a, &b, &c]);
    }

    #[test]
    fn a_group_that_is_too_long_is_split_and_a_skipped_one_counts() {
        let groups = [group(9, 10, &[1, 1, 1]), group(1, 10, &[5, 5, 90, 5])];
        check(&groups, 20, &[&[(1, 0, 3), (1, 1, 4)], &[(1, 2, 5)], &[(1, 3, 6)]]);
        check(&groups, 1, &[&[(1, 0, 3)], &[(1, 1, 4)], &[(1, 2, 5)], &[(1, 3, 6)]]);
    }

    #[test]
    fn completions_that_are_left_out_do_not_split_their_group() {
        check(&[group(1, 10, &[5, 0, 5])], 20, &[&[(1, 0, 0), (1, 2, 2)]]);
    }
}
