//! Waiting for what happens in a cgroup: processes that the kernel kills for want of memory, and the end of the last one.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;

use super::Cgroup;
use super::stats::value_of;
use crate::error::{Context, Result};
use crate::sys::fs::{self, OFlags};
use crate::sys::poll::{self, PollFd, PollFlags};

/// The two files are much shorter.
const LONGEST: usize = 512;

const MEMORY_EVENTS: &str = "memory.events";

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing until the deadline.
    Nothing,
    /// The kernel has killed a process of it, or below it, because of a memory limit.
    OomKill,
    /// No process is left in it, nor below it.
    Empty,
}

/// A cgroup that is watched. The files are held open: the kernel wakes a poll(2) for POLLPRI when one has changed since
/// it was last read through the same descriptor, so nothing is missed between two waits.
#[derive(Debug)]
pub(crate) struct Watch {
    events: OwnedFd,
    /// `None` without the memory controller.
    memory_events: Option<OwnedFd>,
    oom_kills: u64,
    /// Of the cgroup above, which counts what happens below it and is there when this one is not any more: systemd
    /// removes a scope as soon as its last process has ended, perhaps before anybody has read why.
    above: Option<OwnedFd>,
    oom_kills_above: u64,
}

impl Watch {
    /// Watches from now on.
    ///
    /// # Errors
    /// ENOENT or ENODEV where it is removed.
    pub(crate) fn new(cgroup: &Cgroup) -> Result<Watch> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        let events = fs::openat(cgroup, "cgroup.events", flags, 0)?;
        let memory_events = match fs::openat(cgroup, MEMORY_EVENTS, flags, 0) {
            Err(error) if fs::is_missing(&error) => None,
            other => Some(other?),
        };
        let mut watch = Watch {
            events,
            memory_events,
            oom_kills: 0,
            // Not for everybody to read, and the root has none.
            above: fs::openat(cgroup, "../memory.events", flags, 0).ok(),
            oom_kills_above: 0,
        };
        watch.see_oom_kill()?;
        Ok(watch)
    }

    /// Waits for the next change, or till the deadline. After [`Change::Empty`] it is always that.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Result<Change> {
        loop {
            // In this order: the kernel counts the kill before the process leaves the cgroup.
            let is_empty = self.is_empty()?;
            if self.see_oom_kill()? {
                return Ok(Change::OomKill);
            }
            if is_empty {
                return Ok(Change::Empty);
            }
            let mut fds = vec![PollFd::new(&self.events, PollFlags::PRI)];
            fds.extend(
                self.memory_events
                    .iter()
                    .map(|file| PollFd::new(file, PollFlags::PRI)),
            );
            if !poll::poll(&mut fds, deadline)? {
                return Ok(Change::Nothing);
            }
        }
    }

    /// Whether no process is left; so it is where the cgroup is removed.
    pub(crate) fn is_empty(&self) -> Result<bool> {
        let text = read(&self.events, "cgroup.events")?;
        Ok(text.is_none_or(|text| text.lines().any(|line| line == "populated 0")))
    }

    /// Whether there was a kill since the last look. Where the cgroup is gone, the one above tells; it may mean another
    /// cgroup below it, but then one that had its kill since the last look, too.
    fn see_oom_kill(&mut self) -> Result<bool> {
        let own = self.memory_events.as_ref().map(count_oom_kills);
        // Last: a kill that is counted above, and was not seen here yet, is seen here the next time.
        let above = self.above.as_ref().map(count_oom_kills);
        let above = above.and_then(|count| count.ok().flatten());
        let above = above.unwrap_or(self.oom_kills_above);
        let seen = match own {
            None => false,
            Some(own) => match own? {
                Some(count) => std::mem::replace(&mut self.oom_kills, count) != count,
                None => above > self.oom_kills_above,
            },
        };
        self.oom_kills_above = above;
        Ok(seen)
    }
}

/// `None` where the cgroup is removed.
fn count_oom_kills(file: &OwnedFd) -> Result<Option<u64>> {
    let text = read(file, MEMORY_EVENTS)?;
    text.map(|text| value_of(MEMORY_EVENTS, &text, "oom_kill"))
        .transpose()
}

/// All of a small file, from its beginning; `None` where its cgroup is removed.
fn read(file: &OwnedFd, name: &str) -> Result<Option<String>> {
    let mut text = [0u8; LONGEST];
    match rustix::io::pread(file, &mut text, 0) {
        Ok(length) => Ok(Some(String::from_utf8_lossy(&text[..length]).into_owned())),
        Err(Errno::NODEV) => Ok(None),
        Err(errno) => Err(errno).call(|| format!("pread({name})")),
    }
}
