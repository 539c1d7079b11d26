//! A seccomp agent (`linux.seccomp.listenerPath`): it gets the listener of a container's filter, and answers the calls that
//! the kernel asks it about.

use crate::{DEADLINE, FdSocket, wait::readable};
use serde_json::Value;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What the agent makes of a call.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    /// The call gives this value.
    Value(i64),
    /// The call fails with this error number.
    Error(i32),
    /// The kernel goes on with the call (SECCOMP_USER_NOTIF_FLAG_CONTINUE).
    Continue,
}

/// A call that the kernel has asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notified {
    /// The caller, as the agent's pid namespace numbers it.
    pub pid: u32,
    /// The system call.
    pub number: i32,
    /// AUDIT_ARCH_*.
    pub arch: u32,
    /// Its arguments.
    pub args: [u64; 6],
}

/// Listens on a socket.
#[derive(Debug)]
pub struct SeccompAgent {
    socket: FdSocket,
}

/// One filter's listener, served by a thread until the last process with the filter has ended.
#[derive(Debug)]
pub struct Listener {
    /// The container process state that came with it.
    pub state: Value,
    seen: Arc<Mutex<Vec<Notified>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl SeccompAgent {
    /// Listens at `path`.
    pub fn bind(path: impl AsRef<Path>) -> SeccompAgent {
        SeccompAgent {
            socket: FdSocket::bind(path),
        }
    }

    /// For `listenerPath`.
    pub fn path(&self) -> PathBuf {
        self.socket.path().to_path_buf()
    }

    /// Takes the next listener without serving it.
    pub fn take(&self) -> OwnedFd {
        self.socket.receive().0
    }

    /// Takes the next listener, and answers its calls from now on.
    pub fn serve(&self, verdict: impl Fn(&Notified) -> Verdict + Send + 'static) -> Listener {
        let (fd, text) = self.socket.receive();
        let state = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        let thread = std::thread::spawn(move || serve(&fd, &list, &verdict));
        Listener {
            state,
            seen,
            thread: Some(thread),
        }
    }
}

impl Listener {
    /// All calls so far.
    pub fn seen(&self) -> Vec<Notified> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until no process has the filter any more, and gives all calls.
    pub fn wait(mut self) -> Vec<Notified> {
        self.thread.take().unwrap().join().unwrap();
        self.seen()
    }
}

fn serve(fd: &OwnedFd, seen: &Mutex<Vec<Notified>>, verdict: &dyn Fn(&Notified) -> Verdict) {
    loop {
        assert!(readable(fd, DEADLINE), "nothing comes from the listener");
        // SAFETY: a seccomp_notif of zeros is what the call wants, and it writes no more than its size.
        let (asked, request) = unsafe {
            let mut request: libc::seccomp_notif = std::mem::zeroed();
            let code = libc::SECCOMP_IOCTL_NOTIF_RECV;
            (libc::ioctl(fd.as_raw_fd(), code, &mut request), request)
        };
        if asked != 0 {
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => continue,
                // The caller has been killed meanwhile, or the last one with the filter has ended.
                Some(libc::ENOENT) if !ended(fd) => continue,
                _ => return,
            }
        }
        let notified = Notified {
            pid: request.pid,
            number: request.data.nr,
            arch: request.data.arch,
            args: request.data.args,
        };
        let verdict = verdict(&notified);
        seen.lock().unwrap().push(notified);
        let (val, error, flags) = match verdict {
            Verdict::Value(value) => (value, 0, 0),
            Verdict::Error(errno) => (0, -errno, 0),
            Verdict::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        };
        let mut answer = libc::seccomp_notif_resp {
            id: request.id,
            val,
            error,
            flags,
        };
        // SAFETY: the answer lives on this stack. It fails where the caller is gone, which is no matter.
        unsafe { libc::ioctl(fd.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer) };
    }
}

fn ended(fd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let polled = poll(&mut fds, Some(&now)).is_ok();
    !polled || fds[0].revents().contains(PollFlags::HUP)
}
