//! `--pidfd-socket`: tells whoever listens there about the container's new process, by its pidfd.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::net::SocketType;

use crate::error::{Context, Result};
use crate::sys::socket;

/// Which process it is, in the words that runc sends along.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    /// The container's first.
    Init,
    /// One that has joined.
    Exec,
}

/// Sends one message with one descriptor.
pub(crate) fn send(path: &Path, which: Which, pidfd: BorrowedFd<'_>) -> Result<()> {
    let words = || format!("sending the pidfd to {}", path.display());
    let name: &[u8] = match which {
        Which::Init => b"standard",
        Which::Exec => b"setns",
    };
    let connection = socket::connect(path, SocketType::STREAM).context(words)?;
    socket::send(&connection, name, &[pidfd]).context(words)
}
