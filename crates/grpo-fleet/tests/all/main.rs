//! Samples on servers that are recorded, and on some that are bent.

mod bent;
mod journal;
mod protocol;
