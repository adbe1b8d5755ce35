use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::{Draw, Sampling};

/// An autoregressive model that decodes a batch of rows, one token per row at a time.
///
/// Caches are values that the caller owns and passes along; a decoder holds no generation state. To let a completion start while
/// others are running, the caller puts its prompt into a row of the cache that is free.
pub trait Decoder {
    /// Keys and values of a number of rows.
    type Cache;
    /// Keys and values of a prompt.
    type Prompt;

    /// The most positions a sequence may have, prompt and completion together.
    fn context(&self) -> usize;

    /// The number of logits per position; every token id is below it.
    fn vocabulary(&self) -> usize;

    /// Reads prompts, and returns the keys and values of each, and the logits `[prompts, vocabulary]` (f32) of the token that
    /// follows each. `known` is a prompt that this decoder has read, with the same weights: the beginning that both share need not be
    /// computed again. The result must be the same without it.
    ///
    /// Prompts are never empty and their ids are below [`vocabulary`](Self::vocabulary): [`Sampler`] checks.
    ///
    /// [`Sampler`]: crate::Sampler
    fn prefill(&self, prompts: &[&[u32]], known: Option<&Self::Prompt>) -> (Vec<Self::Prompt>, Tensor<2>);

    /// A cache of `rows` empty rows with room for `positions` tokens each.
    fn cache(&self, rows: usize, positions: usize) -> Self::Cache;

    /// Replaces what each of `rows` has seen with `prompt`.
    fn start(&self, cache: &mut Self::Cache, rows: &[usize], prompt: &Self::Prompt);

    /// Appends `tokens[i]` to row `rows[i]` of the cache, for each `i`, and returns the logits `[rows.len(), vocabulary]` (f32) of
    /// the next tokens. Rows are distinct, and each has been started.
    ///
    /// # Panics
    ///
    /// If a row is full.
    fn decode(&self, cache: &mut Self::Cache, rows: &[usize], tokens: &[u32]) -> Tensor<2>;

    /// Draws a token for each of `requests`, in order; `None` if the logits are not finite.
    ///
    /// The default implementation is [`draw_on_host`], with [`Sampling::draw`]. A decoder on a device can draw the tokens on that device.
    ///
    /// # Panics
    ///
    /// If a row index is not below the number of rows of `logits`.
    fn draw(&self, logits: Tensor<2>, requests: &[DrawRequest], sampling: &Sampling) -> Vec<Option<Draw>> {
        draw_on_host(logits, requests, sampling)
    }
}

/// Draws a token for each of `requests`, in order, from logits `[rows, vocabulary]` that are copied to the host; `None` if they
/// are not finite.
///
/// # Panics
///
/// If a row index is not below the number of rows of `logits`.
pub fn draw_on_host(logits: Tensor<2>, requests: &[DrawRequest], sampling: &Sampling) -> Vec<Option<Draw>> {
    let [_, vocabulary] = logits.dims();
    let logits: Vec<f32> =
        logits.into_data().convert::<f32>().try_into_vec().expect("the data has just been converted to f32");
    let of_row = |row: usize| &logits[row * vocabulary..][..vocabulary];
    requests.par_iter().map(|request| sampling.draw(of_row(request.row), request.uniform)).collect()
}

/// The inputs for drawing one token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DrawRequest {
    /// The row of the logits.
    pub row: usize,
    /// A uniform number in `[0, 1)`.
    pub uniform: f64,
}
