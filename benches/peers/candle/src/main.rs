//! candle in F32: candle-peer MODEL_FOLDER generate-N

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::qwen2::{Config, ModelForCausalLM};

const PROMPT: usize = 180;

/// Greedy, which is the least that sampling can cost. Gives the number of new tokens.
fn generate(model: &mut ModelForCausalLM, rows: usize, new: usize) -> candle_core::Result<usize> {
    model.clear_kv_cache();
    let prompt: Vec<u32> = (0..PROMPT).map(|i| ((i * 7919 + 13) % 151643) as u32).collect();
    let mut input = Tensor::new(prompt.repeat(rows), &Device::Cpu)?.reshape((rows, PROMPT))?;
    let mut seen = 0;
    for _ in 0..new {
        let next = model.forward(&input, seen)?.squeeze(1)?.argmax(1)?;
        seen += input.dim(1)?;
        input = next.unsqueeze(1)?;
    }
    Ok(rows * new)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, work] = arguments.as_slice() else { return Err("MODEL_FOLDER generate-N".into()) };
    let rows = work.strip_prefix("generate-").ok_or("unknown work")?.parse()?;
    let new = std::env::var("NEW_TOKENS").map_or(Ok(256), |n| n.parse())?;

    let folder = Path::new(folder);
    let config: Config = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    let weights = std::fs::read(folder.join("model.safetensors"))?;
    let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu)?;
    let mut model = ModelForCausalLM::new(&config, weights)?;

    generate(&mut model, 1, 8)?;
    let start = Instant::now();
    let tokens = generate(&mut model, rows, new)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "work": work, "seconds": seconds, "tokens": tokens }));
    Ok(())
}
