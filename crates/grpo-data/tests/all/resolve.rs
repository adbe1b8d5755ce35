use std::fs;

use grpo_data::{Columns, Error, Hub, HubError, Split, resolve_dataset, resolve_model};

fn offline(cache: &tempfile::TempDir) -> Hub {
    Hub::new(cache.path()).with_offline(true)
}

#[test]
fn a_path_that_exists_wins() {
    let folder = tempfile::tempdir().unwrap();
    let hub = offline(&folder);
    let path = folder.path().join("test.jsonl");
    fs::write(&path, r##"{"question": "q", "answer": "So #### 8"}"##).unwrap();
    assert_eq!(resolve_model(folder.path().to_str().unwrap(), &hub).unwrap(), folder.path());
    assert_eq!(
        resolve_dataset(folder.path().to_str().unwrap(), &Split::test(), &Columns::default(), &hub)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        resolve_dataset(path.to_str().unwrap(), &Split::test(), &Columns::default(), &hub).unwrap().len(),
        1
    );
    let error = resolve_model(path.to_str().unwrap(), &hub).unwrap_err();
    assert!(matches!(error, Error::NotAFolder { .. }), "{error}");
}

#[test]
fn an_id_is_asked_of_the_hub() {
    let cache = tempfile::tempdir().unwrap();
    let error = resolve_model("Qwen/tiny", &offline(&cache)).unwrap_err();
    assert!(matches!(error, Error::Hub(HubError::Offline { .. })), "{error}");
    let error =
        resolve_dataset("openai/gsm8k", &Split::test(), &Columns::default(), &offline(&cache)).unwrap_err();
    assert!(matches!(error, Error::Hub(HubError::Offline { .. })), "{error}");
}

#[test]
fn neither_path_nor_id() {
    let cache = tempfile::tempdir().unwrap();
    let hub = offline(&cache);
    for arg in ["", "gsm8k", "./no/where", "/no/where", "a/b/c", "../b"] {
        let errors = [
            resolve_model(arg, &hub).unwrap_err(),
            resolve_dataset(arg, &Split::train(), &Columns::default(), &hub).unwrap_err(),
        ];
        for error in errors {
            let message = error.to_string();
            assert!(message.contains("path") && message.contains("owner/name"), "{arg}: {message}");
        }
    }
}
