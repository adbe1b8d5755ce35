//! Tokenizer, chat template and stop tokens: what is wrong with a folder is an error that names the file.

use std::path::Path;

use grpo_qwen2::{ChatTemplate, ChatTokenizer, Message, ModelError, TextStream, Tokenizer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{TIED, copy_of, fixture, write_json};

/// A byte-level tokenizer of a few letters and special tokens.
fn tokenizer() -> Value {
    let special = |id: u32, content: &str| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        })
    };
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(5, "<|im_end|>"), special(6, "<|im_start|>")],
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": { "a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ã": 4 }, "merges": [["a", "b"]],
        },
    })
}

/// A folder whose text files are in order.
fn folder() -> TempDir {
    let folder = copy_of(TIED);
    write_json(&folder.path().join("tokenizer.json"), &tokenizer());
    std::fs::copy(fixture("chat/tokenizer_config.json"), folder.path().join("tokenizer_config.json"))
        .unwrap();
    folder
}

/// What reading a folder's text files says after `change`.
fn read_after(change: impl FnOnce(&Path)) -> Result<ChatTokenizer, ModelError> {
    let folder = folder();
    change(folder.path());
    ChatTokenizer::read(folder.path())
}

fn error_after(change: impl FnOnce(&Path)) -> ModelError {
    read_after(change).err().expect("a damaged folder is refused")
}

/// The template of a folder with this `tokenizer_config.json`.
fn template(config: Value) -> Result<ChatTemplate, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    write_json(&folder.path().join("tokenizer_config.json"), &config);
    ChatTemplate::read(folder.path())
}

fn render(source: &str) -> Result<String, ModelError> {
    template(json!({ "chat_template": source })).unwrap().render(&[Message::new("user", "hello")], true)
}

fn tokenizer_of(value: &Value) -> Result<Tokenizer, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    write_json(&path, value);
    Tokenizer::read(&path)
}

#[test]
fn tokens_of_a_text_and_back() {
    let tokenizer = tokenizer_of(&tokenizer()).unwrap();
    assert_eq!(tokenizer.encode("<|im_start|>aab b<|im_end|>").unwrap(), [6, 0, 2, 3, 1, 5]);
    assert_eq!(tokenizer.encode("").unwrap(), [0u32; 0]);
    assert_eq!(tokenizer.decode(&[6, 0, 2, 3, 1, 5]), "<|im_start|>aab b<|im_end|>");
    assert_eq!(tokenizer.decode(&[2, 500, u32::MAX, 1]), "abb");
    assert_eq!(tokenizer.decode(&[0, 4]), "a\u{fffd}", "half a character");
    assert_eq!(tokenizer.decode(&[]), "");
    assert_eq!(tokenizer.lengths(&[6, 0, 2, 3, 1, 5]), [12, 1, 2, 1, 1, 10]);
    assert_eq!(tokenizer.lengths(&[2, 500, u32::MAX, 1]), [2, 0, 0, 1]);
    assert_eq!(tokenizer.lengths(&[4, 0, 4]), [0, 4, 3], "half a character belongs to what comes after it");
    assert!(tokenizer.lengths(&[]).is_empty());
    assert_eq!((tokenizer.token_id("<|im_end|>"), tokenizer.token_id("<|none|>")), (Some(5), None));
}

/// A tokenizer that was saved in the middle of a batch keeps its truncation and padding in the file.
#[test]
fn truncation_and_padding_of_the_file_are_not_applied() {
    let mut value = tokenizer();
    value["truncation"] =
        json!({ "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0 });
    value["padding"] = json!({
        "strategy": { "Fixed": 9 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "a",
    });
    assert_eq!(tokenizer_of(&value).unwrap().encode("babab").unwrap(), [1, 2, 2]);
}

#[test]
fn missing_files_are_named() {
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        let error = error_after(|folder| std::fs::remove_file(folder.join(name)).unwrap());
        assert!(matches!(&error, ModelError::MissingFile { path } if path.ends_with(name)), "{error:?}");
    }
}

#[test]
fn broken_tokenizers_are_refused() {
    let mut without_model = tokenizer();
    without_model.as_object_mut().unwrap().remove("model");
    let mut broken_merge = tokenizer();
    broken_merge["model"]["merges"] = json!([["a", "z"]]);
    for text in ["".to_string(), "{".into(), "[]".into(), without_model.to_string(), broken_merge.to_string()]
    {
        let error = error_after(|folder| std::fs::write(folder.join("tokenizer.json"), &text).unwrap());
        assert!(
            matches!(&error, ModelError::Tokenizer { path, .. } if path.ends_with("tokenizer.json")),
            "{text}: {error:?}"
        );
    }
}

/// A tokenizer that was saved in the middle of its own training encodes by chance.
#[test]
fn dropout_is_refused() {
    for (dropout, is_right) in [(json!(null), true), (json!(0.0), true), (json!(0.5), false)] {
        let mut value = tokenizer();
        value["model"]["dropout"] = dropout.clone();
        assert_eq!(tokenizer_of(&value).is_ok(), is_right, "{dropout}");
    }
}

#[test]
fn eos_tokens_are_one_id_or_several() {
    for eos in [json!("5"), json!(-1), json!(5.0), json!([[5, 7]]), json!([5, null])] {
        let error = error_after(|folder| {
            write_json(&folder.join("generation_config.json"), &json!({ "eos_token_id": eos }));
        });
        assert!(error.to_string().contains("`eos_token_id` must be"), "{eos}: {error}");
    }
}

#[test]
fn a_tokenizer_must_fit_the_embedding() {
    let with_id = |id: u32| {
        let mut value = tokenizer();
        value["model"]["vocab"]["b"] = json!(id);
        read_after(|folder| write_json(&folder.join("tokenizer.json"), &value))
    };
    assert!(with_id(511).is_ok());
    let error = with_id(512).err().unwrap();
    assert!(
        matches!(&error, ModelError::Tokenizer { path, .. } if path.ends_with("tokenizer.json")),
        "{error:?}"
    );
    assert!(error.to_string().contains("512"), "{error}");
}

#[test]
fn stop_tokens_are_those_of_the_files_and_im_end() {
    let stop = |generation: Option<Value>, config: Option<Value>| {
        read_after(|folder| {
            if let Some(generation) = generation {
                write_json(&folder.join("generation_config.json"), &generation);
            }
            let path = folder.join("config.json");
            let mut value = crate::common::json(&path);
            value["eos_token_id"] = config.unwrap_or_default();
            write_json(&path, &value);
        })
        .unwrap()
        .stop
    };
    assert_eq!(stop(Some(json!({ "eos_token_id": [9, 7] })), Some(json!(1))), [5, 7, 9]);
    assert_eq!(stop(Some(json!({ "eos_token_id": 5 })), Some(json!(1))), [5]);
    assert_eq!(stop(None, Some(json!(1))), [1, 5]);
    assert_eq!(stop(None, None), [5]);
}

/// Whatever generation_config.json has: it is often the base model's.
#[test]
fn the_end_token_of_the_tokenizer_stops_too() {
    let read = |eos: Value| {
        read_after(|folder| {
            write_json(&folder.join("generation_config.json"), &json!({ "eos_token_id": 9 }));
            let mut value = tokenizer();
            let mut token = value["added_tokens"][0].clone();
            (token["id"], token["content"]) = (json!(7), json!("<|eot|>"));
            value["added_tokens"].as_array_mut().unwrap().push(token);
            write_json(&folder.join("tokenizer.json"), &value);
            let path = folder.join("tokenizer_config.json");
            let mut config = crate::common::json(&path);
            config["eos_token"] = eos;
            write_json(&path, &config);
        })
    };
    for (eos, expected) in [
        (json!("<|eot|>"), vec![5, 7, 9]),
        (json!({ "content": "<|eot|>", "special": true }), vec![5, 7, 9]),
        (json!("<|im_end|>"), vec![5, 9]),
        (json!("a"), vec![0, 5, 9]),
        (json!(null), vec![5, 9]),
    ] {
        assert_eq!(read(eos.clone()).unwrap().stop, expected, "{eos}");
    }
    let error = read(json!("<|other|>")).err().unwrap();
    assert!(matches!(error, ModelError::Json { .. }), "{error:?}");
    assert!(error.to_string().contains("`<|other|>`"), "{error}");
}

/// A token that tokenizer.json lacks would change prompts; of an id, tokenizer.json decides.
#[test]
fn added_tokens_are_those_of_the_tokenizer() {
    let read = |file: &str, tokens: Value| {
        read_after(|folder| {
            let path = folder.join(file);
            let mut value = if path.exists() { crate::common::json(&path) } else { json!({}) };
            value.as_object_mut().unwrap().extend(tokens.as_object().unwrap().clone());
            write_json(&path, &value);
        })
    };
    let decoder = |id: &str, token: &str| json!({ "added_tokens_decoder": { id: { "content": token, "special": true } } });
    for (file, tokens, is_right) in [
        ("tokenizer_config.json", decoder("5", "<|im_end|>"), true),
        ("tokenizer_config.json", decoder("6", "<|im_end|>"), true),
        ("tokenizer_config.json", decoder("7", "<reasoning>"), false),
        ("tokenizer_config.json", decoder("x", "<|im_end|>"), false),
        ("added_tokens.json", json!({ "<|im_start|>": 6 }), true),
        ("added_tokens.json", json!({ "<|im_start|>": 7 }), true),
        ("tokenizer_config.json", json!({ "split_special_tokens": true }), false),
        ("tokenizer_config.json", json!({ "add_eod_token": true, "model_max_length": 1e30 }), true),
        ("added_tokens.json", json!({ "<answer>": 7 }), false),
        ("tokenizer_config.json", json!({ "pad_token": "<ab>" }), false),
        ("tokenizer_config.json", json!({ "think_token": "<ab>" }), false),
        ("tokenizer_config.json", json!({ "additional_special_tokens": ["<ab>"] }), false),
        ("tokenizer_config.json", json!({ "extra_special_tokens": [{ "content": "<ab>" }] }), false),
        ("tokenizer_config.json", json!({ "extra_special_tokens": { "image": "<ab>" } }), false),
        ("tokenizer_config.json", json!({ "model_specific_special_tokens": { "x": "<ab>" } }), false),
        ("special_tokens_map.json", json!({ "additional_special_tokens": ["<ab>"] }), false),
        (
            "tokenizer_config.json",
            json!({ "additional_special_tokens": ["<|im_start|>"], "pad_token": "a" }),
            true,
        ),
    ] {
        let found = read(file, tokens.clone());
        assert_eq!(found.is_ok(), is_right, "{file}: {tokens}: {:?}", found.err());
    }
}

/// A model may have its tags as special tokens: only what ends a completion is no part of it.
#[test]
fn special_tokens_are_text_but_for_the_stop_tokens() {
    let tags = ["<reasoning>", "</reasoning>", "<answer>", "</answer>", "<think>", "<|im_start|>"];
    let chat = read_after(|folder| {
        let mut value = tokenizer();
        let token = value["added_tokens"][0].clone();
        for (i, tag) in tags[..5].iter().enumerate() {
            let mut token = token.clone();
            (token["id"], token["content"]) = (json!(7 + i), json!(tag));
            value["added_tokens"].as_array_mut().unwrap().push(token);
        }
        write_json(&folder.join("tokenizer.json"), &value);
    })
    .unwrap();
    assert_eq!(chat.completion(&[7, 0, 8, 9, 2, 10, 5]), "<reasoning>a</reasoning><answer>ab</answer>");
    for tag in tags {
        let tokens = chat.tokenizer.encode(tag).unwrap();
        assert_eq!((tokens.len(), chat.completion(&tokens)), (1, tag.to_string()));
    }
    assert_eq!(chat.completion(&chat.stop), "");
}

#[test]
fn a_prefill_is_a_part_of_every_completion() {
    let chat = read_after(|folder| {
        let template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}\
            {% if add_generation_prompt %}<|im_start|>ba{% endif %}";
        std::fs::write(folder.join("chat_template.jinja"), template).unwrap();
    })
    .unwrap();
    assert_eq!(chat.prefill, "ba");
    assert_eq!(chat.prompt(&[Message::new("user", "ab")]).unwrap(), [6, 2, 5, 6, 1, 0]);
    assert_eq!(chat.completion(&[2, 5]), "baab");
    assert_eq!(chat.completion_ids("baab").unwrap(), [2, 5], "the prompt has the prefill");
}

#[test]
fn a_completion_and_its_ids_are_two_forms_of_the_same() {
    let chat = read_after(|_| ()).unwrap();
    assert_eq!(chat.completion_ids("ab a").unwrap(), [2, 3, 0, 5]);
    assert_eq!(chat.completion(&[2, 3, 0, 5]), "ab a");
    // Without `<|im_end|>`, a stop token of the model ends it.
    let other = read_after(|folder| {
        let mut value = tokenizer();
        value["added_tokens"] = json!([]);
        write_json(&folder.join("tokenizer.json"), &value);
        write_json(&folder.join("generation_config.json"), &json!({ "eos_token_id": [4, 1] }));
        write_json(&folder.join("tokenizer_config.json"), &json!({ "chat_template": "x" }));
    });
    assert_eq!(other.unwrap().completion_ids("ab").unwrap(), [2, 1]);
}

#[test]
fn a_model_without_stop_tokens_is_refused() {
    let error = error_after(|folder| {
        write_json(&folder.join("generation_config.json"), &json!({}));
        let mut value = tokenizer();
        value["added_tokens"] = json!([]);
        write_json(&folder.join("tokenizer.json"), &value);
        write_json(&folder.join("tokenizer_config.json"), &json!({ "chat_template": "x" }));
    });
    assert!(
        matches!(&error, ModelError::Json { path, .. } if path.ends_with("generation_config.json")),
        "{error:?}"
    );
    assert!(error.to_string().contains("eos_token_id"), "{error}");
}

#[test]
fn a_missing_or_broken_template_is_refused() {
    for config in [json!({}), json!({ "chat_template": null }), json!({ "chat_template": "{% for %}" })] {
        let error = template(config.clone()).unwrap_err();
        assert!(
            matches!(&error, ModelError::Template { path, .. } if path.ends_with("tokenizer_config.json")),
            "{config}: {error:?}"
        );
    }
    let error = template(json!({ "chat_template": 5 })).unwrap_err();
    assert!(matches!(&error, ModelError::Template { .. }) && error.to_string().contains("is 5"), "{error:?}");
}

#[test]
fn a_template_that_fails_says_why() {
    let error = render("{{ raise_exception('roles must alternate') }}").unwrap_err();
    assert!(matches!(error, ModelError::Template { .. }), "{error:?}");
    assert!(error.to_string().contains("roles must alternate"), "{error}");
    for source in ["{{ messages[5].content }}", "{{ nothing() }}", "{{ 1 / 0 }}", "{{ 'x' * 99999999999 }}"] {
        let error = render(source).unwrap_err();
        assert!(matches!(error, ModelError::Template { .. }), "{source}: {error:?}");
    }
}

#[test]
fn an_endless_template_is_stopped() {
    let nested = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    let recursive = "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}";
    for source in [nested, recursive] {
        let error = render(source).unwrap_err();
        assert!(matches!(error, ModelError::Template { .. }), "{error:?}");
    }
}

#[test]
fn a_template_file_comes_before_the_configuration() {
    let text = read_after(|folder| {
        std::fs::write(folder.join("chat_template.jinja"), "{{ messages[0].content }}<|im_end|>").unwrap();
    });
    assert_eq!(text.unwrap().prompt(&[Message::new("user", "ab")]).unwrap(), [2, 5]);
}

/// Also where a character never becomes complete, and with stop tokens in the middle.
#[test]
fn a_text_in_pieces_is_the_text() {
    let text = read_after(|_| {}).unwrap();
    let digit = |n: u32, place: u32| n / 7u32.pow(place) % 7;
    for n in 0..7u32.pow(4) {
        let tokens: Vec<u32> = (0..4).map(|place| digit(n, place)).collect();
        let mut stream = TextStream::new(&text);
        let mut pieces = text.prefill.clone();
        tokens.iter().for_each(|token| pieces += &stream.push(*token));
        pieces += &stream.end();
        assert_eq!(pieces, text.completion(&tokens), "{tokens:?}");
    }
}
