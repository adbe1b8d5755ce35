//! What models, datasets and runs require of files: to be either complete or absent, even after a power failure; a fingerprint;
//! and names that cannot lead outside their folder.

mod durable;
mod fingerprint;
mod name;

pub use durable::{rename_durably, sync_folder, write_atomically, write_bytes};
pub use fingerprint::{hex, sha256, sha256_of};
pub use name::is_inside;
