//! The memory of another process (proc_pid_mem(5)).

use std::os::fd::{AsFd, OwnedFd};

use super::fs::{self, OFlags};
use crate::error::{Context, Error, ErrorKind, Result};

/// A thread's, by its number in that procfs. Takes the right to trace it (ptrace(2)). Held, it stays the memory that it is.
pub(crate) fn open(procfs: impl AsFd, thread: u32) -> Result<OwnedFd> {
    fs::openat(procfs, format!("{thread}/mem"), OFlags::RDWR, 0)
}

/// pwrite(2) to an address. Memory can keep the writer waiting: a page of a file does until it has been read.
pub(crate) fn write(memory: impl AsFd, bytes: &[u8], address: u64) -> Result<()> {
    let call = || format!("pwrite({} bytes, {address:#x})", bytes.len());
    let write = || rustix::io::pwrite(&memory, bytes, address);
    match rustix::io::retry_on_intr(write).call(call)? {
        written if written == bytes.len() => Ok(()),
        _ => Err(Error::new(ErrorKind::Process, format!("{}: short", call()))),
    }
}
