//! `kill`.

use rustix::io::Errno;

use super::{Container, Status};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::pidfd;

impl Container {
    /// Sends a signal to the container's init; SIGKILL for a container that shares its pid namespace goes to all of its
    /// processes, which would otherwise outlive init. With `all` a stopped container is no error.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`]: `container not running`.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        if all && self.status()? == Status::Stopped {
            return self.kill_rest(signal);
        }
        let init = self.init()?;
        if signal == libc::SIGKILL && !self.record.own_pid_namespace {
            return match self.cgroup()? {
                Some(cgroup) => cgroup.kill(),
                None => send(&init, signal),
            };
        }
        // A frozen process takes SIGKILL as it is (cgroup v2), so there is nothing to thaw.
        send(&init, signal)
    }

    /// Processes that have outlived init, which only a shared pid namespace lets them.
    fn kill_rest(&self, signal: i32) -> Result<()> {
        match self.cgroup()? {
            Some(cgroup) if signal == libc::SIGKILL => cgroup.kill(),
            _ => Ok(()),
        }
    }
}

fn send(init: &std::os::fd::OwnedFd, signal: i32) -> Result<()> {
    match pidfd::send_signal(init, signal) {
        Err(error) if error.errno() == Some(Errno::SRCH) => {
            Err(Error::new(ErrorKind::NotRunning, "container not running"))
        }
        other => other.context(|| format!("sending signal {signal} to the container's init")),
    }
}
