//! A small byte-level BPE tokenizer of the same kind as Qwen2's.

use anyhow::anyhow;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

/// Ends a turn.
pub const END: &str = "<|im_end|>";
/// Fills up a batch, where there are any that need it.
pub const PAD: &str = "<|endoftext|>";

/// Where Qwen2 splits a text before merging bytes: every digit stands alone.
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Trains a tokenizer of at most `vocab_size` tokens on `texts`.
pub fn train(texts: &[String], vocab_size: usize) -> anyhow::Result<Tokenizer> {
    let split = Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Isolated, false)
        .map_err(|e| anyhow!(e))?;
    let bytes = ByteLevel::new(false, false, false);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_normalizer(Some(NFC)).map_err(|e| anyhow!(e))?;
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])));
    tokenizer.with_decoder(Some(bytes));
    let trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens([PAD, "<|im_start|>", END].map(|token| AddedToken::from(token, true)).to_vec())
        .show_progress(false)
        .build();
    let mut trainer = TrainerWrapper::from(trainer);
    tokenizer.train(&mut trainer, texts.iter()).map_err(|e| anyhow!(e))?;
    Ok(tokenizer)
}
