//! One more process in a container that is there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::channel::{self, ChildEnd, Request};
use super::parent::{Duties, Newborn};
use super::seccomp::Seccomp;
use super::{init, stage, sysinfo};
use crate::error::{Context, Result};
use crate::host::Host;
use crate::plan::ProcessPlan;
use crate::seccomp::{Call, Filter};
use crate::setup::console::{self, Console};
use crate::setup::keyring::Keyring;
use crate::setup::listen_fds::PassedFds;
use crate::setup::memory_policy::MemoryPolicy;
use crate::setup::namespaces::kind;
use crate::setup::personality::Personality;
use crate::setup::rootfs::Rootfs;
use crate::spec::HookState;
use crate::sys::exe;
use crate::sys::fork::{self, Fork};
use crate::sys::procfs::Procfs;
use crate::sys::{namespace, prctl, process, signal, tty};

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
    /// The way to a keeper that answers sysinfo(2).
    pub(crate) sysinfo: Option<OwnedFd>,
    /// The container as it is now.
    pub(crate) state: HookState,
    /// The caller has something to do with the process before its program runs.
    pub(crate) is_awaited: bool,
}

impl<'a> Join<'a> {
    /// Forks.
    ///
    /// Only children are in a pid namespace that is joined, and there processes of the container see them; those with
    /// CAP_SYS_PTRACE and no user namespace can look into any that they see, and change what it does. So what is forked
    /// here is a stage, which they do not see. It goes into the other namespaces, gives up what it has of the host, and
    /// has no more rights than the program will have when it makes the process proper.
    pub(crate) fn fork(self) -> Result<Newborn<'a>> {
        let staged = self.is_staged();
        let (ours, theirs) = channel::pair()?;
        let forked = match fork::clone3(0, self.cgroup, false) {
            // A cgroup that has enabled controllers for those below it takes no processes (cgroups(7)).
            Err(error) if error.errno() == Some(Errno::BUSY) => match (self.cgroup_of_init)()? {
                Some(cgroup) => fork::clone3(0, Some(cgroup.as_fd()), false),
                None => Err(error),
            },
            other => other,
        };
        match forked.context(|| "making the process")? {
            Fork::Child => fork::exit_after(|| {
                exe::release();
                drop(ours);
                match self.live(&theirs) {
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

    fn is_staged(&self) -> bool {
        self.kinds & kind::PID != 0
    }

    /// It sees to its OOM score itself: a stage is gone before the parent has found the time, and for an ordinary user it
    /// is too late then.
    pub(super) fn sees_to_its_score(&self) -> bool {
        self.is_staged() || !self.host.privileged()
    }

    /// Into the namespaces, and there the root user.
    fn enter(&self) -> Result<()> {
        self.process.rlimits.raise(None)?;
        if self.sees_to_its_score() {
            // While it is still to be looked into: later only root could write it.
            let own = rustix::process::getpid();
            self.process.oom_score_adj.apply(self.procfs, own)?;
        }
        // From here on processes of the container could look into this one (CVE-2016-9962).
        prctl::set_dumpable(false)?;
        if self.kinds != 0 {
            namespace::setns(self.init, self.kinds)
                .context(|| "joining the container's namespaces")?;
        }
        if self.kinds & kind::USER != 0 {
            init::become_root()?;
        }
        Ok(())
    }

    /// Once ready, the process goes on to its program by itself ([`super::birth::Birth::goes_ahead`]).
    pub(super) fn goes_ahead(&self) -> bool {
        !self.is_awaited && !self.process.terminal && !self.seccomp().notifies()
    }

    /// The process's filter.
    pub(super) fn seccomp(&self) -> Seccomp<'a> {
        Seccomp::of(self.seccomp, self.process)
    }

    /// The life of the stage, or of the new process without one. Comes back only with an error.
    fn live(&self, channel: &ChildEnd) -> Result<()> {
        signal::reset();
        prctl::set_name(init::NAME)?;
        prctl::set_parent_death_signal(libc::SIGKILL)?;
        self.process.cpu_affinity.apply_initial(None)?;
        process::umask(0);
        self.enter()?;
        if let Some(door) = &self.sysinfo {
            sysinfo::join(door.as_fd())?;
        }
        process::setsid().context(|| console::LEADING)?;
        self.process.lsm.apply_to_keys(self.procfs)?;
        self.keyring.apply()?;
        let rootfs = Rootfs::here()?;
        if self.process.terminal {
            let console = Console::open(rootfs.as_fd(), self.process.console_size)?;
            channel.say(&Request::Console, &[console.master.as_fd()])?;
            match self.is_staged() {
                true => console.slave.take_streams()?,
                false => console.slave.take()?,
            }
        } else {
            console::take_own_null(rootfs.as_fd(), self.procfs)?;
        }
        self.personality.apply()?;
        self.memory_policy.apply()?;
        let environment = self.process.full_environment(&rootfs)?;
        self.process.cpu_affinity.apply_final(None)?;
        // Closed below.
        drop(rootfs);
        let seccomp = self.seccomp();
        let mut staged = self.is_staged();
        let filtered = !staged || seccomp.lets_pass(channel, &self.calls_in_sight(seccomp))?;
        self.process.become_user(self.procfs, || {
            self.passed_fds.close_others(&[channel.as_fd()])?;
            process::forget_environment();
            if !filtered && !seccomp.is_late() {
                // The process proper is seen with the rights that it takes to install the filter, for a moment.
                stage::become_sibling(0, channel)?;
                console::lead(self.process.terminal)?;
                staged = false;
            }
            seccomp.install_early(channel)
        })?;
        let find = || self.process.find_executable(&environment);
        let mut path = find();
        let mut filter = seccomp.rest();
        if staged {
            if filtered {
                filter.install(channel)?;
            }
            self.become_proper(channel)?;
            channel.wait_go()?;
            // The container's /proc/self, or /dev/fd, is nothing to a stage.
            path = path.or_else(|_| find());
        } else {
            path = Ok(path?);
            prctl::set_parent_death_signal(0)?;
            channel.call(&Request::Ready)?;
        }
        if filter.notifies() {
            filter.install(channel)?;
        }
        self.process.execute(
            (&path?, &environment),
            self.passed_fds,
            &[],
            channel,
            filter,
        )
    }

    /// The stage makes the process proper, in which this comes back, and ends. Nothing is left to be done but what another
    /// process cannot do for it.
    fn become_proper(&self, channel: &ChildEnd) -> Result<()> {
        match fork::sibling().context(|| "making the process proper")? {
            Some(pid) => {
                channel.tell(&Request::Proper(pid.as_raw_nonzero().get()))?;
                fork::exit(0)
            }
            None => console::lead(self.process.terminal),
        }
    }

    /// The system calls of [`Join::become_proper`] and what follows, which the filter has to let pass if it is to hold before.
    fn calls_in_sight(&self, seccomp: Seccomp<'_>) -> Vec<Call> {
        let mut calls = vec![
            Call::own(
                libc::SYS_clone,
                [fork::SIBLING.unsigned_abs(), 0, 0, 0, 0, 0],
            ),
            Call::own(libc::SYS_setsid, [0; 6]),
            Call::own(libc::SYS_exit_group, [0; 6]),
        ];
        if self.process.terminal {
            calls.push(Call::own(libc::SYS_ioctl, [0, tty::TIOCSCTTY, 0, 0, 0, 0]));
        }
        if seccomp.is_late() {
            let last = [
                libc::SYS_read,
                libc::SYS_write,
                libc::SYS_fcntl,
                libc::SYS_close_range,
                libc::SYS_prlimit64,
            ];
            calls.extend(last.map(|number| Call::own(number, [0; 6])));
        }
        calls
    }
}
