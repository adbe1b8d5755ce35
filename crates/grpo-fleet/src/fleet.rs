use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use grpo_rollout::{Ended, InvalidOption, Request, Sample, SampleKey, Sampler, Sampling};

use crate::client::Client;
use crate::protocol::{self, Group, Listed, ProtocolError};
use crate::publication::{Publisher, Version};
use crate::schedule::Schedule;
use crate::{FleetConfig, FleetError, Kind};

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
    listed: Listed,
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

/// The first pause before a server that has failed is asked again; it doubles with every failure in a row.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Fleet {
    /// The servers of a configuration, all of which must answer. Policies are written to `folder`.
    pub fn connect(config: &FleetConfig, folder: &Path) -> Result<Self, FleetError> {
        let FleetConfig { servers, groups_in_flight, timeout, patience, .. } = config;
        for (option, value) in
            [("rollouts.groups_in_flight", *groups_in_flight as u64), ("rollouts.timeout", *timeout)]
        {
            if value == 0 {
                return Err(InvalidOption::new(option, 0, "it must be at least 1").into());
            }
        }
        if servers.is_empty() {
            return Err(
                InvalidOption::new("rollouts.servers", "empty", "it must have at least one server").into()
            );
        }
        let timeout = Duration::from_secs(*timeout);
        let connect = |server| {
            let client = Client::new(server, timeout)?;
            let listed = client.listed()?;
            Ok(Server { client, listed, state: Mutex::default(), groups: 0.into(), tokens: 0.into() })
        };
        let servers = servers.iter().map(connect).collect::<Result<_, FleetError>>()?;
        Ok(Self {
            servers,
            publisher: Publisher::new(folder.to_owned()).into(),
            groups_in_flight: *groups_in_flight,
            patience: Duration::from_secs(*patience),
        })
    }

    /// Whether every server gives the entropies of tokens.
    pub fn tells_entropies(&self) -> bool {
        self.servers.iter().all(|server| server.listed.kind == protocol::Kind::Grpo)
    }

    /// Checks that every server can sample like this, and that its model has `vocabulary` token ids, as far as it says.
    pub fn check(&self, sampling: &Sampling, positions: usize, vocabulary: usize) -> Result<(), FleetError> {
        self.servers.iter().try_for_each(|server| server.check(sampling, positions, vocabulary))
    }

    /// Makes this version of the policy the one that is sampled from. `save` writes it to a folder.
    pub fn publish(
        &self,
        version: u64,
        kind: Kind,
        save: &dyn Fn(&Path) -> Result<(), Box<dyn Error + Send + Sync>>,
    ) -> Result<(), FleetError> {
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
            for (request, samples) in sampled {
                for (index, sample) in samples.into_iter().enumerate() {
                    if receive(Ended { request, index, sample }).is_break() {
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
            if let Err(error) = self.follow(version) {
                if !schedule.pause(i, error, self.failed()) {
                    return;
                }
                continue;
            }
            let Some(waiting) = schedule.take(i) else { return };
            match self.sample(version, sampler, requests[waiting.group]) {
                Ok(samples) => {
                    lock(&self.state).failures = 0;
                    // The receiver outlives all threads.
                    let _ = sampled.send((waiting.group, samples));
                    schedule.done(i);
                }
                Err(error) => {
                    self.failed();
                    schedule.repeat(i, waiting, error);
                }
            }
        }
    }

    /// Notes that the server has failed, so that its policy is in doubt, and returns the pause before it is asked again.
    fn failed(&self) -> Duration {
        let mut state = lock(&self.state);
        state.version = None;
        state.failures = state.failures.saturating_add(1);
        LONGEST_PAUSE.min(PAUSE.saturating_mul(1 << (state.failures - 1).min(16)))
    }

    /// Samples a group.
    fn sample(
        &self,
        version: &Version,
        sampler: &Sampler,
        request: Request<'_>,
    ) -> Result<Vec<Sample>, FleetError> {
        let model = self.model(version);
        let group = Group { model, request, sampler, vocabulary: self.listed.vocabulary };
        let answer = self.client.post_watched("/v1/completions", group.body(self.listed.kind))?;
        let samples = group.parse(&answer).map_err(|cause| self.client.wrong(cause))?;
        let tokens: usize = samples.iter().map(|sample| sample.tokens.len()).sum();
        self.tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        self.groups.fetch_add(1, Ordering::Relaxed);
        Ok(samples)
    }

    /// The server's name of a version.
    fn model<'a>(&'a self, version: &'a Version) -> &'a str {
        match version.kind {
            Kind::Adapter => &version.name,
            Kind::Weights => &self.listed.base,
        }
    }

    /// Makes the server have a version, unless it has.
    fn follow(&self, version: &Version) -> Result<(), FleetError> {
        let mut state = lock(&self.state);
        if state.version.as_ref() == Some(&version.name) {
            return Ok(());
        }
        match version.kind {
            Kind::Adapter => self.load_adapter(version, &mut state)?,
            Kind::Weights => self.load_weights(version)?,
        }
        state.version = Some(version.name.clone());
        Ok(())
    }

    fn load_adapter(&self, version: &Version, state: &mut State) -> Result<(), FleetError> {
        // A server that has started anew has none.
        let listed = self.client.listed()?;
        if listed.base != self.listed.base {
            return Err(
                self.other(format!("serves `{}` now, and it served `{}`", listed.base, self.listed.base))
            );
        }
        state.adapters.retain(|name| listed.adapters.contains(name));
        if !listed.adapters.contains(&version.name) {
            let body = protocol::load_adapter(&version.name, &version.folder.to_string_lossy());
            self.client
                .posted("/v1/load_lora_adapter", &body)
                .map_err(|error| self.not_loaded(version, error))?;
            state.adapters.push(version.name.clone());
        }
        for old in state.adapters.extract_if(.., |name| *name != version.name) {
            self.unload(&old);
        }
        Ok(())
    }

    fn load_weights(&self, version: &Version) -> Result<(), FleetError> {
        if self.weight_version()?.as_ref() == Some(&version.name) {
            return Ok(());
        }
        let client = &self.client;
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
                FleetError::Load { server, folder: version.folder.clone(), text }
            }
            error => error,
        }
    }

    /// Forgets an adapter. If that fails, the server has less memory for others, and the next version may tell.
    fn unload(&self, name: &str) {
        if let Err(error) = self.client.posted("/v1/unload_lora_adapter", &protocol::unload_adapter(name)) {
            tracing::warn!("{error}: the old policy {name} could not be unloaded");
        }
    }

    fn other(&self, reason: String) -> FleetError {
        FleetError::Other { server: self.client.url().to_string(), reason }
    }

    fn check(&self, sampling: &Sampling, positions: usize, vocabulary: usize) -> Result<(), FleetError> {
        let Listed { kind, positions: most, vocabulary: own, .. } = &self.listed;
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
        if *kind == protocol::Kind::Grpo || (sampling.temperature == 1.0 && !is_truncated) {
            return Ok(());
        }
        match (self.logprobs_are_processed()?, is_truncated, sampling.temperature) {
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
    fn logprobs_are_processed(&self) -> Result<bool, FleetError> {
        let sampling = Sampling { temperature: 1e4, ..Sampling::default() };
        let sampler = Sampler { sampling, stop: Vec::new(), max_tokens: 1, batch_rows: 1 };
        let keys: Vec<SampleKey> =
            (0..8).map(|sample| SampleKey { seed: 0, step: 0, problem: 0, sample }).collect();
        let request = Request { prompt: &[0], keys: &keys };
        let group = Group { model: &self.listed.base, request, sampler: &sampler, vocabulary: None };
        let answer = self.client.post("/v1/completions", &group.body(self.listed.kind))?;
        let samples = group.parse(&answer).map_err(|cause| self.client.wrong(cause))?;
        let logprobs: Vec<f32> = samples.iter().flat_map(|sample| sample.logprobs.clone()).collect();
        let [least, most] =
            [f32::min, f32::max].map(|end| logprobs.iter().copied().reduce(end).unwrap_or(0.0));
        Ok(most - least < 0.05)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
