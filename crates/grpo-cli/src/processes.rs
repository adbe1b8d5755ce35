//! The processes that `mpirun` has started.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{bail, ensure};
use grpo::{Alone, Collective};

/// In which variables launchers tell the number of processes: Open MPI's, those of MPICH and Intel MPI, and `srun`.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// How many processes have been started.
fn started() -> usize {
    let size = |name: &&str| std::env::var(name).ok()?.parse().ok();
    SIZES.iter().find_map(size).unwrap_or(1)
}

/// This process among those that have been started. Each of them has to call this.
pub(crate) fn join() -> anyhow::Result<Arc<dyn Collective>> {
    match started() {
        1 => Ok(Arc::new(Alone)),
        n => together(n),
    }
}

#[cfg(feature = "mpi")]
fn together(n: usize) -> anyhow::Result<Arc<dyn Collective>> {
    let Some(mpi) = grpo_mpi::Mpi::start() else {
        bail!("MPI cannot be started a second time in one process")
    };
    ensure!(
        mpi.size() == n,
        "{n} processes have been started, but MPI knows of {}: use the mpirun of the MPI that this program is built with",
        mpi.size()
    );
    Ok(mpi)
}

#[cfg(not(feature = "mpi"))]
fn together(n: usize) -> anyhow::Result<Arc<dyn Collective>> {
    bail!(
        "{n} processes have been started, but this program is built without MPI: build it with --features mpi"
    )
}

/// An error if several processes have been started: for commands that would do the same in each of them.
pub fn check_alone() -> anyhow::Result<()> {
    let n = started();
    ensure!(
        n == 1,
        "{n} processes have been started, and each would do the same: only train, resume and replay share their work"
    );
    Ok(())
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
