//! How long the sum of gradients takes on a network: start it with `mpirun` on all machines. The last takes 6 GB in each process.

use std::time::Instant;

use grpo_mpi::Mpi;
use grpo_trainer::Collective;

/// Sizes in bytes: adapters of rank 16 of the 0.5B, 3B and 7B models, and all weights of the 0.5B model.
const SIZES: [(&str, usize); 4] = [
    ("0.5B, LoRA of rank 16", 35_192_832),
    ("3B, LoRA of rank 16", 119_734_272),
    ("7B, LoRA of rank 16", 161_480_704),
    ("0.5B, all weights", 1_976_131_072),
];
const REPEATS: usize = 3;

#[allow(clippy::print_stdout)]
fn main() {
    let Some(mpi) = Mpi::start() else { return };
    for (name, bytes) in SIZES {
        let mut gradient = vec![1.0f32; bytes / size_of::<f32>()];
        let seconds = (0..REPEATS).map(|_| {
            let start = Instant::now();
            mpi.all_reduce(&mut gradient);
            start.elapsed().as_secs_f64()
        });
        let best = seconds.fold(f64::INFINITY, f64::min);
        if mpi.rank() == 0 {
            println!("{name}: {} MB, {} processes, {best:.3} s", bytes / 1_000_000, mpi.size());
        }
    }
    Mpi::finish();
}
