//! The answer in a completion.

/// The text between the answer tags, without the whitespace around it.
///
/// The same as Python's `text.split("<answer>")[-1].split("</answer>")[0].strip()`, so that scores are comparable
/// with those of the many scripts that contain this line:
///
/// * what follows the **last** `<answer>` counts, up to the next `</answer>` or the end of the text;
/// * without `<answer>`, the answer is the text up to the first `</answer>`, or all of it.
///
/// ```
/// use grpo_reward::extract_answer;
///
/// assert_eq!(extract_answer("so half.\n<answer>\n18\n</answer>\n"), "18");
/// assert_eq!(extract_answer("<answer>17</answer> no, <answer>18</answer>"), "18");
/// assert_eq!(extract_answer("just 18"), "just 18");
/// ```
pub fn extract_answer(text: &str) -> &str {
    let opened = text.rsplit_once("<answer>").map_or(text, |(_, after)| after);
    let closed = opened.split_once("</answer>").map_or(opened, |(before, _)| before);
    strip(closed)
}

/// Python's `str.strip()`: besides Unicode's white space, it strips the four ASCII separators.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Python's `str.isspace()` for one character.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
