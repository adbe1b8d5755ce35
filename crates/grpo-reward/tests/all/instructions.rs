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
        (Sentences(Exactly(2)), "是吗？是「真的」！", true),
        (Sentences(Exactly(2)), "यह है। वह है।", true),
        (Sentences(Exactly(2)), "كيف؟ نعم.", true),
        (Sentences(Exactly(2)), "នេះ។នោះ។", true),
        (Sentences(Exactly(1)), "３．５メートルです。", true),
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

/// Each keyword is forbidden and wanted: it is in the text or not, and both instructions know.
#[test]
fn keywords_in_all_scripts() {
    let cases = [
        // Scripts without spaces between words.
        ("苹果", "我喜欢苹果和香蕉。", true),
        ("苹果", "我喜欢香蕉。", false),
        ("りんご", "私はりんごが好きです。", true),
        ("リンゴ", "リンゴジュースを飲む", true),
        ("ラーメン", "美味しいラーメンだ", true),
        ("リンゴ", "青ﾘﾝｺﾞ", true),
        ("แอปเปิล", "ฉันชอบแอปเปิลมาก", true),
        ("ก", "กินข้าว", false), // a letter, without the vowel on it
        ("ໝາກໂປມ", "ຂ້ອຍມັກໝາກໂປມຫຼາຍ", true),
        ("ផ្លែប៉ោម", "ខ្ញុំចូលចិត្តផ្លែប៉ោមណាស់", true),
        ("ပန်းသီး", "ကျွန်တော်ပန်းသီးကြိုက်တယ်", true),
        ("cat", "我喜欢cat和dog", true),
        ("苹果", "iPhone是苹果的", true),
        ("3", "共3个", true),
        ("art", "我去party", false),
        // Korean: particles behind a word, not letters in front of it.
        ("사과", "나는 사과를 좋아한다.", true),
        ("사과", "사과", true),
        ("사과", "풋사과는 시다", false),
        ("사과", "배를 좋아한다.", false),
        ("사과", "\u{1109}\u{1161}\u{1100}\u{116a}를", true),
        ("GPU", "최신 GPU를 샀다", true),
        ("GPU", "최신GPU를 샀다", true),
        ("GPU", "GPUs", false),
        // Other scripts with spaces.
        ("кот", "Кот спит.", true),
        ("кот", "который", false),
        ("हिन्दी", "मुझे हिन्दी पसंद है", true),
        ("हिन्द", "मुझे हिन्दी पसंद है", false),
        ("سلام", "قال: سلام، ثم ذهب", true),
        ("سلام", "والسلام", false),
    ];
    check_keywords(&cases);
}

#[test]
fn keywords_with_signs_and_accents() {
    let cases = [
        ("cat", "A cat.", true),
        ("cat", "concatenate", false),
        ("cat", "cat2", false),
        ("cat", "snake_cat", false),
        ("cat", "a _cat_, **cat**", true),
        ("cat", "it's a cat's", true),
        ("C++", "I like C++, too", true),
        ("C++", "(C++)", true),
        ("C++", "C++是语言", true),
        ("C++", "C++11", false),
        (".NET", "Use .NET.", true),
        (".NET", "ASP.NET", false),
        ("#tag", "so #tag it", true),
        ("#tag", "so #tags", false),
        ("#tag", "a#tag", false),
        // Canonical equivalence: an accent belongs to its letter.
        ("café", "Un cafe\u{301}.", true),
        ("cafe\u{301}", "Un café.", true),
        ("cafe", "Un cafe\u{301}.", false),
        ("cafe", "Un café.", false),
        ("x", "x\u{302} is a mean", false),
        ("10 Ω", "It has 10 \u{2126}.", true),
        // Upper and lower case.
        ("straße", "DIE STRASSE", true),
        ("STRASSE", "die Straße", true),
        ("STRAẞE", "die straße", true),
        ("ΣΟΦΟΣ", "ο σοφός", false),
        ("ΣΟΦΟΣ", "ο σοφος λεει", true),
        ("σοφοσ", "Ο ΣΟΦΟΣ", true),
        ("ÉCOLE", "l'école", true),
        ("kız", "KIZ", true),
        ("İstanbul", "istanbul, ISTANBUL", true),
        ("find", "ﬁnd", true),
        // Typography.
        ("don't", "I don’t know", true),
        ("well-known", "a well\u{2011}known one", true),
        ("na na", "bana na na", true), // the first one is within a word
        ("of it", "half of\n  it", true),
        ("of it", "half of\u{a0}it", true),
        ("perhaps", "per\u{ad}haps", true),
        ("perhaps", "per\u{200b}haps", true),
        ("❤", "I ❤\u{fe0f} it", true),
        ("ABC", "ＡＢＣ", true),
        ("Java", "Java™", true),
    ];
    check_keywords(&cases);
}

fn check_keywords(cases: &[(&str, &str, bool)]) {
    for (word, text, is_in) in cases {
        let wanted = keyword(word, AtLeast(1)).is_followed_by(text);
        let forbidden = Forbidden(vec![(*word).into()]).is_followed_by(text);
        assert_eq!((wanted, forbidden), (*is_in, !*is_in), "{word:?} in {text:?}");
    }
}

/// An answer in quotes can follow every instruction that it follows without them.
#[test]
fn quotes_and_other_instructions() {
    let ends = |phrase: &str| EndsWith(phrase.into());
    let starts = |phrase: &str| StartsWith(phrase.into());
    let both = |instruction: &Instruction, text: &str| {
        [&Quoted, instruction].map(|instruction| instruction.is_followed_by(text))
    };
    for (instruction, text) in [
        (ends("Any questions?"), "\"It is done. Any questions?\""),
        (ends("Any questions?"), "“It is done. Any questions?”\n"),
        (ends("any questions?"), "„It is done. ANY QUESTIONS? “"),
        (ends("\"Yes.\""), "“Yes.”"),
        (starts("So"), "\"So be it.\""),
        (starts("so"), " “ So be it.”"),
        (Words(Exactly(3)), "\" So be it. \""),
        (Sentences(Exactly(1)), "„Ja.“"),
        (Paragraphs(Exactly(2)), "\"\n\na\n\nb\n\n\""),
        (Bullets(Exactly(2)), "\"* a\n* b\""),
        (Title, "\"<<Half of it>> a\""),
        (Lowercase, "\"so be it\""),
        (keyword("it", Exactly(1)), "\"So be it\""),
    ] {
        assert_eq!(both(&instruction, text), [true, true], "{instruction:?} of {text:?}");
    }
    check(&[
        // IFEval takes off the quotes at the end, whatever is in front.
        (ends("Any questions?"), "He said \"Any questions?\"", true),
        (ends("Any questions?"), "\"Any questions?\" No.", false),
        (ends("\"Yes.\""), "So: Yes.", false),
        (ends("Any\u{a0}questions?"), "Any\nquestions?", true),
        (ends("café"), "Un cafe\u{301}", true),
        (ends("I’m done."), "\"I'm done.\"", true),
        (starts("So"), "Is it \"So\"?", false),
        (Sentences(Exactly(2)), "Er sagte: „Ja.“ Dann ging er.", true),
    ]);
}

#[test]
fn quotation_marks() {
    for (text, quoted) in [
        ("\"a “b” c\"", true),
        ("„a\nb“", true),
        ("„a”", true),
        ("”a”", true),
        ("＂a＂", true),
        ("〝a〞", true),
        ("“a \"b\" c”", true),
        ("“a” and “b”", false),
        ("„a“ und „b“", false),
        ("“a\"", false),
        ("\"a”", false),
        ("«a»", false),
        ("「a」", false),
        ("'a'", false),
        ("‘a’", false),
        ("''a''", false),
        ("**\"a\"**", false),
        ("\"a\".", false),
    ] {
        assert_eq!(Quoted.is_followed_by(text), quoted, "{text:?}");
    }
}

#[test]
fn commas() {
    let commas = ",՝،߸፣᠂᠈⸲⸴⹁⹉⹌、꓾꘍꛵︐︑﹐﹑，､\u{1144d}\u{1145a}\u{16e97}\u{1da87}\u{1f101}\u{1f10a}";
    for comma in commas.chars() {
        assert!(!NoCommas.is_followed_by(&format!("a{comma} b")), "{comma:?} {:x}", u32::from(comma));
    }
    assert!(!NoCommas.is_followed_by("مرحبا، كيف"));
    assert!(!NoCommas.is_followed_by("1,200"));
    // A quotation mark, semicolons, dots, an apostrophe, Arabic's decimal sign, and letters with a comma.
    for other in ";؛；·・•'’‚„٫٬.。ʻșț\u{326}".chars() {
        assert!(NoCommas.is_followed_by(&format!("a{other} b")), "{other:?} {:x}", u32::from(other));
    }
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
        for answer in ["", " \n", "...", "\u{200b}", "\"\"", "\u{3164}", "“„”"] {
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
