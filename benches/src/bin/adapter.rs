//! What an adapter makes of a model, for `peers/check_adapter` to compare with PEFT.
//!
//! `adapter MODEL_FOLDER ADAPTER_FOLDER OUT ID,ID,...` prints the log-probabilities of the tokens after the first as JSON, and
//! saves the adapter and the merged model in `OUT`.

use std::path::Path;

use burn::tensor::Device;
use grpo_qwen2::{Dtype, ModelError, ModelFiles, Qwen2};
use grpo_rollout::PromptCompletions;

fn main() -> Result<(), ModelError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, adapter, out, ids] = args.as_slice() else {
        eprintln!("usage: adapter MODEL_FOLDER ADAPTER_FOLDER OUT ID,ID,...");
        std::process::exit(2);
    };
    let (folder, out) = (Path::new(folder), Path::new(out));
    let ids: Vec<u32> = ids.split(',').map(|id| id.parse().expect("ids are numbers")).collect();
    let model = Qwen2::load_frozen(folder, &Device::flex())?.load_adapter(Path::new(adapter))?;
    let tokens = PromptCompletions { prompt: &ids[..1], completions: vec![&ids[1..]] };
    let logprobs = model.logprobs(&[tokens], 1.0).remove(0).logprobs;
    println!("{}", serde_json::to_string(&logprobs).expect("numbers can be written"));
    model.save_adapter(&out.join("adapter"), &folder.display().to_string())?;
    model.save(&ModelFiles::read(folder)?, &out.join("model"), Dtype::F32)
}
