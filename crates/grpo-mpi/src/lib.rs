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

/// The most bytes that are gathered at once.
const PIECE: usize = 1 << 30;

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
        let mut lengths = vec![0u64; self.size];
        world.all_gather_into(&(bytes.len() as u64), &mut lengths[..]);
        let mut all = vec![Vec::new(); self.size];
        // In pieces, because MPI counts in 32 bits.
        let (longest, piece) = (lengths.iter().copied().max().unwrap_or(0) as usize, PIECE / self.size);
        for start in (0..longest).step_by(piece) {
            let range = |length: usize| start.min(length)..(start + piece).min(length);
            let counts: Vec<i32> =
                lengths.iter().map(|length| range(*length as usize).len() as i32).collect();
            let starts: Vec<i32> = (0..self.size).map(|rank| counts[..rank].iter().sum()).collect();
            let mut received = vec![0u8; counts.iter().map(|count| *count as usize).sum()];
            let mut partition = PartitionMut::new(&mut received[..], &counts[..], &starts[..]);
            world.all_gather_varcount_into(&bytes[range(bytes.len())], &mut partition);
            let mut rest = &received[..];
            for (all, count) in all.iter_mut().zip(counts) {
                let (own, others) = rest.split_at(count as usize);
                all.extend_from_slice(own);
                rest = others;
            }
        }
        all
    }
}
