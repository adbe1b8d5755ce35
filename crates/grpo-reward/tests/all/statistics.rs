//! What rewards gave over many completions.

use grpo_reward::{RewardStatistics, Scores};

fn scores(each: &[f32]) -> Scores {
    Scores { total: 0.0, each: each.to_vec(), paid: vec![0.0; each.len()] }
}

#[test]
fn of_each_part() {
    let scores = [scores(&[2.0, -1.0]), scores(&[0.0, -1.0]), scores(&[2.0, -1.0]), scores(&[0.0, -1.0])];
    let statistics = RewardStatistics::of(["correctness", "length"], &scores);
    let std = (4.0_f64 / 3.0).sqrt();
    let expected = [("correctness", 1.0, std, 0.0, 2.0, 0.5), ("length", -1.0, 0.0, -1.0, -1.0, 0.0)].map(
        |(name, mean, std, min, max, above_zero)| RewardStatistics {
            name: name.to_owned(),
            n: 4,
            mean,
            std,
            min,
            max,
            above_zero,
        },
    );
    assert_eq!(statistics, expected);
}

#[test]
fn of_few() {
    let one = &RewardStatistics::of(["a"], &[scores(&[3.0])])[0];
    assert_eq!((one.n, one.mean, one.std, one.min, one.max), (1, 3.0, 0.0, 3.0, 3.0));
    assert_eq!(RewardStatistics::of(["a"], &[]), []);
    assert_eq!(RewardStatistics::of([""; 0], &[scores(&[])]), []);
}
