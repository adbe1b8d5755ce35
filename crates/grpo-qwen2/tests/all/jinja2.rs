//! Chat templates that others published, rendered by jinja2 as transformers sets it up and by this crate: every byte is the same.

use grpo_qwen2::{ChatTemplate, Message};
use serde_json::Value;

use crate::common::{json, list, write_json};

#[test]
#[ignore = "needs GRPO_JINJA2_CASES, the file that .ci/jinja2/render.py makes of a folder of templates"]
fn texts_are_those_of_jinja2() {
    let file = std::env::var_os("GRPO_JINJA2_CASES").expect("GRPO_JINJA2_CASES names the file of cases");
    let cases = json(file.as_ref());
    let folder = tempfile::tempdir().unwrap();
    write_json(&folder.path().join("tokenizer_config.json"), &cases["tokens"]);
    let now = cases["now"].as_str().unwrap().parse().unwrap();
    let conversations: Vec<Vec<Message>> = serde_json::from_value(cases["conversations"].clone()).unwrap();
    let (mut same, mut different) = (0, Vec::new());
    for case in list(&cases["templates"]) {
        std::fs::write(folder.path().join("chat_template.jinja"), case["source"].as_str().unwrap()).unwrap();
        let template = ChatTemplate::read(folder.path()).map(|template| template.with_clock(now));
        for (messages, texts) in conversations.iter().zip(list(&case["texts"])) {
            for (generation_prompt, expected) in [false, true].into_iter().zip(list(texts)) {
                let found = template.as_ref().map_err(|e| e.to_string());
                let found =
                    found.and_then(|t| t.render(messages, generation_prompt).map_err(|e| e.to_string()));
                match (&found, expected.as_str()) {
                    (Ok(found), Some(expected)) if found == expected => same += 1,
                    (Err(_), None) => same += 1,
                    _ => different.push(difference(&case["name"], messages, &found, expected)),
                }
            }
        }
    }
    assert!(different.is_empty(), "{same} are the same, {} differ:\n{}", different.len(), shown(&different));
    assert!(same > 10_000, "only {same} texts were compared");
}

/// Where two texts part, or what only one engine refuses.
fn difference(
    name: &Value,
    messages: &[Message],
    found: &Result<String, String>,
    expected: &Value,
) -> String {
    let what = match (found, expected.as_str()) {
        (Ok(found), Some(expected)) => {
            let at = found.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
            let behind =
                |text: &str| String::from_utf8_lossy(&text.as_bytes()[at..]).chars().take(60).collect();
            let (found, expected): (String, String) = (behind(found), behind(expected));
            format!("byte {at}: {found:?}, not {expected:?}")
        }
        (found, expected) => format!("{found:.200?}, not {expected:.200?}"),
    };
    format!("{name}: {what} of {messages:?}")
}

/// The first difference of each template.
fn shown(different: &[String]) -> String {
    let mut shown: Vec<&str> = different.iter().map(String::as_str).collect();
    shown.dedup_by_key(|line| line.split_once(':').map(|(name, _)| name));
    shown.join("\n")
}
