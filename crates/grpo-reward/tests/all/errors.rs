//! What errors say.

use std::error::Error;
use std::time::Duration;

use grpo_reward::audit::{Audit, Case};
use grpo_reward::{Layout, Pattern, Quantity, Repetition, RewardError, Rubric, SettingError, SoftOverlong};

fn setting_errors() -> Vec<SettingError> {
    vec![
        Layout::new("<plan>", "code").unwrap_err(),
        Pattern::must_match("(").unwrap_err(),
        Quantity::new(-1.0, 0.0).unwrap_err(),
        SoftOverlong::new(10, 20).unwrap_err(),
        Repetition::new(0, -1.0).unwrap_err(),
        SettingError::Schema { reason: "a reason".into() },
        SettingError::NoSuchPart { name: "a".into(), known: vec!["b".into()] },
        SettingError::NoCases,
    ]
}

fn reward_errors() -> Vec<RewardError> {
    let (reward, completion) = ("format".to_owned(), "18".to_owned());
    vec![
        RewardError::Panicked {
            reward: reward.clone(),
            message: "out of range".into(),
            completion: Some(completion.clone()),
        },
        RewardError::TimedOut {
            reward: reward.clone(),
            limit: Duration::from_secs(1),
            completion: Some(completion.clone()),
        },
        RewardError::NotFinite { reward, value: f32::NAN, weight: 1.0, completion },
    ]
}

/// Whoever prints an error and its sources, as `anyhow` does, reads everything once.
#[test]
fn a_reason_is_said_once() {
    let case = Case { truth: "18", prompt: "", gold: "17", marks: 2.0 };
    let audit_error =
        Audit::default().run(&Rubric::<str>::gsm8k(), &[case]).unwrap().into_result().unwrap_err();
    let mut errors: Vec<Box<dyn Error>> = vec![audit_error.into()];
    errors.extend(setting_errors().into_iter().map(Into::into));
    errors.extend(reward_errors().into_iter().map(Into::into));
    for error in &errors {
        let mut above = error.to_string();
        let mut link = error.source();
        while let Some(source) = link {
            assert!(!above.contains(&source.to_string()), "{above:?} repeats {source}");
            above = source.to_string();
            link = source.source();
        }
    }
}

/// The message alone is enough.
#[test]
fn an_error_has_its_reason() {
    let error = Pattern::must_match("(").unwrap_err().to_string();
    assert!(error.contains("unclosed group"), "{error}");
}
