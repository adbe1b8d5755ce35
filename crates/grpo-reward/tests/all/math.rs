//! Answers that are mathematically equal, and answers that are not.

use grpo_reward::MathEquality;
use proptest::prelude::*;

/// Answers of one group are equal to each other, and to none of another group in the same table.
fn assert_groups(groups: &[&[&str]]) {
    for (i, group) in groups.iter().enumerate() {
        for (j, other) in groups.iter().enumerate() {
            for truth in *group {
                for answer in *other {
                    let equal = MathEquality::equal(truth, answer);
                    assert_eq!(equal, i == j, "truth {truth:?}, answer {answer:?}");
                }
            }
        }
    }
}

#[test]
fn numbers() {
    assert_groups(&[
        &[
            "42",
            "42.0",
            "042",
            "+42",
            "$42$",
            r"\$42",
            r"\boxed{42}",
            r"\text{42}",
            r"\left(42\right)",
            "４２",
        ],
        &["-42", "−42", "–42", r"-\,42", r"-\left(42\right)"],
        &[
            "86400",
            "86,400",
            "86 400",
            r"86{,}400",
            r"86\,400",
            r"86,\!400",
            "86'400",
            r"8.64\times 10^4",
            "8.64e4",
        ],
        &["86, 400", r"\{86,400\}"],
        &["0.00125", "1.25e-3", r"1.25 \cdot 10^{-3}", ".00125", r"\frac{1}{800}"],
        &["9007199254740993", "9,007,199,254,740,993"],
        &["9007199254740992", "2^{53}"],
        &["9007199254740991", "2^{53}-1"],
    ]);
}

#[test]
fn fractions() {
    assert_groups(&[
        &[
            "5/8",
            r"\frac{5}{8}",
            r"\dfrac58",
            r"\tfrac{5}8",
            r"\frac5{8}",
            "0.625",
            r"\frac{10}{16}",
            "⅝",
            r"{5 \over 8}",
        ],
        &[r"-\frac{5}{8}", r"\frac{-5}{8}", r"\frac{5}{-8}", "-5/8", "-.625"],
        &[r"2\frac{5}{8}", "2 5/8", "21/8", "2⅝", "2.625"],
        &[r"\frac{1}{\frac{2}{3}}", "1.5", "3/2", r"1\frac12"],
        &[r"\frac{5}{11}", r"0.\overline{45}", r"\frac{45}{99}"],
        &[r"0.4\overline{5}", r"\frac{41}{90}"],
        &["0.45"],
    ]);
}

/// Six decimals are as good as a number that needs more.
#[test]
fn rounded_numbers() {
    for (truth, answer, expected) in [
        (r"\frac{2}{7}", "0.285714", true),
        (r"\frac{2}{7}", "0.28571429", true),
        (r"\frac{2}{7}", "0.28571", false),
        (r"\frac{2}{7}", "0.285713", false),
        (r"\sqrt{7}", "2.645751", true),
        (r"\sqrt{7}", "2.6458", false),
        ("2.645751", r"\sqrt{7}", true),
        (r"\pi", "3.14159", false),
        (r"\pi", "3.141593", true),
        (r"\pi", r"\frac{355}{113}", false),
        ("3", "2.9999999", false),
        (r"\frac14", "0.2500001", false),
        ("0.0000001", "0", false),
        ("0.0000001", "0.0000002", false),
        (r"\begin{pmatrix} \frac13 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 0.333333 \\ 2 \end{pmatrix}", true),
    ] {
        assert_eq!(MathEquality::equal(truth, answer), expected, "truth {truth:?}, answer {answer:?}");
    }
}

#[test]
fn decimal_commas() {
    assert!(MathEquality::equal("2,75", "2.75"));
    assert!(MathEquality::equal("2.75", "2,75"));
    assert!(MathEquality::equal("75, 2", "2,75"));
    assert!(!MathEquality::equal("2.75", "2, 75"));
    assert!(!MathEquality::equal("275", "2,75"));
    // A separator of thousands.
    assert!(!MathEquality::equal("1,234", "1.234"));
}

#[test]
fn percentages_and_angles() {
    assert!(!MathEquality::equal("35", "0.35"));
    for same in ["35", "0.35", r"\frac{7}{20}", "35 %", r"35\text{ percent}", "35 pct", r"35.0\%"] {
        assert!(MathEquality::equal(r"35\%", same), "{same}");
        assert!(MathEquality::equal(same, r"35\%"), "{same}");
    }
    for same in ["45", r"45^{\circ}", "45°", r"\frac{\pi}{4}", r"45\text{ degrees}"] {
        assert!(MathEquality::equal(r"45^\circ", same), "{same}");
    }
    assert_groups(&[
        &[r"\sin 45^\circ", r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt2}", r"\sin\frac{\pi}{4}"],
        &[r"\sin 45"],
        &[r"36\%", "36 percent"],
        &[r"12\frac12\%", "12.5 %", r"\frac18"],
    ]);
}

#[test]
fn powers_and_roots() {
    assert_groups(&[
        &[r"\sqrt{72}", r"6\sqrt{2}", r"6\sqrt2", "6√2", "6sqrt(2)", r"72^{1/2}", r"\frac{12}{\sqrt 2}"],
        &[r"\sqrt[3]{72}", r"2\sqrt[3]{9}", r"72^{\frac13}"],
        &["-3", r"\sqrt[3]{-27}", "(-27)^{1/3}"],
        &[r"3^{-2}", r"\frac19"],
        &["2^{300}", "8^{100}", "4^{150}"],
        &["2^{300}+1", "8^{100}+1"],
        &["2^{61}-1"],
        &["1", "2^{300}+1-2^{300}"],
        &[r"\sqrt{2+\sqrt{3}}", r"\frac{\sqrt6+\sqrt2}{2}"],
        &["9^{9^{9^9}}", "9^{9^{9^{9}}}"],
        &["9^{9^{9^8}}"],
        &["7!", "5040"],
        &[r"\frac{1}{2006!}", r"\frac{1}{2006 \cdot 2005!}"],
        &[r"\frac{1}{2005!}"],
        &[r"\binom{10}{3}", "120"],
        &[r"\log_3 81", "4", r"\lfloor \sqrt{17} \rfloor", "|-4|"],
        &[r"\ln 8", r"3 \ln 2"],
        &[r"\log 8", r"3\log 2"],
        &["e^2", r"e \cdot e", r"\mathrm{e}^{2}"],
        &["e^{-40}", r"\frac{1}{e^{40}}", r"\exp(-40)"],
        &["2e^{-40}"],
        &["0", r"\sqrt2\sqrt2-2", r"\sin \pi", r"e^{-40}-\frac{1}{e^{40}}"],
    ]);
}

#[test]
fn complex_numbers() {
    assert_groups(&[&["3-4i", "-4i+3", r"\frac{25}{3+4i}"], &["3+4i"], &["-1", "i^2", r"e^{i\pi}"]]);
}

#[test]
fn expressions_with_variables() {
    assert_groups(&[
        &["(x-3)(x+3)", "x^2-9", "-(9-x^2)", r"x \cdot x - 9"],
        &["x^2+9"],
        &["y^2-9"],
        &[r"\frac{x-4}{3}", r"\frac{x}{3}-\frac43", "(x-4)/3"],
        &[r"\sqrt{x^2}", "|x|"],
        &["x"],
        &[r"\tan x \cos x", r"\sin x", r"\sin(x)"],
        &[r"\cos 2x", r"1-2\sin^2 x", r"\cos^2 x-\sin^2(x)"],
        &["a_1+a_2", "a_{2}+a_{1}"],
        &["a_1+a_3"],
        &[r"\sum_{k=1}^{n} k a_k", r"\sum_{k=1}^n a_k k"],
        &[r"\sum_{k=0}^{n} k a_k"],
        &["f(x)+1", "1+f(x)"],
        &["f(y)+1"],
        &["2^{n+1}", r"2 \cdot 2^n"],
        &[r"\alpha\beta", r"\beta \alpha"],
        &["x'", r"x^{\prime}"][..1],
    ]);
}

#[test]
fn lists_and_sets() {
    assert_groups(&[
        &[
            "3, -1",
            "-1,3",
            r"-1 \text{ and } 3",
            r"3 \text{ or } -1",
            r"\{-1, 3\}",
            "{-1,3}",
            "3; -1",
            r"1 \pm 2",
        ],
        &["3, 1"],
        &["3, -1, 0"],
        &[r"\pm 3", "3, -3", r"\{3, -3\}"],
        &[r"\{\}", r"\emptyset", "∅"],
        &[r"\{5\}", "5", "5, 5"],
        &[r"\left\{ \frac12, \sqrt2 \right\}", r"\sqrt{2}, 0.5"],
        &["(1,2),(3,4)", r"\{(3,4),(1,2)\}", "(3;4);(1;2)"],
        &["(2,1),(3,4)"],
    ]);
}

#[test]
fn names() {
    for (truth, answer, expected) in [
        ("x = 4", "4", true),
        ("4", "x = 4", true),
        ("x = 4", "y = 4", false),
        (r"|AB| = 4", "4", true),
        ("f(x) = x^2", "x^2", true),
        (r"\text{Area} = 4", "4", true),
        ("(x, y) = (1, 2)", "(1,2)", true),
        ("a = 1, b = 2", "1, 2", true),
        ("a = 1, b = 2", "b=2, a=1", true),
        ("a = 1, b = 2", "2, 1", false),
        ("a = 1, b = 2", "a = 2, b = 1", false),
        ("a = 1, b = 2", "(1, 2)", true),
        ("a = 1, b = 2; a = 3, b = 4", "(3,4),(1,2)", true),
        ("x = 1, x = 2", "2, 1", true),
        ("x = 2 + 3 = 5", "5", true),
        (r"x = \frac{1}{3} \approx 0.33", "1/3", true),
        (r"x \approx 5", "5", true),
        ("x + y = 4", "4", false),
        ("xy = 4", "4", false),
        ("V(x) = 4", "4", true),
        ("a : b = 2 : 3", "2:3", true),
        ("2x = 4", "4", false),
        ("x^2 = 4", "4", false),
    ] {
        assert_eq!(MathEquality::equal(truth, answer), expected, "truth {truth:?}, answer {answer:?}");
    }
}

#[test]
fn tuples_and_intervals() {
    assert_groups(&[
        &[
            "(1, 2)",
            r"\left(1,\ 2\right)",
            r"\left(1, \frac{4}{2}\right)",
            "1 < x < 2",
            r"2 > x > 1",
            r"x > 1 \text{ and } x < 2",
        ],
        &["(2, 1)"],
        &["[1, 2]", r"x \in [1,2]", r"1 \le x \leq 2", r"\{x : 1 \le x \le 2\}"],
        &["(1, 2]"],
        &["(1, 2, 3)"],
        &[r"(-\infty, 3)", "x < 3", "3 > x", r"\{x \mid x<3\}"],
        &[r"(-\infty, 3]"],
        &[r"(-\infty, -1) \cup (4, \infty)", r"x<-1 \text{ or } x>4", r"(4, +\infty) \cup (-\infty,-1)"],
        &[r"(-\infty, -1] \cup (4, \infty)", r"(-\infty, -2) \cup [-2,-1] \cup (4, \infty)"],
        &[r"(-\infty, \infty)", r"\mathbb{R}", "ℝ"],
        &[r"\mathbb{R} \setminus \{0\}", r"(-\infty,0) \cup (0,\infty)", r"x \ne 0", r"x \neq 0"],
        &[r"[-2,2]", r"|x| \le 2", r"[-2,1] \cup [0,2]", r"[-2,5) \cap [-3,2]"],
        &[r"(-3,-2] \cup [2,3)", r"2 \le |z| < 3"],
        &[r"\{0\} \cup [1,2)"],
    ]);
    assert!(!MathEquality::equal("x < 3", r"(-\infty, -\infty)"));
    assert!(!MathEquality::equal("x > 3", r"(\infty, \infty)"));
    // What has no variable in common says nothing about the same one.
    assert!(!MathEquality::equal("x > 2", "y > 2"));
}

#[test]
fn equations_and_inequalities() {
    for (truth, answer, expected) in [
        ("y = 2x - 1", "2x - y = 1", true),
        ("y = 2x - 1", "4x - 2y = 2", true),
        ("y = 2x - 1", "2x - y = 2", false),
        ("x^2 + y^2 = 9", r"\frac{x^2}{9} + \frac{y^2}{9} = 1", true),
        ("x < 3", "-x > -3", true),
        ("x < 3", "-x < -3", false),
        ("3x + y < 2", "-3x - y > -2", true),
        ("3x + y < 2", "-3x - y < -2", false),
        ("3x + y < 2", r"3x + y \le 2", false),
        ("f(1) < f(3) < f(2)", "f(2) > f(3) > f(1)", true),
        ("f(1) < f(3) < f(2)", "f(1) < f(2) < f(3)", false),
        (r"x \equiv 2 \pmod{7}", r"x \equiv 2 \pmod 7", true),
        (r"x \equiv 2 \pmod{7}", r"x \equiv 2 \pmod 5", false),
        // Repeating the question is no answer.
        ("x = 3", "2x + 1 = 7", false),
        ("x < 3", "2x + 1 < 7", false),
    ] {
        assert_eq!(MathEquality::equal(truth, answer), expected, "truth {truth:?}, answer {answer:?}");
    }
}

#[test]
fn matrices() {
    assert_groups(&[
        &[
            r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
            r"\begin{bmatrix}1&2\\3&4\\\end{bmatrix}",
            r"\left[\begin{array}{cc} 1 & \frac42 \\ 3 & 4 \end{array}\right]",
            r"\begin{pmatrix} 0 & 1 \\ 1 & 2 \end{pmatrix} + \begin{pmatrix} 1 & 1 \\ 2 & 2 \end{pmatrix}",
            r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}",
            r"\frac{1}{2}\begin{pmatrix} 2 & 4 \\ 6 & 8 \end{pmatrix}",
        ],
        &[r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}"],
        &[r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \\ 0 & 0 \end{pmatrix}"],
        &[r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"],
        &[r"\begin{pmatrix} 1 & 2 \end{pmatrix}"],
    ]);
}

#[test]
fn units() {
    for (truth, answer, expected) in [
        ("12", r"12\text{ cm}", true),
        (r"12\text{ cm}", "12", true),
        (r"12\text{ cm}^2", r"12\mbox{ square centimeters}", true),
        (r"12\text{ cm}", "12 centimeters", true),
        (r"12\text{ cm}", "12 cm", true),
        (r"2\sqrt{3}\text{ cm}", r"2\sqrt{3} \, cm", true),
        (r"12\text{ cm}", r"12\text{ km}", false),
        (r"12\text{ hours}", r"12\text{ minutes}", false),
        (r"60\text{ mph}", r"60\text{ miles per hour}", true),
        (r"8\pi \text{ square units}", r"8\pi", true),
        (r"\$12", r"12 \text{ dollars}", true),
        (r"1\frac12\text{ hours}", "1.5", true),
        (r"12\%", r"12\text{ cm}", false),
        (r"12\%", "12°", false),
        ("12", r"12\text{ million}", false),
        ("12000000", r"12\text{ million people}", true),
    ] {
        assert_eq!(MathEquality::equal(truth, answer), expected, "truth {truth:?}, answer {answer:?}");
    }
}

#[test]
fn texts() {
    assert_groups(&[
        &[r"\text{Thursday}", "Thursday", r"\mathrm{thursday}", r"\textbf{Thursday}"],
        &[r"\text{Friday}"],
        &[r"\text{(D)}", "D", r"\text{D}", "(D)"],
        &["d"],
        &[r"\text{no real solutions}", r"\text{No real solutions.}"],
        &[r"\text{odd}"],
        &["123_4", "123_{4}"],
        &["123_5"],
        &["123"],
        &["3:45"],
        &["4:45"],
        &["2:3", "4:6", "2/3"],
    ]);
    assert!(MathEquality::equal(r"\text{odd}", "odd"));
    assert!(!MathEquality::equal("AB", "ab"));
}

proptest! {
    #[test]
    fn integers_equal_themselves_only(a in any::<i64>(), b in any::<i64>()) {
        let boxed = format!("\\boxed{{{a}}}");
        prop_assert!(MathEquality::equal(&a.to_string(), &boxed));
        prop_assert_eq!(MathEquality::equal(&a.to_string(), &b.to_string()), a == b);
    }

    #[test]
    fn fractions_are_computed(a in -999_i64..999, b in 1_i64..999, c in 1_i64..99) {
        let fraction = format!("\\frac{{{a}}}{{{b}}}");
        let (longer, larger) = (format!("{}/{}", a * c, b * c), format!("{}/{b}", a + 1));
        prop_assert!(MathEquality::equal(&fraction, &longer));
        prop_assert!(!MathEquality::equal(&fraction, &larger));
    }

    #[test]
    fn products_are_expanded(a in -99_i64..99, b in -99_i64..99) {
        let (product, sum) = (format!("(x+{a})(x+{b})"), format!("x^2+({})x+({})", a + b, a * b));
        prop_assert!(MathEquality::equal(&product, &sum));
        let larger = format!("{sum}+1");
        prop_assert!(!MathEquality::equal(&product, &larger));
    }
}
