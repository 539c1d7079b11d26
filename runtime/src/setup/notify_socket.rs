//! $NOTIFY_SOCKET: passes on to the host's service manager that the container is ready (sd_notify(3)).
//!
//! The container gets a socket of its own at /run/notify. Of what comes there only `READY=` goes on: a container must
//! not say anything else in its service's name. The directory is made by create, the socket is bound by start (or by
//! run, which is both), which then waits for the message.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::sys::fs::{self, OFlags};
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::{datagram, socket};
use crate::{log, spec};

/// The directory's name in the container's state directory.
const DIRECTORY: &str = "notify";
/// The socket's name in it.
const SOCKET: &str = "notify.sock";
/// Where the directory is mounted in the container.
pub(crate) const DESTINATION: &str = "/run/notify";
/// How long the service manager has, in seconds, to say that it has taken the messages.
const BARRIER_TIMEOUT: u64 = 30;

/// The variable that tells the container's processes of their socket.
pub(crate) const VARIABLE: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

/// A container's notify socket, not yet there.
#[derive(Debug)]
pub(crate) struct NotifySocket {
    host: OsString,
    state_dir: PathBuf,
}

impl NotifySocket {
    /// `None` where $NOTIFY_SOCKET is not set: nobody wants to know.
    pub(crate) fn from_environment(state_dir: &Path) -> Option<NotifySocket> {
        let host = std::env::var_os("NOTIFY_SOCKET").filter(|host| !host.is_empty())?;
        let state_dir = state_dir.to_owned();
        Some(NotifySocket { host, state_dir })
    }

    /// What the container needs mounted to see its socket.
    pub(crate) fn mount(&self) -> Result<spec::Mount> {
        let options = ["bind", "nosuid", "noexec", "nodev", "ro"];
        spec::MountBuilder::default()
            .destination(DESTINATION)
            .source(self.state_dir.join(DIRECTORY))
            .options(options.map(str::to_owned))
            .build()
            .map_err(|error| Error::config(format!("{DESTINATION}: {error}")))
    }

    /// Makes the directory that [`NotifySocket::mount`] names. The state directory must be there.
    pub(crate) fn make_directory(&self) -> Result<()> {
        let state = fs::open(&self.state_dir, OFlags::PATH | OFlags::DIRECTORY)?;
        fs::mkdirat(&state, DIRECTORY, 0o755)?;
        // The container's user may be anybody, and the umask any.
        fs::fchmodat(&state, DIRECTORY, 0o755)
    }

    /// Binds the socket. `None` where the container was created without one, or another start has bound it.
    pub(crate) fn bind(self) -> Result<Option<Notifier>> {
        let path = self.state_dir.join(DIRECTORY);
        let directory = match fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(error) if fs::is_missing(&error) => return Ok(None),
            other => other?,
        };
        let socket = match datagram::bind(directory.as_fd(), SOCKET) {
            Err(error) if error.errno() == Some(Errno::ADDRINUSE) => return Ok(None),
            other => other.context(|| "making the container's notify socket")?,
        };
        fs::fchmodat(&directory, SOCKET, 0o777)?;
        let host = self.host;
        Ok(Some(Notifier { host, socket }))
    }
}

/// A container's notify socket.
#[derive(Debug)]
pub(crate) struct Notifier {
    host: OsString,
    socket: OwnedFd,
}

impl Notifier {
    /// Waits until the container says that it is ready, or its init has ended, and tells the service manager, with
    /// `main_pid` as the process to watch from now on; waits until that has been understood.
    pub(crate) fn forward_ready(&self, main_pid: i32, init: BorrowedFd<'_>) -> Result<()> {
        loop {
            let mut fds = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::new(&init, PollFlags::IN),
            ];
            poll::poll(&mut fds, None)?;
            let ended = !fds[1].revents().is_empty();
            if let Some(ready) = self.ready()? {
                return barrier(&self.tell(&ready, main_pid)?);
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// For a caller with a loop of its own: what has come is looked at without waiting. `true`: the container was ready
    /// and the service manager has been told; nothing more is to be done.
    pub(crate) fn try_forward(&self, main_pid: i32) -> Result<bool> {
        let ready = self.ready()?;
        if let Some(ready) = &ready {
            self.tell(ready, main_pid)?;
        }
        Ok(ready.is_some())
    }

    /// Reads all that has come, up to a line that says `READY=`.
    fn ready(&self) -> Result<Option<Vec<u8>>> {
        let mut buffer = [0u8; 4096];
        while let Some(message) = datagram::receive(&self.socket, &mut buffer)? {
            if let Some(line) = ready_line(message) {
                return Ok(Some(line.to_owned()));
            }
        }
        Ok(None)
    }

    fn tell(&self, ready: &[u8], main_pid: i32) -> Result<OwnedFd> {
        let words = || format!("telling {:?} that the container is ready", self.host);
        let host = datagram::connect(&self.host).context(words)?;
        let main_pid = format!("MAINPID={main_pid}");
        for line in [ready, main_pid.as_bytes()] {
            socket::send(&host, &[line, b"\n"].concat(), &[]).context(words)?;
        }
        Ok(host)
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn ready_line(message: &[u8]) -> Option<&[u8]> {
    message
        .split(|byte| *byte == b'\n')
        .find(|line| line.starts_with(b"READY="))
}

/// sd_notify_barrier(3): the service manager closes the descriptor when it has come to this message, so that it is
/// sure to see the sender of those before still alive.
fn barrier(host: &OwnedFd) -> Result<()> {
    let (done, mark) = poll::pipe()?;
    socket::send(host, b"BARRIER=1", &[mark.as_fd()])?;
    drop(mark);
    let mut fds = [PollFd::new(&done, PollFlags::IN)];
    if !poll::poll(&mut fds, poll::deadline(BARRIER_TIMEOUT))? {
        log::warn(format_args!(
            "no answer to the barrier from $NOTIFY_SOCKET in {BARRIER_TIMEOUT} seconds"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_goes_on() {
        for (message, line) in [
            ("READY=1", Some("READY=1")),
            ("STATUS=fine\nREADY=1\nMAINPID=1\n", Some("READY=1")),
            ("MAINPID=1", None),
            ("X_READY=1", None),
            ("", None),
        ] {
            assert_eq!(ready_line(message.as_bytes()), line.map(str::as_bytes));
        }
    }

    #[test]
    fn the_mount_is_read_only() {
        let socket = NotifySocket {
            host: "/x".into(),
            state_dir: "/run/vzrun/c".into(),
        };
        let mount = socket.mount().unwrap();
        assert_eq!(mount.destination(), Path::new("/run/notify"));
        let source = Path::new("/run/vzrun/c/notify");
        assert_eq!(mount.source().as_deref(), Some(source));
        assert!(mount.options().as_ref().unwrap().contains(&"ro".to_owned()));
        assert_eq!(VARIABLE, format!("NOTIFY_SOCKET={DESTINATION}/{SOCKET}"));
    }
}
