use std::path::Path;

use grpo_qwen2::{ChatTokenizer, Message};

use crate::Target;
use crate::model::CONFIG;

const TOKENIZER: &str = r#"{
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [
    { "id": 10, "content": "<|im_end|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true }
  ],
  "normalizer": { "type": "NFC" },
  "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
    { "type": "Split", "pattern": { "Regex": "\\p{N}|[^\\s]+|\\s" }, "behavior": "Isolated", "invert": false },
    { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false }
  ] },
  "post_processor": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false },
  "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false },
  "model": {
    "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
    "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
    "vocab": { "a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ċ": 4, "1": 5, "u": 6, "s": 7 },
    "merges": [["a", "b"]]
  }
}"#;

const TOKENIZER_CONFIG: &str = r#"{
  "bos_token": null, "eos_token": { "content": "<|im_end|>" },
  "chat_template": "{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}"
}"#;

const TEMPLATE: &str =
    "{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] + '\\n' }}{%- endif %}
{%- for m in messages[1:] %}
    {%- if m.role is defined and loop.index0 < 9 %}{{- m.role + '\\n' + m.content | trim + '<|im_end|>' }}
    {%- else %}{{ raise_exception('no') }}{%- endif %}
{%- endfor %}
{%- set ns = namespace(x=1) %}{%- macro f(a) %}{{ a.split('a') | join(',') }}{%- endmacro %}{{ f('ab a') }}
{%- if add_generation_prompt %}{{- 'a' * 2 ~ eos_token }}{%- endif %}";

/// The tokenizer and the chat template of a model's folder, with a conversation.
pub fn chat() -> Target {
    Target {
        name: "chat",
        files: vec![
            ("tokenizer.json".into(), TOKENIZER.into()),
            ("tokenizer_config.json".into(), TOKENIZER_CONFIG.into()),
            ("chat_template.jinja".into(), TEMPLATE.into()),
            ("generation_config.json".into(), r#"{ "eos_token_id": [1, 2] }"#.into()),
            ("config.json".into(), CONFIG.into()),
        ],
        read,
    }
}

fn read(folder: &Path, _: &str) -> bool {
    let Ok(chat) = ChatTokenizer::read(folder) else { return false };
    let messages = [Message::new("system", "a b"), Message::new("user", "ab 1 \u{e9}\n<|im_end|>")];
    chat.completion(&[0, 11, u32::MAX, 10]);
    chat.prompt(&messages).map(|prompt| chat.completion(&prompt)).is_ok()
}
