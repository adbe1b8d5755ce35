//! Writes the puzzles that come with the project, as JSON lines.
//!
//! ```text
//! cargo run --release --example make_puzzles
//! ```

use std::path::{Path, PathBuf};

use clap::Parser;
use grpo_examples::puzzles::{Countdown, Letters, Puzzle, folder, rows};

/// Write the generated puzzles.
#[derive(Parser)]
struct Args {
    /// The folder to write to.
    #[arg(long, default_value_os_t = folder(""))]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let out = Args::parse().out;
    write::<Countdown>(&out)?;
    write::<Letters>(&out)
}

fn write<P: Puzzle>(out: &Path) -> anyhow::Result<()> {
    let folder = out.join(P::NAME);
    std::fs::create_dir_all(&folder)?;
    for split in ["train", "test"] {
        let path = folder.join(format!("{split}.jsonl"));
        let rows = rows::<P>(split);
        std::fs::write(&path, &rows)?;
        println!("{} puzzles in {}", rows.lines().count(), path.display());
    }
    Ok(())
}
