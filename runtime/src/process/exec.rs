//! One more process in a container that is there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::channel::{self, ChildEnd, Request};
use super::parent::{Duties, Newborn};
use super::seccomp::Seccomp;
use super::{init, stage};
use crate::error::{Context, Result};
use crate::host::Host;
use crate::plan::ProcessPlan;
use crate::seccomp::Filter;
use crate::setup::console::Console;
use crate::setup::keyring::Keyring;
use crate::setup::listen_fds::PassedFds;
use crate::setup::memory_policy::MemoryPolicy;
use crate::setup::namespaces::kind;
use crate::setup::personality::Personality;
use crate::setup::rootfs::Rootfs;
use crate::spec::HookState;
use crate::sys::exe;
use crate::sys::fork::{self, Fork};
use crate::sys::fs::{self, OFlags};
use crate::sys::procfs::Procfs;
use crate::sys::{namespace, prctl, process, signal};

/// What it takes to join.
pub(crate) struct Join<'a> {
    pub(crate) process: &'a ProcessPlan,
    pub(crate) host: &'a Host,
    pub(crate) procfs: &'a Procfs,
    /// The container's init.
    pub(crate) init: BorrowedFd<'a>,
    /// CLONE_NEW* of the namespaces that are the container's own.
    pub(crate) kinds: u64,
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// Gives the cgroup that init is in, for when that one takes no processes; `None`: no other will do.
    pub(crate) cgroup_of_init: &'a dyn Fn() -> Result<Option<OwnedFd>>,
    pub(crate) keyring: Keyring,
    pub(crate) personality: Personality,
    pub(crate) memory_policy: MemoryPolicy,
    pub(crate) passed_fds: &'a PassedFds,
    /// A connected console socket; `None`: the master is kept for the caller.
    pub(crate) console_socket: Option<OwnedFd>,
    /// That of the container.
    pub(crate) seccomp: Option<&'a Filter>,
    /// The container as it is now.
    pub(crate) state: HookState,
}

impl<'a> Join<'a> {
    /// Forks.
    ///
    /// Only children are in a pid namespace that is joined. The host's root joins it for a moment and forks; an
    /// ordinary user has the right to only within the container's user namespace, so a stage goes ahead.
    pub(crate) fn fork(self) -> Result<Newborn<'a>> {
        let joins_pid = self.kinds & kind::PID != 0;
        let staged = joins_pid && !self.host.privileged();
        let (ours, theirs) = channel::pair()?;
        // Children are born undumpable: a process of the container could look into one that has its pid namespace and
        // not yet anything else of it (CVE-2016-9962).
        if !staged {
            prctl::set_dumpable(false)?;
        }
        let back = match joins_pid && !staged {
            true => Some(Detour::into_pid_namespace(self.init)?),
            false => None,
        };
        let forked = match fork::clone3(0, self.cgroup, false) {
            // A cgroup that has enabled controllers for those below it takes no processes (cgroups(7)).
            Err(error) if error.errno() == Some(Errno::BUSY) => match (self.cgroup_of_init)()? {
                Some(cgroup) => fork::clone3(0, Some(cgroup.as_fd()), false),
                None => Err(error),
            },
            other => other,
        };
        match &forked {
            // The way back is the parent's alone.
            Ok(Fork::Child) => std::mem::forget(back),
            _ => drop(back),
        }
        match forked? {
            Fork::Child => fork::exit_after(|| {
                exe::release();
                drop(ours);
                let result = if staged {
                    self.stage(&theirs)
                } else {
                    self.live(&theirs, false)
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
                drop(theirs);
                Ok(Newborn::new(Duties::Exec(self), child, ours, staged))
            }
        }
    }

    fn stage(&self, channel: &ChildEnd) -> Result<()> {
        signal::reset();
        prctl::set_parent_death_signal(libc::SIGKILL)?;
        self.enter(self.kinds)?;
        stage::make_sibling(0, channel, || self.live(channel, true))
    }

    /// Into the namespaces, and there the root user.
    fn enter(&self, kinds: u64) -> Result<()> {
        self.process.rlimits.raise(None)?;
        if !self.host.privileged() {
            // While it is still to be looked into: later only root could write it.
            let own = rustix::process::getpid();
            self.process.oom_score_adj.apply(self.procfs, own)?;
        }
        // From here on processes of the container could look into this one (CVE-2016-9962).
        prctl::set_dumpable(false)?;
        if kinds != 0 {
            namespace::setns(self.init, kinds).context(|| "joining the container's namespaces")?;
        }
        if kinds & kind::USER != 0 {
            init::become_root()?;
        }
        Ok(())
    }

    /// The process's filter.
    pub(super) fn seccomp(&self) -> Seccomp<'a> {
        Seccomp::of(self.seccomp, self.process)
    }

    /// The new process's life. Comes back only with an error.
    fn live(&self, channel: &ChildEnd, entered: bool) -> Result<()> {
        signal::reset();
        prctl::set_name(init::NAME)?;
        prctl::set_parent_death_signal(libc::SIGKILL)?;
        self.process.cpu_affinity.apply_initial(None)?;
        process::umask(0);
        if !entered {
            self.enter(self.kinds & !kind::PID)?;
        }
        process::setsid()?;
        self.process.lsm.apply_to_keys(self.procfs)?;
        self.keyring.apply()?;
        let rootfs = Rootfs::here()?;
        if self.process.terminal {
            let console = Console::open(rootfs.as_fd(), self.process.console_size)?;
            channel.say(&Request::Console, &[console.master.as_fd()])?;
            console.take()?;
        }
        self.personality.apply()?;
        self.memory_policy.apply()?;
        let environment = self.process.full_environment(&rootfs)?;
        self.process.cpu_affinity.apply_final(None)?;
        // Closed below.
        drop(rootfs);
        let seccomp = self.seccomp();
        self.process.become_user(self.procfs, || {
            self.passed_fds.close_others(&[channel.as_fd()])?;
            seccomp.install_early(channel)
        })?;
        let path = self.process.find_executable(&environment)?;
        prctl::set_parent_death_signal(0)?;
        channel.call(&Request::Ready)?;
        let mut filter = seccomp.rest();
        if filter.notifies() {
            filter.install(channel)?;
        }
        self.process
            .execute(&path, &environment, self.passed_fds, channel, filter)
    }
}

/// The caller's children are born in another pid namespace until this is dropped.
struct Detour {
    own: OwnedFd,
}

impl Detour {
    fn into_pid_namespace(init: BorrowedFd<'_>) -> Result<Detour> {
        let own = fs::open("/proc/self/ns/pid", OFlags::RDONLY)?;
        namespace::setns(init, kind::PID).context(|| "joining the container's pid namespace")?;
        Ok(Detour { own })
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        // A caller's own active pid namespace can always be gone back to (setns(2)).
        if let Err(error) = namespace::setns(&self.own, kind::PID) {
            crate::log::warn(format_args!(
                "leaving the container's pid namespace: {error}"
            ));
        }
    }
}
