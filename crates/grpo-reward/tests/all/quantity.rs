//! Numbers with a tolerance and a unit.

use grpo_reward::{Quantity, SettingError};
use proptest::prelude::*;

use crate::score;

fn right(quantity: &Quantity, truth: &str, answer: &str) -> bool {
    score(quantity, truth, &format!("<answer>{answer}</answer>")) == 2.0
}

#[test]
fn tolerances() {
    let exact = Quantity::new(0.0, 0.0).unwrap();
    let absolute = Quantity::new(0.1, 0.0).unwrap();
    let relative = Quantity::new(0.0, 0.1).unwrap();
    let both = Quantity::new(1.0, 0.01).unwrap();
    let cases = [
        (&exact, "12.5", "12.50", true),
        (&exact, "12.5", "12.500001", false),
        (&exact, "0.3", ".3", true),
        (&absolute, "0.3", "0.4", true),
        (&absolute, "0.3", "0.2", true),
        (&absolute, "0.3", "0.41", false),
        (&relative, "100", "110", true),
        (&relative, "100", "90", true),
        (&relative, "-100", "-90", true),
        (&relative, "100", "-100", false),
        (&relative, "0", "0", true),
        (&relative, "0", "0.0001", false),
        // The larger one counts.
        (&both, "10", "11", true),
        (&both, "1000", "1010", true),
        (&both, "1000", "1011", false),
        (&exact, "3e8", "300,000,000", true),
        (&exact, "1.5e-3", "0.0015", true),
        (&exact, "1.5e−3", ".0015", true),
        (&exact, "-5", "−5", true),
    ];
    for (quantity, truth, answer, expected) in cases {
        assert_eq!(right(quantity, truth, answer), expected, "answer {answer:?}, truth {truth:?}");
    }
}

#[test]
fn units() {
    let quantity = Quantity::new(0.0, 0.0).unwrap().synonym("kilometers", "km").synonym("€", "EUR");
    let cases = [
        ("12.5 km", "12.5 km", true),
        ("12.5 km", "12.5km", true),
        ("12.5 km", "  12.5   km. ", true),
        ("12.5 km", "12.50 kilometers", true),
        ("12.5 kilometers", "12.5 km", true),
        ("12.5 km", "12.5", false),
        ("12.5 km", "12.5 m", false),
        ("12.5 km", "12500 m", false),
        ("12.5 km", "12.5 KM", false),
        ("12.5 km", "12.5 km or 13 km", false),
        ("12.5 km", "km 12.5", false),
        ("12.5 km", "about 12.5 km", false),
        ("5 EUR", "5 €", true),
        ("5 $", "$5", true),
        ("$5", "$ 5", false),
        ("5", "$5", false),
        ("$5", "$5 million", false),
        ("30 %", "30%", true),
        ("2 eV", "2eV", true),
        ("5 m/s^2", "5 m/s^2", true),
        ("18", "18.", true),
        ("18", "18 apples", false),
        ("18", "18, 19", false),
        ("18", "18 19", false),
        ("1.2", "1.2.3", false),
        ("12.5", "12,5", false),
        ("1", "1,2,3", false),
    ];
    for (truth, answer, expected) in cases {
        assert_eq!(right(&quantity, truth, answer), expected, "answer {answer:?}, truth {truth:?}");
    }
}

#[test]
fn what_is_no_number_is_wrong_whatever_the_truth() {
    let quantity = Quantity::new(f64::MAX, 0.9).unwrap();
    for text in ["", ".", "-", "$", "km", "inf", "NaN", "1e9999", "e5", "--5", "\u{0661}"] {
        assert!(!right(&quantity, "18", text), "{text:?}");
        assert!(!right(&quantity, text, text), "{text:?}");
    }
    assert!(!right(&quantity, "18", &"9".repeat(1_000_000)));
}

#[test]
fn tolerances_out_of_range() {
    let values =
        [(-1.0, 0.0), (f64::NAN, 0.0), (f64::INFINITY, 0.0), (0.0, -0.1), (0.0, 1.0), (0.0, f64::NAN)];
    for (absolute, relative) in values {
        let error = Quantity::new(absolute, relative).unwrap_err();
        assert!(matches!(error, SettingError::Tolerance { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn is_a_tolerance(truth in -1000_i32..1000, off in -50_i32..50) {
        let quantity = Quantity::new(10.0, 0.0).unwrap();
        let (truth, answer) = (format!("{truth} m"), format!("{} m", truth + off));
        prop_assert_eq!(right(&quantity, &truth, &answer), off.abs() <= 10);
    }

    #[test]
    fn any_text_has_a_score(answer in any::<String>(), truth in r"[-+$0-9.,eE km]{0,12}") {
        let quantity = Quantity::new(1.0, 0.1).unwrap();
        right(&quantity, &truth, &answer);
        right(&quantity, &answer, &truth);
    }
}
