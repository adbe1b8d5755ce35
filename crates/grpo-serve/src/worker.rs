//! The thread that owns the model and decodes what all requests ask for.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use grpo_qwen2::{ModelError, Qwen2};
use grpo_rollout::{Decoder, Drawn, Engine, Job, Request, SampleKey, Sampler};

use crate::{ApiError, ServeError};

/// Bounds of the memory that completions take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most completions that are decoded together (vLLM: `--max-num-seqs`).
    pub rows: usize,
    /// The most tokens of a prompt and its completion (vLLM: `--max-model-len`).
    pub positions: usize,
}

/// A handle of the thread that owns a model. The thread ends with the last handle.
#[derive(Clone)]
pub struct Worker {
    commands: Sender<Command>,
    jobs: Arc<AtomicUsize>,
    name: Arc<str>,
    limits: Limits,
    vocabulary: usize,
}

/// The tokens of a job, as they are drawn. The rest of the job is cancelled when this is dropped.
pub struct Tokens {
    job: usize,
    drawn: Receiver<Drawn>,
    commands: Sender<Command>,
}

enum Command {
    Generate { model: String, job: Job, drawn: Sender<Drawn>, accepted: Sender<Result<(), ApiError>> },
    Cancel(usize),
    Models(Sender<Models>),
    LoadAdapter { name: String, folder: PathBuf, done: Sender<Result<(), ApiError>> },
    UnloadAdapter { name: String, done: Sender<Result<(), ApiError>> },
    LoadWeights { folder: PathBuf, done: Sender<Result<(), ApiError>> },
}

/// The models that can be asked, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Models {
    pub(crate) base: String,
    /// The folders of the adapters that were loaded.
    pub(crate) adapters: BTreeMap<String, PathBuf>,
}

impl Worker {
    /// Starts the thread of a model, which answers to `name`.
    pub fn start(name: &str, model: Qwen2, limits: Limits) -> Result<Self, ServeError> {
        let context = model.context();
        for (option, value, most) in
            [("max-num-seqs", limits.rows, MOST_ROWS), ("max-model-len", limits.positions, context)]
        {
            if !(1..=most).contains(&value) {
                let expected = format!("at least 1 and at most {most}");
                return Err(ServeError::Limit { option, value, expected });
            }
        }
        let vocabulary = model.vocabulary();
        let (commands, received) = channel();
        let base: Arc<str> = name.into();
        let worker = Self { commands, jobs: Arc::default(), name: base.clone(), limits, vocabulary };
        std::thread::spawn(move || {
            let base = Loaded { name: base.to_string(), folder: PathBuf::new(), model: Rc::new(model) };
            let state =
                State { base, adapters: Vec::new(), limits, engines: Vec::new(), clients: HashMap::new() };
            state.run(&received);
        });
        Ok(worker)
    }

    /// The name of the model without further adapters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bounds of what it decodes.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Every token id is below it.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Asks the model `model` for one completion of `prompt` for every key.
    pub fn generate(
        &self,
        model: &str,
        prompt: Vec<u32>,
        keys: Vec<SampleKey>,
        sampler: Sampler,
    ) -> Result<Tokens, ApiError> {
        let (tokens, most) = (prompt.len(), self.limits.positions);
        if tokens.saturating_add(sampler.max_tokens) > most {
            let message = format!(
                "the prompt has {tokens} tokens, and with {} more it is longer than the {most} that this server takes",
                sampler.max_tokens
            );
            return Err(ApiError::bad(message));
        }
        if keys.is_empty() {
            return Err(ApiError::bad("`n` is 0: ask for at least one completion"));
        }
        let (drawn, receiver) = channel();
        let id = self.jobs.fetch_add(1, Ordering::Relaxed);
        let job = Job { id, prompt, keys, sampler: Arc::new(sampler) };
        self.ask(|accepted| Command::Generate { model: model.to_string(), job, drawn, accepted })??;
        Ok(Tokens { job: id, drawn: receiver, commands: self.commands.clone() })
    }

    /// The models that can be asked.
    pub(crate) fn models(&self) -> Result<Models, ApiError> {
        self.ask(Command::Models)
    }

    /// Loads the adapters in a folder, beside those that are loaded, as the model `name`.
    pub fn load_adapter(&self, name: &str, folder: &Path) -> Result<(), ApiError> {
        let (name, folder) = (name.to_string(), folder.to_owned());
        self.ask(|done| Command::LoadAdapter { name, folder, done })?
    }

    /// Forgets the adapters `name`. What is being decoded with them continues.
    pub fn unload_adapter(&self, name: &str) -> Result<(), ApiError> {
        self.ask(|done| Command::UnloadAdapter { name: name.to_string(), done })?
    }

    /// Replaces the weights of the base model by those in a folder, and forgets all adapters.
    pub fn load_weights(&self, folder: &Path) -> Result<(), ApiError> {
        self.ask(|done| Command::LoadWeights { folder: folder.to_owned(), done })?
    }

    fn ask<A>(&self, command: impl FnOnce(Sender<A>) -> Command) -> Result<A, ApiError> {
        let (sender, answer) = channel();
        self.commands.send(command(sender)).map_err(|_| ApiError::stopped())?;
        answer.recv().map_err(|_| ApiError::stopped())
    }
}

impl Iterator for Tokens {
    type Item = Drawn;

    fn next(&mut self) -> Option<Drawn> {
        self.drawn.recv().ok()
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        // A worker that has ended decodes nothing.
        let _ = self.commands.send(Command::Cancel(self.job));
    }
}

/// More rows would round differently (`Sampler::batch_rows`).
const MOST_ROWS: usize = 128;

/// A model that can be asked.
#[derive(Clone)]
struct Loaded {
    name: String,
    folder: PathBuf,
    model: Rc<Qwen2>,
}

struct State {
    base: Loaded,
    adapters: Vec<Loaded>,
    limits: Limits,
    /// Idle ones are kept, because their memory is zeroed when it is allocated.
    engines: Vec<(Loaded, Engine<Qwen2>)>,
    /// Who waits for each job.
    clients: HashMap<usize, Client>,
}

struct Client {
    drawn: Sender<Drawn>,
    /// Completions that have not ended.
    rest: usize,
}

impl State {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            // All that have arrived, so that they are decoded together; waits only if there is nothing to decode.
            let next = if self.clients.is_empty() {
                commands.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                commands.try_recv()
            };
            match next {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => self.step(),
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    /// An answer that nobody waits for any more is dropped.
    fn obey(&mut self, command: Command) {
        match command {
            Command::Generate { model, job, drawn, accepted } => {
                let (id, rest) = (job.id, job.keys.len());
                let pushed = self.push(&model, job);
                if pushed.is_ok() {
                    self.clients.insert(id, Client { drawn, rest });
                }
                let _ = accepted.send(pushed);
            }
            Command::Cancel(job) => {
                if self.clients.remove(&job).is_some() {
                    self.engines.iter_mut().for_each(|(_, engine)| engine.cancel(job));
                }
            }
            Command::Models(answer) => {
                let folder = |loaded: &Loaded| (loaded.name.clone(), loaded.folder.clone());
                let adapters = self.adapters.iter().map(folder).collect();
                let _ = answer.send(Models { base: self.base.name.clone(), adapters });
            }
            Command::LoadAdapter { name, folder, done } => {
                let _ = done.send(self.load_adapter(name, folder));
            }
            Command::UnloadAdapter { name, done } => {
                let n = self.adapters.len();
                self.adapters.retain(|loaded| loaded.name != name);
                self.forget_idle();
                let was_there = self.adapters.len() < n;
                let _ = done.send(if was_there { Ok(()) } else { Err(ApiError::no_model(&name)) });
            }
            Command::LoadWeights { folder, done } => {
                let _ = done.send(self.load_weights(&folder).map_err(ApiError::from));
            }
        }
    }

    /// Gives a job to the engine of its model.
    fn push(&mut self, model: &str, job: Job) -> Result<(), ApiError> {
        let loaded = std::iter::once(&self.base).chain(&self.adapters).find(|loaded| loaded.name == model);
        let loaded = loaded.ok_or_else(|| ApiError::no_model(model))?.clone();
        job.sampler.check(&*loaded.model, &[Request { prompt: &job.prompt, keys: &job.keys }])?;
        let of_model = |(of, _): &(Loaded, Engine<Qwen2>)| Rc::ptr_eq(&of.model, &loaded.model);
        let idle = |(_, engine): &(Loaded, Engine<Qwen2>)| engine.is_idle();
        let found = self.engines.iter().position(of_model).or_else(|| self.engines.iter().position(idle));
        let i = match found {
            Some(i) => i,
            None => {
                let engine = Engine::new(&*loaded.model, self.limits.rows, self.limits.positions);
                self.engines.push((loaded.clone(), engine));
                self.engines.len() - 1
            }
        };
        self.engines[i].0 = loaded;
        self.engines[i].1.push(job);
        Ok(())
    }

    fn step(&mut self) {
        for (loaded, engine) in &mut self.engines {
            for drawn in engine.step(&*loaded.model) {
                // None if it went while these tokens were drawn.
                let Some(client) = self.clients.get_mut(&drawn.job) else { continue };
                client.rest -= usize::from(drawn.is_last());
                let has_gone = client.drawn.send(drawn).is_err();
                if has_gone {
                    engine.cancel(drawn.job);
                }
                if has_gone || client.rest == 0 {
                    self.clients.remove(&drawn.job);
                }
            }
        }
    }

    fn load_adapter(&mut self, name: String, folder: PathBuf) -> Result<(), ApiError> {
        if self.base.name == name || self.adapters.iter().any(|loaded| loaded.name == name) {
            return Err(ApiError::bad(format!(
                "there is a model `{name}` already: give each version a name of its own"
            )));
        }
        let model = self.base.model.without_lora().load_adapter(&folder)?;
        self.adapters.push(Loaded { name, folder, model: Rc::new(model) });
        Ok(())
    }

    fn load_weights(&mut self, folder: &Path) -> Result<(), ModelError> {
        let (device, config) = (self.base.model.device(), self.base.model.config().clone());
        let model = Qwen2::load_frozen(folder, &device)?.of_shape(&config, folder)?;
        self.adapters.clear();
        self.base.model = Rc::new(model);
        self.forget_idle();
        Ok(())
    }

    /// Leaves one idle engine, which no longer holds the weights that it had.
    fn forget_idle(&mut self) {
        let mut idle = 0;
        self.engines.retain_mut(|(loaded, engine)| {
            if engine.is_idle() {
                *loaded = self.base.clone();
                idle += 1;
            }
            idle <= 1 || !engine.is_idle()
        });
    }
}
