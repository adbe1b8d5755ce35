//! Rubrics that pay for being right, and rubrics that don't.

use std::time::Duration;

use grpo_core::{Completion, Reward};
use grpo_reward::audit::{Audit, AuditReport, Case, Check, Fault, Severity, Trick, Variant};
use grpo_reward::{
    Choice, Correctness, Countdown, CountdownTruth, Layout, LayoutFormat, Numeric, Rubric, SettingError,
    StrictFormat, TagCount, extract_answer,
};

const PROMPT: &str = "Ann has 36 apples and gives half of them away. How many are left?";

fn gold(answer: &str) -> String {
    format!("<reasoning>\nHalf of 36.\n</reasoning>\n<answer>\n{answer}\n</answer>\n")
}

fn audit(rubric: &Rubric<str>, truth: &str) -> AuditReport {
    let case = Case { truth, prompt: PROMPT, gold: &gold(truth), marks: 2.5 };
    Audit::default().run(rubric, &[case]).unwrap()
}

/// A rubric of one reward, and the format.
fn with_format(reward: impl Reward<str> + 'static) -> Rubric<str> {
    Rubric::new().with("right", 1.0, reward).with("format", 1.0, StrictFormat::default())
}

fn pay(right: bool) -> f32 {
    if right { 2.0 } else { 0.0 }
}

fn found(report: &AuditReport) -> Vec<Check> {
    report.findings().iter().map(|finding| finding.check).collect()
}

fn tried(report: &AuditReport) -> Vec<Check> {
    report.tallies().iter().map(|tally| tally.check).collect()
}

#[test]
fn a_rubric_of_numbers_passes() {
    for truth in ["18", "-5", "1200", "0.25", "$1,200"] {
        let report = audit(&with_format(Numeric::default()), truth);
        assert_eq!(found(&report), [], "{report}");
        assert_eq!((report.worst(), report.is_fatal()), (None, false));
        assert!(report.into_result().is_ok());
    }
    let report = audit(&with_format(Numeric::default()), "-1200");
    for trick in Trick::ALL {
        assert!(tried(&report).contains(&Check::Trick(trick)), "{trick}");
    }
    use Variant::*;
    for (variant, truth) in [
        (FinalPoint, "-1200"),
        (Dollar, "-1200"),
        (Thousands, "-1200"),
        (TypographicMinus, "-1200"),
        (Plus, "18"),
        (Whitespace, "18"),
    ] {
        let report = audit(&with_format(Numeric::default()), truth);
        assert!(tried(&report).contains(&Check::Variant(variant)), "{variant}");
    }
}

/// `Correctness` compares characters on purpose: other ways to write the number are warnings.
#[test]
fn the_classic_rubric_has_warnings_only() {
    let report = audit(&Rubric::gsm8k(), "1200");
    use Variant::*;
    assert_eq!(found(&report), [FinalPoint, Dollar, Thousands, Plus].map(Check::Variant), "{report}");
    assert_eq!(report.worst(), Some(Severity::Warning));
    assert!(report.into_result().is_ok());
}

#[test]
fn a_truth_anywhere_in_the_text_is_found_out() {
    let report = audit(
        &with_format(|truth: &str, completion: &Completion| pay(completion.text.contains(truth))),
        "18",
    );
    use Trick::*;
    let tricks = [EveryNumber, EitherAnswer, TwoAnswers, ReasoningOnly].map(Check::Trick);
    assert_eq!(found(&report), tricks, "{report}");
    assert_eq!(report.worst(), Some(Severity::Error));
    assert!(report.findings().iter().all(|finding| finding.truth == "\"18\"" && finding.text.contains("18")));
}

/// One bad reward for every trick.
#[test]
fn every_trick_is_found_out() {
    fn catch(trick: Trick, reward: impl Fn(&str, &Completion) -> f32 + Send + Sync + 'static) {
        let report = audit(&Rubric::new().with("bad", 2.5 / 2.0, reward), "18");
        let finding = report.findings().iter().find(|finding| finding.check == Check::Trick(trick));
        let finding = finding.unwrap_or_else(|| panic!("{trick}: {report}"));
        assert_eq!(finding.fault, Fault::TooMuch { earned: 2.5, wanted: 2.5 });
        assert!(report.to_string().contains(&format!("trick: {trick}")), "{report}");
    }
    let answer = |completion: &Completion| extract_answer(&completion.text).to_owned();
    catch(Trick::Empty, |truth, completion| {
        pay(truth.contains(&completion.text) || completion.text.contains(truth))
    });
    catch(Trick::EmptyTags, move |truth, completion| pay(truth.starts_with(&answer(completion))));
    catch(Trick::EchoedPrompt, move |truth, completion| {
        pay(answer(completion) == truth || completion.text.contains("Ann"))
    });
    catch(Trick::EveryNumber, move |truth, completion| {
        pay(answer(completion).split(", ").any(|number| number == truth))
    });
    catch(Trick::EitherAnswer, move |truth, completion| pay(answer(completion).contains(truth)));
    catch(Trick::TwoAnswers, |truth, completion| {
        pay(completion
            .text
            .split("<answer>")
            .any(|text| text.split("</answer>").next().unwrap().trim() == truth))
    });
    catch(Trick::ReasoningOnly, |truth, completion| pay(completion.text.lines().any(|line| line == truth)));
    catch(Trick::Unclosed, |truth, completion| Numeric::default().score(truth, completion));
    catch(Trick::LongAnswer, |truth, completion| {
        pay(completion.n_tokens > 1000 || completion.text.contains(truth))
    });
    catch(Trick::DeepParentheses, |_, completion| {
        pay(completion.text.contains("((") || completion.text.contains("18"))
    });
}

#[test]
fn an_unclosed_answer_is_a_warning_and_for_the_total_to_miss() {
    let report = audit(&Rubric::new().with("right", 1.25, Numeric::default()), "18");
    assert_eq!(found(&report), [Check::Trick(Trick::Unclosed)]);
    assert_eq!(report.worst(), Some(Severity::Warning));
    // Judged by the part that pays for being right, the format is missed all the same.
    let case = Case { truth: "18", prompt: PROMPT, gold: &gold("18"), marks: 2.5 };
    let by_part = Audit { right: Some("right".into()), ..Audit::default() };
    assert_eq!(found(&by_part.run(&with_format(Numeric::default()), &[case]).unwrap()), []);
}

/// A total can hide what the part that pays for being right falls for.
#[test]
fn the_part_for_being_right_judges() {
    let rubric = with_format(|truth: &str, completion: &Completion| pay(completion.text.contains(truth)))
        .with("length", -0.01, |_: &str, completion: &Completion| completion.text.len() as f32);
    let case = [Case { truth: "18", prompt: PROMPT, gold: &gold("18"), marks: 1.0 }];
    let finds_two_answers = |right: Option<&str>| {
        let audit = Audit { right: right.map(str::to_owned), ..Audit::default() };
        found(&audit.run(&rubric, &case).unwrap()).contains(&Check::Trick(Trick::TwoAnswers))
    };
    assert!(!finds_two_answers(None));
    assert!(finds_two_answers(Some("right")));
}

#[test]
fn a_gold_that_fails_is_shown() {
    let cases = [
        Case { truth: "18", prompt: PROMPT, gold: &gold("18"), marks: 2.5 },
        Case {
            truth: "18",
            prompt: PROMPT,
            gold: "<reasoning>\nHalf.\n</reasoning>\n<answer>\n18\n</answer>",
            marks: 2.5,
        },
    ];
    let report = Audit::default().run(&Rubric::gsm8k(), &cases).unwrap();
    let fatal = report.findings().iter().find(|finding| finding.severity() == Severity::Fatal).unwrap();
    assert_eq!((fatal.check, fatal.case, fatal.truth.as_str()), (Check::Gold, 1, "\"18\""));
    assert_eq!(fatal.text, cases[1].gold);
    assert_eq!(fatal.rewards, [("correctness".to_owned(), 2.0), ("format".to_owned(), 0.0)]);
    assert_eq!(fatal.fault, Fault::TooLittle { earned: 2.0, wanted: 2.5 });
    let error = report.into_result().unwrap_err();
    for part in [
        "fatal: gold, case 1: earned 2, should earn 2.5",
        "\"18\"",
        r"18\n</answer>",
        "correctness 2",
        "format   0",
    ] {
        assert!(error.to_string().contains(part), "{part:?} in {error}");
    }
}

#[test]
fn a_gold_that_the_part_for_being_right_does_not_pay_is_fatal() {
    let audit = Audit { right: Some("tags".into()), ..Audit::default() };
    let rubric =
        Rubric::<str>::new().with("numbers", 1.0, Numeric::default()).with("tags", 1.0, TagCount::default());
    let case = [Case { truth: "18", prompt: PROMPT, gold: "18", marks: 2.0 }];
    let report = audit.run(&rubric, &case).unwrap();
    assert!(report.is_fatal());
    assert_eq!(report.findings()[0].fault, Fault::NothingForBeingRight { earned: 0.0 });
    assert!(!Audit::default().run(&rubric, &case).unwrap().is_fatal());
}

#[test]
fn a_reward_that_fails_is_fatal() {
    let rubric = with_format(|truth: &str, completion: &Completion| {
        let answer: f32 = extract_answer(&completion.text).parse().expect("a number");
        pay(answer == truth.parse::<f32>().unwrap())
    });
    let report = audit(&rubric, "18");
    assert!(report.is_fatal());
    let failed = |finding: &&grpo_reward::audit::Finding| matches!(finding.fault, Fault::Failed(_));
    assert!(
        report
            .findings()
            .iter()
            .any(|finding| failed(&finding) && finding.check == Check::Trick(Trick::EmptyTags))
    );
    assert!(report.to_string().contains("`right` panicked (a number"), "{report}");
}

#[test]
fn a_slow_reward_is_named() {
    let slow = |slows: fn(&Completion) -> bool| {
        let rubric =
            with_format(Numeric::default()).with("checks", 0.0, move |_: &str, completion: &Completion| {
                if slows(completion) {
                    std::thread::sleep(Duration::from_millis(300));
                }
                0.0
            });
        let case = Case { truth: "18", prompt: PROMPT, gold: &gold("18"), marks: 2.5 };
        let limit = Duration::from_millis(200);
        Audit { limit, long_limit: limit, ..Audit::default() }.run(&rubric, &[case]).unwrap()
    };
    for (slows, times) in [
        ((|completion| completion.text == gold("18")) as fn(&Completion) -> bool, 1),
        (|completion| completion.text.len() > 1_000_000, 2),
    ] {
        let report = slow(slows);
        assert_eq!(found(&report), vec![Check::Speed; times], "{report}");
        assert_eq!(report.worst(), Some(Severity::Warning));
        let Fault::Slow { parts, .. } = &report.findings()[0].fault else { panic!("{report}") };
        assert!(matches!(&parts[..], [(name, took)] if name == "checks" && took.as_millis() >= 300));
        assert!(report.to_string().contains("`checks` took"), "{report}");
        assert!(report.to_string().len() < 5000);
    }
}

/// Texts of a megabyte are no trouble.
#[test]
fn our_rewards_are_not_slow() {
    let rubric = Rubric::<str>::new()
        .with("numbers", 1.0, Numeric::default())
        .with("correctness", 0.0, Correctness::default())
        .with("choice", 0.0, Choice::default())
        .with("quantity", 0.0, grpo_reward::Quantity::new(0.0, 0.1).unwrap())
        .with("json", 0.0, grpo_reward::Json::default())
        .with("repetition", 0.0, grpo_reward::Repetition::new(3, -1.0).unwrap())
        .with("strict", 1.0, StrictFormat::default())
        .with("layout", 0.0, LayoutFormat { layout: Layout::REASONING, reward: 0.5 });
    let case = [Case { truth: "18", prompt: PROMPT, gold: &gold("18"), marks: 2.5 }];
    // Roomy, for machines that are busy: what is not linear takes minutes.
    let (limit, long_limit) = (Duration::from_secs(1), Duration::from_secs(20));
    let report = Audit { limit, long_limit, ..Audit::default() }.run(&rubric, &case).unwrap();
    assert_eq!(found(&report), [], "{report}");
}

#[test]
fn golds_in_other_layouts() {
    let rubric = Rubric::<str>::new().with("right", 1.0, Choice::default()).with(
        "format",
        1.0,
        LayoutFormat::default(),
    );
    let gold = "<think>Not A.</think> <answer>(B)</answer>";
    let case = [Case { truth: "B", prompt: "A or B?", gold, marks: 2.5 }];
    let think = Audit { layout: Layout::THINK, ..Audit::default() };
    let report = think.run(&rubric, &case).unwrap();
    assert_eq!(found(&report), [], "{report}");
    assert_eq!(tried(&report).len(), 2 + Trick::ALL.len());
}

#[test]
fn golds_without_tags() {
    let truth = CountdownTruth { numbers: vec![3, 5, 7], target: 56 };
    let rubric = Rubric::new().with("reaches", 1.0, Countdown::default());
    let case = [Case { truth: &truth, prompt: "Reach 56 with 3, 5 and 7.", gold: "(3 + 5) * 7", marks: 2.0 }];
    let report = Audit::default().run(&rubric, &case).unwrap();
    assert_eq!(found(&report), [], "{report}");
    use Trick::*;
    let tricks =
        [Empty, EchoedPrompt, EveryNumber, EitherAnswer, LongAnswer, DeepParentheses].map(Check::Trick);
    assert!(tried(&report).iter().filter(|check| matches!(check, Check::Trick(_))).eq(&tricks));
}

#[test]
fn long_texts_are_made_of_the_first_gold_only() {
    let gold = gold("18");
    let cases = [(); 3].map(|()| Case { truth: "18", prompt: PROMPT, gold: &gold, marks: 2.5 });
    let audit = Audit { tricks: vec![Trick::Empty, Trick::LongAnswer], ..Audit::default() };
    let report = audit.run(&Rubric::<str>::gsm8k(), &cases).unwrap();
    let made = |check| report.tallies().iter().find(|tally| tally.check == check).map(|tally| tally.made);
    assert_eq!(made(Check::Gold), Some(3));
    assert_eq!(made(Check::Trick(Trick::Empty)), Some(3));
    assert_eq!(made(Check::Trick(Trick::LongAnswer)), Some(1));
    assert_eq!(made(Check::Trick(Trick::TwoAnswers)), None);
    assert_eq!(report.to_string().matches("final point, case").count(), 2, "{report}");
    assert!(report.to_string().contains("and 1 more of `variant: final point`"), "{report}");
}

#[test]
fn an_audit_that_cannot_be_made_is_an_error() {
    let rubric = Rubric::<str>::gsm8k();
    assert_eq!(Audit::default().run(&rubric, &[]), Err(SettingError::NoCases));
    let case = [Case { truth: "18", prompt: PROMPT, gold: "18", marks: 2.0 }];
    let error = Audit { right: Some("right".into()), ..Audit::default() }.run(&rubric, &case).unwrap_err();
    assert!(matches!(error, SettingError::NoSuchPart { .. }), "{error}");
}
