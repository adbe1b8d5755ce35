//! Folders that are whole or not there.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use grpo_trainer::{CheckpointError, Checkpoints};

fn checkpoints(folder: &Path, keep: usize) -> Checkpoints {
    Checkpoints::new(folder.join("checkpoints"), NonZeroUsize::new(keep).unwrap())
}

/// A checkpoint of two files, one of them in a folder.
fn save(checkpoints: &Checkpoints, step: u64) -> PathBuf {
    let write = |folder: &Path| {
        std::fs::create_dir(folder.join("model")).unwrap();
        std::fs::write(folder.join("model/weights"), step.to_string()).unwrap();
        std::fs::write(folder.join("state"), "s").unwrap();
        Ok::<(), CheckpointError>(())
    };
    checkpoints.save(step, write).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_newest_are_kept_and_what_was_left_behind_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(folder.path(), 2);
    assert!(checkpoints.latest(u64::MAX).unwrap().checkpoint.is_none());
    for step in [5, 10, 15] {
        save(&checkpoints, step);
        // As a kill leaves it.
        std::fs::create_dir_all(folder.path().join("checkpoints/step-00000099.partial/model")).unwrap();
    }
    save(&checkpoints, 100_000_000);
    assert_eq!(names(&folder.path().join("checkpoints")), ["step-00000015", "step-100000000"]);
    let latest = |at_most| checkpoints.latest(at_most).unwrap().checkpoint.map(|c| c.step);
    assert_eq!([latest(u64::MAX), latest(99), latest(14)], [Some(100_000_000), Some(15), None]);
}

#[test]
fn a_damaged_one_is_named_and_the_one_before_is_taken() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 9] = [
        ("weights is not what was written", |f| std::fs::write(f.join("model/weights"), "9").unwrap()),
        ("weights is not what was written", |f| std::fs::write(f.join("model/weights"), "10 ").unwrap()),
        ("weights", |f| std::fs::remove_file(f.join("model/weights")).unwrap()),
        ("manifest.json: the checkpoint is damaged: it is not there", |f| {
            std::fs::remove_file(f.join("manifest.json")).unwrap();
        }),
        ("manifest.json cannot be read", |f| std::fs::write(f.join("manifest.json"), "{").unwrap()),
        ("of format 7", |f| std::fs::write(f.join("manifest.json"), r#"{"format":7,"files":{}}"#).unwrap()),
        ("not listed", |f| std::fs::write(f.join("model/more"), "").unwrap()),
        ("which is not in this folder", |f| {
            let entry = r#"{"bytes":0,"sha256":""}"#;
            let manifest = format!(r#"{{"format":4,"files":{{"../../secret":{entry}}}}}"#);
            std::fs::write(f.join("manifest.json"), manifest).unwrap();
        }),
        ("which is not in this folder", |f| {
            let entry = r#"{"bytes":0,"sha256":""}"#;
            let manifest = format!(r#"{{"format":4,"files":{{"/etc/passwd":{entry}}}}}"#);
            std::fs::write(f.join("manifest.json"), manifest).unwrap();
        }),
    ];
    for (expected, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = checkpoints(folder.path(), 3);
        let paths = [5, 10].map(|step| save(&checkpoints, step));
        damage(&paths[1]);
        let latest = checkpoints.latest(u64::MAX).unwrap();
        assert_eq!(latest.checkpoint.unwrap().step, 5);
        let named = latest.damaged[0].to_string();
        assert!(named.contains("step-00000010") && named.contains(expected), "{expected}: {named}");
        damage(&paths[0]);
        let error = checkpoints.latest(u64::MAX).unwrap_err();
        assert!(
            matches!(&error, CheckpointError::AllDamaged { damaged, .. } if damaged.len() == 2),
            "{error}"
        );
        // What is written again takes its place.
        save(&checkpoints, 10);
        assert_eq!(checkpoints.latest(u64::MAX).unwrap().checkpoint.unwrap().step, 10);
    }
}

#[test]
fn what_is_written_takes_the_place_of_what_was_there_and_of_what_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let all = checkpoints(folder.path(), 3);
    for step in [5, 10, 15] {
        save(&all, step);
    }
    // A run that went back to 5, because what came later was damaged, and keeps a single one.
    let one = checkpoints(folder.path(), 1);
    let write = |folder: &Path| {
        std::fs::write(folder.join("state"), "another").unwrap();
        Ok::<(), CheckpointError>(())
    };
    let path = one.save(10, write).unwrap();
    assert_eq!(names(&folder.path().join("checkpoints")), ["step-00000010"]);
    assert_eq!(names(&path), ["manifest.json", "state"]);
    assert_eq!(std::fs::read(path.join("state")).unwrap(), b"another");
    assert_eq!(one.latest(u64::MAX).unwrap().checkpoint.unwrap().step, 10);
}

#[cfg(unix)]
#[test]
fn links_are_followed_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(folder.path(), 2);
    let path = save(&checkpoints, 5);
    for target in ["/dev/zero", "model/weights"] {
        std::fs::remove_file(path.join("state")).unwrap();
        std::os::unix::fs::symlink(target, path.join("state")).unwrap();
        let error = checkpoints.latest(u64::MAX).unwrap_err().to_string();
        assert!(error.contains("state is not what was written"), "{error}");
    }
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = checkpoints(folder.path(), 1);
    save(&checkpoints, 5);
    let failed = checkpoints.save(10, |folder| {
        std::fs::write(folder.join("half"), "h").unwrap();
        let reason = "no room".to_string();
        Err(CheckpointError::Damaged { path: folder.into(), reason })
    });
    assert!(failed.is_err());
    assert_eq!(names(&folder.path().join("checkpoints")), ["step-00000005"]);

    // A folder that nothing can be written to, for a while.
    let blocked = tempfile::tempdir().unwrap();
    let blocked_checkpoints = self::checkpoints(blocked.path(), 1);
    std::fs::write(blocked.path().join("checkpoints"), "a file").unwrap();
    let write = |_: &Path| Ok::<(), CheckpointError>(());
    let error = blocked_checkpoints.save(5, write).unwrap_err().to_string();
    assert!(error.contains("checkpoints"), "{error}");
    std::fs::remove_file(blocked.path().join("checkpoints")).unwrap();
    save(&blocked_checkpoints, 6);
}
