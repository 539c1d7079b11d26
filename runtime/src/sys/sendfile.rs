//! sendfile(2).

use std::os::fd::AsFd;

use crate::error::{Context, Result};

/// As much as the kernel moves at a time, but for a page (MAX_RW_COUNT).
const MOST: usize = 0x7fff_f000;

/// Copies the rest of a file. (The standard library's copy ends the process over some errors half-way.)
pub(crate) fn all(to: impl AsFd, from: impl AsFd) -> Result<()> {
    let (to, from) = (to.as_fd(), from.as_fd());
    loop {
        let some = rustix::io::retry_on_intr(|| rustix::fs::sendfile(to, from, None, MOST));
        if some.call(|| "sendfile()")? == 0 {
            return Ok(());
        }
    }
}
