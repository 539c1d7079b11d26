//! What create and run make for a container, and its undoing when they fail.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::create::CreateOptions;
use super::record::{self, Driver, Record};
use super::status::Lock;
use super::{CgroupDriver, Root, clock, delete};
use crate::cgroup::systemd::{Bus, Unit};
use crate::cgroup::{self, Cgroup, Hierarchy, Limits};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::Point;
use crate::host::Host;
use crate::plan::Plan;
use crate::setup::intel_rdt::{self, Group};
use crate::setup::namespaces::kind;
use crate::setup::notify_socket::NotifySocket;
use crate::spec;
use crate::sys::fork::Child;
use crate::sys::fs;
use crate::sys::procfs::Procfs;

/// What has been made for the container so far. Undone when this is dropped, unless the container is to stay.
pub(super) struct Made<'a> {
    root: &'a Root,
    pub(super) directory: &'a OwnedFd,
    pub(super) record: Record,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) cgroup_mount: PathBuf,
    undo: bool,
}

impl<'a> Made<'a> {
    pub(super) fn new(root: &'a Root, directory: &'a OwnedFd, record: Record) -> Made<'a> {
        let cgroup_mount = PathBuf::from("/sys/fs/cgroup");
        Made {
            root,
            directory,
            record,
            cgroup: None,
            cgroup_mount,
            undo: true,
        }
    }

    /// Cgroup and notify socket. The record is written first, so that what is made after it can be found and removed
    /// should vzrun be killed.
    pub(super) fn prepare(
        &mut self,
        options: &CreateOptions,
        cgroups_path: Option<&Path>,
        limits: &Limits,
        host: &Host,
        procfs: &Procfs,
    ) -> Result<()> {
        self.record.cgroup_driver = match options.cgroup_driver {
            CgroupDriver::Cgroupfs => Driver::Cgroupfs,
            CgroupDriver::Systemd => {
                let bus = if host.rootless {
                    Bus::User
                } else {
                    Bus::System
                };
                Driver::Systemd(Unit::plan(cgroups_path, &options.id, bus)?)
            }
            CgroupDriver::Disabled => Driver::Disabled,
        };
        let by_hand = matches!(self.record.cgroup_driver, Driver::Cgroupfs);
        let hierarchy = by_hand.then(Hierarchy::open).transpose();
        let hierarchy = match hierarchy {
            Err(error) if host.rootless => {
                crate::log::debug(format_args!("no cgroup: {error}"));
                None
            }
            other => other?,
        };
        if let Some(hierarchy) = &hierarchy {
            let path = cgroup::resolve(cgroups_path, &options.id, procfs)?;
            // Before it is written down as this container's: what stands there is killed when that is deleted.
            hierarchy.check_free(&path)?;
            self.record.cgroup = Some(path);
            self.cgroup_mount.clone_from(&hierarchy.mount);
        }
        self.record
            .write(self.directory)
            .and_then(|()| Record::publish(self.directory))
            .map_err(|error| match fs::is_missing(&error) {
                // No file can be made in a directory that has been removed.
                true => super::deleted_meanwhile(),
                false => error,
            })?;
        if let (Some(hierarchy), Some(path)) = (&hierarchy, &self.record.cgroup) {
            match hierarchy.create(path) {
                Ok(cgroup) => {
                    hierarchy.equip(&cgroup, limits)?;
                    self.cgroup = Some(cgroup);
                }
                // An ordinary user without a delegated cgroup: the container stays where its caller is.
                Err(error) if host.rootless && is_denied(&error) => {
                    crate::log::debug(format_args!("no cgroup of its own: {error}"));
                    self.record.cgroup = None;
                }
                Err(error) => {
                    if error.kind() == ErrorKind::InvalidState {
                        // What is there belongs to somebody else.
                        self.record.cgroup = None;
                    }
                    return Err(error);
                }
            }
        }
        let later = matches!(self.record.cgroup_driver, Driver::Systemd(_));
        if self.cgroup.is_none() && !later && !limits.is_empty() {
            return Err(no_cgroup_for_limits(by_hand));
        }
        match NotifySocket::from_environment(&self.root.container_path(&self.record.id)) {
            Some(socket) => socket.make_directory(),
            None => Ok(()),
        }
    }

    /// The container's init is there, and busy: the record is completed beside the present one.
    pub(super) fn note(&mut self, init: &Child, procfs: &Procfs) -> Result<()> {
        self.record.pid = init.pid.as_raw_nonzero().get();
        let stat = procfs.look(self.record.pid)?;
        self.record.start_time = stat.map_or(0, |stat| stat.start_time);
        match self.record.cgroup_driver {
            // Written when the cgroup is known.
            Driver::Systemd(_) => Ok(()),
            _ => self.record.write(self.directory),
        }
    }

    /// systemd has made the cgroup. That is put down at once, so that it is found and stopped should vzrun be killed; the
    /// container's init stays out of it until that is ready.
    pub(super) fn note_cgroup(&mut self, path: &Path) -> Result<()> {
        self.record.cgroup = Some(path.to_owned());
        let pid = std::mem::replace(&mut self.record.pid, 0);
        let written = self
            .record
            .write(self.directory)
            .and_then(|()| Record::publish(self.directory));
        self.record.pid = pid;
        written.and_then(|()| self.record.write(self.directory))
    }

    /// The container's init is ready: the record takes its place.
    pub(super) fn settle(&mut self, plan: &Plan, init: &Child) -> Result<()> {
        if plan.intel_rdt.is_some() {
            self.limit_cache(plan, init.pid)?;
            self.record.write(self.directory)?;
        }
        Record::publish(self.directory)
    }

    /// Puts a process, and those that it makes, into the group of resctrl.
    pub(super) fn limit_cache(&mut self, plan: &Plan, pid: Pid) -> Result<()> {
        if let Some(rdt) = &plan.intel_rdt {
            let group: Group = rdt.apply(Path::new(intel_rdt::ROOT), pid)?;
            self.record.intel_rdt = Some(group);
        }
        Ok(())
    }

    /// Writes the record and puts it into place.
    pub(super) fn publish(&self) -> Result<()> {
        self.record
            .write(self.directory)
            .and_then(|()| Record::publish(self.directory))
    }

    /// The container stays.
    pub(super) fn keep(mut self) {
        self.undo = false;
    }

    /// The container has ended and goes, as by `delete`.
    pub(super) fn finish(mut self) -> Result<()> {
        self.undo = false;
        // Nobody is there who could call again: what is a passing trouble is waited out here.
        self.destroy().or_else(|_| self.destroy())
    }

    fn destroy(&self) -> Result<()> {
        let _lock = Lock::take(self.directory)?;
        match record::is_there(self.directory) {
            true => delete::destroy(self.root, self.directory, &self.record),
            // Somebody else has deleted it, or it had not got so far.
            false => delete::remove_bare_directory(self.root, &self.record.id, self.directory),
        }
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if !self.undo {
            return;
        }
        self.cgroup = None;
        if let Err(error) = self.destroy() {
            crate::log::warn(format_args!("cleaning up after a failure: {error}"));
        }
    }
}

/// Limits are limits of a cgroup.
fn no_cgroup_for_limits(wanted: bool) -> Error {
    Error::unsupported(match wanted {
        // As runc.
        true => {
            "linux.resources: rootless needs no limits + no cgrouppath when no permission is granted for cgroups: \
             delegate a cgroup to the user (systemd: Delegate=yes), or ask for no limits"
        }
        false => "linux.resources: limits need a cgroup, and --cgroup-manager says disabled",
    })
}

fn is_denied(error: &Error) -> bool {
    use rustix::io::Errno;
    matches!(
        error.errno(),
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)
    )
}

/// The facts as they are before anything has been made.
pub(super) fn record_of(
    options: &CreateOptions,
    bundle: &Path,
    plan: &Plan,
    spec: &spec::Spec,
    text: Box<str>,
) -> Record {
    let annotations = spec.annotations().iter().flatten();
    Record {
        id: options.id.clone(),
        pid: 0,
        start_time: 0,
        created: clock::now(),
        bundle: bundle.to_owned(),
        rootfs: plan.rootfs.path.clone(),
        oci_version: spec.version().clone(),
        annotations: annotations
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        cgroup: None,
        cgroup_driver: Driver::default(),
        namespaces: plan.namespaces.all(),
        own_pid_namespace: plan.namespaces.is_new(kind::PID),
        no_new_keyring: options.no_new_keyring,
        poststop_hooks: plan.hooks.has(Point::Poststop),
        poststart_hooks: plan.hooks.has(Point::Poststart),
        intel_rdt: None,
        system: plan.system,
        ids: None,
        config: text,
    }
}
