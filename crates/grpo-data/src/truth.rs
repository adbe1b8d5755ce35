//! The result that a worked solution states.

/// What separates the worked solution from its result.
const MARK: &str = "####";

/// Unicode's line endings; `\r\n` begins with one of them.
const LINE_ENDS: [char; 7] = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];

/// The rest of the line after the last mark, in the form that rewards compare; `None` if it is empty.
pub(crate) fn after_hashes(solution: &str) -> Option<String> {
    let (_, rest) = solution.rsplit_once(MARK)?;
    let line = rest.split(LINE_ENDS).next()?;
    let truth = ungrouped(&without_dollars(trimmed(line)));
    // A comma at the end separates nothing.
    let truth = truth.trim_end_matches(|c: char| c == ',' || is_blank(c)).to_owned();
    (!truth.is_empty() && truth != "$").then_some(truth)
}

/// The content of the last `\boxed{…}` whose braces are balanced.
pub(crate) fn boxed(solution: &str) -> Option<&str> {
    solution.rmatch_indices("\\boxed{").find_map(|(at, start)| {
        let content = &solution[at + start.len()..];
        let mut depth = 1;
        for (end, c) in content.char_indices() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 0 {
                return Some(&content[..end]);
            }
        }
        None
    })
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// Whether a character is invisible: whitespace, or a mark that web pages and editors leave behind.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2060}' | '\u{feff}')
}

/// The text without the dollar signs of numbers (`$5`, `-$5`, `$ 5` and `5 $`, but not `US$5`) and those around a
/// formula (`$x + 1$`).
fn without_dollars(text: &str) -> String {
    let formula = text.strip_prefix('$').and_then(|rest| rest.strip_suffix('$'));
    let text = formula.unwrap_or(text);
    let is_digit = |c: char| c.is_ascii_digit();
    let is_of_number = |at: usize| {
        let (before, after) = (&text[..at], &text[at + 1..]);
        let number = after.trim_start().trim_start_matches(['-', '+', '\u{2212}', '.']);
        let leads = number.starts_with(is_digit) && !before.ends_with(char::is_alphanumeric);
        let ends = before.trim_end().ends_with(is_digit) && !after.starts_with(char::is_alphanumeric);
        leads || ends
    };
    let kept = text.char_indices().filter(|&(at, c)| c != '$' || !is_of_number(at)).map(|(_, c)| c);
    trimmed(&kept.collect::<String>()).to_owned()
}

/// The text without the commas between groups of digits; those in brackets separate elements.
fn ungrouped(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, ',' | '.');
    let mut kept = String::with_capacity(text.len());
    let (mut rest, mut depth) = (text, 0usize);
    while let Some(start) = rest.find(is_part) {
        let (before, tail) = rest.split_at(start);
        let (run, after) = tail.split_at(tail.find(|c| !is_part(c)).unwrap_or(tail.len()));
        depth = before.chars().fold(depth, |depth, c| match c {
            '(' | '[' | '{' => depth + 1,
            ')' | ']' | '}' => depth.saturating_sub(1),
            _ => depth,
        });
        kept.push_str(before);
        let number = run.trim_end_matches([',', '.']); // what follows is punctuation
        if depth == 0 && is_grouped(number) {
            kept.extend(number.chars().filter(|&c| c != ','));
            kept.push_str(&run[number.len()..]);
        } else {
            kept.push_str(run);
        }
        rest = after;
    }
    kept + rest
}

/// Whether a number has commas, each between groups as in `1,234,567.89`. `0,500` is a decimal in other languages.
fn is_grouped(number: &str) -> bool {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let others: Vec<&str> = groups.collect();
    (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && !others.is_empty()
        && others.iter().all(|group| group.len() == 3)
        && !fraction.contains([',', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cases: &[(&str, &str)]) {
        for (solution, right) in cases {
            assert_eq!(after_hashes(solution).as_deref(), Some(*right), "{solution:?}");
        }
    }

    #[test]
    fn the_truth_follows_the_mark() {
        check(&[
            ("2 + 3 = 5\n#### 5", "5"),
            ("#### 1,250,000 \n", "1250000"),
            ("#### -3", "-3"),
            ("#### $ 1,200", "1200"),
            ("#### Step 1\nso it is\n#### 7", "7"),
            ("####5", "5"),
            ("##### 5", "5"),
        ]);
    }

    #[test]
    fn a_solution_without_a_result_is_no_example() {
        for solution in
            ["5", "### 5", "", "#### ", "#### ,", "#### $", "#### \u{200b}", "#### 5\n####", "####\n5"]
        {
            assert_eq!(after_hashes(solution), None, "{solution:?}");
        }
    }

    #[test]
    fn commas_go_between_groups_of_three_digits_alone() {
        check(&[
            ("#### 1,234", "1234"),
            ("#### -1,234,567.89", "-1234567.89"),
            ("#### 12,345 apples", "12345 apples"),
            ("#### 1,000 and 2,000.", "1000 and 2000."),
            ("#### 1,234,", "1234"),
            ("#### 3,5", "3,5"),
            ("#### 12,34", "12,34"),
            ("#### 1,2345", "1,2345"),
            ("#### 1,23", "1,23"),
            ("#### 1234,567", "1234,567"),
            ("#### 1,234,56", "1,234,56"),
            ("#### 0,500", "0,500"),
            ("#### 1.234,567", "1.234,567"),
            ("#### 1,,234", "1,,234"),
            ("#### 1, 234", "1, 234"),
            ("#### red, green", "red, green"),
            ("#### (3, 5)", "(3, 5)"),
            ("#### (3,500)", "(3,500)"),
            ("#### [1, 2,345]", "[1, 2,345]"),
            ("#### f(1) = 2,345", "f(1) = 2345"),
            ("#### １,２３４", "１,２３４"),
        ]);
    }

    #[test]
    fn dollar_signs_go_from_numbers_alone() {
        check(&[
            ("#### $1,234", "1234"),
            ("#### -$1,234.50", "-1234.50"),
            ("#### $-5", "-5"),
            ("#### $.50", ".50"),
            ("#### 5 $", "5"),
            ("#### 5$ each", "5 each"),
            ("#### $3 and $4", "3 and 4"),
            ("#### US$5", "US$5"),
            ("#### $x + 1$", "x + 1"),
            ("#### $5$", "5"),
            ("#### a$b", "a$b"),
        ]);
    }

    #[test]
    fn the_truth_ends_with_its_line() {
        for end in ["\n", "\r\n", "\r", " \t\n", "\u{85}", "\u{2028}", "\u{a0}\n\n", "\u{feff}\n"] {
            check(&[(format!("#### 42{end}So the answer is 42.").as_str(), "42")]);
        }
        check(&[("#### 4 apples\n", "4 apples"), ("#### 苹果 \n", "苹果"), ("####\u{3000}7", "7")]);
    }
}
