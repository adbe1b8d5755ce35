/*!
Checks that a rubric pays for right answers, before a run trains on it.

An [`Audit`] scores texts that it makes from right completions ("golds") of a few problems:

* the gold itself, which must earn full marks, or nothing can be learned;
* [tricks](Trick), which must earn less than the gold, or the trick is learned;
* harmless [variants](Variant) of a number, which must earn as much as the gold;
* and megabyte-long texts, on which no reward may be slow.

A gold is written in a [`Layout`]. The answer is what the last pair of answer tags holds; the tricks put
something else there. Without tags, the whole gold is the answer, and tricks that need tags are skipped.

```
use grpo_reward::Rubric;
use grpo_reward::audit::{Audit, Case};

let gold = "<reasoning>\nHalf of 36.\n</reasoning>\n<answer>\n18\n</answer>\n";
let cases = [Case { truth: "18", prompt: "What is half of 36?", gold, marks: 2.5 }];
let report = Audit::default().run(&Rubric::gsm8k(), &cases)?;
assert!(!report.is_fatal(), "{report}");

// A reward that accepts the truth anywhere in the text.
let anywhere = Rubric::new().with("correctness", 1.0, |truth: &str, completion: &grpo_core::Completion| {
    if completion.text.contains(truth) { 2.5 } else { 0.0 }
});
let report = Audit::default().run(&anywhere, &cases)?;
assert!(report.to_string().contains("answer in the reasoning only"), "{report}");
# Ok::<(), grpo_reward::SettingError>(())
```
*/

mod report;
mod texts;

use std::fmt;
use std::time::Duration;

use grpo_core::{Asked, Completion, Finish, Message};

pub use self::report::{AuditError, AuditReport, Check, Fault, Finding, Severity, Tally};
use self::texts::Gold;
pub use self::texts::{Trick, Variant};
use crate::{Layout, RewardError, Rubric, Scores, SettingError};

/// How far rounding may lower full marks.
const TOLERANCE: f32 = 1e-4;

/// How a rubric is examined.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// The tags of the golds: `<reasoning>` and `<answer>` by default.
    pub layout: Layout,
    /// The part of the rubric that pays for right answers. Tricks and variants are judged by its reward, or by
    /// the total if there is no such part.
    pub right: Option<String>,
    /// The tricks to try: all of them by default. Leave out those that are no trick for the task.
    pub tricks: Vec<Trick>,
    /// How long one part may take on a gold: 50 ms by default.
    pub limit: Duration,
    /// How long one part may take on a megabyte-long text: 1 s by default.
    pub long_limit: Duration,
}

/// A problem and a right completion of it.
#[derive(Debug)]
pub struct Case<'a, T: ?Sized> {
    /// What is true of the problem.
    pub truth: &'a T,
    /// The prompt's text.
    pub prompt: &'a str,
    /// The right answer in its expected form.
    pub gold: &'a str,
    /// The total that the gold must earn.
    pub marks: f32,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            layout: Layout::REASONING,
            right: None,
            tricks: Trick::ALL.to_vec(),
            limit: Duration::from_millis(50),
            long_limit: Duration::from_secs(1),
        }
    }
}

impl Audit {
    /// Examines `rubric`. The report lists what is wrong with it, including rewards that panic.
    ///
    /// Rewards see one token for every 4 bytes, and completions that ended by themselves. Megabyte-long texts
    /// are made from the first gold only.
    ///
    /// # Errors
    ///
    /// If there are no cases, or the rubric has no part with the name in [`right`](Self::right).
    pub fn run<T: fmt::Debug + ?Sized>(
        &self,
        rubric: &Rubric<T>,
        cases: &[Case<'_, T>],
    ) -> Result<AuditReport, SettingError> {
        if cases.is_empty() {
            return Err(SettingError::NoCases);
        }
        let right = self.right.as_deref().map(|name| rubric.index(name)).transpose()?;
        let mut report = AuditReport::new(cases.len());
        for (index, case) in cases.iter().enumerate() {
            Examination { audit: self, rubric, right, case, index, report: &mut report }.run();
        }
        Ok(report)
    }
}

/// One case during an audit.
struct Examination<'a, T: ?Sized> {
    audit: &'a Audit,
    rubric: &'a Rubric<T>,
    right: Option<usize>,
    case: &'a Case<'a, T>,
    index: usize,
    report: &'a mut AuditReport,
}

impl<T: fmt::Debug + ?Sized> Examination<'_, T> {
    fn run(&mut self) {
        let Some(scores) = self.gold() else { return };
        let gold = Gold::new(&self.audit.layout, self.case.prompt, self.case.gold);
        // Long texts are made from the first gold only.
        let first = self.index == 0;
        for &trick in self.audit.tricks.iter().filter(|trick| first || !trick.is_long()) {
            if let Some(text) = trick.text(&gold) {
                self.trick(trick, &text, &scores);
            }
        }
        for variant in Variant::ALL {
            if let Some(text) = variant.text(&gold) {
                self.variant(variant, &text, &scores);
            }
        }
    }

    /// What the gold earned; none if it failed, because then there is nothing to compare with.
    fn gold(&mut self) -> Option<Scores> {
        let (text, wanted, right) = (self.case.gold, self.case.marks, self.right);
        let fault = |scores: &Scores| match judged(scores, right) {
            _ if scores.total < wanted - TOLERANCE => Some(Fault::TooLittle { earned: scores.total, wanted }),
            earned if earned <= 0.0 => Some(Fault::NothingForBeingRight { earned }),
            _ => None,
        };
        let (scores, first) = self.check(Check::Gold, text, fault)?;
        // Twice, because a reward may need to set itself up the first time.
        let (_, second) = self.score(text).ok()?;
        let times: Vec<_> = first.into_iter().zip(second).map(|(a, b)| a.min(b)).collect();
        self.speed(text, &times, self.audit.limit);
        fault(&scores).is_none().then_some(scores)
    }

    fn trick(&mut self, trick: Trick, text: &str, gold: &Scores) {
        // An answer without its closing tag is still right: only the format must cost something.
        let right = self.right.filter(|_| trick != Trick::Unclosed);
        let wanted = judged(gold, right);
        let scored = self.check(Check::Trick(trick), text, |scores| {
            let earned = judged(scores, right);
            (earned >= wanted - TOLERANCE).then_some(Fault::TooMuch { earned, wanted })
        });
        if let Some((_, times)) = scored.filter(|_| trick.is_long()) {
            self.speed(text, &times, self.audit.long_limit);
        }
    }

    fn variant(&mut self, variant: Variant, text: &str, gold: &Scores) {
        let (right, wanted) = (self.right, judged(gold, self.right));
        self.check(Check::Variant(variant), text, |scores| {
            let earned = judged(scores, right);
            (earned < wanted - TOLERANCE).then_some(Fault::TooLittle { earned, wanted })
        });
    }

    fn speed(&mut self, text: &str, times: &[Duration], limit: Duration) {
        let slow = self.rubric.names().zip(times).filter(|(_, time)| **time > limit);
        let parts: Vec<_> = slow.map(|(name, time)| (name.to_owned(), *time)).collect();
        let fault = (!parts.is_empty()).then_some(Fault::Slow { parts, limit });
        self.record(Check::Speed, text, fault, vec![]);
    }

    /// Scores a text and reports what `judge` finds wrong with it.
    fn check(
        &mut self,
        check: Check,
        text: &str,
        judge: impl FnOnce(&Scores) -> Option<Fault>,
    ) -> Option<(Scores, Vec<Duration>)> {
        match self.score(text) {
            Ok((scores, times)) => {
                let names = self.rubric.names().map(str::to_owned);
                self.record(check, text, judge(&scores), names.zip(scores.each.iter().copied()).collect());
                Some((scores, times))
            }
            Err(error) => {
                self.record(check, text, Some(Fault::Failed(error)), vec![]);
                None
            }
        }
    }

    fn score(&self, text: &str) -> Result<(Scores, Vec<Duration>), RewardError> {
        let (text, n_tokens) = (text.to_owned(), 1 + text.len() / 4);
        let messages = [Message::new("user", self.case.prompt)];
        let asked = Asked { messages: &messages, truth: self.case.truth };
        self.rubric.score_timed(&asked, &Completion { text, n_tokens, finish: Finish::Stop })
    }

    fn record(&mut self, check: Check, text: &str, fault: Option<Fault>, rewards: Vec<(String, f32)>) {
        let finding = fault.map(|fault| Finding {
            check,
            case: self.index,
            truth: format!("{:?}", self.case.truth),
            text: text.to_owned(),
            rewards,
            fault,
        });
        self.report.add(check, finding);
    }
}

/// What the scores are judged by: the part that pays for right answers, or the total.
fn judged(scores: &Scores, right: Option<usize>) -> f32 {
    let earned = right.map_or(scores.total, |part| scores.each[part]);
    // What is not scored is not paid.
    if earned.is_nan() { 0.0 } else { earned }
}
