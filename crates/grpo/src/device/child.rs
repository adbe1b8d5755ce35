//! The self-test in a child process, since drivers crash and hang.
//!
//! The child writes one line per operation, `testing <operation>`, and at the end its verdict as JSON.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{DeviceKind, Failure, SelfTest, Subject, Verdict, info};

const TESTING: &str = "testing ";
/// Characters of a crashed process's last words that are kept, and the time limit for reading them.
const LAST_WORDS: usize = 400;
const LAST_WORDS_TIME: Duration = Duration::from_secs(1);

/// What a child is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) device: DeviceKind,
    /// What to test; none if the device is only opened.
    pub(super) subject: Option<Subject>,
}

/// Opens and tests in this process what another asked for with [`Prover::program`](super::Prover::program), and writes progress
/// and the verdict to `out`.
pub fn serve_child(request: &str, out: &mut impl Write) -> std::io::Result<()> {
    let Request { device, subject } = serde_json::from_str(request)?;
    let verdict = match (info::open(device), DeviceKind::Cpu.device()) {
        (Ok((device, _)), Ok(cpu)) => subject.map_or_else(Verdict::default, |subject| {
            SelfTest::new(subject).run(&device, &cpu, |operation| {
                if writeln!(out, "{TESTING}{operation}").and_then(|()| out.flush()).is_err() {
                    // Nobody reads it: the parent has ended.
                    std::process::exit(1);
                }
            })
        }),
        (Err(error), _) | (_, Err(error)) => {
            Verdict::failed(Failure::NoVerdict { reason: error.to_string() }, 0.0)
        }
    };
    writeln!(out, "{}", serde_json::to_string(&verdict)?)
}

/// How the process has ended, which it is given a moment for; then it is killed. None if a driver does not let it end.
fn end(child: &mut Child) -> Option<ExitStatus> {
    for attempt in 0..50 {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if attempt == 10 {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

/// Serves a request with `program arguments… request`. The process is killed when `deadline` has passed.
pub(super) fn run(
    program: &[PathBuf],
    request: &Request,
    deadline: Duration,
    show: &dyn Fn(&str),
) -> Verdict {
    let request = serde_json::to_string(request).expect("a request has only names and numbers");
    let start = Instant::now();
    let seconds = || start.elapsed().as_secs_f64();
    let no_verdict = |reason: String| Verdict::failed(Failure::NoVerdict { reason }, 0.0);
    let Some((name, arguments)) = program.split_first() else {
        return no_verdict("it has no program".to_string());
    };
    let mut command = Command::new(name);
    command.args(arguments).arg(request).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return no_verdict(format!("{}: {error}", name.display())),
    };
    let (sender, lines) = mpsc::channel();
    let stdout = child.stdout.take().expect("it is piped");
    std::thread::spawn(move || {
        let lines = BufReader::new(stdout).split(b'\n').map_while(Result::ok);
        lines.map(|line| String::from_utf8_lossy(&line).into_owned()).try_for_each(|line| sender.send(line))
    });
    let mut stderr = child.stderr.take().expect("it is piped");
    let (sender, errors) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = stderr.read_to_end(&mut text);
        sender.send(String::from_utf8_lossy(&text).into_owned())
    });
    let mut operation = "opening the device".to_string();
    loop {
        match lines.recv_timeout(deadline.saturating_sub(start.elapsed())) {
            Ok(line) => match line.strip_prefix(TESTING) {
                Some(next) => {
                    show(next);
                    operation = next.to_string();
                }
                None => {
                    if let Ok(verdict) = serde_json::from_str::<Verdict>(&line) {
                        // The driver may hang or crash when the process ends: the verdict stands.
                        end(&mut child);
                        return verdict;
                    }
                }
            },
            Err(RecvTimeoutError::Timeout) => {
                end(&mut child);
                let failure = Failure::Hung { operation, seconds: deadline.as_secs() };
                return Verdict::failed(failure, seconds());
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = end(&mut child).map_or("it does not end".to_string(), |status| status.to_string());
    // A process of its own may keep the pipe open.
    let text = errors.recv_timeout(LAST_WORDS_TIME).unwrap_or_default();
    let message =
        text.trim().chars().rev().take(LAST_WORDS).collect::<Vec<char>>().into_iter().rev().collect();
    Verdict::failed(Failure::Crashed { operation, status, message }, seconds())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const REQUEST: Request = Request { device: DeviceKind::Vulkan, subject: None };

    /// The failure that a child of the shell leads to.
    fn failure(script: &str) -> (String, Vec<String>) {
        let shown = std::sync::Mutex::new(Vec::new());
        let program = ["/bin/sh", "-c", script].map(PathBuf::from);
        let show = |operation: &str| shown.lock().unwrap().push(operation.to_string());
        let verdict = run(&program, &REQUEST, Duration::from_secs(2), &show);
        (verdict.failures[0].to_string(), shown.into_inner().unwrap())
    }

    #[test]
    fn a_child_that_crashes_hangs_or_cannot_be_started_is_a_failure() {
        let (said, shown) = failure("echo testing a product; echo out of memory >&2; kill -SEGV $$");
        assert!(
            said.starts_with("a product: the process crashed (signal: 11")
                && said.ends_with(": out of memory"),
            "{said}"
        );
        assert_eq!(shown, ["a product"]);
        let (said, _) = failure("echo testing softmax; sleep 60");
        assert_eq!(said, "softmax: no result within 2 s");
        let (said, _) = failure("exit 3");
        assert_eq!(said, "opening the device: the process crashed (exit status: 3)");
        let verdict = run(&[PathBuf::from("/nowhere/grpo")], &REQUEST, Duration::from_secs(2), &|_| {});
        assert!(verdict.failures[0].to_string().starts_with("the test did not run: /nowhere/grpo: "));
    }

    #[test]
    fn a_verdict_is_read_even_if_the_process_does_not_end() {
        let expected =
            Verdict { failures: Vec::new(), errors: vec![("a product".to_string(), 1e-6)], seconds: 1.5 };
        let json = serde_json::to_string(&expected).unwrap();
        let script = format!("echo 'a driver says hello'; echo testing a product; echo '{json}'; sleep 60");
        let program = ["/bin/sh", "-c", &script].map(PathBuf::from);
        assert_eq!(run(&program, &REQUEST, Duration::from_secs(5), &|_| {}), expected);
    }
}
