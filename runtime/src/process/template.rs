//! The keeper's mount namespace while it makes init: a small root with everything of the host that goes into the container,
//! and nothing else. Each boot gets a copy, so each finds what the first one found.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::birth::{Birth, Outside};
use super::channel::{ChildEnd, Request};
use super::mapped::Copy;
use crate::error::{Context, Result};
use crate::hooks::Point;
use crate::setup::console::{self, Console, Slave};
use crate::setup::mounts::Opened;
use crate::setup::namespaces::kind;
use crate::setup::rootfs::{self, Rootfs};
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mount::{self, FsContext, MountAttr, attr, propagation};
use crate::sys::{datagram, namespace, tty};
use crate::view::Trees;

pub(super) const ROOTFS: &str = "/rootfs";
pub(super) const SOURCES: &str = "/sources";
pub(super) const SYS: &str = "/sys";
const VIEW: &str = "/view";
const NOTIFY: &str = "/notify";
const HOST: &str = "/host";
const HOST_SYS: &str = "/host/sys";

/// The namespace, and what is in it.
#[derive(Debug)]
pub(super) struct Template {
    namespace: OwnedFd,
    /// Which entries of `mounts` have a source in it.
    sources: Vec<bool>,
    /// The terminal of all boots.
    console: Option<Terminal>,
    /// The view of the container's resources is mounted in it.
    viewed: bool,
    /// A socket is in it at which init says that it is ready.
    notified: bool,
}

#[derive(Debug)]
struct Terminal {
    /// Its path in the namespace.
    name: CString,
    /// Held, for without an open slave the master reports an end between two boots.
    slave: Slave,
}

impl Template {
    /// Makes this process's new mount namespace one. Gives the socket of readiness with it, where init is to have one.
    pub(super) fn build(
        birth: &Birth<'_>,
        mut outside: Outside,
        view: Option<OwnedFd>,
        channel: &ChildEnd,
    ) -> Result<(Template, Option<OwnedFd>)> {
        let plan = birth.plan;
        let (tree, mounts, sys) = match plan.mapped {
            true => {
                let copy = Copy::open(plan.mounts.count())?;
                (copy.rootfs, copy.mounts, copy.sys)
            }
            false => (outside.take_rootfs(plan)?, outside.mounts, None),
        };
        let namespace = birth.procfs.own_namespace("mnt")?;
        let trees = plan.mounts.sources(mounts)?;
        plan.rootfs
            .cut_off()
            .context(|| "mounting the root filesystem")?;

        // Before anything is mounted over it.
        let host = match plan.hooks.has(Point::CreateContainer) {
            true => Some(host()?),
            false => None,
        };

        let context = FsContext::open("tmpfs")?;
        context.string("source", "vzrun")?;
        context.string("mode", "0700")?;
        context.create()?;
        let small = context.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
        mount::move_mount(&small, fs::open("/", OFlags::PATH | OFlags::DIRECTORY)?)?;
        let root = Rootfs::of(small);
        mount::move_mount(tree, root.directory(Path::new(ROOTFS))?)?;
        let sources = trees.iter().map(Option::is_some).collect();
        for (index, tree) in trees.into_iter().enumerate() {
            let Some(tree) = tree else { continue };
            let is_directory = fs::file_type(&fs::fstat(&tree)?) == FileType::Directory;
            let place = source(index);
            let place = match is_directory {
                true => root.directory(&place)?,
                false => root.file(&place)?,
            };
            mount::move_mount(tree, place)?;
        }
        if let Some(host) = host {
            mount::move_mount(host, root.directory(Path::new(HOST))?)?;
            if let Some(sys) = &sys {
                // The container's network is not the host's.
                let sys = mount::clone_tree(sys, "", true)?;
                mount::move_mount(sys, fs::open_in_root(&root, HOST_SYS, OFlags::PATH)?)?;
            }
        }
        if plan.namespaces.has(kind::USER) || birth.host.in_user_namespace {
            // A user namespace may mount these only where it sees whole ones (mount_namespaces(7)); without a network
            // namespace of its own it gets the host's /sys.
            let of_host = |name: &str| mount::clone_tree(rustix::fs::CWD, name, true);
            let sys = sys.map_or_else(|| of_host(SYS), Ok)?;
            for (name, tree) in [("/proc", of_host("/proc")?), (SYS, sys)] {
                mount::move_mount(tree, root.directory(Path::new(name))?)?;
            }
        }
        if let Some(devices) = &plan.devices {
            devices.keep(&root)?;
        }
        if let Some(tree) = &view {
            mount::move_mount(tree, root.directory(Path::new(VIEW))?)?;
        }
        let console = match plan.process.terminal {
            true => Some(terminal(&root, birth, channel)?),
            false => None,
        };
        rootfs::pivot(&root)?;
        let notify = match plan.hears_of_readiness() {
            true => Some(notify_socket()?),
            false => None,
        };
        let template = Template {
            namespace,
            sources,
            console,
            viewed: view.is_some(),
            notified: notify.is_some(),
        };
        Ok((template, notify))
    }

    /// Goes (back) into it.
    pub(super) fn enter(&self) -> Result<()> {
        namespace::setns(&self.namespace, kind::MOUNT)
            .context(|| "going back to what the container is made of")
    }

    /// In a copy of it: makes the host's root, where createContainer hooks are found, the root of this process and of the
    /// namespace; what else is in it goes.
    pub(super) fn go_to_host(&self) -> Result<()> {
        fs::open(HOST, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|host| rootfs::pivot(&Rootfs::of(host)))
            .context(|| "going to where the hooks are")
    }

    /// No later boot will need the host's file systems: they are not kept.
    pub(super) fn forget_host(&self) -> Result<()> {
        mount::umount_detach(Path::new(HOST))
    }

    /// In a copy of it: what `open_outside` gives for the host itself.
    pub(super) fn outside(&self) -> Result<Outside> {
        let open = |path: &Path| {
            let place = fs::open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
            mount::clone_tree(place, "", true)
        };
        let tree = |(index, there): (usize, &bool)| there.then(|| open(&source(index))).transpose();
        Ok(Outside {
            namespaces: Vec::new(),
            mounts: Opened {
                trees: self
                    .sources
                    .iter()
                    .enumerate()
                    .map(tree)
                    .collect::<Result<_>>()?,
                complete: true,
            },
            rootfs: Some(open(Path::new(ROOTFS))?),
            view: None,
            viewed: match self.viewed {
                true => Trees::open(Path::new(VIEW))?,
                false => Trees::default(),
            },
            notify: match self.notified {
                true => Some(open(Path::new(NOTIFY))?),
                false => None,
            },
        })
    }

    /// In a copy of it, before its root is left: the terminal, and its mount.
    pub(super) fn console(&self) -> Result<Option<(Slave, OwnedFd)>> {
        let open = |terminal: &Terminal| {
            let slave = Slave::open(&terminal.name)?;
            let tree = slave.tree()?;
            Ok((slave, tree))
        };
        self.console.as_ref().map(open).transpose()
    }

    /// What is to be held while init runs, beside the namespace.
    pub(super) fn slave(&self) -> Option<BorrowedFd<'_>> {
        self.console.as_ref().map(|terminal| terminal.slave.as_fd())
    }
}

impl AsFd for Template {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// Where the source of this entry of `mounts` is.
pub(super) fn source(index: usize) -> PathBuf {
    Path::new(SOURCES).join(index.to_string())
}

/// All that is mounted on the host, for hooks. What is unmounted there is unmounted here, too, and nothing goes the other way.
fn host() -> Result<OwnedFd> {
    let change = |propagation| MountAttr {
        propagation,
        ..MountAttr::default()
    };
    let tree = mount::clone_tree(fs::CWD, "/", true)?;
    mount::mount_setattr(&tree, true, &change(propagation::SLAVE))?;
    // It becomes a root, which none can that is a slave of the host's and shared with others.
    mount::mount_setattr(&tree, false, &change(propagation::PRIVATE))?;
    Ok(tree)
}

/// For the container's root: who else lives in it has nothing to say about its readiness.
fn notify_socket() -> Result<OwnedFd> {
    let socket = datagram::bind_path(NOTIFY).context(|| "making the socket of readiness")?;
    fs::fchmodat(fs::CWD, NOTIFY, 0o600)?;
    Ok(socket)
}

/// A terminal that outlives each init. The parent gets its master.
fn terminal(root: &Rootfs, birth: &Birth<'_>, channel: &ChildEnd) -> Result<Terminal> {
    console::mount_devpts(&root.directory(Path::new("/dev/pts"))?)?;
    let console = Console::open(root.as_fd(), birth.plan.process.console_size)?;
    channel.say(&Request::Console, &[console.master.as_fd()])?;
    let name = tty::slave_name(&console.master)?;
    let slave = console.slave;
    // Of the keeper, too: who called vzrun waits for the end of what it gave it.
    slave.take_streams()?;
    Ok(Terminal { name, slave })
}
