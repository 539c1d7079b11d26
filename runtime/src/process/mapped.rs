//! What a container with ids of its own is made of, as seen through these ids. It is put together while the host's root still
//! has all its rights, in a mount namespace aside; the container's first process takes a copy of that, in which the kernel
//! locks what the host has said of the mounts: who is root inside cannot make a read-only one writable.
//!
//! The copy is found as the working directory that the first process is born with.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::aside::Aside;
use super::template::{ROOTFS, SOURCES, SYS, source};
use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::plan::Plan;
use crate::setup::mounts::Opened;
use crate::setup::namespaces::kind;
use crate::setup::overlay::Layers;
use crate::setup::rootfs::Rootfs;
use crate::setup::sysctl::Part;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mount::{self, FsContext, MountAttr, attr};
use crate::sys::procfs::Procfs;
use crate::sys::{namespace, process};

/// Puts it together. The first process is to be born before the value is let [`Aside::back`].
pub(super) fn prepare(
    plan: &Plan,
    host: &Host,
    procfs: &Procfs,
    joined: &[(u64, OwnedFd)],
) -> Result<Aside> {
    let ids = plan
        .mappings
        .namespace(procfs, host)
        .context(|| "making a user namespace with the container's ids")?;
    let aside = Aside::step()?;
    let trees = plan.mounts.open_mapped(&ids, host, procfs)?;
    let place = fs::open(&plan.rootfs.path, OFlags::PATH | OFlags::DIRECTORY)?;
    let layers = Layers::of(&place, &plan.rootfs.path, procfs)?;
    let tree = match &layers {
        None => Some(root(plan, &ids)?),
        Some(_) => None,
    };

    let workshop = workshop(&place)?;
    let root = workshop.directory(Path::new(ROOTFS))?;
    match (tree, layers, plan.mappings.root()) {
        (Some(tree), ..) => mount::move_mount(tree, root)?,
        (None, Some(layers), Some(ids_of_root)) => layers
            .mount(&workshop, Path::new(ROOTFS), &ids, ids_of_root)
            .context(|| "mounting the layers of the root filesystem with the container's ids")?,
        _ => return Err(Error::config("the container's root is not mapped")),
    }
    for (index, tree) in trees.into_iter().enumerate() {
        if let Some(tree) = tree {
            put(&workshop, index, tree)?;
        }
    }
    for (_, network) in joined.iter().filter(|(bit, _)| *bit == kind::NETWORK) {
        of_network(plan, procfs, &workshop, network)?;
    }
    Ok(aside)
}

/// A file system of our own where the root is, and the working directory.
fn workshop(place: &OwnedFd) -> Result<Rootfs> {
    let context = FsContext::open("tmpfs")?;
    context.string("source", "vzrun")?;
    context.string("mode", "0755")?;
    context.create()?;
    let tree = context.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
    mount::move_mount(&tree, place)?;
    process::fchdir(&tree)?;
    Ok(Rootfs::of(tree))
}

fn root(plan: &Plan, ids: &OwnedFd) -> Result<OwnedFd> {
    let tree = plan.rootfs.open()?;
    mount::map_ids(&tree, ids, true).context(|| {
        format!(
            "id-mapping the root filesystem {} (its file system may not support it; the annotation io.vzrun.userns=false \
             gives the container the host's ids)",
            plan.rootfs.path.display()
        )
    })?;
    Ok(tree)
}

fn put(workshop: &Rootfs, index: usize, tree: OwnedFd) -> Result<()> {
    let place = source(index);
    let place = match fs::file_type(&fs::fstat(&tree)?) {
        FileType::Directory => workshop.directory(&place)?,
        _ => workshop.file(&place)?,
    };
    mount::move_mount(tree, place)
}

/// What an engine has made belongs to the host's user namespace: the container's root has no rights over it, so what is to be
/// said of it is said here, and its /sys is mounted here.
fn of_network(plan: &Plan, procfs: &Procfs, workshop: &Rootfs, network: &OwnedFd) -> Result<()> {
    let own = procfs.own_namespace("net")?;
    namespace::setns(network, kind::NETWORK).context(|| "going into the network namespace")?;
    let done = plan
        .sysctl
        .apply(procfs, Part::Network, |gid| plan.mappings.host_gid(gid))
        .and_then(|()| sysfs(plan, workshop));
    // Whatever has failed: the rest of this process's work is in its own.
    namespace::setns(own, kind::NETWORK).context(|| "coming back to the network namespace")?;
    done
}

fn sysfs(plan: &Plan, workshop: &Rootfs) -> Result<()> {
    let Some(attributes) = plan.mounts.attributes_of_sysfs() else {
        return Ok(());
    };
    let context = FsContext::open("sysfs")?;
    context.create()?;
    let tree = context.mount(0)?;
    let change = MountAttr {
        set: attributes.set,
        ..MountAttr::default()
    };
    mount::mount_setattr(&tree, false, &change)?;
    mount::move_mount(tree, workshop.directory(Path::new(SYS))?)
}

/// In the first process: the trees, from the copy of the namespace.
pub(super) struct Copy {
    pub(super) rootfs: OwnedFd,
    pub(super) mounts: Opened,
    /// `None`: no network namespace of the host's is joined.
    pub(super) sys: Option<OwnedFd>,
}

impl Copy {
    /// `mounts`: how many entries the list of mounts has.
    pub(super) fn open(mounts: usize) -> Result<Copy> {
        let tree = |path: &Path| {
            // The working directory is all that there is of the workshop.
            let path = path.strip_prefix("/").unwrap_or(path);
            let place = fs::openat(fs::CWD, path, OFlags::PATH | OFlags::NOFOLLOW, 0)?;
            mount::clone_tree(place, "", true)
        };
        let if_there = |path: &Path| match tree(path) {
            Err(error) if fs::is_missing(&error) => Ok(None),
            other => other.map(Some),
        };
        let trees = (0..mounts).map(|index| if_there(&source(index)));
        Ok(Copy {
            rootfs: tree(Path::new(ROOTFS)).context(|| "taking over the root filesystem")?,
            mounts: Opened {
                trees: trees
                    .collect::<Result<_>>()
                    .context(|| format!("taking over {SOURCES}"))?,
                complete: true,
            },
            sys: if_there(Path::new(SYS))?,
        })
    }
}
