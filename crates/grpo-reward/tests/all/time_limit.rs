//! Rewards that take too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use grpo_core::{Asked, Completion};
use grpo_reward::{RewardError, Rubric};

use crate::completion;

const LIMIT: Duration = Duration::from_millis(200);

/// Hangs on the completion `hang` until it is released, and panics on `panic`.
fn rubric(released: &Arc<AtomicBool>) -> Rubric<String> {
    let released = released.clone();
    let hangs = move |_: &String, completion: &Completion| {
        while completion.text == "hang" && !released.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(completion.text != "panic", "as it was told to");
        1.0
    };
    Rubric::new()
        .with("length", 1.0, |truth: &String, completion: &Completion| {
            (truth.len() + completion.text.len()) as f32
        })
        .with("stuck", 1.0, hangs)
        .with_time_limit(LIMIT)
}

#[test]
fn the_one_that_hangs_is_named_and_the_others_go_on() {
    let released = Arc::new(AtomicBool::new(false));
    let rubric = rubric(&released);
    let truth = "18".to_string();
    let asked = Asked { messages: &[], truth: &truth };
    assert_eq!(rubric.score(&truth, &completion("abc")).unwrap().each, [5.0, 1.0]);
    let start = Instant::now();
    let error = rubric.score(&truth, &completion("hang")).unwrap_err();
    assert!((LIMIT..10 * LIMIT).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert!(
        matches!(&error, RewardError::TimedOut { reward, limit, completion } if reward == "stuck" && *limit == LIMIT && completion.as_deref() == Some("hang")),
        "{error}"
    );
    // What is left behind does not stand in the way, nor speak up later.
    assert_eq!(rubric.score(&truth, &completion("ab")).unwrap().each, [4.0, 1.0]);
    let group = ["a", "abc", "hang", "ab"].map(completion);
    let error = rubric.score_group(&asked, &group).unwrap_err();
    assert!(
        matches!(&error, RewardError::TimedOut { completion, .. } if completion.as_deref() == Some("hang")),
        "{error}"
    );
    let scores = rubric.score_group(&asked, &group[..2]).unwrap();
    assert_eq!(scores.iter().map(|scores| scores.total).collect::<Vec<_>>(), [4.0, 6.0]);
    released.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(rubric.score(&truth, &completion("a")).unwrap().each, [3.0, 1.0]);
}

#[test]
fn panics_are_named_as_without_a_limit() {
    let rubric = rubric(&Arc::new(AtomicBool::new(true)));
    let error = rubric.score(&"18".to_string(), &completion("panic")).unwrap_err();
    assert!(matches!(&error, RewardError::Panicked { reward, .. } if reward == "stuck"), "{error}");
    assert_eq!(rubric.score(&"18".to_string(), &completion("a")).unwrap().total, 4.0);
}
