//! Verdicts of earlier self-tests, one file each.

use std::fs;
use std::path::{Path, PathBuf};

use grpo_files::sha256_of;
use serde_json::json;

use super::{DeviceInfo, Failure, Subject, Verdict};

/// The file of a verdict: its name depends on everything that the verdict depends on.
pub(super) fn file(folder: &Path, info: &DeviceInfo, subject: &Subject) -> PathBuf {
    let build = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": option_env!("GRPO_COMMIT"),
        "fusion": cfg!(feature = "fusion"),
        "autotune": cfg!(feature = "autotune"),
    });
    let key = json!({ "device": info, "subject": subject, "build": build }).to_string();
    folder.join(format!("{}.json", sha256_of(key.as_bytes())))
}

/// A verdict that was kept; none if there is none that can be read.
pub(super) fn read(file: &Path) -> Option<Verdict> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Keeps a verdict. What another attempt may change, and what cannot be written, is tested again next time.
pub(super) fn keep(file: &Path, verdict: &Verdict) {
    let is_final = |failure: &Failure| matches!(failure, Failure::Wrong { .. });
    if !verdict.failures.iter().all(is_final) {
        return;
    }
    let kept = file
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| grpo_files::write_bytes(file, serde_json::to_string(verdict)?.as_bytes()));
    if let Err(error) = kept {
        tracing::debug!("{}: {error}", file.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceKind;

    #[test]
    fn only_what_another_attempt_cannot_change_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts/one.json");
        let wrong = Failure::Wrong {
            operation: "product".to_string(),
            index: 3,
            expected: Some(1.0),
            found: None,
            error: None,
            tolerance: 1e-5,
        };
        for (failures, is_kept) in [
            (vec![Failure::Hung { operation: "softmax".to_string(), seconds: 9 }], false),
            (vec![wrong], true),
            (Vec::new(), true),
        ] {
            let verdict = Verdict { failures, errors: Vec::new(), seconds: 0.5 };
            keep(&file, &verdict);
            assert_eq!(read(&file), is_kept.then_some(verdict));
        }
        std::fs::write(&file, "{").unwrap();
        assert_eq!(read(&file), None);
    }

    #[test]
    fn a_new_driver_or_another_shape_is_tested_again() {
        let info = |driver: &str| DeviceInfo {
            kind: DeviceKind::Vulkan,
            name: "GPU".to_string(),
            driver: driver.to_string(),
            is_software: false,
            largest_tensor: Some(1 << 30),
            memory: None,
            dtypes: Vec::new(),
        };
        let model = grpo_qwen2::Config::qwen2_5_0_5b();
        let subject = Subject { model, lora: None, samples_in_f16: false };
        let model = grpo_qwen2::Config { hidden_size: 128, ..subject.model.clone() };
        let wider = Subject { model, ..subject.clone() };
        let of = |driver, subject| file(Path::new("verdicts"), &info(driver), subject);
        assert_eq!(of("1.0", &subject), of("1.0", &subject));
        assert!(of("1.0", &subject) != of("1.1", &subject) && of("1.0", &subject) != of("1.0", &wider));
    }
}
