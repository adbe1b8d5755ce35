//! Rewards that see the question and all completions of a problem.

use std::time::Duration;

use grpo_core::{Asked, Completion, Finish, GroupReward, Message};
use grpo_reward::{RewardError, RewardStatistics, Rubric, Scores};

/// Rewards by a function.
struct By<F>(F);

impl<F> GroupReward<str> for By<F>
where
    F: Fn(&Asked<'_, str>, &[Completion]) -> Result<Vec<Option<f32>>, String> + Send + Sync,
{
    fn score_group(
        &self,
        asked: &Asked<'_, str>,
        completions: &[Completion],
    ) -> Result<Vec<Option<f32>>, String> {
        (self.0)(asked, completions)
    }

    fn version(&self) -> String {
        "3".into()
    }
}

fn length(_: &str, completion: &Completion) -> f32 {
    completion.text.len() as f32
}

/// The length in the question's, or nothing where the text is empty.
fn relative(asked: &Asked<'_, str>, completions: &[Completion]) -> Result<Vec<Option<f32>>, String> {
    let of = asked.question().len() as f32;
    let share =
        |completion: &Completion| (!completion.text.is_empty()).then(|| completion.text.len() as f32 / of);
    Ok(completions.iter().map(share).collect())
}

fn completions(texts: &[&str]) -> Vec<Completion> {
    let completion = |text: &&str| Completion { text: (*text).into(), n_tokens: 1, finish: Finish::Stop };
    texts.iter().map(completion).collect()
}

fn score(rubric: &Rubric<str>, texts: &[&str]) -> Result<Vec<Scores>, RewardError> {
    let messages = [Message::new("user", "four")];
    rubric.score_group(&Asked { messages: &messages, truth: "" }, &completions(texts))
}

#[test]
fn what_abstains_is_left_out_of_the_total_and_the_statistics() {
    let rubric = Rubric::<str>::new().with("length", 0.5, length).with_group("relative", 2.0, By(relative));
    assert_eq!(rubric.versions().collect::<Vec<_>>(), ["", "3"]);
    for rubric in [rubric, by_parts().with_time_limit(Duration::from_secs(5))] {
        let scores = score(&rubric, &["ab", "", "abcd"]).unwrap();
        assert_eq!(scores.iter().map(|scores| scores.total).collect::<Vec<_>>(), [2.0, 0.0, 4.0]);
        assert!(scores[1].each[1].is_nan() && scores[1].paid[1].is_nan());
        let [_, relative] = &RewardStatistics::of(rubric.names(), &scores)[..] else { panic!() };
        assert_eq!((relative.n, relative.mean, relative.above_zero), (2, 0.75, 1.0));
    }
    let alone = Rubric::<str>::new().with_group("relative", 1.0, By(relative));
    assert!(score(&alone, &[""]).unwrap()[0].total.is_nan());
    // A gate that abstains is shut.
    let gated = by_parts().gate("length", "relative").unwrap();
    let scores = score(&gated, &["ab", ""]).unwrap();
    assert_eq!((scores[0].paid[0], scores[1].paid[0], scores[1].total), (2.0, 0.0, 0.0));
}

fn by_parts() -> Rubric<str> {
    Rubric::new().with("length", 0.5, length).with_group("relative", 2.0, By(relative))
}

#[test]
fn what_fails_says_so() {
    let fails = |_: &Asked<'_, str>, _: &[Completion]| Err("no compiler".to_owned());
    let forgets = |_: &Asked<'_, str>, _: &[Completion]| Ok(vec![Some(1.0)]);
    let panics = |_: &Asked<'_, str>, _: &[Completion]| panic!("out of cheese");
    let infinite = |_: &Asked<'_, str>, all: &[Completion]| Ok(vec![Some(f32::INFINITY); all.len()]);
    let with = |limit: Option<Duration>, rubric: Rubric<str>| match limit {
        Some(limit) => rubric.with_time_limit(limit),
        None => rubric,
    };
    for limit in [None, Some(Duration::from_secs(5))] {
        let part = || Rubric::<str>::new().with("length", 1.0, length);
        for (rubric, expected) in [
            (part().with_group("code", 1.0, By(fails)), "reward `code` failed: no compiler"),
            (
                part().with_group("code", 1.0, By(forgets)),
                "reward `code` failed: it gave 1 rewards for 2 completions",
            ),
            (
                part().with_group("code", 1.0, By(panics)),
                "reward `code` panicked (out of cheese) on a group of completions",
            ),
            (part().with_group("code", 1.0, By(infinite)), "reward `code` gave inf"),
        ] {
            let error = score(&with(limit, rubric), &["a", "b"]).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
    let hangs = |_: &Asked<'_, str>, _: &[Completion]| loop {
        std::thread::park();
    };
    let rubric =
        Rubric::<str>::new().with_group("code", 1.0, By(hangs)).with_time_limit(Duration::from_millis(20));
    let error = score(&rubric, &["a", "b"]).unwrap_err().to_string();
    assert!(
        error.contains("reward `code` was still at work after 40ms on a group of completions"),
        "{error}"
    );
}

#[test]
fn groups_are_scored_side_by_side_in_their_order() {
    let slowly = |asked: &Asked<'_, str>, all: &[Completion]| {
        std::thread::sleep(Duration::from_millis(if asked.truth == "0" { 60 } else { 1 }));
        if asked.truth.ends_with('7') { Err(asked.truth.to_owned()) } else { relative(asked, all) }
    };
    let rubric = by_parts().with_group("slow", 1.0, By(slowly));
    let messages = [Message::new("user", "four")];
    let truths: Vec<String> = (0..40).map(|i| i.to_string()).collect();
    let texts: Vec<String> = (0..40).map(|i| "x".repeat(i + 1)).collect();
    let group =
        |i: usize| (Asked { messages: &messages, truth: truths[i].as_str() }, completions(&[&texts[i], "y"]));
    let good: Vec<_> = (0..40).filter(|i| i % 10 != 7).map(group).collect();
    let scores = rubric.score_groups(&good).unwrap();
    let expected: Vec<Vec<Scores>> =
        good.iter().map(|(asked, group)| rubric.score_group(asked, group).unwrap()).collect();
    assert_eq!(scores, expected);
    // Of several failures, the first, whichever came first.
    let all: Vec<_> = (0..40).map(group).collect();
    let (i, error) = rubric.score_groups(&all).unwrap_err();
    assert_eq!((i, error.to_string()), (7, "reward `slow` failed: 7".to_owned()));
    assert_eq!(rubric.score_groups(&[]).unwrap(), Vec::<Vec<Scores>>::new());
}
