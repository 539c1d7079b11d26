//! Waiting with a bound.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long anything may take before a test calls it hung. Generous, for emulated machines.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for a condition that nothing announces (a file's text, a status), looking every few
/// milliseconds; gives what `look` found. Panics with `what` after [`DEADLINE`].
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, look)
}

/// The same for something that may take longer, or must not take so long.
pub fn until_within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Waits until systemd has started all that it wants to start, none of which may have failed. `says` gives what a command prints in
/// its system.
#[track_caller]
pub fn until_systemd_runs(limit: Duration, says: impl Fn(&[&str]) -> String) {
    let state = until_within(limit, "the system to be up", || {
        let state = says(&["systemctl", "is-system-running"]);
        let state = state.trim();
        matches!(state, "running" | "degraded").then(|| state.to_string())
    });
    let failed = says(&["systemctl", "--failed", "--no-legend", "--plain"]);
    assert_eq!((state.as_str(), failed.as_str()), ("running", ""));
}

/// Waits until a process (any, not only a child) has ended; false when it is still there after
/// `limit`. One that does not exist has ended.
pub fn wait_exit(pid: i32, limit: Duration) -> bool {
    let Some(pid) = Pid::from_raw(pid) else {
        panic!("{pid} is no pid")
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => readable(&fd, limit),
        Err(Errno::SRCH) => true,
        // Reaped, but the number is still that of a session (Linux 6.12, no longer in 6.18).
        Err(Errno::INVAL) => true,
        Err(e) => panic!("pidfd_open({pid:?}): {e}"),
    }
}

/// Waits until an fd is readable (or hung up).
pub(crate) fn readable(fd: &impl AsFd, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap();
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => panic!("poll: {e}"),
        }
    }
}
