//! `events`: statistics, once or again and again, and notice of processes that were killed for want of memory.

use std::time::{Duration, Instant};

use super::{Container, Status};
use crate::cgroup::stats::Stats;
use crate::cgroup::{Cgroup, Change, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::setup::intel_rdt;

/// Something to tell of a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The time for statistics has come.
    Stats(Box<Stats>),
    /// The kernel has killed a process of the container because of a memory limit. Several that are killed at the same
    /// moment can be one event.
    Oom,
}

/// The events of a container, in the order in which they happen.
#[derive(Debug)]
pub struct Events<'a> {
    container: &'a Container,
    cgroup: Cgroup,
    watch: Watch,
    interval: Duration,
    /// `None`: never.
    next: Option<Instant>,
}

impl Container {
    /// What it has used so far. What this host does not count (its controller is not there) is 0 or empty.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`] (`container with id X is not running`); [`ErrorKind::Unsupported`] for a container without
    /// a cgroup of its own.
    pub fn stats(&self) -> Result<Stats> {
        let cgroup = self.watched_cgroup()?;
        self.stats_of(&cgroup)
    }

    /// Statistics once in each interval, the first time after one has passed, and a notice of each kill for want of memory.
    ///
    /// # Errors
    /// As [`Container::stats`]; [`ErrorKind::InvalidArgument`] for an interval of 0.
    pub fn events(&self, interval: Duration) -> Result<Events<'_>> {
        if interval.is_zero() {
            let text = "duration interval must be greater than 0";
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        let cgroup = self.watched_cgroup()?;
        let watch = Watch::new(&cgroup).map_err(|error| self.or_ended(error))?;
        Ok(Events {
            container: self,
            cgroup,
            watch,
            interval,
            next: Instant::now().checked_add(interval),
        })
    }

    fn stats_of(&self, cgroup: &Cgroup) -> Result<Stats> {
        let mut stats = cgroup.stats().map_err(|error| self.or_ended(error))?;
        if let Some(group) = &self.record.intel_rdt {
            let own = group.monitoring.as_ref().unwrap_or(&group.path);
            stats.add_intel_rdt(intel_rdt::ROOT.as_ref(), &group.path, own)?;
        }
        Ok(stats)
    }

    fn watched_cgroup(&self) -> Result<Cgroup> {
        if self.status()? == Status::Stopped {
            return Err(self.ended());
        }
        self.own_cgroup("events", || self.ended())
    }

    /// In runc's words.
    fn ended(&self) -> Error {
        let text = format!("container with id {} is not running", self.record.id);
        Error::new(ErrorKind::NotRunning, text)
    }

    fn or_ended(&self, error: Error) -> Error {
        super::pause::or_gone(error, || self.ended())
    }
}

impl Events<'_> {
    /// Waits for the next event. `None`: no process of the container is left.
    pub fn wait(&mut self) -> Result<Option<Event>> {
        match self.watch.wait(self.next)? {
            Change::OomKill => return Ok(Some(Event::Oom)),
            Change::Empty => return Ok(None),
            Change::Nothing => {}
        }
        // From now, and not from when it was due: who reads slowly is not flooded.
        self.next = Instant::now().checked_add(self.interval);
        match self.container.stats_of(&self.cgroup) {
            Ok(stats) => Ok(Some(Event::Stats(Box::new(stats)))),
            // It has ended while its files were read.
            Err(_) if self.watch.is_empty()? => Ok(None),
            Err(error) => Err(error),
        }
    }
}
