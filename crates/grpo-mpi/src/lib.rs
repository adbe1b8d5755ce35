//! Processes that train one policy together, over MPI.
//!
//! The crate's one design decision: **MPI carries numbers and does not add them up.** It leaves the order of a sum to the
//! implementation. Here every process adds its part of the numbers in the order of ranks and passes on the result, so the sum is the
//! same to the bit with every MPI, and costs as much traffic as a ring.
#![cfg(feature = "mpi")]

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use grpo_trainer::Collective;
use mpi::Threading;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::topology::{Communicator, SimpleCommunicator};
use mpi::traits::CommunicatorCollectives;

/// The processes of `mpirun`. Only the thread that has started them may use them.
pub struct Mpi {
    rank: usize,
    size: usize,
}

/// MPI can be started once in a process.
static UNIVERSE: OnceLock<Mutex<Option<Universe>>> = OnceLock::new();

impl Mpi {
    /// Joins the other processes, which have to do the same; none if this process has joined before.
    pub fn start() -> Option<Arc<Self>> {
        let (universe, _) = mpi::initialize_with_threading(Threading::Funneled)?;
        let world = universe.world();
        let [rank, size] = [world.rank(), world.size()].map(|n| usize::try_from(n).unwrap_or(0));
        UNIVERSE.set(Mutex::new(Some(universe))).ok()?;
        Some(Arc::new(Self { rank, size }))
    }

    /// Ends MPI in this process after its last exchange. Waits for the others.
    pub fn finish() {
        if let Some(universe) = UNIVERSE.get() {
            drop(universe.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    /// If this process has joined others, ends all of them with this exit status, because it cannot continue.
    pub fn abort(status: i32) {
        if UNIVERSE.get().is_some() {
            SimpleCommunicator::world().abort(status);
        }
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_reduce(&self, values: &mut [f32]) {
        let (world, n) = (SimpleCommunicator::world(), values.len());
        let part = n.div_ceil(self.size);
        let mut sent = values.to_vec();
        sent.resize(part * self.size, 0.0);
        // The same part from every process.
        let mut parts = vec![0.0f32; part * self.size];
        world.all_to_all_into(&sent[..], &mut parts[..]);
        let (sum, others) = parts.split_at_mut(part);
        for other in others.chunks_exact(part.max(1)) {
            sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
        }
        world.all_gather_into(&*sum, &mut sent[..]);
        values.copy_from_slice(&sent[..n]);
    }

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let world = SimpleCommunicator::world();
        let mut lengths = vec![0i32; self.size];
        let length = i32::try_from(bytes.len()).expect("less than 2 GiB are exchanged at once");
        world.all_gather_into(&length, &mut lengths[..]);
        let starts: Vec<i32> = lengths
            .iter()
            .scan(0, |start: &mut i32, length| {
                let this = *start;
                *start = start.checked_add(*length).expect("less than 2 GiB are exchanged at once");
                Some(this)
            })
            .collect();
        let mut all = vec![0u8; lengths.iter().map(|length| *length as usize).sum()];
        let mut partition = PartitionMut::new(&mut all[..], &lengths[..], &starts[..]);
        world.all_gather_varcount_into(bytes, &mut partition);
        lengths
            .iter()
            .zip(&starts)
            .map(|(length, start)| all[*start as usize..(*start + *length) as usize].to_vec())
            .collect()
    }
}
