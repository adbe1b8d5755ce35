use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::{Draw, Sampling};

/// An autoregressive model that decodes a batch of rows, one token per row at a time.
///
/// The cache is a value that the caller owns and passes along; a decoder holds no generation state.
pub trait Decoder {
    /// Keys and values of all tokens that the rows of a batch have seen so far.
    type Cache;

    /// The most positions a sequence may have, prompt and completion together.
    fn context(&self) -> usize;

    /// The number of logits per position; every token id is below it.
    fn vocabulary(&self) -> usize;

    /// Reads the prompts, one row each, and returns their cache and the logits `[rows, vocabulary]` (f32) of the
    /// token that follows each of them. The cache has room for `capacity` more tokens per row.
    ///
    /// Prompts are never empty and their ids are below [`vocabulary`](Self::vocabulary): [`Sampler`] checks.
    ///
    /// [`Sampler`]: crate::Sampler
    fn prefill(&self, prompts: &[&[u32]], capacity: usize) -> (Self::Cache, Tensor<2>);

    /// Appends one token to every row and returns the logits `[rows, vocabulary]` (f32) of the next.
    fn decode(&self, tokens: &[u32], cache: &mut Self::Cache) -> Tensor<2>;

    /// Returns the cache whose row `i` is row `rows[i]` of `cache`. A row may be named several times (a prompt is fanned
    /// out to its group) or not at all (a finished row leaves the batch).
    fn select(&self, cache: Self::Cache, rows: &[usize]) -> Self::Cache;

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
