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

/// Fractions, mixed numbers and powers of ten are numbers; what is left to compute is none.
const FRACTIONS_AND_POWERS: [(&str, &str, bool); 49] = [
    ("1/2 cup", "0.5 cup", true),
    ("1/2 cup", "1/2 cup", true),
    ("1/2 cup", "½ cup", true),
    ("1/2 cup", "1⁄2 cup", true),
    ("1/2 cup", r"$\frac{1}{2}$ cup", true),
    ("1/2 cup", "0.53 cup", true),
    ("1/2 cup", "0.56 cup", false),
    ("1/2 cup", "5/10 cup", true),
    ("1/2 cup", "1/3 cup", false),
    ("1/2 cup", "1/2", false),
    ("1/2 cup", "2 cup", false),
    ("1/2 cup", "1 cup", false),
    ("1/2 cup", "1.05/2 cup", false),
    ("1/2 cup", "1/2.0 cup", false),
    ("1/2 cup", "0.5/1 cup", false),
    ("1/2 cup", "1/2/1 cup", false),
    ("1/2 cup", "1 / 2 cup", false),
    ("0.5", "1/2.", true),
    ("1 1/2 cups", "1.5 cups", true),
    ("1 1/2 cups", "1½ cups", true),
    ("1 1/2 cups", "1 ½ cups", true),
    ("1 1/2 cups", "3/2 cups", true),
    ("1 1/2 cups", r"1\frac{1}{2} cups", true),
    ("1 1/2 cups", "**1 1/2** cups", true),
    ("1 1/2 cups", "1 cups", false),
    ("1 1/2 cups", "1-1/2 cups", false),
    ("21½ cm", "21.5 cm", true),
    ("1500.5 acres", "1,500 1/2 acres", true),
    ("1500.5 acres", "1,500½ acres", true),
    ("0.5", r"$\tfrac12$", true),
    ("-0.5", r"-\frac{1}{2}", true),
    ("-0.5", r"\frac{-1}{2}", true),
    ("2.5", r"\frac{12}{5}", true),
    ("-1 1/2", "−1½", true),
    ("-1 1/2", "1.5", false),
    ("-1/2 m", "–½ m", true),
    ("2.5", "1 3/2", false),
    ("1000/3 m", "1 000/3 m", false),
    ("0", "0/5", true),
    ("$3/4", "$0.75", true),
    ("3e8 m/s", "3 × 10^8 m/s", true),
    ("3e8 m/s", "3 x 10^8 m/s", true),
    ("3e8 m/s", "3×10⁸ m/s", true),
    ("3e8 m/s", r"$3 \times 10^{8}$ m/s", true),
    ("3e8 m/s", r"3\cdot 10^8\ \text{m/s}", true),
    ("1e-3 m", "10^-3 m", true),
    ("1e-3 m", "10⁻³ m", true),
    ("3e8 m/s", "3 × 10^9 m/s", false),
    ("3e8 m/s", "3 × 10 m/s", false),
];

#[test]
fn fractions_and_powers() {
    let tenth = Quantity::new(0.0, 0.1).unwrap();
    for (truth, answer, expected) in FRACTIONS_AND_POWERS {
        assert_eq!(right(&tenth, truth, answer), expected, "answer {answer:?}, truth {truth:?}");
    }
}

/// A truth that is more than one number is nobody's, not even its own.
#[test]
fn more_than_one_number() {
    let tenth = Quantity::new(0.0, 0.1).unwrap();
    for (truth, answer) in [
        ("1.0/2 cup", "1.05/2 cup"),
        ("1/0", "1/0"),
        ("0/0", "0/0"),
        ("10-20 km", "11-20 km"),
        ("10–20 km", "10–20 km"),
        ("10 – 20 km", "11 – 20 km"),
        ("10~20 km", "11~20 km"),
        ("3:30", "3.1:30"),
        ("5 ± 1 km", "5.1 ± 1 km"),
        ("5+3 km", "5.1+3 km"),
        ("3 × 4 m", "3.1 × 4 m"),
        ("3 x 4 m", "3.1 x 4 m"),
        ("18²", "17²"),
        ("18^2", "17^2"),
        ("1/2/2024", "1/2/2024"),
        ("½/2", "½/2"),
        ("3.5½", "3.5½"),
    ] {
        assert!(!right(&tenth, truth, answer), "answer {answer:?}, truth {truth:?}");
        assert!(!right(&tenth, truth, truth), "truth {truth:?}");
    }
}

/// Units that look the same are the same.
const UNITS: [(&str, &str, bool); 46] = [
    ("10 \u{3a9}", "10 \u{2126}", true),
    ("10 k\u{2126}", "10 k\u{3a9}", true),
    ("5 \u{212b}", "5 \u{c5}", true),
    ("5 \u{212b}", "5 A\u{30a}", true),
    ("5 \u{212b}", "5 A", false),
    ("300 \u{212a}", "300 K", true),
    ("300 K", "300 k", false),
    ("5 \u{b5}m", "5 \u{3bc}m", true),
    ("5 \u{b5}m", "5 mm", false),
    ("5 \u{3bc}", "5 micron", true),
    ("20 °C", "20 ℃", true),
    ("20 °C", "20 C", false),
    ("5 km", "5 ㎞", true),
    ("5 km", "５ｋｍ", true),
    ("30 %", "30％", true),
    ("30 %", r"$30\%$", true),
    ("5 m²", "5 m^2", true),
    ("5 m²", "5 m2", true),
    ("5 m²", "5 sq m", true),
    ("5 m^2", r"5\ \text{m}^{2}", true),
    ("5 m²", "5 m", false),
    ("5 m²", "5 m³", false),
    ("5 s⁻¹", "5 s^{-1}", true),
    ("5 s⁻¹", "5 s^−1", true),
    ("5 N·m", "5 N⋅m", true),
    ("5 N·m", r"5 \mathrm{N}\cdot\mathrm{m}", true),
    ("5 N·m", "5 Nm", false),
    ("90°", r"$90^\circ$", true),
    ("90°", r"90^{\circ}", true),
    ("5 μm", r"5\,\mu\text{m}", true),
    ("5 μm", r"$5\ \mu m$", true),
    ("5 Ω", r"5\,\Omega", true),
    ("12.5 km", r"$12.5$ km", true),
    ("12.5 km", r"$12.5\,\text{km}$", true),
    ("12.5 km", r"\(12.5\) km.", true),
    ("12.5 km", "**12.5** km", true),
    ("12.5 km", "**12.5 km**", true),
    ("12.5 km", "12.5 **km**", true),
    ("12.5 km", "12.5\u{202f}km。", true),
    ("12.5 km", "**12.5** **13** km", false),
    ("12.5 km", "$12.5$ or $13$ km", false),
    ("12.5 km", "~~12.5~~ km", false),
    ("9500 m", r"9{,}500 m", true),
    ("9500 m", "9\u{202f}500 m", true),
    ("9500 $", r"\$9{,}500", true),
    ("$5", "$5$", false), // a formula
];

#[test]
fn units_of_other_code_points() {
    let quantity = Quantity::new(0.0, 0.0).unwrap().synonym("\u{b5}", "micron").synonym("sq m", "m²");
    for (truth, answer, expected) in UNITS {
        assert_eq!(right(&quantity, truth, answer), expected, "answer {answer:?}, truth {truth:?}");
        assert_eq!(right(&quantity, answer, truth), expected, "answer {truth:?}, truth {answer:?}");
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
