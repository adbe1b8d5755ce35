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
