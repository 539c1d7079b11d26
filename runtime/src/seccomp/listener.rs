//! The agent of a profile with SCMP_ACT_NOTIFY: it gets the descriptor at which the kernel asks about calls. And the
//! annotations that crun knows.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use rustix::net::SocketType;

use super::Filter;
use super::syscalls::Syscall;
use crate::error::{Context, Error, Result};
use crate::spec::{HookState, LinuxSeccomp};
use crate::sys::socket;

/// The agent's socket, where the profile names none (as crun).
const RECEIVER: &str = "run.oci.seccomp.receiver";

/// Anything but "0": a name that is no system call is an error.
const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";

/// Looks for names of no system call, where the annotation asks for that.
pub(crate) fn check_names(
    profile: &LinuxSeccomp,
    annotations: Option<&HashMap<String, String>>,
) -> Result<()> {
    let asked = annotations.and_then(|annotations| annotations.get(FAIL_UNKNOWN));
    if asked.is_none_or(|text| text == "0") {
        return Ok(());
    }
    let rules = profile.syscalls().iter().flatten();
    let unknown = rules
        .flat_map(|rule| rule.names())
        .find(|name| Syscall::named(name).is_none());
    match unknown {
        Some(name) => Err(Error::config(format!(
            "linux.seccomp: there is no system call {name:?}, and {FAIL_UNKNOWN} is set"
        ))),
        None => Ok(()),
    }
}

impl Filter {
    /// Takes the annotation that names the agent's socket.
    ///
    /// # Errors
    /// As runc where there are calls for an agent and no agent.
    pub(crate) fn with_receiver(
        mut self,
        annotations: Option<&HashMap<String, String>>,
    ) -> Result<Filter> {
        if !self.notify {
            return Ok(self);
        }
        // An empty path is as good as none.
        self.listener_path = self
            .listener_path
            .filter(|path| !path.as_os_str().is_empty())
            .or_else(|| annotations?.get(RECEIVER).map(Into::into));
        match &self.listener_path {
            Some(path) if path.is_absolute() => Ok(self),
            Some(_) => Err(Error::config(
                "linux.seccomp.listenerPath must be an absolute path",
            )),
            None => Err(Error::config(
                "linux.seccomp: SCMP_ACT_NOTIFY needs an agent: seccomp listenerPath is not set",
            )),
        }
    }

    /// Sends the listener to the agent, with the state of the process that has the filter: `pid`, of the container `state`.
    pub(crate) fn send_listener(
        &self,
        listener: BorrowedFd<'_>,
        state: &HookState,
        pid: i32,
    ) -> Result<()> {
        let path = self.listener_path.as_deref().unwrap_or("".as_ref());
        let metadata = self.listener_metadata.as_deref().unwrap_or_default();
        let text = state.json_of_process(pid, metadata);
        socket::connect(path, SocketType::STREAM)
            .and_then(|connection| socket::send(connection, text.as_bytes(), &[listener]))
            .context(|| "passing the listener to the seccomp agent")
    }
}
