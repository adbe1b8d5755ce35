//! Every target on its seeds, on inputs that fuzzing kept because each reaches code that others don't (or once hung), and on a few
//! mutations of the seeds.

use std::path::Path;

use grpo_fuzz::targets;

/// Mutations of each seed.
const MUTATIONS: u64 = 40;

#[test]
fn inputs_that_fuzzing_kept_are_refused_or_read() {
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("inputs")).unwrap();
    let mut inputs = 0;
    for folder in folders.map(|entry| entry.unwrap().path()) {
        let target = targets().into_iter().find(|target| folder.ends_with(target.name)).unwrap();
        for entry in std::fs::read_dir(&folder).unwrap() {
            target.run(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
    }
    assert!(inputs > 100, "only {inputs} inputs were tried");
}

#[test]
fn seeds_are_read() {
    for target in targets() {
        for (seed, (file, _)) in target.seeds().iter().zip(&target.files) {
            assert!(target.run(seed), "{}: {file} is right, and refused", target.name);
        }
    }
}

#[test]
fn mutations_of_right_files_are_refused_or_read() {
    for target in targets() {
        for seed in target.seeds() {
            for n in 0..MUTATIONS {
                target.run(&mutated(&seed, n));
            }
        }
    }
}

/// A seed cut short, or with some of its bytes changed, repeated or left out; the first one, which says what file it is, stays.
fn mutated(seed: &[u8], n: u64) -> Vec<u8> {
    let mut state = n;
    let mut random = |below: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    };
    let mut bytes = seed.to_vec();
    for _ in 0..1 + random(4) {
        if bytes.len() < 2 {
            break;
        }
        let at = 1 + random(bytes.len() - 1);
        match random(5) {
            0 => bytes.truncate(at),
            1 => bytes[at] = random(256) as u8,
            2 => bytes[at] ^= 1 << random(8),
            3 => drop(bytes.drain(at..(at + random(16)).min(seed.len()).min(bytes.len()).max(at))),
            _ => {
                let piece = bytes[at..(at + 1 + random(32)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}
