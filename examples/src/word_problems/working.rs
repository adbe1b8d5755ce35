//! A worked solution.

/// The steps of a solution, a line each. Every step gives its result, the last one the answer.
#[derive(Default)]
pub(super) struct Working {
    lines: Vec<String>,
    answer: u32,
}

impl Working {
    pub(super) fn plus(&mut self, a: u32, b: u32, unit: &str) -> u32 {
        self.step(a, '+', b, a + b, unit)
    }

    pub(super) fn minus(&mut self, a: u32, b: u32, unit: &str) -> u32 {
        self.step(a, '-', b, a - b, unit)
    }

    pub(super) fn times(&mut self, a: u32, b: u32, unit: &str) -> u32 {
        self.step(a, '*', b, a * b, unit)
    }

    pub(super) fn over(&mut self, a: u32, b: u32, unit: &str) -> u32 {
        self.step(a, '/', b, a / b, unit)
    }

    fn step(&mut self, a: u32, sign: char, b: u32, result: u32, unit: &str) -> u32 {
        self.lines.push(format!("{a} {sign} {b} = {result} {unit}"));
        self.answer = result;
        result
    }

    /// The solution as GSM8K writes it: the steps, and the answer after `####`.
    pub(super) fn solution(&self) -> String {
        format!("{}\n#### {}", self.lines.join("\n"), self.answer)
    }
}
