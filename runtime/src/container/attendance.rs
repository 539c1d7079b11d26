//! What the creator does for a container's init while that is at work.

use std::path::PathBuf;

use rustix::io::Errno;

use super::made::Made;
use crate::cgroup::systemd::{Property, Starting, Systemd};
use crate::cgroup::{self, Cgroup, Hierarchy, systemd};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::Host;
use crate::plan::Plan;
use crate::process::parent::Caller;
use crate::spec::Spec;
use crate::sys::fork::Child;
use crate::sys::procfs::Procfs;

/// The creator beside its child.
pub(super) struct Attendance<'m, 'a> {
    made: &'m mut Made<'a>,
    procfs: &'m Procfs,
    scope: Scope<'m>,
    boundaries: Boundaries<'m>,
}

/// What the container is kept within.
pub(super) struct Boundaries<'m> {
    pub(super) plan: &'m Plan,
    pub(super) host: &'m Host,
    /// The cgroup that it was born into.
    pub(super) cgroup: Option<&'m Cgroup>,
}

impl Boundaries<'_> {
    /// Which devices may be used.
    fn limit_devices(&self, cgroup: &Cgroup) -> Result<()> {
        match self.plan.device_rules.apply(cgroup) {
            // Who has no power over the host cannot set that; nor is there a device that it may use and the container
            // may not.
            Err(error) if self.host.rootless || self.host.in_user_namespace => {
                crate::log::debug(format_args!("no device rules: {error}"));
                Ok(())
            }
            other => other,
        }
    }

    /// It gets its cgroup for cgroups of its own.
    fn delegate(&self, cgroup: &Cgroup) -> Result<()> {
        match self.plan.delegation.map(|given| given.apply(cgroup)) {
            // An ordinary user cannot give away what is his; the container works, without cgroups below its own.
            Some(Err(error)) if self.host.rootless && error.errno() == Some(Errno::PERM) => {
                crate::log::warn(format_args!("{error}"));
                Ok(())
            }
            other => other.unwrap_or(Ok(())),
        }
    }

    /// Everything but what comes late.
    pub(super) fn set_all(&self, cgroup: &Cgroup) -> Result<()> {
        self.plan.limits.apply(cgroup)?;
        self.delegate(cgroup)?;
        match self.devices_come_late() {
            true => Ok(()),
            false => self.limit_devices(cgroup),
        }
    }

    /// Init itself may mount a file system from a device that is not for the container's processes to use.
    fn devices_come_late(&self) -> bool {
        self.plan.mounts.may_open_devices()
    }
}

/// How far systemd is with the container's scope.
enum Scope<'m> {
    /// There is none to be made.
    None,
    Connected(Systemd, &'m [Property]),
    Starting(Starting),
}

impl<'m, 'a> Attendance<'m, 'a> {
    /// `systemd` is connected if the scope is to be made by that, with these properties beside the usual ones.
    pub(super) fn new(
        made: &'m mut Made<'a>,
        procfs: &'m Procfs,
        systemd: Option<Systemd>,
        properties: &'m [Property],
        boundaries: Boundaries<'m>,
    ) -> Attendance<'m, 'a> {
        let scope = match systemd {
            Some(systemd) => Scope::Connected(systemd, properties),
            None => Scope::None,
        };
        Attendance {
            made,
            procfs,
            scope,
            boundaries,
        }
    }
}

/// The properties of a container's scope beside those that each has. Of two for the same systemd takes the last.
pub(super) fn scope_properties(spec: &Spec, plan: &Plan, host: &Host) -> Result<Vec<Property>> {
    let mut properties = systemd::annotation::plan(spec.annotations().as_ref())?;
    // A user's systemd has no power over devices. And what init has to open first, systemd would refuse to it.
    if !host.rootless && !plan.mounts.may_open_devices() {
        properties.extend(systemd::of_devices(&plan.device_rules));
    }
    properties.extend(systemd::limits::of_new(&plan.limits));
    Ok(properties)
}

/// Waits until systemd has moved the process to the container's cgroup, and sets what that is kept within.
pub(super) fn arrive(
    made: &mut Made<'_>,
    procfs: &Procfs,
    starting: Starting,
    pid: i32,
    boundaries: &Boundaries<'_>,
) -> Result<PathBuf> {
    let unit = starting.finish()?;
    let text = procfs
        .read(&format!("{pid}/cgroup"))
        .context(|| "finding the container's cgroup")?;
    let path = cgroup::of_process(&text);
    systemd::check_place(&unit, &path)?;
    // Before anything else can fail: from here on an undoing stops the unit.
    made.note_cgroup(&path)?;
    let hierarchy = Hierarchy::open()?;
    let found = hierarchy.find(&path)?;
    let gone = || {
        let text = format!("the unit {:?} is gone", unit.name);
        Error::new(ErrorKind::Process, text)
    };
    let cgroup = made.cgroup.insert(found.ok_or_else(gone)?);
    // systemd hands down the controllers that it knows. The limits are written once more, as they are meant: it
    // rounds some, and does not know others.
    hierarchy.equip(cgroup, &boundaries.plan.limits)?;
    boundaries.set_all(cgroup)?;
    Ok(path)
}

impl Caller for Attendance<'_, '_> {
    fn born(&mut self, child: &Child) -> Result<()> {
        // First of all: from here on systemd works, too.
        let scope = std::mem::replace(&mut self.scope, Scope::None);
        if let Scope::Connected(systemd, properties) = scope {
            let pid = child.pid.as_raw_nonzero().get().cast_unsigned();
            self.scope = Scope::Starting(systemd.start(&self.made.record.id, pid, properties)?);
        }
        self.made.note(child, self.procfs)?;
        match self.boundaries.cgroup {
            Some(cgroup) => self.boundaries.set_all(cgroup),
            None => Ok(()),
        }
    }

    fn cgroup(&mut self) -> Result<PathBuf> {
        let Scope::Starting(starting) = std::mem::replace(&mut self.scope, Scope::None) else {
            let text = "the container's init asks for a cgroup that nobody makes";
            return Err(Error::new(ErrorKind::Process, text));
        };
        let pid = self.made.record.pid;
        arrive(self.made, self.procfs, starting, pid, &self.boundaries)
    }

    fn cells(&mut self, keeper: &Child) -> Result<()> {
        let cgroup = self.boundaries.cgroup.or(self.made.cgroup.as_ref());
        let pid = keeper.pid.as_raw_nonzero().get();
        cgroup.map_or(Ok(()), |cgroup| {
            cgroup.make_cells(pid, self.boundaries.plan.delegation)
        })
    }

    fn mounted(&mut self) -> Result<()> {
        match self.boundaries.cgroup.or(self.made.cgroup.as_ref()) {
            Some(cgroup) if self.boundaries.devices_come_late() => {
                self.boundaries.limit_devices(cgroup)
            }
            _ => Ok(()),
        }
    }
}
