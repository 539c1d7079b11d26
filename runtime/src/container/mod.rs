//! What a front-end holds: the state directory and the containers in it, and a file per verb.

mod attendance;
mod below_keeper;
mod checkpoint;
mod clock;
mod create;
mod criu_root;
mod default_spec;
mod delete;
#[cfg(feature = "fuzz")]
pub mod doors;
mod events;
mod exec;
mod features;
mod id;
mod ids;
mod kill;
mod list;
mod made;
mod owner;
mod pause;
mod pid_file;
mod preflight;
mod readiness;
mod record;
mod restore;
mod restored;
mod root;
mod run;
mod signal_names;
mod start;
mod status;
mod system_state;
mod update;

pub use checkpoint::{CheckpointOptions, checkpoint};
pub use create::{CreateOptions, create};
pub use default_spec::default_spec;
pub use delete::delete;
pub use events::{Event, Events};
pub use exec::ExecOptions;
pub use features::{Features, SPEC_VERSION, features};
pub use list::list;
pub use preflight::preflight;
pub use readiness::Wait;
pub use restore::{RestoreOptions, restore};
pub use root::Root;
pub use run::{RunOptions, run};
pub use signal_names::parse_signal;
pub use status::{State, Status};
pub use system_state::{IdRange, SystemState};
pub use update::UpdateOptions;

use std::os::fd::OwnedFd;

use crate::cgroup::{Cgroup, Hierarchy};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::fs;
use crate::sys::pidfd;
use crate::sys::procfs::Procfs;

use record::Record;

/// Which program makes cgroups: vzrun itself, systemd, or nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupDriver {
    /// vzrun writes to cgroupfs.
    #[default]
    Cgroupfs,
    /// systemd makes a scope.
    Systemd,
    /// No cgroup is made; the container stays in the caller's.
    Disabled,
}

/// A container that was created and is not yet deleted.
#[derive(Debug)]
pub struct Container {
    /// Its state directory, by descriptor: another container of the same name is never taken for it.
    directory: OwnedFd,
    record: Record,
    /// Somebody was at work on creating it when this was loaded.
    creating: bool,
    procfs: Procfs,
}

impl Container {
    /// Finds a container by its id.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] (`container does not exist`), [`ErrorKind::InvalidId`].
    pub fn load(root: &Root, id: &str) -> Result<Container> {
        id::check(id)?;
        let directory = root.open_container(id)?;
        let load = || {
            Record::load(&directory).map_err(|error| match fs::is_missing(&error) {
                true => not_found(),
                false => error.wrap(format!("state of container {id}")),
            })
        };
        let mut record = load()?;
        // Who creates it holds the lock; without one it is done by now, or died over it.
        let creating = record.pid == 0 && status::is_locked(&directory);
        if record.pid == 0 && !creating {
            record = load()?;
        }
        Ok(Container {
            directory,
            record,
            creating,
            procfs: Procfs::open()?,
        })
    }

    /// A container whose lock the caller holds, so that nobody else is at work on it.
    fn locked(directory: OwnedFd, record: Record) -> Result<Container> {
        Ok(Container {
            directory,
            record,
            creating: false,
            procfs: Procfs::open()?,
        })
    }

    /// The pidfd of the init that this container was created with.
    ///
    /// # Errors
    /// [`ErrorKind::NotRunning`], also where another process has got its pid meanwhile.
    fn init(&self) -> Result<OwnedFd> {
        let gone = || Error::new(ErrorKind::NotRunning, "container not running");
        if self.record.pid <= 0 {
            return Err(gone());
        }
        let pid = rustix::process::Pid::from_raw(self.record.pid).ok_or_else(gone)?;
        let pidfd = match pidfd::pidfd_open(pid) {
            Err(error) if error.errno() == Some(rustix::io::Errno::SRCH) => return Err(gone()),
            other => other.context(|| "looking for the container's init")?,
        };
        // With the pidfd held the number stays its own: the start time now tells whose it is.
        match self.procfs.look(self.record.pid)? {
            Some(it) if it.start_time == self.record.start_time && !is_dead(it.state) => Ok(pidfd),
            _ => Err(gone()),
        }
    }

    /// The container's cgroup; `None` where it has none, or not any more.
    fn cgroup(&self) -> Result<Option<Cgroup>> {
        match &self.record.cgroup {
            Some(path) => Hierarchy::open()?.find(path),
            None => Ok(None),
        }
    }
}

fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "container does not exist")
}

/// What `create` says when a `delete --force` of the same id was faster.
fn deleted_meanwhile() -> Error {
    let text = "the container was deleted while it was being created";
    Error::new(ErrorKind::NotFound, text)
}

/// A zombie or a process just being reaped, by its state letter in proc_pid_stat(5).
fn is_dead(state: char) -> bool {
    matches!(state, 'Z' | 'X' | 'x')
}
