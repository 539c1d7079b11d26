//! Waiting for the init of a system container to say that it is ready, which its keeper notes.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::poll::{self, PollFd, PollFlags};

/// A FIFO in the state directory. While init is ready there is a byte in it, which nobody but the keeper takes out.
const READY: &str = "ready";

/// Whether a call returns as soon as the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// It does.
    #[default]
    No,
    /// It waits for the init of a system container to say that it is ready; no longer than this, if there is a limit.
    UntilReady(Option<Duration>),
}

impl Wait {
    /// Refuses to wait for what nobody would say.
    pub(super) fn check(self, plan: &Plan) -> Result<()> {
        match self {
            Wait::UntilReady(_) if !plan.hears_of_readiness() => Err(never(plan.system)),
            _ => Ok(()),
        }
    }

    /// Before the program is let go.
    ///
    /// # Errors
    /// Nobody would say it.
    pub(super) fn prepare(self, directory: &OwnedFd, is_system: bool) -> Result<Option<Readiness>> {
        let Wait::UntilReady(limit) = self else {
            return Ok(None);
        };
        let note = open(directory)?.ok_or_else(|| never(is_system))?;
        // Later than the clock can say is never.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let limit = limit.filter(|_| deadline.is_some());
        Ok(Some(Readiness {
            note,
            limit: limit.zip(deadline),
        }))
    }
}

/// What is waited for.
#[derive(Debug)]
pub(super) struct Readiness {
    note: OwnedFd,
    limit: Option<(Duration, Instant)>,
}

impl Readiness {
    /// Comes back when it is there.
    ///
    /// # Errors
    /// The process has ended before, or time is up.
    pub(super) fn wait(&self, keeper: BorrowedFd<'_>) -> Result<()> {
        let mut fds = [
            PollFd::new(&self.note, PollFlags::IN),
            PollFd::new(&keeper, PollFlags::IN),
        ];
        let deadline = self.limit.map(|(_, deadline)| deadline);
        let in_time =
            poll::poll(&mut fds, deadline).context(|| "waiting for the container's init")?;
        if fds[0].revents().contains(PollFlags::IN) {
            return Ok(());
        }
        let text = match self.limit {
            Some((limit, _)) if !in_time => format!(
                "the container's init has not said within {limit:?} that it is ready (READY=1 to $NOTIFY_SOCKET, as systemd does; \
                 other inits say nothing by themselves)"
            ),
            _ => "the container has ended before its init said that it is ready: its console or log may tell why".to_owned(),
        };
        Err(Error::new(ErrorKind::Process, text))
    }
}

/// Makes the FIFO, and opens it for the keeper.
pub(super) fn make(directory: &OwnedFd) -> Result<OwnedFd> {
    fs::mknodat(directory, READY, FileType::Fifo, 0o600, (0, 0))?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    fs::openat(directory, READY, flags, 0)
}

/// Whether init is ready; `None`: it does not tell the keeper.
pub(super) fn look(directory: &OwnedFd) -> Result<Option<bool>> {
    let Some(note) = open(directory)? else {
        return Ok(None);
    };
    let mut fds = [PollFd::new(&note, PollFlags::IN)];
    poll::poll(&mut fds, poll::deadline(0))?;
    Ok(Some(fds[0].revents().contains(PollFlags::IN)))
}

fn open(directory: &OwnedFd) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    match fs::openat(directory, READY, flags, 0) {
        Err(error) if fs::is_missing(&error) => Ok(None),
        other => other.map(Some),
    }
}

fn never(is_system: bool) -> Error {
    let why = match is_system {
        true => {
            "its config or $NOTIFY_SOCKET gives the container a notify socket of somebody else's, who is told"
        }
        false => "it is no system container (annotation io.vzrun.system)",
    };
    let text =
        format!("cannot wait for the container's init to be ready: {why}; start it without --wait");
    Error::new(ErrorKind::InvalidArgument, text)
}
