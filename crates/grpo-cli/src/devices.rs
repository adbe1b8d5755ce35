//! Self-tests of devices: in a child process of this program, with verdicts in the user's cache folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use grpo::device::{Prover, serve_child, set_prover};

/// The first argument of a child that tests a device.
const SELF_TEST: &str = "__self-test";

/// In a child that tests a device: the test, and how the program ends.
pub(crate) fn serve() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != SELF_TEST {
        return None;
    }
    let served = serve_child(&arguments.next()?, &mut std::io::stdout());
    Some(if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes all self-tests run in a child of this program.
pub(crate) fn set_up() {
    // Without a path to itself the program tests in its own process.
    let program = std::env::current_exe().map_or(Vec::new(), |exe| vec![exe, PathBuf::from(SELF_TEST)]);
    let show = |operation: &str| crate::warn!("Testing the device: {operation}");
    set_prover(Prover { program, verdicts: verdicts(), show, ..Prover::default() });
}

/// The folder of verdicts; none if the system names no place for caches.
fn verdicts() -> Option<PathBuf> {
    let of = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = match std::env::consts::OS {
        "macos" => of("HOME")?.join("Library/Caches"),
        "windows" => of("LOCALAPPDATA")?,
        _ => of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")))?,
    };
    Some(caches.join(Path::new("grpo/devices")))
}
