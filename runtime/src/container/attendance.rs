//! What the creator does for a container's init while that is at work.

use std::path::PathBuf;

use super::made::Made;
use crate::cgroup::systemd::{Property, Starting, Systemd};
use crate::cgroup::{self, Hierarchy, systemd};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::parent::Caller;
use crate::sys::fork::Child;
use crate::sys::procfs::Procfs;

/// The creator beside its child.
pub(super) struct Attendance<'m, 'a> {
    made: &'m mut Made<'a>,
    procfs: &'m Procfs,
    scope: Scope<'m>,
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
    ) -> Attendance<'m, 'a> {
        let scope = match systemd {
            Some(systemd) => Scope::Connected(systemd, properties),
            None => Scope::None,
        };
        Attendance {
            made,
            procfs,
            scope,
        }
    }
}

impl Caller for Attendance<'_, '_> {
    fn born(&mut self, child: &Child) -> Result<()> {
        // First of all: from here on systemd works, too.
        let scope = std::mem::replace(&mut self.scope, Scope::None);
        if let Scope::Connected(systemd, properties) = scope {
            let pid = child.pid.as_raw_nonzero().get().cast_unsigned();
            self.scope = Scope::Starting(systemd.start(&self.made.record.id, pid, properties)?);
        }
        self.made.note(child, self.procfs)
    }

    fn cgroup(&mut self) -> Result<PathBuf> {
        let Scope::Starting(starting) = std::mem::replace(&mut self.scope, Scope::None) else {
            let text = "the container's init asks for a cgroup that nobody makes";
            return Err(Error::new(ErrorKind::Process, text));
        };
        let unit = starting.finish()?;
        let text = self
            .procfs
            .read(&format!("{}/cgroup", self.made.record.pid))
            .context(|| "finding the container's cgroup")?;
        let path = cgroup::of_process(&text);
        systemd::check_place(&unit, &path)?;
        let found = Hierarchy::open()?.find(&path)?;
        let gone = || {
            Error::new(
                ErrorKind::Process,
                format!("the unit {:?} is gone", unit.name),
            )
        };
        self.made.cgroup = Some(found.ok_or_else(gone)?);
        self.made.note_cgroup(&path)?;
        Ok(path)
    }
}
