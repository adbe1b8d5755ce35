use std::path::Path;
use std::sync::LazyLock;

use grpo_core::{Completion, Finish, Reward};
use grpo_reward::{
    Choice, Countdown, CountdownTruth, Instruction, Instructions, Json, Layout, LayoutFormat, MathEquality,
    Numeric, Pattern, Quantifier, Quantity, Repetition, Rubric, SettingError, SoftFormat, SoftOverlong,
    TagCount, extract_answer,
};

use crate::Target;

/// Every verifier on a truth and, from the second line on, a completion.
pub fn rewards() -> Target {
    let seed = |text: &str| text.as_bytes().to_vec();
    Target {
        name: "rewards",
        files: vec![
            ("0".into(), seed("18\n<reasoning>\nHalf of 36.\n</reasoning>\n<answer>\n18\n</answer>\n")),
            ("1".into(), seed("12.5 km\n<think>a</think><answer>1,2.6e3 km, −5/8 $</answer>")),
            ("2".into(), seed("3 5 7 56\n<answer>(3 + 5) × 7 / 1 - 0 = 56</answer>")),
            ("3".into(), seed("B\n<answer>(B) {\"a\": [1, null]} <<Title>> [x] * y. Z!</answer>")),
            (
                "4".into(),
                seed("\\frac{\\sqrt2}{2}\nSo $x = \\boxed{\\{1 \\pm 2^{-1/2}\\} \\cup (-\\infty, 3]}$."),
            ),
        ],
        read,
    }
}

fn read(folder: &Path, file: &str) -> bool {
    let bytes = std::fs::read(folder.join(file)).expect("the file has been written");
    let text = String::from_utf8_lossy(&bytes);
    let (truth, text) = text.split_once('\n').unwrap_or((&text, ""));
    let completion = Completion { text: text.to_string(), n_tokens: bytes.len(), finish: Finish::Stop };
    RUBRIC.score(truth, &completion).expect("every reward is a finite number");
    let numbers: Vec<i64> = truth.split(' ').filter_map(|number| number.parse().ok()).collect();
    let countdown = CountdownTruth {
        numbers: numbers.iter().filter_map(|number| u64::try_from(*number).ok()).collect(),
        target: numbers.last().copied().unwrap_or(0),
    };
    for score in [
        Countdown::default().score(&countdown, &completion),
        Instructions::default().score(&instructions(truth), &completion),
    ] {
        assert!((0.0..=2.0).contains(&score), "{score}");
    }
    assert!(text.contains(extract_answer(text)), "an answer is a part of its text");
    true
}

static RUBRIC: LazyLock<Rubric<str>> = LazyLock::new(|| rubric().expect("the settings are right"));

fn rubric() -> Result<Rubric<str>, SettingError> {
    Rubric::gsm8k()
        .with("numeric", 1.0, Numeric::default())
        .with("quantity", 1.0, Quantity::new(0.1, 0.1)?.synonym("kilometers", "km"))
        .with("choice", 1.0, Choice::default())
        .with("math", 1.0, MathEquality::default())
        .with("json", 1.0, Json::default())
        .with("soft", 1.0, SoftFormat::default())
        .with("tags", 1.0, TagCount::default())
        .with("layout", 1.0, LayoutFormat { layout: Layout::THINK, ..LayoutFormat::default() })
        .with("overlong", 1.0, SoftOverlong::new(100, 20)?)
        .with("repetition", 1.0, Repetition::new(3, -1.0)?)
        .with("pattern", 1.0, Pattern::must_not_match(r"(\w+\s?)+$")?)
        .gate("soft", "numeric")
}

fn instructions(truth: &str) -> Vec<Instruction> {
    let quantifier = Quantifier::AtLeast(truth.len());
    vec![
        Instruction::Words(quantifier),
        Instruction::Sentences(quantifier),
        Instruction::Paragraphs(quantifier),
        Instruction::Bullets(quantifier),
        Instruction::Placeholders(quantifier),
        Instruction::Keyword { keyword: truth.to_string(), times: Quantifier::AtMost(1) },
        Instruction::Forbidden(vec![truth.to_string()]),
        Instruction::Lowercase,
        Instruction::Uppercase,
        Instruction::NoCommas,
        Instruction::StartsWith(truth.to_string()),
        Instruction::EndsWith(truth.to_string()),
        Instruction::Quoted,
        Instruction::Title,
    ]
}
