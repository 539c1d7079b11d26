//! What vzrun does while CRIU restores, at the points at which CRIU stops and asks.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::Pid;

use super::made::Made;
use crate::cgroup::Tree;
use crate::checkpoint::client::Notified;
use crate::checkpoint::pressure;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::Point;
use crate::plan::Plan;
use crate::setup::console;
use crate::setup::namespaces::kind;
use crate::sys::fork::Child;
use crate::sys::fs::{self, OFlags};
use crate::sys::netlink::Netlink;
use crate::sys::pidfd;
use crate::sys::procfs::Procfs;

/// What there is to do in the course of a restore.
pub(super) struct Restored<'r, 'a> {
    pub(super) plan: &'r Plan,
    pub(super) procfs: &'r Procfs,
    pub(super) made: &'r mut Made<'a>,
    /// The cgroups that were below the container's own.
    pub(super) tree: Option<Tree>,
    pub(super) console_socket: Option<OwnedFd>,
    pub(super) init: Option<Child>,
    /// The master of its terminal, where the caller serves it.
    pub(super) master: Option<OwnedFd>,
}

impl Notified for Restored<'_, '_> {
    fn notified(&mut self, point: &str, pid: Option<i32>, fds: Vec<OwnedFd>) -> Result<()> {
        match point {
            "setup-namespaces" => self.set_up(pid.unwrap_or(0)),
            "post-setup-namespaces" => self.plant(),
            "orphan-pts-master" => self.console(fds),
            "post-restore" => self.settle(pid),
            _ => Ok(()),
        }
    }
}

impl Restored<'_, '_> {
    /// Namespaces are there, and nothing in them.
    fn set_up(&self, pid: i32) -> Result<()> {
        if self.plan.namespaces.is_new(kind::NETWORK) {
            let network = fs::open(format!("/proc/{pid}/ns/net"), OFlags::RDONLY)?;
            let netlink = Netlink::open_in(network.as_fd())?;
            netlink.set_up(netlink.index("lo")?, true)?;
        }
        let state = self.made.record.hook_state().json("creating", pid);
        for point in [Point::Prestart, Point::CreateRuntime] {
            self.plan.hooks.run(point, &state, None)?;
        }
        Ok(())
    }

    /// Init is in its cgroup, and nothing is in those around it.
    fn plant(&self) -> Result<()> {
        match (&self.made.cgroup, &self.tree) {
            (Some(cgroup), Some(tree)) => {
                cgroup.plant(tree, |uid, gid| self.plan.mappings.outer(uid, gid))
            }
            _ => Ok(()),
        }
    }

    fn console(&mut self, mut fds: Vec<OwnedFd>) -> Result<()> {
        let master = fds
            .pop()
            .ok_or_else(|| Error::new(ErrorKind::Process, "criu sent no terminal"))?;
        match &self.console_socket {
            Some(socket) => console::send_console(socket.as_fd(), master.as_fd()),
            None => {
                self.master = Some(master);
                Ok(())
            }
        }
    }

    /// All processes are there, and stand still: the record takes its place before they go on.
    fn settle(&mut self, pid: Option<i32>) -> Result<()> {
        let none = || Error::new(ErrorKind::Process, "criu has named no init");
        let pid = pid.and_then(Pid::from_raw).ok_or_else(none)?;
        // It is our child and not reaped, so its number is its own.
        let pidfd = pidfd::pidfd_open(pid)?;
        let init = Child { pid, pidfd };
        let own = fs::stat("/proc/self/ns/time").ok();
        let its = fs::stat(format!("/proc/{pid}/ns/time")).ok();
        if own.map(|stat| stat.st_ino) != its.map(|stat| stat.st_ino) {
            // CRIU gives its clocks where they were by a time namespace, which exec must join.
            self.made.record.namespaces |= kind::TIME;
        }
        pressure::watch_again(pid.as_raw_nonzero().get(), self.procfs)?;
        self.made.note(&init, self.procfs)?;
        self.made.publish()?;
        self.init = Some(init);
        Ok(())
    }
}
