//! The answer in a completion.

use std::ops::Range;

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

/// What opens a box.
pub(crate) const BOXED: &str = "\\boxed{";

/// Where the content is of the last `\boxed{…}` that ends before `end`; it may have braces inside.
pub(crate) fn boxed_before(text: &str, end: usize) -> Option<Range<usize>> {
    let text = &text[..end];
    let start = text.rfind(BOXED)? + BOXED.len();
    Some(start..start + closing_brace(&text[start..])?)
}

/// Where the brace is that closes one before the text.
pub(crate) fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 1_usize;
    text.bytes().position(|byte| {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

/// Python's `str.strip()`: besides Unicode's white space, it strips the four ASCII separators.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Python's `str.isspace()` for one character.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
