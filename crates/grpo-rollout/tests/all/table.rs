//! A decoder that is a table.

use std::cell::RefCell;

use burn::tensor::{Device, Tensor, TensorData};
use grpo_rollout::Decoder;

pub(crate) const VOCABULARY: usize = 6;
pub(crate) const CONTEXT: usize = 100;

/// A decoder whose logits are a function of the row's tokens, and which remembers what it was asked.
pub(crate) struct Table {
    logits: fn(&[u32]) -> [f32; VOCABULARY],
    pub(crate) calls: RefCell<Vec<Call>>,
    /// The prompt that was known, whenever prompts were read.
    pub(crate) known: RefCell<Vec<Option<Vec<u32>>>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    /// The prompts.
    Prefill(Vec<Vec<u32>>),
    /// The rows, and the room of each.
    Cache(usize, usize),
    /// The rows, and the prompt.
    Start(Vec<usize>, Vec<u32>),
    /// The rows, and what they have seen with their new token.
    Decode(Vec<usize>, Vec<Vec<u32>>),
}

impl Table {
    pub(crate) fn new(logits: fn(&[u32]) -> [f32; VOCABULARY]) -> Self {
        Self { logits, calls: RefCell::default(), known: RefCell::default() }
    }

    fn logits(&self, rows: &[Vec<u32>]) -> Tensor<2> {
        let values = rows.iter().flat_map(|row| (self.logits)(row)).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), VOCABULARY]), &Device::flex())
    }
}

impl Decoder for Table {
    type Cache = Vec<Vec<u32>>;
    type Prompt = Vec<u32>;

    fn context(&self) -> usize {
        CONTEXT
    }

    fn vocabulary(&self) -> usize {
        VOCABULARY
    }

    fn prefill(&self, prompts: &[&[u32]], known: Option<&Vec<u32>>) -> (Vec<Vec<u32>>, Tensor<2>) {
        self.known.borrow_mut().push(known.cloned());
        let prompts: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.to_vec()).collect();
        self.calls.borrow_mut().push(Call::Prefill(prompts.clone()));
        let logits = self.logits(&prompts);
        (prompts, logits)
    }

    fn cache(&self, rows: usize, positions: usize) -> Self::Cache {
        self.calls.borrow_mut().push(Call::Cache(rows, positions));
        vec![Vec::new(); rows]
    }

    fn start(&self, cache: &mut Self::Cache, rows: &[usize], prompt: &Vec<u32>) {
        self.calls.borrow_mut().push(Call::Start(rows.to_vec(), prompt.clone()));
        rows.iter().for_each(|row| cache[*row] = prompt.clone());
    }

    fn decode(&self, cache: &mut Self::Cache, rows: &[usize], tokens: &[u32]) -> Tensor<2> {
        assert_eq!(rows.len(), tokens.len());
        for (row, token) in rows.iter().zip(tokens) {
            cache[*row].push(*token);
        }
        let seen: Vec<Vec<u32>> = rows.iter().map(|row| cache[*row].clone()).collect();
        self.calls.borrow_mut().push(Call::Decode(rows.to_vec(), seen.clone()));
        self.logits(&seen)
    }
}

/// Always the token after the last one.
pub(crate) fn count(row: &[u32]) -> [f32; VOCABULARY] {
    let next = (row[row.len() - 1] as usize + 1) % VOCABULARY;
    std::array::from_fn(|i| if i == next { 0.0 } else { -100.0 })
}
