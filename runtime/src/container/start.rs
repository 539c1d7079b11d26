//! `start`.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::record::{self, Record};
use super::status::Lock;
use super::{Container, Status, Wait};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hooks::{Hooks, Point};
use crate::log;
use crate::setup::notify_socket::NotifySocket;
use crate::sys::fs::{self, OFlags};

/// What init of a created container waits at: it reads from it, which blocks until somebody writes.
pub(super) const FIFO: &str = "exec.fifo";

fn has_stopped() -> Error {
    let text = "cannot start a container that has stopped";
    Error::new(ErrorKind::InvalidState, text)
}

fn not_found_where_missing(error: Error) -> Error {
    match fs::is_missing(&error) {
        true => super::not_found(),
        false => error,
    }
}

fn already_running() -> Error {
    let text = "cannot start an already running container";
    Error::new(ErrorKind::InvalidState, text)
}

impl Container {
    /// Lets the container's program run.
    ///
    /// # Errors
    /// `cannot start an already running container`, `cannot start a container that has stopped`.
    pub fn start(&self) -> Result<()> {
        self.start_and_wait(Wait::No)
    }

    /// The same, and waits.
    ///
    /// # Errors
    /// As [`Container::start`]; the container has ended before its init was ready, or is not ready in time: then it runs on.
    pub fn start_and_wait(&self, wait: Wait) -> Result<()> {
        let lock = Lock::take(&self.directory)?;
        if self.record.pid == 0 {
            // Its creator was at work on it till now, or died over it.
            let present = self.reload()?;
            if present.record.pid != 0 {
                drop(lock);
                return present.start_and_wait(wait);
            }
        }
        match self.status_now()? {
            Status::Created => {}
            Status::Stopped if !record::is_there(&self.directory) => {
                return Err(super::not_found());
            }
            Status::Stopped => {
                return Err(has_stopped());
            }
            Status::Creating | Status::Running | Status::Paused => return Err(already_running()),
        }
        let init = self.init().map_err(|error| match error.kind() {
            ErrorKind::NotRunning => has_stopped(),
            _ => error,
        })?;
        let readiness = wait.prepare(&self.directory, self.record.system)?;
        let notifier = match NotifySocket::from_environment(&self.path()?) {
            Some(socket) => socket.bind()?,
            None => None,
        };
        self.let_go()?;
        drop(lock);
        if self.record.poststart_hooks {
            let hooks = Hooks::plan(self.record.spec()?.hooks().as_ref())?;
            let state = self.record.hook_state().json("running", self.record.pid);
            if let Err(error) = hooks.run(Point::Poststart, &state, None) {
                // The container did not come up as it was meant to: it does not stay.
                if let Err(error) = self.kill(libc::SIGKILL, true) {
                    log::warn(format_args!("after a failed poststart hook: {error}"));
                }
                return Err(error);
            }
        }
        if let Some(notifier) = notifier {
            notifier.forward_ready(self.record.pid, init.as_fd())?;
        }
        readiness.map_or(Ok(()), |readiness| readiness.wait(init.as_fd()))
    }

    /// Writes the byte that init waits for.
    fn let_go(&self) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let written =
            fs::openat(&self.directory, FIFO, flags, 0).and_then(|fifo| fs::write_once(fifo, b"0"));
        match written {
            Ok(()) => fs::unlinkat(&self.directory, FIFO),
            // Nobody reads: init has gone since its status was found out.
            Err(error) if error.errno() == Some(Errno::NXIO) => {
                let text = "container init has ended before it could be started";
                Err(Error::new(ErrorKind::NotRunning, text))
            }
            Err(error) => Err(error),
        }
    }

    /// The same container with its present record. The lock is held.
    fn reload(&self) -> Result<Container> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory =
            fs::openat(&self.directory, ".", flags, 0).map_err(not_found_where_missing)?;
        let record = Record::load(&directory).map_err(not_found_where_missing)?;
        Container::locked(directory, record)
    }

    /// The path of its state directory, for what takes no descriptor.
    fn path(&self) -> Result<std::path::PathBuf> {
        let link = format!("/proc/self/fd/{:?}", fs::shown(&self.directory));
        std::fs::read_link(&link).context(|| link)
    }
}
