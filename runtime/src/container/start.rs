//! `start`.

use std::os::fd::{AsFd, OwnedFd};

use super::status::Lock;
use super::{Container, Status};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hooks::{Hooks, Point};
use crate::setup::notify_socket::NotifySocket;
use crate::sys::fs::{self, OFlags};
use crate::sys::poll::{self, PollFd, PollFlags};

/// What init of a created container waits at: it opens it for writing, which blocks until somebody reads.
pub(super) const FIFO: &str = "exec.fifo";

impl Container {
    /// Lets the container's program run.
    ///
    /// # Errors
    /// `cannot start an already running container`, `cannot start a container that has stopped`.
    pub fn start(&self) -> Result<()> {
        let lock = Lock::take(&self.directory)?;
        match self.status()? {
            Status::Created => {}
            Status::Stopped => {
                let text = "cannot start a container that has stopped";
                return Err(Error::new(ErrorKind::InvalidState, text));
            }
            Status::Creating | Status::Running | Status::Paused => {
                let text = "cannot start an already running container";
                return Err(Error::new(ErrorKind::InvalidState, text));
            }
        }
        let init = self.init()?;
        let notifier = match NotifySocket::from_environment(&self.path()?) {
            Some(socket) => socket.bind()?,
            None => None,
        };
        self.open_fifo(&init)?;
        drop(lock);
        if self.record.poststart_hooks {
            let hooks = Hooks::plan(self.record.spec()?.hooks().as_ref())?;
            let state = self.record.hook_state().json("running", self.record.pid);
            if let Err(error) = hooks.run(Point::Poststart, &state, None) {
                // The container did not come up as it was meant to: it does not stay.
                self.kill(libc::SIGKILL, true)?;
                return Err(error);
            }
        }
        match notifier {
            Some(notifier) => notifier.forward_ready(self.record.pid, init.as_fd()),
            None => Ok(()),
        }
    }

    /// Reads the byte that init writes once it is past the fifo; its death ends the waiting, too.
    fn open_fifo(&self, init: &OwnedFd) -> Result<()> {
        let fifo = fs::openat(&self.directory, FIFO, OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
        loop {
            let mut fds = [
                PollFd::new(&fifo, PollFlags::IN),
                PollFd::new(init, PollFlags::IN),
            ];
            poll::poll(&mut fds, None)?;
            let said = fds[0].revents().contains(PollFlags::IN);
            if said && matches!(rustix::io::read(&fifo, &mut [0u8; 1]), Ok(1)) {
                return fs::unlinkat(&self.directory, FIFO);
            }
            if !fds[1].revents().is_empty() {
                let text = "container init has ended before it could be started";
                return Err(Error::new(ErrorKind::Process, text));
            }
        }
    }

    /// The path of its state directory, for what takes no descriptor.
    fn path(&self) -> Result<std::path::PathBuf> {
        let link = format!("/proc/self/fd/{:?}", fs::shown(&self.directory));
        std::fs::read_link(&link).context(|| link)
    }
}
