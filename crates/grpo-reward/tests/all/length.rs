//! Too long, and too much of the same.

use grpo_core::{Completion, Finish, Reward};
use grpo_reward::{Repetition, SettingError, SoftOverlong};
use proptest::prelude::*;

use crate::score;

fn overlong(max_tokens: usize, cache: usize, n_tokens: usize) -> f32 {
    let completion = Completion { text: String::new(), n_tokens, finish: Finish::Length };
    SoftOverlong::new(max_tokens, cache).unwrap().score("", &completion)
}

/// DAPO's numbers: 16384 tokens expected, 4096 of cache.
#[test]
fn the_soft_overlong_punishment_is_dapos() {
    let cases = [
        (0, 0.0),
        (16384, 0.0),
        (16385, -1.0 / 4096.0),
        (18432, -0.5),
        (20480, -1.0),
        (20481, -1.0),
        (usize::MAX, -1.0),
    ];
    for (n_tokens, expected) in cases {
        assert_eq!(overlong(20480, 4096, n_tokens), expected, "{n_tokens} tokens");
    }
    assert_eq!(overlong(100, 0, 100), 0.0);
    assert_eq!(overlong(100, 0, 101), -1.0);
    assert_eq!(overlong(100, 100, 50), -0.5);
    assert_eq!(SoftOverlong::new(10, 11), Err(SettingError::Overlong { max_tokens: 10, cache: 11 }));
}

#[test]
fn repetition() {
    let cases = [
        (2, -1.0, "a b c d", 0.0),
        (2, -1.0, "a b a b a", -0.5), // ab ba ab ba
        (2, -1.0, "A b\na  B a", -0.5),
        (3, -2.0, "a a a a a a", -1.5), // four times the same
        (1, -1.0, "a a a a", -0.75),
        (3, -1.0, "a a", 0.0),
        (3, -1.0, "", 0.0),
        (1, -1.0, " \n ", 0.0),
        (2, 0.0, "a a a a", 0.0),
        (usize::MAX, -1.0, "a a a a", 0.0),
        // No spaces, no words.
        (1, -1.0, "一一一一", 0.0),
    ];
    for (ngram_size, max_penalty, text, expected) in cases {
        assert_eq!(score(&Repetition::new(ngram_size, max_penalty).unwrap(), "", text), expected, "{text:?}");
    }
    for (ngram_size, max_penalty) in [(0, -1.0), (2, 1.0), (2, f32::NAN), (2, f32::NEG_INFINITY)] {
        let error = Repetition::new(ngram_size, max_penalty).unwrap_err();
        assert!(matches!(error, SettingError::Repetition { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn punishments_are_bounded(
        max in 0_usize..50,
        cache in 0_usize..50,
        n in 0_usize..120,
        text in "[ab ]{0,40}",
    ) {
        if cache <= max {
            prop_assert!((-1.0..=0.0).contains(&overlong(max, cache, n)));
            prop_assert!(overlong(max, cache, n + 1) <= overlong(max, cache, n));
        }
        prop_assert!((-1.0..=0.0).contains(&score(&Repetition::new(2, -1.0).unwrap(), "", &text)));
    }
}
