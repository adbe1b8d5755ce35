//! Instructions about the form of an answer.

use grpo_core::Reward;
use grpo_reward::{Instruction, Instructions, Quantifier};
use proptest::prelude::*;

use crate::completion;
use Instruction::*;
use Quantifier::*;

fn keyword(keyword: &str, times: Quantifier) -> Instruction {
    Keyword { keyword: keyword.to_owned(), times }
}

fn check(cases: &[(Instruction, &str, bool)]) {
    for (instruction, answer, followed) in cases {
        assert_eq!(instruction.is_followed_by(answer), *followed, "{instruction:?} of {answer:?}");
    }
}

#[test]
fn numbers_of_things() {
    check(&[
        (Words(AtLeast(3)), "a b c", true),
        (Words(AtLeast(4)), " a  b\nc ", false),
        (Words(AtMost(3)), "a b c", true),
        (Words(AtMost(2)), "a b c", false),
        (Words(Exactly(1)), "it's", true),
        (Sentences(Exactly(2)), "It is 3.5 m. Really!", true),
        (Sentences(Exactly(2)), "Is it?! \"Yes.\" ", true),
        (Sentences(Exactly(2)), "One. And one more without an end", true),
        (Sentences(Exactly(1)), "Well...", true),
        (Sentences(Exactly(2)), "是。不是。", true),
        (Sentences(Exactly(2)), "No end... . . . And one.", true),
        (Paragraphs(Exactly(2)), "a\nb\n\nc", true),
        (Paragraphs(Exactly(2)), "\n\na\r\n \r\n\n\nb\n\n", true),
        (Paragraphs(Exactly(1)), "a\nb", true),
        (Bullets(Exactly(2)), "So:\n* a\n  - b\n", true),
        (Bullets(Exactly(1)), "• a\n*b*\n-5\n---\n* ", true),
        (Placeholders(AtLeast(2)), "Dear [name], at [time] [] [[", true),
        (Placeholders(AtLeast(1)), "Dear [], at [", false),
    ]);
}

#[test]
fn words_and_phrases() {
    let forbidden = |words: &[&str]| Forbidden(words.iter().map(|word| word.to_string()).collect());
    check(&[
        (keyword("art", AtLeast(1)), "Art is long.", true),
        (keyword("art", AtLeast(1)), "A party.", false),
        (keyword("art", AtLeast(2)), "art, \"ART\"", true),
        (keyword("of it", Exactly(1)), "Half of it, of its kind", true),
        (keyword("c++", AtLeast(1)), "I like C++.", true),
        (keyword("straße", AtLeast(1)), "DIE STRAßE", true),
        (keyword("x", AtMost(0)), "y", true),
        (keyword("", AtLeast(0)), "y", false),
        (forbidden(&["maybe", "perhaps"]), "It is so.", true),
        (forbidden(&["maybe", "perhaps"]), "Perhaps.", false),
        (forbidden(&[""]), "It is so.", false),
        (forbidden(&[]), "It is so.", true),
        (StartsWith("So".into()), "so be it", true),
        (StartsWith("So".into()), "be it so", false),
        (StartsWith(String::new()), "so be it", false),
        (EndsWith("Any questions?".into()), "So. Any questions? \n", true),
        (EndsWith("Any questions?".into()), "Any questions? No.", false),
    ]);
}

#[test]
fn form() {
    check(&[
        (Lowercase, "all small, 18 of them", true),
        (Lowercase, "Not all", false),
        (Lowercase, "18", false),
        (Uppercase, "ALL OF IT, 18", true),
        (Uppercase, "ALL OF iT", false),
        (Uppercase, "18", false),
        (NoCommas, "a; b", true),
        (NoCommas, "a, b", false),
        (NoCommas, "a，b", false),
        (Quoted, "\"a b\"", true),
        (Quoted, " “a\nb” ", true),
        (Quoted, "\"a\" and \"b\"", false),
        (Quoted, "\"a", false),
        (Quoted, "a", false),
        (Title, "<<Half of it>>\nSo", true),
        (Title, "<< >> a", false),
        (Title, "<<a\nb>>", false),
        (Title, "<a>", false),
    ]);
}

#[test]
fn an_empty_answer_follows_nothing() {
    let instructions = [
        NoCommas,
        Forbidden(vec!["maybe".into()]),
        Words(AtMost(9)),
        Paragraphs(AtMost(2)),
        Sentences(AtMost(1)),
    ];
    for instruction in &instructions {
        for answer in ["", " \n", "...", "\u{200b}", "\"\""] {
            assert!(!instruction.is_followed_by(answer), "{instruction:?} of {answer:?}");
        }
    }
    let text = "<answer></answer>";
    assert_eq!(Instructions::default().score(&instructions, &completion(text)), 0.0);
}

#[test]
fn shares_and_all_or_nothing() {
    let share = Instructions { reward: 2.0, ..Instructions::default() };
    let strict = Instructions { strict: true, ..share };
    let truth = vec![NoCommas, Lowercase, Words(AtMost(2)), Title];
    let scores = |text: &str| [share, strict].map(|reward| reward.score(&truth, &completion(text)));
    assert_eq!(scores("<<a>> b"), [2.0, 2.0]);
    assert_eq!(scores("a b"), [1.5, 0.0]);
    // The answer is asked for its form, not the reasoning.
    assert_eq!(scores("<think>Well, Well, well</think><answer><<a>> b</answer>"), [2.0, 2.0]);
    let none: [Instruction; 0] = [];
    assert_eq!(share.score(&none, &completion("a")), 0.0);
    assert_eq!(strict.score(&none, &completion("a")), 0.0);
}

fn any_instruction() -> impl Strategy<Value = Instruction> {
    let quantifier = || prop_oneof![(0_usize..5).prop_map(AtLeast), (0_usize..5).prop_map(AtMost)];
    prop_oneof![
        quantifier().prop_map(Words),
        quantifier().prop_map(Sentences),
        quantifier().prop_map(Paragraphs),
        quantifier().prop_map(Bullets),
        quantifier().prop_map(Placeholders),
        (any::<String>(), quantifier()).prop_map(|(word, times)| keyword(&word, times)),
        any::<String>().prop_map(|word| Forbidden(vec![word])),
        any::<String>().prop_map(StartsWith),
        Just(Lowercase),
        Just(Uppercase),
        Just(NoCommas),
        Just(Quoted),
        Just(Title),
    ]
}

proptest! {
    #[test]
    fn shares_are_bounded(truth in prop::collection::vec(any_instruction(), 0..5), text in any::<String>()) {
        let score = Instructions::default().score(&truth, &completion(&text));
        prop_assert!((0.0..=1.0).contains(&score));
    }
}
