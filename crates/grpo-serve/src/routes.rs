//! What each path answers.

use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::{Value, json};
use tiny_http::{Method, Request, Response};

use crate::ApiError;
use crate::answer::{Answer, seconds};
use crate::http::{Shared, json, refuse};
use crate::reading::{Events, body};
use crate::request::Asked;
use crate::text::{NotFinite, Piece, Texts};

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    Version,
    Models,
    Completions {
        is_chat: bool,
    },
    LoadAdapter,
    UnloadAdapter,
    /// vLLM's call of a method of its workers; there is `reload_weights` here.
    CollectiveRpc,
    UpdateWeightVersion,
    WeightInfo,
    /// vLLM's `/pause`, `/resume` and `/reset_prefix_cache`: there is nothing to do, because no prompt's keys and values outlive
    /// their requests, and a request in progress keeps the weights that it has begun with.
    NoOp,
}

#[derive(Deserialize)]
struct LoadAdapter {
    lora_name: String,
    lora_path: PathBuf,
}

#[derive(Deserialize)]
struct UnloadAdapter {
    lora_name: String,
}

#[derive(Deserialize)]
struct CollectiveRpc {
    method: String,
    kwargs: ReloadWeights,
}

#[derive(Deserialize)]
struct ReloadWeights {
    weights_path: PathBuf,
}

#[derive(Deserialize)]
struct UpdateWeightVersion {
    new_version: String,
}

impl Route {
    pub(crate) fn of(method: &Method, path: &str) -> Result<Self, ApiError> {
        let (expected, route) = match path {
            "/health" => (Method::Get, Self::Health),
            "/version" => (Method::Get, Self::Version),
            "/v1/models" => (Method::Get, Self::Models),
            "/weight_info" => (Method::Get, Self::WeightInfo),
            "/v1/completions" => (Method::Post, Self::Completions { is_chat: false }),
            "/v1/chat/completions" => (Method::Post, Self::Completions { is_chat: true }),
            "/v1/load_lora_adapter" => (Method::Post, Self::LoadAdapter),
            "/v1/unload_lora_adapter" => (Method::Post, Self::UnloadAdapter),
            "/collective_rpc" => (Method::Post, Self::CollectiveRpc),
            "/update_weight_version" => (Method::Post, Self::UpdateWeightVersion),
            "/pause" | "/resume" | "/reset_prefix_cache" => (Method::Post, Self::NoOp),
            _ => return Err(ApiError::new(404, format!("there is no {path} here"))),
        };
        match *method == expected {
            true => Ok(route),
            false => Err(ApiError::new(405, format!("{path} is for {expected}"))),
        }
    }

    /// Answers a request; an error if the client has gone.
    pub(crate) fn answer(self, shared: &Shared, mut request: Request) -> io::Result<()> {
        if let Self::Completions { is_chat } = self {
            return complete(shared, request, is_chat);
        }
        match body(&mut request).and_then(|body| self.handle(shared, &body)) {
            Ok(Value::Null) => request.respond(plain(200, "")),
            Ok(Value::String(text)) => request.respond(plain(200, &text)),
            Ok(value) => request.respond(json(200, &value)),
            Err(error) => {
                refuse(request, &error);
                Ok(())
            }
        }
    }

    fn handle(self, shared: &Shared, body: &[u8]) -> Result<Value, ApiError> {
        let worker = &shared.worker;
        match self {
            Self::Health => worker.models().map(|_| Value::Null),
            Self::Version => Ok(json!({ "version": env!("CARGO_PKG_VERSION"), "server": "grpo" })),
            Self::Models => models(shared),
            Self::LoadAdapter => {
                let LoadAdapter { lora_name, lora_path } = read(body)?;
                worker.load_adapter(&lora_name, &absolute(lora_path)?)?;
                Ok(format!("Success: the adapter `{lora_name}` is loaded").into())
            }
            Self::UnloadAdapter => {
                let UnloadAdapter { lora_name } = read(body)?;
                worker.unload_adapter(&lora_name)?;
                Ok(format!("Success: the adapter `{lora_name}` is unloaded").into())
            }
            Self::CollectiveRpc => {
                let CollectiveRpc { method, kwargs } = read(body)?;
                if method != "reload_weights" {
                    return Err(ApiError::bad(format!(
                        "there is no method `{method}` here, only `reload_weights`"
                    )));
                }
                worker.load_weights(&absolute(kwargs.weights_path)?)?;
                Ok(json!({ "results": [null] }))
            }
            Self::UpdateWeightVersion => {
                let UpdateWeightVersion { new_version } = read(body)?;
                *shared.weight_version.lock().unwrap_or_else(PoisonError::into_inner) = new_version;
                Ok(json!({ "success": true }))
            }
            Self::WeightInfo => {
                let version = shared.weight_version.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Ok(json!({ "weight_version": version }))
            }
            Self::NoOp => Ok(json!({ "status": "ok" })),
            Self::Completions { .. } => unreachable!("they are answered as they come"),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad(format!("the body cannot be read: {error}")))
}

/// A folder that a client names, who may have another current folder.
fn absolute(path: PathBuf) -> Result<PathBuf, ApiError> {
    match path.is_absolute() {
        true if Path::is_dir(&path) => Ok(path),
        true => Err(ApiError::new(404, format!("this server sees no folder {}", path.display()))),
        false => Err(ApiError::bad(format!("{} is a relative path: give an absolute one", path.display()))),
    }
}

fn models(shared: &Shared) -> Result<Value, ApiError> {
    let models = shared.worker.models()?;
    let (positions, rows) = (shared.worker.limits().positions, shared.worker.limits().rows);
    let created = seconds();
    let model = |name: &str, root: Option<&Path>| {
        json!({
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "grpo",
            "root": root,
            "parent": root.map(|_| &models.base),
            "max_model_len": positions,
            "max_num_seqs": rows,
            "vocab_size": shared.worker.vocabulary(),
        })
    };
    let adapters = models.adapters.iter().map(|(name, folder)| model(name, Some(folder)));
    let data: Vec<Value> = std::iter::once(model(&models.base, None)).chain(adapters).collect();
    Ok(json!({ "object": "list", "data": data }))
}

/// Answers a request for completions.
fn complete(shared: &Shared, mut request: Request, is_chat: bool) -> io::Result<()> {
    let asked = body(&mut request).and_then(|body| Asked::read(&body, is_chat, &shared.text, &shared.worker));
    let begun = asked.and_then(|asked| {
        let Asked { model, prompt, keys, sampler, .. } = &asked;
        let tokens = shared.worker.generate(model, prompt.clone(), keys.clone(), sampler.clone())?;
        Ok((asked, tokens))
    });
    let (asked, tokens) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            refuse(request, &error);
            return Ok(());
        }
    };
    let mut answer = Answer::new(shared.count.fetch_add(1, Ordering::Relaxed), &asked, &shared.text);
    let mut texts = Texts::new(&shared.text, asked.keys.len(), &asked.stop);
    let mut pieces = tokens.map(|drawn| texts.push(drawn).map_err(not_finite));
    if !asked.answer.stream {
        return match whole(&mut pieces, &mut answer, asked.keys.len()) {
            Ok(()) => request.respond(json(200, &answer.whole())),
            Err(error) => {
                refuse(request, &error);
                Ok(())
            }
        };
    }
    let mut events = Events::begin(request)?;
    answer.beginning().iter().try_for_each(|event| events.send(event))?;
    let mut rest = asked.keys.len();
    while rest > 0 {
        match pieces.next().unwrap_or_else(|| Err(ApiError::stopped())) {
            Ok(Some(piece)) => {
                rest -= usize::from(piece.ended.is_some());
                events.send(&answer.part(&piece))?;
            }
            Ok(None) => {}
            Err(error) => return events.fail(&error),
        }
    }
    answer.end().iter().try_for_each(|event| events.send(event))?;
    events.end()
}

/// Waits until `rest` completions have ended.
fn whole(
    pieces: &mut dyn Iterator<Item = Result<Option<Piece>, ApiError>>,
    answer: &mut Answer<'_>,
    mut rest: usize,
) -> Result<(), ApiError> {
    while rest > 0 {
        if let Some(piece) = pieces.next().unwrap_or_else(|| Err(ApiError::stopped()))? {
            rest -= usize::from(piece.ended.is_some());
            answer.add(&piece);
        }
    }
    Ok(())
}

fn not_finite(_: NotFinite) -> ApiError {
    ApiError::new(500, "the logits are not finite: the weights are damaged")
}

pub(crate) fn plain(status: u16, text: &str) -> Response<Cursor<Vec<u8>>> {
    Response::from_string(text).with_status_code(status)
}
