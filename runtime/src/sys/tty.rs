//! Terminals: pseudo-terminal pairs, window size, raw mode.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::{self, OptionalActions, Termios, Winsize};

use crate::error::{Context, Result};

/// ioctl(2) TIOCSPTLCK 0: unlocks the slave of a master.
pub(crate) fn unlock(master: impl AsFd) -> Result<()> {
    rustix::pty::unlockpt(master).call(|| "ioctl(TIOCSPTLCK)")
}

/// ioctl(2) TIOCGPTPEER: the slave, opened without a path, so that nothing can be put in its place (Linux 4.13).
pub(crate) fn peer(master: impl AsFd) -> Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags).call(|| "ioctl(TIOCGPTPEER)")
}

/// TIOCSCTTY of asm-generic/ioctls.h, as a filter sees it.
pub(crate) const TIOCSCTTY: u64 = 0x540e;

/// The path of a master's slave on the devpts at /dev/pts.
pub(crate) fn slave_name(master: impl AsFd) -> Result<std::ffi::CString> {
    rustix::pty::ptsname(master, Vec::new()).call(|| "ioctl(TIOCGPTN)")
}

/// ioctl(2) TIOCSCTTY: makes it the controlling terminal of the session that this process leads.
pub(crate) fn set_controlling(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    rustix::process::ioctl_tiocsctty(fd).call(|| format!("ioctl({}, TIOCSCTTY)", fd.as_raw_fd()))
}

/// isatty(3).
pub(crate) fn is_terminal(fd: impl AsFd) -> bool {
    termios::isatty(fd)
}

/// ioctl(2) TIOCGWINSZ, as (rows, columns).
pub(crate) fn size(fd: impl AsFd) -> Result<(u16, u16)> {
    termios::tcgetwinsize(fd)
        .map(|w| (w.ws_row, w.ws_col))
        .call(|| "ioctl(TIOCGWINSZ)")
}

/// ioctl(2) TIOCSWINSZ.
pub(crate) fn set_size(fd: impl AsFd, (rows, columns): (u16, u16)) -> Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    termios::tcsetwinsize(fd, size).call(|| "ioctl(TIOCSWINSZ)")
}

/// Turns off ONLCR: output newlines pass unchanged, as runc sets its consoles.
pub(crate) fn clear_onlcr(fd: impl AsFd) -> Result<()> {
    let mut mode = termios::tcgetattr(&fd).call(|| "ioctl(TCGETS)")?;
    mode.output_modes.remove(termios::OutputModes::ONLCR);
    termios::tcsetattr(&fd, OptionalActions::Now, &mode).call(|| "ioctl(TCSETS)")
}

/// The terminal of the user in raw mode; gets its old mode back when this is dropped.
pub(crate) struct Raw {
    terminal: OwnedFd,
    old: Termios,
}

impl Raw {
    /// Puts `terminal` into raw mode.
    pub(crate) fn new(terminal: OwnedFd) -> Result<Raw> {
        let old = termios::tcgetattr(&terminal).call(|| "ioctl(TCGETS)")?;
        let mut raw = old.clone();
        raw.make_raw();
        // The container's side passes newlines as they are, so this side still has to make them lines.
        raw.output_modes.insert(termios::OutputModes::OPOST);
        termios::tcsetattr(&terminal, OptionalActions::Now, &raw).call(|| "ioctl(TCSETS)")?;
        Ok(Raw { terminal, old })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing is left to do for a terminal that has gone away.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.old);
    }
}
