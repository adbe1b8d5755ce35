//! Pages, as a user and a browser meet them.

mod common;
mod page;
mod serve;
