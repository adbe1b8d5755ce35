//! Regular expressions.

use grpo_reward::{Pattern, SettingError};

use crate::score;

#[test]
fn must_match_and_must_not() {
    let boxed = r"\\boxed\{[0-9]+\}";
    for (text, found) in [(r"So \boxed{18}.", true), (r"\boxed{}", false), ("", false)] {
        assert_eq!(score(&Pattern::must_match(boxed).unwrap(), "", text), if found { 0.5 } else { 0.0 });
        assert_eq!(score(&Pattern::must_not_match(boxed).unwrap(), "", text), if found { 0.0 } else { 0.5 });
    }
    let mut whole = Pattern::must_match("^a$").unwrap();
    whole.reward = 1.0;
    assert_eq!(score(&whole, "", "a"), 1.0);
    assert_eq!(score(&whole, "", "b\na\nb"), 0.0);
}

#[test]
fn a_pattern_that_is_none_is_an_error() {
    for pattern in ["(", "a{2,1}", "(?=a)", r"\w{1000}{1000}"] {
        let error = Pattern::must_match(pattern).unwrap_err();
        assert!(
            matches!(&error, SettingError::Pattern { pattern: named, .. } if named == pattern),
            "{error}"
        );
        assert!(error.to_string().contains(&format!("{pattern:?}")), "{error}");
        assert_eq!(Pattern::must_not_match(pattern).unwrap_err(), error);
    }
}

/// With an engine that backtracks, these patterns take a time that doubles with every letter.
#[test]
fn a_pattern_cannot_be_made_slow() {
    for pattern in ["^(a+)+$", "^(a|a)*$", "^(.*a){12}$"] {
        let text = format!("{}b", "a".repeat(100_000));
        assert_eq!(score(&Pattern::must_match(pattern).unwrap(), "", &text), 0.0);
    }
}
