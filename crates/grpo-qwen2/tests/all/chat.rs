//! The chat template of Qwen2.5 against the texts that transformers makes of the same conversations.

use grpo_qwen2::{ChatTemplate, Message};
use serde_json::Value;

use crate::common::{fixture, json, list};

pub(crate) fn messages(value: &Value) -> Vec<Message> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn texts_match_transformers() {
    let template = ChatTemplate::read(&fixture("chat")).unwrap();
    let golden = json(&fixture("qwen2_coder_0_5b.json"));
    let conversations = list(&golden["chat"]);
    assert_eq!(conversations.len(), 5);
    for conversation in conversations {
        let generation_prompt = conversation["add_generation_prompt"].as_bool().unwrap();
        let text = template.render(&messages(&conversation["messages"]), generation_prompt).unwrap();
        assert_eq!(text, conversation["text"].as_str().unwrap());
    }
}

#[test]
fn text_of_a_message_is_not_a_template() {
    let template = ChatTemplate::read(&fixture("chat")).unwrap();
    let content = "{{ 1 + 1 }} {% if x %} <b> & 'quotes' {# no comment #}\n";
    let text = template.render(&[Message::new("system", content), Message::new("user", "")], false).unwrap();
    assert_eq!(text, format!("<|im_start|>system\n{content}<|im_end|>\n<|im_start|>user\n<|im_end|>\n"));
}

/// What a template that somebody else wrote may try.
#[test]
fn a_template_is_kept_within_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), "{}").unwrap();
    std::fs::write(folder.path().join("secret.txt"), "s3cret").unwrap();
    let file = folder.path().join("secret.txt").display().to_string();
    let repeated = "{% for i in range(9999) %}{% for j in range(9999) %}{{ j }}{% endfor %}{% endfor %}";
    let doubled =
        "{% set ns = namespace(x='a') %}{% for i in range(34) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    for (template, expected) in [
        (repeated.to_string(), "ran out of fuel"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_string(), "recursion"),
        ("{{ 'a' * 2000000000 }}".to_string(), "ran out of fuel"),
        (doubled.to_string(), "ran out of fuel"),
        (format!("{{% include '{file}' %}}"), "template not found"),
        ("{{ raise_exception('no system turn') }}".to_string(), "no system turn"),
        ("{% for %}".to_string(), "does not parse"),
    ] {
        std::fs::write(folder.path().join("chat_template.jinja"), &template).unwrap();
        let render = || ChatTemplate::read(folder.path())?.render(&[Message::new("user", "u")], true);
        let error = render().unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("s3cret"), "{template}: {error}");
    }
}
