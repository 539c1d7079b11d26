//! What is to be born, and the fork.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::aside::Aside;
use super::parent::{Duties, Newborn};
use super::seccomp::Seccomp;
use super::{channel, init, keeper, mapped, stage};
use crate::error::{Context, Result};
use crate::hooks::Point;
use crate::host::Host;
use crate::plan::Plan;
use crate::setup::listen_fds::PassedFds;
use crate::setup::mounts::{CgroupView, Opened};
use crate::setup::namespaces::kind;
use crate::spec::HookState;
use crate::sys::exe;
use crate::sys::fork::{self, Fork};
use crate::sys::procfs::Procfs;
use crate::view;

/// Everything that parent and child know. The child has it because it is a fork.
pub(crate) struct Birth<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) host: &'a Host,
    pub(crate) procfs: &'a Procfs,
    /// Where the child is born; `None`: where the caller is.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// The child is moved to its cgroup while it works ([`super::parent::Caller::cgroup`]).
    pub(crate) cgroup_later: bool,
    pub(crate) cgroup_view: CgroupView,
    /// What hooks are told.
    pub(crate) state: &'a HookState,
    /// The exec.fifo (O_PATH); `None`: the program runs as soon as the child is let go.
    pub(crate) fifo: Option<OwnedFd>,
    pub(crate) passed_fds: &'a PassedFds,
    pub(crate) notes: Notes,
    /// A connected console socket; `None`: the master is kept for the caller.
    pub(crate) console_socket: Option<OwnedFd>,
    /// Puts the container's record into place, in the child; `None`: the caller does that, and the program waits for it.
    pub(crate) publish: Option<&'a dyn Fn() -> Result<()>>,
}

/// Files of the state directory that the keeper of a system container uses: in which it notes what its owner is told, and
/// where it is asked.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// A byte for each reboot.
    pub(crate) reboots: Option<OwnedFd>,
    /// A FIFO, with a byte in it while init has said that it is ready.
    pub(crate) ready: Option<OwnedFd>,
    /// The socket of [`super::sysinfo`].
    pub(crate) sysinfo: Option<OwnedFd>,
}

/// Opened by the parent before the fork.
pub(super) struct Outside {
    pub(super) namespaces: Vec<(u64, OwnedFd)>,
    pub(super) mounts: Opened,
    /// The root's tree, where the child could not get at it.
    pub(super) rootfs: Option<OwnedFd>,
    /// The view of a system container's resources, with its mount, where root makes it.
    pub(super) view: Option<(view::Server, OwnedFd)>,
    /// The files of that view, where somebody serves it.
    pub(super) viewed: view::Trees,
    /// The socket at which the keeper hears of init's readiness.
    pub(super) notify: Option<OwnedFd>,
}

impl Outside {
    /// The tree of the root. Opened here, a user namespace keeps the flags of the host's mounts locked; the copy from outside is for a
    /// root that its root user cannot reach, and for where nothing of the host is to be found any more.
    pub(super) fn take_rootfs(&mut self, plan: &Plan) -> Result<OwnedFd> {
        match self.rootfs.take() {
            Some(tree) if self.mounts.complete => Ok(tree),
            outside => match (plan.rootfs.open(), outside) {
                (Err(error), Some(tree)) if error.errno() == Some(Errno::ACCESS) => Ok(tree),
                (here, _) => here,
            },
        }
        .context(|| "mounting the root filesystem")
    }
}

impl<'a> Birth<'a> {
    /// The process's filter.
    pub(super) fn seccomp(&self) -> Seccomp<'a> {
        Seccomp::of(self.plan.seccomp.as_ref(), &self.plan.process)
    }

    /// Whether hooks run before the container's init is ready.
    pub(super) fn has_hooks(&self) -> bool {
        let points = [
            Point::Prestart,
            Point::CreateRuntime,
            Point::CreateContainer,
        ];
        points.iter().any(|point| self.plan.hooks.has(*point))
    }

    /// Once ready, the child goes on to its program by itself: all that it would wait for is done while it is busy, and
    /// to wake two processes from their sleep takes longer than all mounts together.
    pub(crate) fn goes_ahead(&self) -> bool {
        let plan = self.plan;
        let asks = plan.namespaces.has(kind::USER)
            || plan.birth.stage.is_some()
            || self.cgroup_later
            || !plan.net_devices.is_empty()
            || self.has_hooks()
            || plan.process.terminal
            || plan.mounts.may_open_devices()
            || self.seccomp().notifies()
            || plan.system;
        self.publish.is_some() && self.fifo.is_none() && !asks
    }

    /// Forks.
    pub(crate) fn fork(self) -> Result<Newborn<'a>> {
        let new_user = self.plan.namespaces.is_new(kind::USER);
        let mapped = self.plan.mapped;
        let mut outside = Outside {
            namespaces: self.plan.namespaces.open()?,
            mounts: match mapped {
                true => Opened::default(),
                false => self
                    .plan
                    .mounts
                    .open_outside(new_user, self.host, self.procfs)?,
            },
            rootfs: None,
            view: None,
            viewed: view::Trees::default(),
            notify: None,
        };
        if self.plan.system && self.host.euid == 0 {
            outside.view = view::Server::mount(self.plan.sysinfo)?;
        }
        for (_, namespace) in outside
            .namespaces
            .iter()
            .filter(|(bit, _)| *bit == kind::NETWORK)
        {
            self.plan.sysctl.check_joined_network(namespace)?;
        }
        if new_user && self.host.euid == 0 && !mapped {
            outside.rootfs = match self.plan.rootfs.open() {
                // Root of a user namespace may have no rights over the mounts that it sees: then the child tries.
                Err(_) if self.host.in_user_namespace => None,
                tree => Some(tree?),
            };
        }
        let aside = match mapped {
            true => {
                let prepared =
                    mapped::prepare(self.plan, self.host, self.procfs, &outside.namespaces);
                Some(prepared.context(|| "mapping the ids of what is mounted")?)
            }
            false => None,
        };
        let (ours, theirs) = channel::pair()?;
        let forked = fork::clone3(self.plan.birth.first, self.cgroup, false);
        match forked.context(|| "making the container's first process")? {
            Fork::Child => fork::exit_after(|| {
                exe::release();
                drop(ours);
                let result = match self.plan.birth.stage {
                    Some(stage) => stage::live(&self, stage, outside, &theirs),
                    None if self.plan.system => {
                        return keeper::live(&self, outside, &theirs, None);
                    }
                    None => init::live(&self, outside, &theirs, None),
                };
                match result {
                    Ok(()) => 0,
                    Err(error) => {
                        init::report(&theirs, &error);
                        1
                    }
                }
            }),
            Fork::Parent(child) => {
                drop((theirs, outside));
                let staged = self.plan.birth.stage.is_some();
                let newborn = Newborn::new(Duties::Init(self), child, ours, staged);
                aside.map_or(Ok(()), Aside::back)?;
                Ok(newborn)
            }
        }
    }
}
