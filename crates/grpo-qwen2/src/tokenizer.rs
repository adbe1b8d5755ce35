use std::path::{Path, PathBuf};

use crate::ModelError;
use crate::text_file::read_text;

/// A byte-level BPE tokenizer, read from `tokenizer.json`.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let error = |e: tokenizers::Error| ModelError::Tokenizer { path: path.into(), reason: e.to_string() };
        let mut inner: tokenizers::Tokenizer = read_text(path)?.parse().map_err(error)?;
        if let tokenizers::ModelWrapper::BPE(model) = inner.get_model()
            && model.dropout.is_some_and(|dropout| dropout > 0.0)
        {
            let reason =
                "its `dropout` would encode a text differently each time: set it to null".to_string();
            return Err(ModelError::Tokenizer { path: path.into(), reason });
        }
        // A file may contain truncation and padding settings of its author; ids are those of the whole text, as in
        // transformers.
        inner.with_truncation(None).map_err(error)?.with_padding(None);
        Ok(Self { inner, path: path.into() })
    }

    /// The ids of a text. Special tokens that appear in it (`<|im_start|>`) are recognized; none are added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| ModelError::Tokenizer { path: self.path.clone(), reason: e.to_string() })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of token ids, including special tokens such as `<|im_end|>`. Ids that the tokenizer does not have are left out
    /// (a model's embedding has more rows than its tokenizer has tokens); bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, false).unwrap_or_default()
    }

    /// The text that each id adds to [`decode`](Self::decode)'s, given one after the other; none while a character is incomplete.
    pub(crate) fn stream(&self) -> impl FnMut(u32) -> Option<String> + '_ {
        let mut stream = self.inner.decode_stream(false);
        move |id| stream.step(id).ok().flatten()
    }

    /// The bytes that each id adds to [`decode`](Self::decode)'s text. A character of several tokens belongs to its last one.
    pub fn lengths(&self, ids: &[u32]) -> Vec<usize> {
        let mut stream = self.stream();
        let mut rest = self.decode(ids).len();
        let mut length = |id: &u32| {
            let length = stream(*id).map_or(0, |text| text.len().min(rest));
            rest -= length;
            length
        };
        let mut lengths: Vec<usize> = ids.iter().map(&mut length).collect();
        // A character that never ended.
        if let Some(last) = lengths.last_mut() {
            *last += rest;
        }
        lengths
    }

    /// The id of a token, such as `<|im_end|>`.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Checks that every token has a row in an embedding of `vocab_size` rows.
    pub(crate) fn check_fits(&self, vocab_size: usize) -> Result<(), ModelError> {
        let largest = self.inner.get_vocab(true).into_values().max().unwrap_or(0);
        if (largest as usize) < vocab_size {
            return Ok(());
        }
        let reason = format!(
            "token id {largest} has no row in the model's embedding of {vocab_size}: the tokenizer is of another \
             model"
        );
        Err(ModelError::Tokenizer { path: self.path.clone(), reason })
    }
}
