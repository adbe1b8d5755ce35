//! Where completions give their mathematical answers, and what these earn.

use grpo_reward::MathEquality;

use crate::score;

/// Each with the answer that is found in it.
#[test]
fn answers_in_texts() {
    for (text, expected) in [
        (r"so $x=2$, and \boxed{7}, of 9", "7"),
        (r"\boxed{6}? No: $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"$\boxed{3}$ and $\boxed{4}$", "3, 4"),
        (r"\boxed{3} boys and \boxed{4} girls", "3, 4"),
        (r"\boxed{3}. That was wrong, it is \boxed{4}", "4"),
        (r"\boxed{45} percent", r"45\%"),
        (r"\boxed{3}. After a second look, the answer is $4$.", "4"),
        ("The answer is $12$. I hope it is correct, as $x$ is.", "12"),
        ("**Final Answer**: 12 apples out of 20", "12"),
        ("The answer is 1,234.50.", "1,234.50"),
        (r"Thus \(x = 4\) or \(x = 5\).", "x = 4, x = 5"),
        ("As $a > 0$, there are 15 of them.", "15"),
        ("there are 15 of them, so $n = 16$", "n = 16"),
        ("$10 and $5 make $15.", "15"),
        ("the point (3, -4)", "(3, -4)"),
        ("a share of 3/4 of it", "3/4"),
        ("5 million people", "5 million"),
        ("x < 3", "x < 3"),
        ("**12**", "12"),
        ("<answer>2 or 3</answer>", "2 or 3"),
        ("<answer>not 3</answer>", "not 3"),
        ("<answer>$3$</answer>, of 4", "3"),
        ("Monday", "Monday"),
    ] {
        assert_eq!(MathEquality::extract(text).as_deref(), Some(expected), "{text}");
    }
    assert_eq!(MathEquality::extract(" \n"), None);
    assert_eq!(MathEquality::extract("<answer></answer>"), None);
}

#[test]
fn it_is_paid_for_the_truth_alone() {
    let earned = |truth, text| score(&MathEquality { reward: 1.0 }, truth, text);
    assert_eq!(earned(r"\frac{3}{4}", r"so $\boxed{0.75}$"), 1.0);
    assert_eq!(earned(r"so $\boxed{\frac{3}{4}}$", "<answer>75%</answer>"), 1.0);
    assert_eq!(earned(r"8\text{ cm}", "It is 8 cm long."), 1.0);
    for hedge in
        [r"\boxed{7 \text{ or } 8}", r"\boxed{7}, \boxed{8}", r"\boxed{7, 8}", r"\boxed{8}. No, \boxed{7}"]
    {
        assert_eq!(earned("8", hedge), 0.0, "{hedge}");
    }
    for none in ["", "I don't know.", r"\boxed{}", r"\boxed{8"] {
        assert_eq!(earned("9", none), 0.0, "{none}");
        assert_eq!(earned("", none), 0.0, "{none}");
    }
}
