//! vzrun: an OCI runtime as a library.
mod error;
pub mod log;
mod setup;
mod spec;
mod sys;
pub use error::{Error, ErrorKind, Result};
