//! The processes that `mpirun` has started.

use std::process::ExitCode;
use std::sync::Arc;

use grpo::{Alone, Collective};

/// In which variables launchers of Open MPI, and of MPICH and Intel MPI, tell the number of processes.
const SIZES: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];

/// How many processes have been started.
fn started() -> usize {
    let size = |name: &&str| std::env::var(name).ok()?.parse().ok();
    SIZES.iter().find_map(size).unwrap_or(1)
}

/// This process among those that train together.
#[cfg(feature = "mpi")]
pub(crate) fn join() -> anyhow::Result<Arc<dyn Collective>> {
    if started() == 1 {
        return Ok(Arc::new(Alone));
    }
    let mpi = grpo_mpi::Mpi::start();
    Ok(mpi.ok_or_else(|| anyhow::anyhow!("MPI cannot be started a second time in one process"))?)
}

/// The same, which is alone without MPI.
#[cfg(not(feature = "mpi"))]
pub(crate) fn join() -> anyhow::Result<Arc<dyn Collective>> {
    match started() {
        1 => Ok(Arc::new(Alone)),
        n => anyhow::bail!(
            "mpirun has started {n} processes, but this program is built without MPI: build it with --features mpi"
        ),
    }
}

/// Ends this process's part. If it has failed, all processes end.
pub(crate) fn end(code: ExitCode) -> ExitCode {
    #[cfg(feature = "mpi")]
    {
        if code != ExitCode::SUCCESS {
            grpo_mpi::Mpi::abort(1);
        }
        grpo_mpi::Mpi::finish();
    }
    code
}
