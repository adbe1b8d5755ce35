use crate::ChatTokenizer;

/// The text of a completion, token by token: what [`ChatTokenizer::completion`] would give at the end.
pub struct TextStream<'a> {
    text: &'a ChatTokenizer,
    next: Box<dyn FnMut(u32) -> Option<String> + 'a>,
    tokens: Vec<u32>,
    /// Bytes of the text that have been given, without the prefill.
    given: usize,
}

impl<'a> TextStream<'a> {
    /// The text of a completion that has not begun. Its prefill, if there is one, is known before any token and not given again.
    pub fn new(text: &'a ChatTokenizer) -> Self {
        Self { text, next: Box::new(text.tokenizer.stream()), tokens: Vec::new(), given: 0 }
    }

    /// What a token adds: nothing while a character is incomplete, and nothing if it is a stop token.
    pub fn push(&mut self, token: u32) -> String {
        self.tokens.push(token);
        if self.text.stop.contains(&token) {
            return String::new();
        }
        let added = (self.next)(token).unwrap_or_default();
        self.given += added.len();
        added
    }

    /// What is left at the end: a character that never became complete.
    pub fn end(self) -> String {
        let all = self.text.completion(&self.tokens);
        all.get(self.text.prefill.len() + self.given..).unwrap_or_default().to_string()
    }
}
