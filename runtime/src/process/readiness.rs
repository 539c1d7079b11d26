//! What the init of a system container says of itself over its notify socket (sd_notify(3)): that it is ready.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::{Context, Result};
use crate::sys::{datagram, fs, poll};

/// The keeper's ear for it.
#[derive(Debug)]
pub(super) struct Readiness<'a> {
    /// The same over all boots, each of which has it mounted.
    socket: OwnedFd,
    /// The FIFO in which it is noted.
    note: &'a OwnedFd,
    noted: Cell<bool>,
}

impl<'a> Readiness<'a> {
    pub(super) fn new(socket: OwnedFd, note: &'a OwnedFd) -> Readiness<'a> {
        let noted = Cell::new(false);
        Readiness {
            socket,
            note,
            noted,
        }
    }

    /// A boot begins: what the last one has said is forgotten, heard or not.
    pub(super) fn begin(&self) -> Result<()> {
        // All of it: nobody of the last boot is left who could say more.
        let words = || "forgetting what the last boot has said of its readiness";
        let mut byte = [0u8; 1];
        while datagram::receive(&self.socket, &mut byte)
            .context(words)?
            .is_some()
        {}
        if self.noted.replace(false) {
            poll::read(self.note, &mut byte).context(words)?;
        }
        Ok(())
    }

    /// Takes what has been said. Descriptors that come with it, as those of a barrier (sd_notify_barrier(3)), are closed by
    /// that.
    pub(super) fn hear(&self) -> Result<()> {
        let words = || "listening to what init says of its readiness";
        let mut buffer = [0u8; 4096];
        // No more at a time than the kernel queues (net.unix.max_dgram_qlen): there are other things to be done.
        for _ in 0..16 {
            let Some(message) = datagram::receive(&self.socket, &mut buffer).context(words)? else {
                break;
            };
            if !self.noted.get() && says_ready(message) {
                fs::write_once(self.note, b".").context(words)?;
                self.noted.set(true);
            }
        }
        Ok(())
    }
}

impl AsFd for Readiness<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn says_ready(message: &[u8]) -> bool {
    let mut lines = message.split(|byte| *byte == b'\n');
    lines.any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_that_is_said_ready_counts() {
        for (message, ready) in [
            ("READY=1", true),
            ("STATUS=up\nREADY=1\n", true),
            ("READY=0", false),
            ("X_READY=1", false),
            ("STATUS=READY=1", false),
            ("", false),
        ] {
            assert_eq!(says_ready(message.as_bytes()), ready, "{message:?}");
        }
    }
}
