//! What models, datasets and runs need of files: to be whole or not there, even after a power failure; a fingerprint; and
//! names that lead nowhere but into their folder.

mod durable;
mod fingerprint;
mod name;

pub use durable::{rename_durably, sync_folder, write_atomically, write_bytes};
pub use fingerprint::{hex, sha256, sha256_of};
pub use name::is_inside;
