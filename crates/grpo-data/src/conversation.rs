//! Questions that are conversations, as chat datasets have them.

use serde_json::Value;

use crate::Turn;

/// The messages before the last one of the user, that one's text, and the answer of an assistant after it. A conversation is a list
/// of messages with a `role` (or `from`) and a `content` (or `value`).
pub(crate) fn conversation(messages: &[Value]) -> Result<(Vec<Turn>, String, Option<String>), String> {
    let mut turns = messages.iter().enumerate().map(turn).collect::<Result<Vec<_>, _>>()?;
    let answer = match turns.last() {
        Some(last) if last.role == "assistant" => turns.pop().map(|last| last.content),
        _ => None,
    };
    match turns.pop() {
        Some(Turn { role, content }) if role == "user" => Ok((turns, content, answer)),
        Some(last) => Err(format!("ends with a message of `{}`, not of the user", last.role)),
        None => Err("has no message of the user".to_owned()),
    }
}

fn turn((i, message): (usize, &Value)) -> Result<Turn, String> {
    let text = |keys: [&str; 2]| {
        let found = keys.iter().find_map(|key| message.get(key));
        found.and_then(Value::as_str).ok_or_else(|| format!("has no text `{}` in message {}", keys[0], i + 1))
    };
    let role = match text(["role", "from"])? {
        "human" => "user",
        "gpt" => "assistant",
        role => role,
    };
    Ok(Turn { role: role.to_owned(), content: text(["content", "value"])?.to_owned() })
}
