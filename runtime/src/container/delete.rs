//! `delete`.

use std::os::fd::OwnedFd;

use rustix::event::Timespec;
use rustix::io::Errno;

use super::record::{self, Record};
use super::status::Lock;
use super::{Container, Root, Status, id};
use crate::cgroup::Hierarchy;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{Hooks, Point};
use crate::sys::fs;
use crate::sys::pidfd;

/// How long a killed init has to go, as in runc (100 times 100 ms).
const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Removes what is left of a container: processes, cgroup, state. One that is created but not started is killed first,
/// with `force` a running one, too; with `force` an unknown id is no error.
///
/// # Errors
/// `cannot delete container X that is not stopped: running`.
pub fn delete(root: &Root, name: &str, force: bool) -> Result<()> {
    let container = match Container::load(root, name) {
        Ok(container) => container,
        Err(error) if force && error.kind() != ErrorKind::InvalidId => {
            return delete_remains(root, name);
        }
        Err(error) => return Err(error),
    };
    let lock = Lock::take(&container.directory)?;
    // Another delete may have been faster: then the directory we hold has no name any more.
    let container = match container.reload() {
        Ok(container) => container,
        Err(error) if force && error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let status = container.status()?;
    match status {
        Status::Stopped => {}
        Status::Created => container.end()?,
        Status::Running | Status::Paused if force => container.end()?,
        Status::Creating | Status::Running | Status::Paused => {
            let text = format!("cannot delete container {name} that is not stopped: {status}");
            return Err(Error::new(ErrorKind::InvalidState, text));
        }
    }
    destroy(root, &container.directory, &container.record)?;
    drop(lock);
    Ok(())
}

impl Container {
    /// The same container with its present record, now that it is locked.
    fn reload(&self) -> Result<Container> {
        let directory = fs::openat(
            &self.directory,
            ".",
            fs::OFlags::RDONLY | fs::OFlags::DIRECTORY,
            0,
        )
        .map_err(|_| super::not_found())?;
        let record = match Record::load(&directory) {
            Err(error) if fs::is_missing(&error) => return Err(super::not_found()),
            other => other?,
        };
        Ok(Container {
            directory,
            record,
            procfs: crate::sys::procfs::Procfs::open()?,
        })
    }

    /// Kills all of it and waits for init.
    fn end(&self) -> Result<()> {
        let init = match self.init() {
            Ok(init) => init,
            Err(error) if error.kind() == ErrorKind::NotRunning => return Ok(()),
            Err(error) => return Err(error),
        };
        match self.kill(libc::SIGKILL, false) {
            Err(error) if error.kind() != ErrorKind::NotRunning => return Err(error),
            _ => {}
        }
        match pidfd::wait_exit(&init, Some(PATIENCE))? {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::InvalidState,
                "container init still running",
            )),
        }
    }
}

/// Takes away everything that belongs to a container whose init has ended, and runs its poststop hooks.
pub(super) fn destroy(root: &Root, directory: &OwnedFd, record: &Record) -> Result<()> {
    if let Some(path) = &record.cgroup {
        let hierarchy = Hierarchy::open()?;
        if !hierarchy.remove_empty(path)?
            && let Some(cgroup) = hierarchy.find(path)?
        {
            // Processes that have outlived init: in a shared pid namespace, or put in by exec.
            if !cgroup.processes()?.is_empty() {
                cgroup.kill()?;
            }
            hierarchy.remove(path, &cgroup)?;
        }
    }
    if let Some(group) = &record.intel_rdt {
        group.remove()?;
    }
    // What the hooks need is read before the files go.
    let hooks = match record.poststop_hooks {
        true => Some(Hooks::plan(record.spec()?.hooks().as_ref())?),
        false => None,
    };
    remove_directory(root, &record.id, directory)?;
    if let Some(hooks) = hooks {
        let state = record.hook_state().json("stopped", 0);
        hooks.run_all_ignoring_failures(Point::Poststop, &state);
    }
    Ok(())
}

/// `delete --force` where there is no container, or one whose creator was killed before it could write anything down.
fn delete_remains(root: &Root, name: &str) -> Result<()> {
    id::check(name)?;
    match root.open_container(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(directory) => {
            let _lock = Lock::take(&directory)?;
            remove_directory(root, name, &directory)
        }
    }
}

/// Empties and removes a container's directory.
pub(super) fn remove_directory(root: &Root, name: &str, directory: &OwnedFd) -> Result<()> {
    record::remove(directory)?;
    match fs::rmdirat(fs::CWD, root.container_path(name)) {
        // Somebody else has removed it, and perhaps a new container has its name already: that one is not empty.
        Err(error) if matches!(error.errno(), Some(Errno::NOENT | Errno::NOTEMPTY)) => Ok(()),
        other => other,
    }
}
