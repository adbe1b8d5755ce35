//! The page of runs in progress, served to a browser on this machine.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use grpo_record::{Description, Place, RecordError, Run};
use tiny_http::{Header, Method, Request, Response};

use crate::PageError;
use crate::held_out::tests;
use crate::page::{begin, compressed, end};
use crate::steps::{Index, Steps};

/// A server of a page, for this machine alone. What it sends is read from the run folders at each request.
pub struct Server {
    http: tiny_http::Server,
    address: SocketAddr,
    runs: Vec<Served>,
}

/// A run, with what has been read of its completions.
struct Served {
    folder: PathBuf,
    rewards: Vec<String>,
    /// How many processes have worked on it: a new one may have begun at an earlier step.
    processes: usize,
    index: Index,
    /// Where each step begins.
    places: BTreeMap<u64, Place>,
    /// Where the record ended.
    end: Place,
}

/// What a path asks for.
enum Wanted {
    Page,
    Runs,
    Of(usize, Part),
}

/// What is asked for of a run.
enum Part {
    Index,
    Step(u64),
    HeldOut,
}

impl Server {
    /// A server of the runs in some folders at a port of 127.0.0.1; port 0 is any that is free.
    pub fn bind(folders: &[PathBuf], port: u16) -> Result<Self, PageError> {
        let runs = folders.iter().map(|folder| Served::read(folder.clone())).collect::<Result<_, _>>()?;
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let failed = |cause: String| PageError::Port { address: wanted, cause };
        let http = tiny_http::Server::http(wanted).map_err(|error| failed(error.to_string()))?;
        let address = http.server_addr().to_ip().ok_or_else(|| failed("it is no port".into()))?;
        Ok(Self { http, address, runs })
    }

    /// Where the page is.
    pub fn address(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Answers requests, without an end.
    pub fn serve(mut self) -> io::Result<()> {
        loop {
            let request = self.http.recv()?;
            let answer = self.answer(&request);
            // A browser that has gone needs no answer.
            let _ = request.respond(answer);
        }
    }

    fn answer(&mut self, request: &Request) -> Response<Cursor<Vec<u8>>> {
        // A page of another host, whose name has been made to point here, must not read the runs.
        let port = self.address.port();
        let hosts = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
        let host = request.headers().iter().find(|header| header.field.equiv("Host"));
        if !host.is_some_and(|host| hosts.iter().any(|own| host.value.as_str().eq_ignore_ascii_case(own))) {
            return plain(403, "this server is for 127.0.0.1 alone");
        }
        if *request.method() != Method::Get {
            return plain(405, "this server answers GET alone");
        }
        let Some(wanted) = Wanted::of(request.url()) else { return plain(404, "there is no such page") };
        match self.find(wanted) {
            Ok(Some(answer)) => answer
                .with_header(header("Cache-Control", "no-store"))
                .with_header(header("Cross-Origin-Resource-Policy", "same-origin"))
                .with_header(header("X-Content-Type-Options", "nosniff")),
            Ok(None) => plain(404, "the run has no such step"),
            Err(error) => plain(500, &error.to_string()),
        }
    }

    fn find(&mut self, wanted: Wanted) -> Result<Option<Response<Cursor<Vec<u8>>>>, RecordError> {
        let data = match wanted {
            Wanted::Page => {
                let page = begin("'self'") + &end();
                let html = header("Content-Type", "text/html; charset=utf-8");
                return Ok(Some(Response::from_string(page).with_header(html)));
            }
            Wanted::Runs => {
                let runs: Result<Vec<Run>, _> = self.runs.iter().map(|run| Run::read(&run.folder)).collect();
                compressed(&runs?)
            }
            Wanted::Of(run, part) => {
                let Some(run) = self.runs.get_mut(run) else { return Ok(None) };
                let Some(data) = run.part(&part)? else { return Ok(None) };
                data
            }
        };
        let data = data.expect("memory can be written to and numbers are finite");
        Ok(Some(Response::from_data(data).with_header(header("Content-Type", "application/gzip"))))
    }
}

impl Served {
    fn read(folder: PathBuf) -> Result<Self, RecordError> {
        let description = Description::read(&folder)?;
        let rewards = description.rewards();
        let (processes, index) = (description.processes.len(), Index::new(rewards.len()));
        Ok(Self { folder, rewards, processes, index, places: BTreeMap::new(), end: Place::default() })
    }

    /// A part of the run as compressed JSON; none if there is no such step.
    fn part(&mut self, part: &Part) -> Result<Option<io::Result<Vec<u8>>>, RecordError> {
        let data = match part {
            Part::HeldOut => compressed(&tests(&self.folder, &self.rewards)?),
            Part::Index => {
                self.follow()?;
                compressed(&self.index)
            }
            Part::Step(step) => {
                self.follow()?;
                let Some(place) = self.places.get(step) else { return Ok(None) };
                let found = Steps::open(&self.folder, &self.rewards, *place)?.next()?;
                let Some(found) = found.filter(|found| found.step == *step) else { return Ok(None) };
                compressed(&found)
            }
        };
        Ok(Some(data))
    }

    /// Reads what has been recorded since.
    fn follow(&mut self) -> Result<(), RecordError> {
        if Description::read(&self.folder)?.processes.len() != self.processes {
            *self = Self::read(self.folder.clone())?;
        }
        let mut steps = Steps::open(&self.folder, &self.rewards, self.end)?;
        while let Some(step) = steps.next()? {
            self.index.add(&step);
            self.places.entry(step.step).or_insert(step.place);
            self.end = steps.place();
        }
        Ok(())
    }
}

impl Wanted {
    fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["", ""] => Some(Self::Page),
            ["", "data", "runs"] => Some(Self::Runs),
            ["", "data", run, "index"] => Some(Self::Of(run.parse().ok()?, Part::Index)),
            ["", "data", run, "held-out"] => Some(Self::Of(run.parse().ok()?, Part::HeldOut)),
            ["", "data", run, "step", step] => {
                Some(Self::Of(run.parse().ok()?, Part::Step(step.parse().ok()?)))
            }
            _ => None,
        }
    }
}

fn plain(status: u16, text: &str) -> Response<Cursor<Vec<u8>>> {
    Response::from_string(text).with_status_code(status)
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("it is ASCII")
}
