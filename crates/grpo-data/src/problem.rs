//! One row of a dataset.

/// What separates the worked solution from its result.
const MARK: &str = "####";

/// One row of a dataset: a question, its worked solution and the result that rewards compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The column `question`.
    pub question: String,
    /// The whole column `answer`: the worked solution with its result.
    pub solution: String,
    /// The text after the last `####` of the solution, trimmed, without `,` and `$`: `#### $1,250` is `1250`.
    pub truth: String,
}

impl Problem {
    /// `None` if the solution states no result.
    pub(crate) fn new(question: String, solution: String) -> Option<Self> {
        let (_, result) = solution.rsplit_once(MARK)?;
        let truth = result.replace([',', '$'], "").trim().to_owned();
        (!truth.is_empty()).then_some(Self { question, solution, truth })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(solution: &str, truth: Option<&str>) {
        let problem = Problem::new("q".into(), solution.into());
        assert_eq!(problem.map(|p| p.truth).as_deref(), truth, "{solution:?}");
    }

    #[test]
    fn the_truth_follows_the_mark() {
        check("2 + 3 = 5\n#### 5", Some("5"));
        check("#### 1,250,000 \n", Some("1250000"));
        check("#### -3", Some("-3"));
        check("#### $ 1,200", Some("1200"));
        check("#### Step 1\nso it is\n#### 7", Some("7"));
        check("####5", Some("5"));
    }

    #[test]
    fn a_solution_without_a_result_is_no_problem() {
        check("5", None);
        check("### 5", None);
        check("", None);
        check("#### ", None);
        check("#### ,", None);
    }
}
