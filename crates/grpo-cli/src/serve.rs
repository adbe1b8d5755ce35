//! `grpo serve` and `grpo chat`: a model over HTTP, and in the terminal.

use std::io::{BufRead, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use grpo::device::{Subject, prove};
use grpo::grpo_qwen2::{ChatTokenizer, Qwen2};
use grpo::grpo_rollout::{SampleKey, Sampler};
use grpo::{DeviceKind, Hub, LoraConfig, Message, Sampling, resolve_model};
use grpo_serve::{Limits, Server, Texts, Token, Worker};

use crate::args::at_least_1;
use crate::display::visible;
use crate::say;
use crate::train::show_transfer;

/// The most tokens of a prompt and its completion by default, if the model's context has as many.
const POSITIONS: usize = 4096;

/// Which model, and where it computes.
#[derive(Args, Debug)]
struct ModelArgs {
    /// Model: a folder in Hugging Face layout, or a Hub id.
    model: String,
    /// Adapters in PEFT format.
    #[arg(long, value_name = "FOLDER")]
    adapter: Option<PathBuf>,
    /// Whether the model reasons first, if its chat template has a choice (Qwen3) [default: the template decides].
    #[arg(long, value_name = "BOOL")]
    enable_thinking: Option<bool>,
    /// Maximum tokens of a prompt and its completion; bounds memory [default: 4096, or the model's context].
    #[arg(long, value_name = "TOKENS", value_parser = at_least_1())]
    max_model_len: Option<u64>,
    /// cpu, metal, vulkan, webgpu or cuda.
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
}

/// Serve a model over HTTP with the OpenAI protocol. It is a rollout server, too: `grpo train rollouts.servers=[…]`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Name of the model in requests [default: MODEL].
    #[arg(long)]
    name: Option<String>,
    /// Address to listen at; any but those of this machine alone needs --token-file.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port; 0 takes any that is free.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// File with the token that requests have to bring.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Maximum completions decoded at once; bounds memory.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_1())]
    max_num_seqs: u64,
}

/// Talk to a model in the terminal.
#[derive(Args, Debug)]
pub struct ChatArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// System prompt before the conversation.
    #[arg(long, value_name = "TEXT")]
    system_prompt: Option<String>,
    /// Sampling temperature; 0 takes the most probable token.
    #[arg(long, default_value_t = 0.7)]
    temperature: f32,
    /// Maximum tokens of an answer.
    #[arg(long, value_name = "TOKENS", default_value_t = 1024, value_parser = at_least_1())]
    max_tokens: u64,
    /// Seed of every sampled token.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl ModelArgs {
    /// The model's tokenizer, and the thread that decodes at most `rows` completions at once.
    fn start(&self, name: &str, rows: usize) -> anyhow::Result<(ChatTokenizer, Worker)> {
        let hub = Hub::from_env()?.with_progress(show_transfer());
        let folder = resolve_model(&self.model, &hub)?;
        let text = ChatTokenizer::read(&folder)?.with_thinking(self.enable_thinking)?;
        let lora = self.adapter.as_deref().map(LoraConfig::of_adapter).transpose()?;
        let proof = prove(self.device, &Subject::read(&folder, lora)?, None)?;
        let model = load(&folder, self.adapter.as_deref(), &proof.device)?;
        let context = model.config().max_position_embeddings;
        let positions = self.max_model_len.map_or(POSITIONS.min(context), |tokens| tokens as usize);
        Ok((text, Worker::start(name, model, Limits { rows, positions })?))
    }
}

fn load(folder: &Path, adapter: Option<&Path>, device: &grpo::Device) -> anyhow::Result<Qwen2> {
    let model = Qwen2::load_frozen(folder, device)?;
    Ok(match adapter {
        Some(adapter) => model.load_adapter(adapter)?,
        None => model,
    })
}

/// Serves a model until it is stopped.
pub fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let token = args.token_file.as_deref().map(Token::read).transpose()?;
    let name = args.name.as_ref().unwrap_or(&args.model.model);
    let (text, worker) = args.model.start(name, args.max_num_seqs as usize)?;
    let server = Server::bind(worker, text, SocketAddr::new(args.host, args.port), token)?;
    say!("{name} at http://{}/v1 (Ctrl-C ends it)", server.address());
    server.serve()?;
    Ok(ExitCode::SUCCESS)
}

/// Answers what is typed, until the input ends.
pub fn chat(args: &ChatArgs) -> anyhow::Result<ExitCode> {
    let (text, worker) = args.model.start("chat", 1)?;
    let is_typed = std::io::stdin().is_terminal();
    if is_typed {
        say!("Ctrl-D ends the conversation.");
    }
    let system = args.system_prompt.iter().map(|prompt| Message::new("system", prompt));
    let mut messages: Vec<Message> = system.collect();
    let (mut lines, mut out) = (std::io::stdin().lock().lines(), std::io::stdout());
    let sampling = Sampling { temperature: args.temperature, ..Sampling::default() };
    sampling.validate()?;
    for turn in 0.. {
        if is_typed {
            write!(out, "> ")?;
            out.flush()?;
        }
        let Some(line) = lines.next().transpose()? else { break };
        if line.trim().is_empty() {
            continue;
        }
        messages.push(Message::new("user", line));
        let prompt = text.prompt(&messages)?;
        let room = worker.limits().positions.saturating_sub(prompt.len());
        if room == 0 {
            anyhow::bail!("the conversation is longer than --max-model-len {}", worker.limits().positions);
        }
        let sampler = Sampler {
            sampling: sampling.clone(),
            stop: text.stop.clone(),
            max_tokens: room.min(args.max_tokens as usize),
            batch_rows: 1,
        };
        let key = SampleKey { seed: args.seed, step: 0, problem: turn, sample: 0 };
        let mut texts = Texts::new(&text, 1, &[]);
        let mut answer = text.prefill.clone();
        write!(out, "{}", visible(&answer))?;
        for drawn in worker.generate("chat", prompt, vec![key], sampler)? {
            let piece =
                texts.push(drawn).ok().context("the logits are not finite: the weights are damaged")?;
            let added = piece.map(|piece| piece.text).unwrap_or_default();
            write!(out, "{}", visible(&added))?;
            out.flush()?;
            answer.push_str(&added);
        }
        writeln!(out)?;
        messages.push(Message::new("assistant", answer));
    }
    Ok(ExitCode::SUCCESS)
}
