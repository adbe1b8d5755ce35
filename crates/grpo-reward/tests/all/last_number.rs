//! The last number of a text.

use grpo_reward::LastNumber;
use proptest::prelude::*;

use crate::score;

#[test]
fn last_numbers() {
    for (text, expected) in [
        ("The answer is 18.", Some("18")),
        ("18 apples, then 20 pears", Some("20")),
        ("$1,200.00 a month", Some("1200")),
        ("1{,}200", Some("1200")),
        (r"1\,200", Some("1200")),
        ("12,345,678.90", Some("12345678.9")),
        ("1,2,3", Some("3")),
        ("1,2345", Some("2345")),
        ("it is -5", Some("-5")),
        ("it is \u{2212}$5.50", Some("-5.5")),
        (r"= -\$7", Some("-7")),
        ("10-3", Some("3")),
        ("(2+1)-3", Some("3")),
        ("10 - 3", Some("3")),
        ("-0", Some("0")),
        ("a half: .5", Some("0.5")),
        ("50%", Some("50")),
        ("**42**", Some("42")),
        ("1,200km or _1,200_", Some("1200")),
        ("1'200", Some("1200")),
        ("1,\\!200", Some("1200")),
        ("1\u{2009}200", Some("1200")),
        ("24 cm^2", Some("24")),
        (r"\boxed{24\text{ cm}^{2}}", Some("24")),
        ("x_1 = 7 in Q3", Some("7")),
        ("x2", None),
        ("x_{12} of _18_", Some("18")),
        (r"\text{18}", Some("18")),
        ("it is...18", Some("18")),
        ("5%-10%", Some("10")),
        ("**5**-3", Some("3")),
        ("**-3**", Some("-3")),
        ("-€5", Some("-5")),
        ("[-3, -4]", Some("-4")),
        ("x=-4", Some("-4")),
        ("<answer>\n18\n</answer>", Some("18")),
        (r"\boxed{18} apples, of 20", Some("18")),
        (r"\boxed{17}, no, \boxed{\$18} of 20", Some("18")),
        (r"\boxed{\text{about } 18} of 20", Some("18")),
        (r"\boxed{x} of 20", Some("20")),
        (r"\boxed{18", Some("18")),
        (r"\boxed{", None),
        ("none", None),
        ("", None),
    ] {
        assert_eq!(LastNumber::of(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn it_is_paid_for_the_truth_alone() {
    let earned = |truth, text| score(&LastNumber { reward: 2.0 }, truth, text);
    assert_eq!(earned("1200", "so $1,200.00"), 2.0);
    assert_eq!(earned("1,200", "1200"), 2.0);
    assert_eq!(earned("1200", "1200 or 1300"), 0.0);
    assert_eq!(earned("1200", "none"), 0.0);
    // A truth that is no number is never reached, not even by no number.
    assert_eq!(earned("blue", "blue"), 0.0);
}

proptest! {
    #[test]
    fn any_text_has_one_or_none(text in "\\PC{0,60}|[0-9.,$\\-\\\\{}boxed ]{0,60}") {
        if let Some(number) = LastNumber::of(&text) {
            prop_assert_eq!(LastNumber::of(&number), Some(number));
        }
    }

    #[test]
    fn a_number_at_the_end_is_found(before in "[a-z ]{0,20} ", n in -999_999i64..999_999) {
        prop_assert_eq!(LastNumber::of(&format!("{before}{n}.")), Some(n.to_string()));
    }
}
