//! A process that answers lines with lines.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(unix)]
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::Value;

use crate::error::excerpt;

/// Bytes of a process's standard error that are kept: the last ones.
const KEPT: usize = 4096;
/// Answers that are read before they are asked for.
const UNREAD: usize = 1024;
/// The longest answer.
const LONGEST: u64 = 1 << 20;
/// How long a process may take to end when nobody needs it.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why a process did not answer.
pub(super) struct Failure {
    pub(super) reason: String,
    /// Whether it had ended before it answered anything.
    pub(super) had_ended: bool,
}

/// A process that answers lines with lines. It is ended when this is dropped.
pub(super) struct Process {
    child: Child,
    requests: Option<Sender<String>>,
    answers: Receiver<io::Result<String>>,
    errors: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    pub(super) fn start(command: &[String]) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("it is empty: name a program")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in the terminal is for this program alone.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|cause| format!("`{program}` cannot be started: {cause}"))?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(format!("`{program}` has no standard input and output"));
        };
        let (requests, to_write) = channel::<String>();
        let (read, answers) = sync_channel(UNREAD);
        let errors = Arc::new(Mutex::new(Vec::new()));
        // The pipes are small: who writes to one must not wait for another.
        run(move || {
            let write = |text: String| stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush());
            // If it no longer reads, that shows in its answers.
            to_write.into_iter().map(write).take_while(Result::is_ok).for_each(drop);
        })?;
        run(move || {
            let mut stdout = BufReader::new(stdout);
            while let Some(line) = next_line(&mut stdout).transpose() {
                let is_last = line.is_err();
                if read.send(line).is_err() || is_last {
                    break;
                }
            }
        })?;
        let kept = errors.clone();
        run(move || keep_last(stderr, &kept))?;
        Ok(Self { child, requests: Some(requests), answers, errors })
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The answer to each request. After a failure, the process cannot be used.
    pub(super) fn ask(&mut self, requests: &[String], timeout: Duration) -> Result<Vec<Value>, Failure> {
        if let Ok(line) = self.answers.try_recv() {
            let line = line.unwrap_or_default();
            let reason = format!("it printed more than an answer to each request: {}", excerpt(&line));
            return Err(self.failure(reason, false));
        }
        let text = requests.iter().map(|request| format!("{request}\n")).collect();
        // If it no longer reads, that shows in its answers.
        let _ = self.requests.as_ref().map(|to_write| to_write.send(text));
        let deadline = Instant::now() + timeout;
        let mut answers = Vec::with_capacity(requests.len());
        for i in 0..requests.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            let count = format!("{i} of {} completions", requests.len());
            let line = match self.answers.recv_timeout(left) {
                Ok(Ok(line)) => line,
                Ok(Err(cause)) => {
                    return Err(self.failure(format!("its answer cannot be read: {cause}"), false));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let reason = format!(
                        "it has scored {count} after {timeout:?}, and was ended: flush every answer, or raise `timeout`"
                    );
                    return Err(self.failure(reason, false));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.status();
                    return Err(self.failure(format!("it ended ({status}) after scoring {count}"), i == 0));
                }
            };
            let answer = serde_json::from_str(&line).map_err(|_| {
                let line = excerpt(line.trim_end());
                let reason = format!(
                    "line {} of its answers is no JSON: {line}; print a number, or null to abstain, and all else to standard \
                     error",
                    i + 1
                );
                self.failure(reason, false)
            })?;
            answers.push(answer);
        }
        Ok(answers)
    }

    fn status(&mut self) -> String {
        self.requests = None;
        self.wait();
        match self.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            _ => "it closed its standard output".to_owned(),
        }
    }

    /// Waits a while for the end.
    fn wait(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        while self.is_running() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A reason with the end of what the process wrote to its standard error.
    fn failure(&mut self, reason: String, had_ended: bool) -> Failure {
        // What it wrote before it ended may still be on its way.
        if !self.is_running() {
            thread::sleep(Duration::from_millis(20));
        }
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = match String::from_utf8_lossy(&errors).trim() {
            "" => reason,
            errors => format!("{reason}; its standard error ends with:\n{errors}"),
        };
        Failure { reason, had_ended }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its standard input ends, and so does a program that reads all of it.
        self.requests = None;
        self.wait();
        // With what it has started: it leads a group of processes. If they have ended, there is nothing to kill.
        #[cfg(unix)]
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = thread::Builder::new().name("reward program".to_owned()).spawn(work);
    thread.map(drop).map_err(|cause| format!("no thread can be started for it: {cause}"))
}

/// The next line; none at the end.
fn next_line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let n = from.take(LONGEST).read_until(b'\n', &mut line)? as u64;
    match n {
        0 => Ok(None),
        LONGEST => Err(io::Error::other(format!("a line is longer than {LONGEST} bytes"))),
        _ => Ok(Some(String::from_utf8_lossy(&line).into_owned())),
    }
}

/// Reads to the end, and keeps the last bytes.
fn keep_last(mut from: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut chunk = [0; KEPT];
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&chunk[..n]);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}
