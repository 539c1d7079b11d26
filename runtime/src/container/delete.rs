//! `delete`.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::Timespec;
use rustix::io::Errno;

use super::record::{self, Driver, Record};
use super::{Container, Root, Status, id};
use crate::cgroup::Hierarchy;
use crate::cgroup::systemd::{Systemd, Unit};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::hooks::{Hooks, Point};
use crate::setup::id_leases;
use crate::sys::pidfd;
use crate::sys::{flock, fs};

/// How long a killed init has to go, as in runc (100 times 100 ms).
pub(super) const PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Removes what is left of a container: processes, cgroup, state. One that is created but not started is killed first,
/// with `force` a running one, too; with `force` an unknown id is no error.
///
/// # Errors
/// `cannot delete container X that is not stopped: running`.
pub fn delete(root: &Root, name: &str, force: bool) -> Result<()> {
    id::check(name)?;
    let directory = match root.open_container(name) {
        Err(error) if force && error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    // Held until the directory is closed. The record is read under it: another delete may have been faster, and then the
    // directory held here has no name any more, nor anything in it.
    flock::exclusive(&directory).context(|| "locking the container")?;
    let record = match Record::load(&directory) {
        Ok(record) => record,
        // Nothing has been made yet by a creator that was killed, or it has just begun: it will see that it is too late.
        Err(error) if fs::is_missing(&error) => {
            return match force {
                true => remove_bare_directory(root, name, &directory),
                false => Err(super::not_found()),
            };
        }
        Err(error) if force => {
            crate::log::warn(format_args!(
                "state of container {name}: {error}: deleting what can be made out"
            ));
            Record::salvage(&directory, name)
        }
        Err(error) => return Err(error.wrap(format!("state of container {name}"))),
    };
    let container = Container::locked(directory, record)?;
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
    destroy(root, &container.directory, &container.record)
}

impl Container {
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

/// Takes away everything that belongs to a container whose init has ended, and runs its poststop hooks. The caller
/// holds the lock and has found the record under it: what is named there by path (the cgroup, the directory) would
/// otherwise be another container's that has got the same id meanwhile.
pub(super) fn destroy(root: &Root, directory: &OwnedFd, record: &Record) -> Result<()> {
    if let Some(path) = &record.cgroup {
        // With init all of a pid namespace has ended: what is in its cgroup then is not the container's.
        let kill = record.pid == 0 || !record.own_pid_namespace;
        if let Driver::Systemd(unit) = &record.cgroup_driver {
            stop(unit, path, kill)?;
        }
        match Hierarchy::open()?.remove(path, kill) {
            // A call that failed, though, may succeed the next time, if there is still a record then.
            Err(error) if !kill && error.errno().is_none() => {
                crate::log::warn(format_args!("{error}: it is left alone"))
            }
            other => other?,
        }
    }
    if let (None, Driver::Systemd(unit)) = (&record.cgroup, &record.cgroup_driver) {
        stop_if_empty(unit)?;
    }
    if let Some(group) = &record.intel_rdt {
        group.remove()?;
    }
    if let Some(ids) = record.ids {
        id_leases::release(&root.container_path(&record.id), ids)?;
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

/// Has systemd stop the container's scope. Where that does not work the cgroup is removed all the same.
fn stop(unit: &Unit, path: &Path, kill: bool) -> Result<()> {
    // systemd removes the cgroup of a unit before it forgets the unit, and is done with both before it listens again.
    let Some(cgroup) = Hierarchy::open()?.find(path)? else {
        return Ok(());
    };
    if kill {
        // It would ask them first, and give them time.
        cgroup.kill()?;
    }
    drop(cgroup);
    if let Err(error) = Systemd::connect(unit).and_then(Systemd::stop) {
        crate::log::warn(format_args!("{error}"));
    }
    Ok(())
}

/// A creator that is killed between asking for the scope and hearing of it leaves one that is empty, and active if its
/// child was a zombie when systemd moved it. Whose a scope with processes is cannot be told: that is left alone.
fn stop_if_empty(unit: &Unit) -> Result<()> {
    // Where there is no systemd to ask any more there is no scope of it.
    let (Ok(Some(path)), Ok(hierarchy)) = (Systemd::usual_path(unit), Hierarchy::open()) else {
        return Ok(());
    };
    match hierarchy.find(&path)? {
        Some(cgroup) if cgroup.processes()?.is_empty() => stop(unit, &path, false),
        _ => Ok(()),
    }
}

/// Removes a directory that has no record in it.
pub(super) fn remove_bare_directory(root: &Root, name: &str, directory: &OwnedFd) -> Result<()> {
    let ours = fs::fstat(directory)?;
    // Somebody else may have removed it, and its name may be a new container's.
    match fs::stat(root.container_path(name)) {
        Ok(named) if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino) => {
            remove_directory(root, name, directory)
        }
        Err(error) if !fs::is_missing(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Empties and removes a container's directory.
fn remove_directory(root: &Root, name: &str, directory: &OwnedFd) -> Result<()> {
    record::remove(directory)?;
    let path = root.container_path(name);
    // Without its record the directory is no container any more that could be deleted again: what is a passing trouble of
    // the file system is waited out here.
    let removed = fs::rmdirat(fs::CWD, &path).or_else(|_| fs::rmdirat(fs::CWD, &path));
    match removed {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        other => {
            other.context(|| "removing the container's directory (delete --force tries again)")
        }
    }
}
