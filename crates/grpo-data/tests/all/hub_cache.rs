//! What is in a repository, and in a cache that others filled.

use std::fs;

use grpo_data::{Columns, Error, Hub, HubError, Split};

use crate::hub::{hub, model, serve};
use crate::parquet::write_truths;
use crate::server::{Answer, COMMIT, Repos, Server};

const ID: &str = "Qwen/tiny";
const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

#[test]
fn a_commit_that_nothing_calls_the_newest() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(model());
    let folder = hub(&server, &cache).model(ID).unwrap();
    let repo = cache.path().join("models--Qwen--tiny");
    fs::remove_dir_all(repo.join("refs")).unwrap();
    let offline = || Hub::new(cache.path()).with_offline(true);
    assert_eq!(offline().model(ID).unwrap(), folder);

    // One that lacks a file changes nothing.
    let other = repo.join("snapshots").join(OTHER);
    fs::create_dir(&other).unwrap();
    fs::write(other.join("config.json"), "{}").unwrap();
    assert_eq!(offline().model(ID).unwrap(), folder);

    for entry in fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), other.join(entry.file_name())).unwrap();
    }
    let error = offline().model(ID).unwrap_err();
    assert!(matches!(&error, HubError::Snapshots { folders, .. } if folders.len() == 2), "{error}");
    assert!(error.to_string().contains(COMMIT) && error.to_string().contains(OTHER), "{error}");

    // Online the Hub knows.
    assert_eq!(hub(&server, &cache).model(ID).unwrap(), folder);
    fs::remove_dir_all(repo).unwrap();
    assert!(matches!(offline().model(ID), Err(HubError::Offline { .. })));
}

#[test]
fn a_dataset_of_a_commit_that_nothing_calls_the_newest() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().join("datasets--a--b/snapshots").join(OTHER);
    fs::create_dir_all(&folder).unwrap();
    write_truths(&folder.join("train.parquet"), &["1", "2"]);
    let hub = Hub::new(cache.path()).with_offline(true);
    assert_eq!(hub.dataset("a/b", &Split::train(), &Columns::default()).unwrap().len(), 2);
    let error = hub.dataset("a/b", &Split::test(), &Columns::default()).unwrap_err();
    assert!(matches!(error, Error::Hub(HubError::Offline { .. })), "{error}");
}

#[test]
fn the_hubs_own_conversion_of_a_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let content = |truth: &str| {
        let path = folder.path().join("a.parquet");
        write_truths(&path, &[truth]);
        fs::read(path).unwrap()
    };
    let server = serve(
        Repos::default()
            .file("datasets/a/b/main/train/0000.parquet", content("1"))
            .file("datasets/a/b/main/train/0001.parquet", content("2"))
            .file("datasets/a/b/socratic/train/0000.parquet", content("3"))
            .file("datasets/c/d/default/test/0000.parquet", content("4")),
    );
    let cache = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let hub = hub(&server, &cache);
        assert_eq!(hub.dataset("a/b", &Split::train(), &Columns::default()).unwrap()[1].truth, "2"); // then from the cache
        assert_eq!(hub.dataset("c/d", &Split::test(), &Columns::default()).unwrap()[0].truth, "4");
    }
}

#[test]
fn a_configuration_at_a_revision() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    write_truths(&path, &["3"]);
    let repos = Repos::default()
        .file("datasets/a/b/socratic/train/0000.parquet", fs::read(&path).unwrap())
        .file("datasets/a/b/README.md", "");
    let split = |revision: &str| Split {
        config: Some("socratic".into()),
        revision: Some(revision.into()),
        ..Split::train()
    };
    for (revision, asked) in
        [("refs/convert/parquet", "refs%2Fconvert%2Fparquet"), ("v1.0", "v1.0"), (COMMIT, COMMIT)]
    {
        let server = serve(repos.clone());
        let cache = tempfile::tempdir().unwrap();
        for offline in [false, true] {
            let hub = hub(&server, &cache).with_offline(offline);
            let examples = hub.dataset("a/b", &split(revision), &Columns::default()).unwrap();
            assert_eq!(examples[0].truth, "3");
        }
        assert_eq!(server.requests()[0].path, format!("/api/datasets/a/b/revision/{asked}"));
        // The reference to the newest commit is not written.
        assert!(!cache.path().join("datasets--a--b/refs/main").exists(), "{revision}");
    }
    let server = serve(repos);
    let cache = tempfile::tempdir().unwrap();
    for (split, expected) in [
        (split("../x"), "`../x` is no revision on the Hub"),
        (Split { config: Some("main".into()), ..Split::train() }, "no file of the split `train`"),
        (Split { config: Some("main".into()), ..Split::train() }, "in `main`; found: README.md, socratic/"),
    ] {
        let error = hub(&server, &cache).dataset("a/b", &split, &Columns::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

/// Its shards do not say how many they are, so the first ones must not be found before the last one is there.
#[test]
fn a_dataset_that_arrives_in_part_is_not_taken_for_whole() {
    let folder = tempfile::tempdir().unwrap();
    write_truths(&folder.path().join("a.parquet"), &["1"]);
    let content = fs::read(folder.path().join("a.parquet")).unwrap();
    let names = ["test.parquet", "train/0000.parquet", "train/0001.parquet"];
    let repos = names.iter().fold(Repos::default(), |repos, name| {
        repos.file(&format!("datasets/a/b/{name}"), [&content[..], b""].concat())
    });
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start({
        let repos = repos.clone();
        move |request| {
            if request.path.ends_with("0001.parquet") { Answer::new(410, "") } else { repos.answer(request) }
        }
    });
    hub(&server, &cache).dataset("a/b", &Split::test(), &Columns::default()).unwrap();
    hub(&server, &cache).dataset("a/b", &Split::train(), &Columns::default()).unwrap_err();
    assert_eq!(
        hub(&serve(repos), &cache).dataset("a/b", &Split::train(), &Columns::default()).unwrap().len(),
        2
    );
}

#[test]
fn weights_in_other_files() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["pytorch_model.bin", "training_args.bin"], &["found: pytorch_model.bin;", "save_pretrained"]),
        (
            &["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
            &["00001-of-00002.bin;", "save_pretrained"],
        ),
        (&["consolidated.safetensors"], &["consolidated.safetensors", "save_pretrained"]),
        (&["model-00001-of-00002.safetensors"], &["found: model-00001", "save_pretrained"]),
        (&["tiny-q4_k_m.gguf", "tiny-q8_0.gguf"], &["tiny-q4_k_m.gguf, tiny-q8_0.gguf", "gguf_file="]),
        (&["tiny-q8_0.gguf", "pytorch_model.bin"], &["found: pytorch_model.bin;"]),
        (
            &["adapter_model.safetensors", "adapter_config.json"],
            &["adapter_model.safetensors", "give the model that"],
        ),
    ];
    for (files, parts) in cases {
        let cache = tempfile::tempdir().unwrap();
        let repos = Repos::default().file("a/b/config.json", "{}");
        let server = serve(files.iter().fold(repos, |repos, file| repos.file(&format!("a/b/{file}"), "x")));
        let error = hub(&server, &cache).model("a/b").unwrap_err();
        assert!(matches!(error, HubError::Weights { .. }), "{files:?}: {error}");
        let message = error.to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert_eq!(server.requests().len(), 1, "nothing is downloaded before");
    }
}

#[test]
fn a_repository_without_the_branch() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Answer::new(404, "").with("X-Error-Code", "RevisionNotFound"));
    let error = hub(&server, &cache).model(ID).unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("the revision `main` of the model `Qwen/tiny`"), "{error}");
}

/// Another tool fetched the model without what it had no use for; without `generation_config.json` it would not stop.
#[test]
fn optional_files_that_another_tool_left_out() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(model());
    let folder = hub(&server, &cache).model(ID).unwrap();
    let n_requests = server.requests().len();
    hub(&server, &cache).model(ID).unwrap();
    assert_eq!(server.requests().len(), n_requests, "that there is no chat template has been noted");

    fs::remove_file(folder.join("generation_config.json")).unwrap();
    assert_eq!(
        Hub::new(cache.path()).with_offline(true).model(ID).unwrap(),
        folder,
        "offline, there is only a warning"
    );
    assert_eq!(hub(&server, &cache).model(ID).unwrap(), folder);
    assert!(folder.join("generation_config.json").is_file());

    fs::remove_dir_all(cache.path().join("models--Qwen--tiny/.no_exist")).unwrap();
    let denied = Server::start(|_| Answer::new(401, ""));
    assert_eq!(hub(&denied, &cache).model(ID).unwrap(), folder, "nor where the Hub tells nothing");
}
