//! poll(2), pipe2(2), and reads and writes that never wait.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
pub(crate) use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::error::{Context, Result};

/// poll(2) until one of `fds` is ready or `deadline` has passed. `false`: none was ready in time.
pub(crate) fn poll(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<bool> {
    loop {
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: i64::MAX,
                tv_nsec: 0,
            })
        });
        match rustix::event::poll(fds, left.as_ref()) {
            Err(Errno::INTR) => continue,
            result => return result.map(|ready| ready > 0).call(|| "poll()"),
        }
    }
}

/// The moment `seconds` from now; `None` where the clock cannot say it, which is as good as never.
pub(crate) fn deadline(seconds: u64) -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(seconds))
}

/// pipe2(2) O_CLOEXEC: the end to read from, which never blocks, and the end to write to, which does.
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).call(|| "pipe2(O_CLOEXEC)")?;
    set_nonblocking(&read)?;
    Ok((read, write))
}

/// fcntl(2) F_SETFL O_NONBLOCK: belongs to the open file, so all who share it see it.
pub(crate) fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    rustix::io::ioctl_fionbio(&fd, true)
        .call(|| format!("ioctl({}, FIONBIO)", fd.as_fd().as_raw_fd()))
}

/// What a read or write that does not wait has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing can be moved now.
    Later,
    /// The other side is gone and nothing is left.
    End,
}

/// read(2). A pseudo-terminal whose other side is closed says EIO; that is its end.
pub(crate) fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<Moved> {
    let fd = fd.as_fd();
    match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *buffer)) {
        Ok(0) | Err(Errno::IO) => Ok(Moved::End),
        Ok(n) => Ok(Moved::Bytes(n)),
        Err(Errno::AGAIN) => Ok(Moved::Later),
        Err(errno) => Err(errno).call(|| format!("read({})", fd.as_raw_fd())),
    }
}

/// write(2). A reader that is gone (EPIPE, EIO) is the end.
pub(crate) fn write(fd: impl AsFd, bytes: &[u8]) -> Result<Moved> {
    let fd = fd.as_fd();
    match rustix::io::retry_on_intr(|| rustix::io::write(fd, bytes)) {
        Err(Errno::PIPE | Errno::IO) => Ok(Moved::End),
        Ok(n) => Ok(Moved::Bytes(n)),
        Err(Errno::AGAIN) => Ok(Moved::Later),
        Err(errno) => {
            Err(errno).call(|| format!("write({}, {} bytes)", fd.as_raw_fd(), bytes.len()))
        }
    }
}
