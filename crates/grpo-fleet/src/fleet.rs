use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use grpo_rollout::{Ended, InvalidOption, Request, Sample, SampleKey, Sampler, Sampling};

use crate::client::Client;
use crate::protocol::{self, Group, Listed, ProtocolError, ServerKind};
use crate::publication::{Publisher, Save, Version};
use crate::schedule::{Next, Schedule};
use crate::{FleetConfig, FleetError, PolicyKind, lock};

/// The servers that completions are sampled on.
#[derive(Debug)]
pub struct Fleet {
    servers: Vec<Server>,
    publisher: Mutex<Publisher>,
    groups_in_flight: usize,
    patience: Duration,
}

/// A server, and what is known of it.
#[derive(Debug)]
struct Server {
    client: Client,
    /// What it serves, as soon as it has answered.
    listed: OnceLock<Listed>,
    state: Mutex<State>,
    groups: AtomicU64,
    tokens: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The version that it has, as far as is known.
    version: Option<String>,
    /// The adapters of this process that it has.
    adapters: Vec<String>,
    /// Failures in a row.
    failures: u32,
    /// The last failure, and until when the server is left alone because of it.
    pause: Option<(FleetError, Instant)>,
}

/// A server that does not work.
struct Down {
    error: FleetError,
    /// How long it is left alone.
    pause: Duration,
}

/// What a server has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReport {
    /// Its address.
    pub url: String,
    /// Groups that it has sampled.
    pub groups: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// Each has a thread.
const MOST_GROUPS: usize = 256;
/// The most completions of a group: vLLM's seeds of two groups are so far apart.
const MOST_COMPLETIONS: usize = 1024;
/// The first pause before a server that has failed is asked again; it doubles with every failure in a row.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Fleet {
    /// The servers of a configuration, one of which must answer now. Policies are written to `folder`.
    pub fn connect(config: &FleetConfig, folder: &Path) -> Result<Self, FleetError> {
        let FleetConfig { servers, groups_in_flight, timeout, patience, .. } = config;
        if !(1..=MOST_GROUPS).contains(groups_in_flight) {
            let expected = "it must be at least 1 and at most 256";
            return Err(InvalidOption::new("rollouts.groups_in_flight", groups_in_flight, expected).into());
        }
        if *timeout == 0 {
            return Err(InvalidOption::new("rollouts.timeout", 0, "it must be at least 1").into());
        }
        for (i, server) in servers.iter().enumerate() {
            if servers[..i].iter().any(|other| other.url == server.url) {
                let expected = "it must have each server once";
                return Err(InvalidOption::new("rollouts.servers", &server.url, expected).into());
            }
        }
        if servers.is_empty() {
            return Err(
                InvalidOption::new("rollouts.servers", "empty", "it must have at least one server").into()
            );
        }
        let timeout = Duration::from_secs(*timeout);
        let server = |config| {
            let (state, groups, tokens) = (Mutex::default(), 0.into(), 0.into());
            Ok(Server {
                client: Client::new(config, timeout)?,
                listed: OnceLock::new(),
                state,
                groups,
                tokens,
            })
        };
        let servers: Vec<Server> = servers.iter().map(server).collect::<Result<_, FleetError>>()?;
        let (mut failure, mut working) = (None, 0);
        for server in &servers {
            match server.listed() {
                Ok(_) => working += 1,
                Err(error) if error.is_transient() => {
                    tracing::warn!("{error}");
                    failure = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(failure) = failure.filter(|_| working == 0) {
            return Err(failure);
        }
        Ok(Self {
            servers,
            publisher: Publisher::new(folder.to_owned()).into(),
            groups_in_flight: *groups_in_flight,
            patience: Duration::from_secs(*patience),
        })
    }

    /// Whether every server that has answered gives the entropies of tokens.
    pub fn tells_entropies(&self) -> bool {
        let listed = self.servers.iter().filter_map(|server| server.listed.get());
        listed.into_iter().all(|listed| listed.kind == ServerKind::Grpo)
    }

    /// Checks that every server can sample groups of this size like this, of at most `positions` tokens with their prompts, and that
    /// its model has `vocabulary` token ids, as far as it says.
    pub fn check(
        &self,
        sampling: &Sampling,
        group_size: usize,
        positions: usize,
        vocabulary: usize,
    ) -> Result<(), FleetError> {
        if group_size > MOST_COMPLETIONS {
            let expected = "servers sample at most 1024 completions of a problem";
            return Err(InvalidOption::new("group_size", group_size, expected).into());
        }
        let listed = self.servers.iter().filter_map(|server| Some((server, server.listed.get()?)));
        listed
            .into_iter()
            .try_for_each(|(server, listed)| server.check(listed, sampling, positions, vocabulary))
    }

    /// Checks that no server keeps the old output head when it reloads all weights of a model with tied embeddings, which nobody would
    /// notice where the loss corrects for differences.
    pub fn check_tied_head(&self) -> Result<(), FleetError> {
        let is_vllm =
            |server: &&Server| server.listed.get().is_some_and(|listed| listed.kind == ServerKind::Vllm);
        let Some(server) = self.servers.iter().find(is_vllm) else { return Ok(()) };
        let reason = "is vLLM, which keeps the old output head of tied embeddings when it reloads all weights, and with rollout_dtype \
                      or lag the loss would correct for it: train adapters (lora.rank), or set lag = 0 and rollout_dtype = \"f32\"";
        Err(server.other(reason.to_string()))
    }

    /// Makes this version of the policy the one that is sampled from. `save` writes it to a folder.
    pub fn publish(&self, version: u64, kind: PolicyKind, save: &Save<'_>) -> Result<(), FleetError> {
        lock(&self.publisher).publish(version, kind, save)
    }

    /// Samples the completions of every request by the version that was published last, and calls `receive` with each, until it
    /// breaks.
    ///
    /// # Panics
    ///
    /// If nothing was published.
    pub fn sample_each(
        &self,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), FleetError> {
        let version = lock(&self.publisher)
            .current()
            .cloned()
            .expect("a policy is published before it is sampled from");
        if version.kind == PolicyKind::Weights {
            // Their name is that of the model, so that no answer tells if a server was restarted since.
            self.servers.iter().for_each(|server| lock(&server.state).version = None);
        }
        let groups = (0..requests.len()).filter(|i| !requests[*i].keys.is_empty());
        let schedule = Schedule::new(groups, self.servers.len(), self.groups_in_flight, self.patience);
        let (sender, sampled) = channel();
        std::thread::scope(|scope| {
            for (i, server) in self.servers.iter().enumerate() {
                for _ in 0..self.groups_in_flight.min(requests.len()) {
                    let (schedule, version, sender) = (&schedule, &version, sender.clone());
                    scope.spawn(move || server.work(i, schedule, version, sampler, requests, &sender));
                }
            }
            drop(sender);
            // Ends when all threads have.
            let mut enough = false;
            for (request, samples) in sampled {
                for (index, sample) in samples.into_iter().enumerate() {
                    if !enough && receive(Ended { request, index, sample }).is_break() {
                        enough = true;
                        schedule.end();
                    }
                }
            }
        });
        schedule.failure().map_or(Ok(()), Err)
    }

    /// What each server has done since the last report.
    pub fn report(&self) -> Vec<ServerReport> {
        let report = |server: &Server| ServerReport {
            url: server.client.url().to_string(),
            groups: server.groups.swap(0, Ordering::Relaxed),
            tokens: server.tokens.swap(0, Ordering::Relaxed),
        };
        self.servers.iter().map(report).collect()
    }
}

impl Drop for Fleet {
    /// Adapters take memory on servers, which others may use.
    fn drop(&mut self) {
        for server in &self.servers {
            for name in std::mem::take(&mut lock(&server.state).adapters) {
                server.unload(&name);
            }
        }
    }
}

impl Client {
    fn listed(&self) -> Result<Listed, FleetError> {
        protocol::parse_models(&self.get("/v1/models")?).map_err(|cause| self.wrong(cause))
    }

    fn wrong(&self, cause: ProtocolError) -> FleetError {
        FleetError::Protocol { server: self.url().to_string(), cause }
    }

    fn posted(&self, path: &str, body: &serde_json::Value) -> Result<Vec<u8>, FleetError> {
        self.post(path, body.to_string().as_bytes())
    }
}

impl State {
    /// Notes that the server has failed, so that its policy is in doubt; returns how long it is left alone.
    fn fail(&mut self, error: FleetError) -> Duration {
        self.version = None;
        let now = Instant::now();
        if let Some((_, until)) = self.pause.as_ref().filter(|(_, until)| *until > now) {
            // Groups that were in progress together fail together: that is one failure.
            return *until - now;
        }
        let pause = LONGEST_PAUSE.min(PAUSE.saturating_mul(1 << self.failures.min(16)));
        self.failures = self.failures.saturating_add(1);
        self.pause = Some((error, now + pause));
        pause
    }
}

impl Server {
    /// Samples groups until there are no more.
    fn work(
        &self,
        i: usize,
        schedule: &Schedule,
        version: &Version,
        sampler: &Sampler,
        requests: &[Request<'_>],
        sampled: &Sender<(usize, Vec<Sample>)>,
    ) {
        loop {
            match self.follow(version) {
                Ok(()) => schedule.ready(i),
                Err(Down { error, pause }) => match schedule.pause(i, error, pause) {
                    true => continue,
                    false => return,
                },
            }
            let waiting = match schedule.take(i) {
                Next::Group(waiting) => waiting,
                Next::NotReady => continue,
                Next::End => return,
            };
            match self.sample(version, sampler, requests[waiting.group]) {
                Ok(samples) => {
                    // The receiver outlives all threads.
                    let _ = sampled.send((waiting.group, samples));
                    schedule.done(i);
                }
                Err(error) => {
                    lock(&self.state).fail(error.clone());
                    schedule.repeat(i, waiting, error);
                }
            }
        }
    }

    /// Samples a group.
    fn sample(
        &self,
        version: &Version,
        sampler: &Sampler,
        request: Request<'_>,
    ) -> Result<Vec<Sample>, FleetError> {
        let listed = self.listed()?;
        let model = match version.kind {
            PolicyKind::Adapter => &version.name,
            PolicyKind::Weights => &listed.base,
        };
        let group = Group { model, request, sampler, vocabulary: listed.vocabulary };
        let answer = self.client.post_watched("/v1/completions", group.body(listed.kind))?;
        let samples = group.parse(&answer).map_err(|cause| self.client.wrong(cause))?;
        let tokens: usize = samples.iter().map(|sample| sample.tokens.len()).sum();
        self.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        self.groups.fetch_add(1, Ordering::Relaxed);
        lock(&self.state).failures = 0;
        Ok(samples)
    }

    /// What it serves.
    fn listed(&self) -> Result<&Listed, FleetError> {
        if self.listed.get().is_none() {
            // Another thread may have been faster.
            let _ = self.listed.set(self.client.listed()?);
        }
        Ok(self.listed.get().expect("it has just been set"))
    }

    /// Makes the server have a version, unless it has.
    fn follow(&self, version: &Version) -> Result<(), Down> {
        let mut state = lock(&self.state);
        if state.version.as_ref() == Some(&version.name) {
            return Ok(());
        }
        if let Some((error, until)) = &state.pause {
            let pause = until.saturating_duration_since(Instant::now());
            if !pause.is_zero() {
                return Err(Down { error: error.clone(), pause });
            }
        }
        let loaded = match version.kind {
            PolicyKind::Adapter => self.load_adapter(version, &mut state),
            PolicyKind::Weights => self.load_weights(version),
        };
        match loaded {
            Ok(()) => {
                (state.version, state.pause) = (Some(version.name.clone()), None);
                Ok(())
            }
            Err(error) => {
                if error.is_transient() {
                    tracing::warn!("{error}");
                }
                Err(Down { pause: state.fail(error.clone()), error })
            }
        }
    }

    fn load_adapter(&self, version: &Version, state: &mut State) -> Result<(), FleetError> {
        // A server that was restarted has none.
        let (listed, before) = (self.client.listed()?, &self.listed()?.base);
        if listed.base != *before {
            return Err(self.other(format!("serves `{}` now, and it served `{before}`", listed.base)));
        }
        state.adapters.retain(|name| listed.adapters.contains(name));
        if listed.adapters.contains(&version.name) {
            // It was loaded, and the answer was lost.
            state.adapters.retain(|name| *name != version.name);
        } else {
            let body = protocol::load_adapter(&version.name, &version.folder.to_string_lossy());
            self.client
                .posted("/v1/load_lora_adapter", &body)
                .map_err(|error| self.not_loaded(version, error))?;
        }
        state.adapters.push(version.name.clone());
        for old in state.adapters.extract_if(.., |name| *name != version.name) {
            self.unload(&old);
        }
        Ok(())
    }

    fn load_weights(&self, version: &Version) -> Result<(), FleetError> {
        let client = &self.client;
        if self.weight_version()?.as_ref() == Some(&version.name) {
            // It may have been left paused.
            return client.administer("/resume", b"").map(drop);
        }
        let administer = |path: &str, body: &[u8]| {
            client.administer(path, body).map_err(|error| self.not_loaded(version, error))
        };
        administer("/pause?mode=wait", b"")?;
        let folder = version.folder.to_string_lossy();
        let loaded = administer("/collective_rpc", protocol::reload_weights(&folder).to_string().as_bytes())
            .and_then(|_| administer("/reset_prefix_cache", b""))
            .and_then(|_| {
                let body = protocol::update_weight_version(&version.name).to_string();
                administer("/update_weight_version", body.as_bytes())
            });
        administer("/resume", b"")?;
        loaded.map(drop)
    }

    /// The version of the server's weights; none if it does not say.
    fn weight_version(&self) -> Result<Option<String>, FleetError> {
        let Some(answer) = self.client.look_up("/weight_info")? else { return Ok(None) };
        protocol::parse_weight_version(&answer).map_err(|cause| self.client.wrong(cause))
    }

    /// A server that does not load a policy would not load it again either, unless it is overloaded.
    fn not_loaded(&self, version: &Version, error: FleetError) -> FleetError {
        match error {
            FleetError::Status { server, status, text, .. } if !matches!(status, 408 | 429 | 502..=504) => {
                FleetError::Load { server, folder: version.folder.clone(), status, text }
            }
            error => error,
        }
    }

    /// Forgets an adapter. If that fails, the server has less memory for others, and the next version may tell.
    fn unload(&self, name: &str) {
        let body = protocol::unload_adapter(name).to_string();
        if let Err(error) = self.client.post_briefly("/v1/unload_lora_adapter", body.as_bytes()) {
            tracing::warn!("{error}: the old policy {name} could not be unloaded");
        }
    }

    fn other(&self, reason: String) -> FleetError {
        FleetError::Other { server: self.client.url().to_string(), reason }
    }

    fn check(
        &self,
        listed: &Listed,
        sampling: &Sampling,
        positions: usize,
        vocabulary: usize,
    ) -> Result<(), FleetError> {
        let Listed { kind, positions: most, vocabulary: own, .. } = listed;
        if let Some(own) = own.filter(|own| *own != vocabulary) {
            let reason = format!(
                "serves a model with {own} token ids, and the policy has {vocabulary}: serve the same model"
            );
            return Err(self.other(reason));
        }
        if let Some(most) = most.filter(|most| *most < positions) {
            let reason = format!(
                "takes {most} tokens, and a prompt with its completion can have {positions}: start it with --max-model-len {positions}"
            );
            return Err(self.other(reason));
        }
        let is_truncated = sampling.top_k.is_some() || sampling.top_p.is_some() || sampling.min_p.is_some();
        if *kind == ServerKind::Grpo || (sampling.temperature == 1.0 && !is_truncated) {
            return Ok(());
        }
        match (self.logprobs_are_processed(listed)?, is_truncated, sampling.temperature) {
            (true, false, _) | (false, _, 1.0) => Ok(()),
            (true, true, _) => Err(self.other(
                "renormalizes log-probabilities over what top_k, top_p and min_p keep, and the loss needs them over the whole \
                 vocabulary: leave these options out, or start it with --logprobs-mode raw_logprobs and sample at temperature 1"
                    .to_string(),
            )),
            (false, ..) => Err(self.other(
                "gives log-probabilities before temperature: start it with --logprobs-mode processed_logprobs".to_string(),
            )),
        }
    }

    /// Whether the server's log-probabilities are those after temperature: at a very high one, all tokens have the same.
    fn logprobs_are_processed(&self, listed: &Listed) -> Result<bool, FleetError> {
        let sampling = Sampling { temperature: 1e4, ..Sampling::default() };
        let sampler = Sampler { sampling, stop: Vec::new(), max_tokens: 1, batch_rows: 1 };
        let keys: Vec<SampleKey> =
            (0..8).map(|sample| SampleKey { seed: 0, step: 0, problem: 0, sample }).collect();
        let request = Request { prompt: &[0], keys: &keys };
        let group = Group { model: &listed.base, request, sampler: &sampler, vocabulary: None };
        let answer = self.client.post("/v1/completions", &group.body(listed.kind))?;
        let samples = group.parse(&answer).map_err(|cause| self.client.wrong(cause))?;
        let logprobs: Vec<f32> = samples.iter().flat_map(|sample| sample.logprobs.clone()).collect();
        let [least, most] =
            [f32::min, f32::max].map(|end| logprobs.iter().copied().reduce(end).unwrap_or(0.0));
        Ok(most - least < 0.05)
    }
}
