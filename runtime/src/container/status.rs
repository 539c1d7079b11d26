//! The status of a container: found out each time, never stored.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;

use serde::Serialize;

use super::owner::Owners;
use super::{Container, SystemState, is_dead};
use crate::error::{Context, Result};
use crate::process::INIT_NAME;
use crate::sys::{flock, fs};

/// Where a container is in its life (runtime-spec, "State"; `paused` is runc's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` or `run` is at work on it.
    Creating,
    /// Its init waits for `start`.
    Created,
    /// Its program runs.
    Running,
    /// It stands still.
    Paused,
    /// Its init has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// What `state` and `list` tell of a container; fields, names and order as runc has them.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// ociVersion of its config.json.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// The pid of its init as the caller sees it; 0 when it is stopped.
    pub pid: i32,
    /// Where it is in its life.
    pub status: Status,
    /// The absolute path of its bundle.
    pub bundle: String,
    /// The absolute path of its root filesystem.
    pub rootfs: String,
    /// When it was created: RFC 3339, UTC.
    pub created: String,
    /// The annotations of its config.json.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The name of the user who created it.
    pub owner: String,
    /// What is to be said of a system container; `None`: it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemState>,
}

impl Container {
    /// Finds out the status.
    pub fn status(&self) -> Result<Status> {
        if self.creating {
            return Ok(Status::Creating);
        }
        self.status_now()
    }

    /// The same for who holds the lock: nobody is at work on it.
    pub(super) fn status_now(&self) -> Result<Status> {
        if self.record.pid == 0 {
            return Ok(Status::Stopped);
        }
        let Some(process) = self.procfs.look(self.record.pid)? else {
            return Ok(Status::Stopped);
        };
        if process.start_time != self.record.start_time || is_dead(process.state) {
            return Ok(Status::Stopped);
        }
        // As with runc, standing still comes first: a container can be paused before it is started.
        if let Some(cgroup) = self.cgroup()?
            && cgroup.is_frozen()?
        {
            return Ok(Status::Paused);
        }
        // The name tells init before its program from the program, should a killed `start` have left the fifo behind.
        if process.name.as_bytes() != INIT_NAME.to_bytes() {
            return Ok(Status::Running);
        }
        match fs::lstatat(&self.directory, super::start::FIFO) {
            Ok(_) => Ok(Status::Created),
            Err(error) if fs::is_missing(&error) => Ok(Status::Running),
            Err(error) => Err(error),
        }
    }

    /// What `state` prints.
    pub fn state(&self) -> Result<State> {
        self.state_with(&mut Owners::default())
    }

    pub(super) fn state_with(&self, owners: &mut Owners) -> Result<State> {
        let status = self.status()?;
        let record = &self.record;
        Ok(State {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            pid: if status == Status::Stopped {
                0
            } else {
                record.pid
            },
            status,
            bundle: record.bundle.display().to_string(),
            rootfs: record.rootfs.display().to_string(),
            created: record.created.clone(),
            annotations: record.annotations.clone(),
            owner: owners.name(
                fs::fstat(&self.directory)
                    .context(|| "looking for the container's owner")?
                    .st_uid,
            ),
            system: self.system_state(status)?,
        })
    }
}

/// The lock of a container, held by whoever changes it: create, start, delete. Ends with its holder, however that ends:
/// a child that has the same open file does not outlive a creator that holds it.
#[derive(Debug)]
pub(super) struct Lock<'a>(&'a OwnedFd);

impl<'a> Lock<'a> {
    /// Waits for it.
    pub(super) fn take(directory: &'a OwnedFd) -> Result<Lock<'a>> {
        flock::exclusive(directory).context(|| "locking the container")?;
        Ok(Lock(directory))
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Said outright: a forked child has the same open file and would keep it locked.
        flock::unlock(self.0);
    }
}

/// Whether somebody is at work on the container.
pub(super) fn is_locked(directory: &OwnedFd) -> bool {
    // A second open file, since the lock belongs to that.
    let own = fs::openat(
        directory,
        ".",
        fs::OFlags::RDONLY | fs::OFlags::DIRECTORY,
        0,
    );
    own.is_ok_and(|own| flock::is_locked(&own))
}
