//! What `state` and `list` tell of a system container beside what they tell of any.

use std::os::fd::OwnedFd;

use serde::Serialize;

use super::{Container, Status, readiness};
use crate::error::{Context, Result};
use crate::plan::Plan;
use crate::process::birth::Notes;
use crate::process::{kind_of_init, sysinfo};
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::procfs::Procfs;

/// A file in the state directory to which the keeper adds a byte at each reboot.
const REBOOTS: &str = "reboots";

/// Clock ticks a second in what the kernel tells programs, on x86-64 and aarch64.
const USER_HZ: u64 = 100;

/// A system container, from its owner's point of view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemState {
    /// systemd, busybox, sysvinit, runit, or the name of another program; `None`: it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Seconds since its last boot; `None`: it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime: Option<u64>,
    /// Whether its init has said since then that it is ready (systemd does when all is started); `None`: it does not run, or
    /// tells somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// How often it has been rebooted.
    pub reboots: u64,
    /// The host's ids that are its own; `None`: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<IdRange>,
}

/// A range of the host's user ids, and the same of its group ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdRange {
    /// The host's id of the container's root.
    pub first: u32,
    /// How many.
    pub size: u32,
}

/// The files for the keeper.
pub(super) fn notes(directory: &OwnedFd, plan: &Plan) -> Result<Notes> {
    let mut notes = Notes::default();
    if plan.system {
        fs::mknodat(directory, REBOOTS, FileType::RegularFile, 0o600, (0, 0))?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW;
        notes.reboots = Some(fs::openat(directory, REBOOTS, flags, 0)?);
    }
    if plan.hears_of_readiness() {
        notes.ready = Some(readiness::make(directory)?);
    }
    if plan.sysinfo {
        notes.sysinfo = Some(sysinfo::make_door(directory)?);
    }
    Ok(notes)
}

impl Container {
    /// `None`: it is no system container.
    pub(super) fn system_state(&self, status: Status) -> Result<Option<SystemState>> {
        if !self.record.system {
            return Ok(None);
        }
        let reboots = match fs::lstatat(&self.directory, REBOOTS) {
            Err(error) if fs::is_missing(&error) => 0,
            other => other
                .context(|| "counting the reboots")?
                .st_size
                .unsigned_abs(),
        };
        let runs = matches!(status, Status::Running | Status::Paused);
        let (init, uptime) = match runs.then(|| self.init_now()).flatten() {
            Some((init, uptime)) => (Some(init), Some(uptime)),
            None => (None, None),
        };
        let ready = match init {
            Some(_) => readiness::look(&self.directory).context(|| "asking for readiness")?,
            None => None,
        };
        Ok(Some(SystemState {
            init,
            uptime,
            ready,
            reboots,
            ids: self.record.ids.map(|ids| IdRange {
                first: ids.first,
                size: ids.size,
            }),
        }))
    }

    /// Its kind and age; `None`: there is none at this moment.
    fn init_now(&self) -> Option<(String, u64)> {
        let (_, pid) = self.inner(self.init().ok()?).ok()?;
        let started = self.procfs.look(pid).ok()??.start_time;
        let program = fs::readlinkat(&self.procfs, format!("{pid}/exe")).ok()?;
        let age = age(&self.procfs, started)?;
        Some((kind_of_init(&program.to_string_lossy()).to_owned(), age))
    }
}

/// Whole seconds since this many clock ticks after the host's boot (field 22 of proc_pid_stat(5)).
fn age(procfs: &Procfs, started: u64) -> Option<u64> {
    let uptime = procfs.read("uptime").ok()?;
    let now: u64 = uptime.split('.').next()?.parse().ok()?;
    Some(now.saturating_sub(started / USER_HZ))
}
