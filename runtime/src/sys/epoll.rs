//! epoll(7): many descriptors that can be waited for as one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::error::{Context, Result};

/// Those that are waited for, each with a number.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

/// What has been found of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) number: u64,
    /// Something can be read; else its end has come.
    pub(crate) readable: bool,
}

impl Epoll {
    /// epoll_create1(2).
    pub(crate) fn new() -> Result<Epoll> {
        epoll::create(CreateFlags::CLOEXEC)
            .map(Epoll)
            .call(|| "epoll_create1()")
    }

    /// epoll_ctl(2) EPOLL_CTL_ADD. It is left out again when its last descriptor is closed.
    pub(crate) fn add(&self, fd: impl AsFd, number: u64) -> Result<()> {
        epoll::add(&self.0, fd, EventData::new_u64(number), EventFlags::IN)
            .call(|| "epoll_ctl(EPOLL_CTL_ADD)")
    }

    /// epoll_ctl(2) EPOLL_CTL_DEL.
    pub(crate) fn remove(&self, fd: impl AsFd) -> Result<()> {
        epoll::delete(&self.0, fd).call(|| "epoll_ctl(EPOLL_CTL_DEL)")
    }

    /// epoll_wait(2) without waiting, for a few of those that are ready.
    pub(crate) fn ready(&self) -> Result<Vec<Found>> {
        const A_FEW: usize = 16;
        let mut events: Vec<Event> = Vec::with_capacity(A_FEW);
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let wait = || epoll::wait(&self.0, spare_capacity(&mut events), Some(&now));
        rustix::io::retry_on_intr(wait).call(|| "epoll_wait()")?;
        let found = events.iter().map(|event| Found {
            number: { event.data }.u64(),
            readable: { event.flags }.contains(EventFlags::IN),
        });
        Ok(found.collect())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
