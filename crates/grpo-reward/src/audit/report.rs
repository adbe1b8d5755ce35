//! What an audit found.

use std::fmt;
use std::time::Duration;

use super::{Trick, Variant};
use crate::RewardError;
use crate::error::{ends, excerpt};

/// How many findings of a check are shown in full.
const SHOWN: usize = 2;

/// What an audit found. `Display` shows a table of the checks, followed by the findings.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditReport {
    cases: usize,
    tallies: Vec<Tally>,
    findings: Vec<Finding>,
}

/// How often a check was made and how often it found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The check.
    pub check: Check,
    /// How often it was made.
    pub made: usize,
    /// How often it found something.
    pub found: usize,
}

/// What is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// The gold earns full marks.
    Gold,
    /// A trick earns less than the gold.
    Trick(Trick),
    /// A variant earns as much as the gold.
    Variant(Variant),
    /// No part is slow.
    Speed,
}

/// Something that is wrong with a rubric.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The check that found it.
    pub check: Check,
    /// The index of the case.
    pub case: usize,
    /// The truth, as `Debug` writes it.
    pub truth: String,
    /// The text that was scored.
    pub text: String,
    /// The name and the reward of each part, before its gate and its weight; empty if they are irrelevant.
    pub rewards: Vec<(String, f32)>,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A right text earned too little.
    TooLittle {
        /// What it earned.
        earned: f32,
        /// What it should have earned.
        wanted: f32,
    },
    /// A gold earned full marks, but 0 or less from the part that pays for right answers.
    NothingForBeingRight {
        /// What it earned from that part.
        earned: f32,
    },
    /// A trick earned as much as a right text.
    TooMuch {
        /// What it earned.
        earned: f32,
        /// What it should have earned less than.
        wanted: f32,
    },
    /// A reward panicked or returned a number that is not finite.
    Failed(RewardError),
    /// Parts of the rubric are slow.
    Slow {
        /// Their names and how long they took.
        parts: Vec<(String, Duration)>,
        /// How long they may take.
        limit: Duration,
    },
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Right answers go unpaid, format errors go unpunished, or time is lost.
    Warning,
    /// Training may learn the trick instead of the task.
    Error,
    /// Nothing can be learned: do not start.
    Fatal,
}

/// An audit with a fatal finding.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the rubric can't be trained on; mend it, or the golds that it was shown\n{0}")]
pub struct AuditError(pub AuditReport);

impl AuditReport {
    pub(super) fn new(cases: usize) -> Self {
        Self { cases, tallies: Vec::new(), findings: Vec::new() }
    }

    pub(super) fn add(&mut self, check: Check, finding: Option<Finding>) {
        let found = usize::from(finding.is_some());
        match self.tallies.iter_mut().find(|tally| tally.check == check) {
            Some(tally) => (tally.made, tally.found) = (tally.made + 1, tally.found + found),
            None => self.tallies.push(Tally { check, made: 1, found }),
        }
        self.findings.extend(finding);
    }

    /// How often each check was made, in the order in which the checks first ran.
    pub fn tallies(&self) -> &[Tally] {
        &self.tallies
    }

    /// Everything that is wrong, case by case.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The severity of the worst finding.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(Finding::severity).max()
    }

    /// Whether training must not start.
    pub fn is_fatal(&self) -> bool {
        self.worst() == Some(Severity::Fatal)
    }

    /// The report, for programs that stop at a fatal finding.
    ///
    /// # Errors
    ///
    /// If [`is_fatal`](Self::is_fatal).
    pub fn into_result(self) -> Result<Self, AuditError> {
        if self.is_fatal() { Err(AuditError(self)) } else { Ok(self) }
    }
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match (&self.fault, self.check) {
            (Fault::Failed(_), _) | (_, Check::Gold) => Severity::Fatal,
            (_, Check::Trick(Trick::Unclosed)) => Severity::Warning,
            (_, Check::Trick(_)) => Severity::Error,
            (_, Check::Variant(_) | Check::Speed) => Severity::Warning,
        }
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<43} {:>5} {:>6}", format!("cases: {}", self.cases), "made", "found")?;
        for Tally { check, made, found } in &self.tallies {
            let of_check = |finding: &&Finding| finding.check == *check;
            let worst = self.findings.iter().filter(of_check).map(Finding::severity).max();
            let worst = worst.map(|severity| format!("  {severity}")).unwrap_or_default();
            writeln!(f, "{:<43} {made:>5} {found:>6}{worst}", check.to_string())?;
        }
        for Tally { check, found, .. } in &self.tallies {
            for finding in self.findings.iter().filter(|finding| finding.check == *check).take(SHOWN) {
                write!(f, "\n{finding}\n")?;
            }
            if *found > SHOWN {
                writeln!(f, "and {} more of `{check}`", found - SHOWN)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, case {}: {}", self.severity(), self.check, self.case, self.fault)?;
        match ends(&self.truth) {
            Some((head, tail)) => write!(f, "\n  truth    {head} … {tail}")?,
            None => write!(f, "\n  truth    {}", self.truth)?,
        }
        write!(f, "\n  text     {}", excerpt(&self.text))?;
        for (name, reward) in &self.rewards {
            let reward = if reward.is_nan() { "abstains".to_owned() } else { reward.to_string() };
            write!(f, "\n  {name:<8} {reward}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLittle { earned, wanted } => write!(f, "earned {earned}, should earn {wanted}"),
            Self::NothingForBeingRight { earned } => {
                write!(f, "earned {earned} for being right, should earn more than 0")
            }
            Self::TooMuch { earned, wanted } => write!(f, "earned {earned}, should earn less than {wanted}"),
            Self::Failed(error) => write!(f, "{error}"),
            Self::Slow { parts, limit } => {
                let parts: Vec<_> =
                    parts.iter().map(|(name, time)| format!("`{name}` took {time:.1?}")).collect();
                write!(f, "{}, should take {limit:.1?} at most", parts.join(", "))
            }
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gold => write!(f, "gold"),
            Self::Trick(trick) => write!(f, "trick: {trick}"),
            Self::Variant(variant) => write!(f, "variant: {variant}"),
            Self::Speed => write!(f, "speed"),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        })
    }
}
