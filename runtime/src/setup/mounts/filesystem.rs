//! Mounts of fresh file systems.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;

use super::{Finish, Mount, check_not_in_procfs, copy_up, ordinary_directory};
use crate::error::{Context, Error, Result};
use crate::setup::lsm::MountLabel;
use crate::setup::rootfs::Rootfs;
use crate::sys::fs::{self, OFlags};
use crate::sys::mount::{self, FsContext, attr};

/// Those that have no device: they are configured with fsopen(2). For others, mount(2) on the held place: their options
/// may be longer than the 255 bytes that fsconfig(2) takes (overlay), and their read-only flag is one of the device.
const WITHOUT_DEVICE: [&str; 5] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue"];

/// Whether its source may be a block device.
pub(super) fn is_on_device(fstype: &str) -> bool {
    !WITHOUT_DEVICE.contains(&fstype) && !matches!(fstype, "overlay" | "cgroup" | "cgroup2")
}

/// Mounts it and gives a descriptor of the mount.
pub(super) fn apply(
    m: &Mount,
    rootfs: &Rootfs,
    label: Option<&MountLabel>,
    finish: &mut Finish,
) -> Result<OwnedFd> {
    let kernel_only = m.fstype == "proc" || m.fstype == "sysfs";
    let mut mode = None;
    let place = if kernel_only {
        ordinary_directory(m, rootfs)?
    } else if let Some(place) = rootfs.find(&m.destination)? {
        if m.fstype == "tmpfs" {
            mode = Some(fs::fstat(&place)?.st_mode & 0o7777);
        }
        place
    } else {
        rootfs.directory(&m.destination)?
    };
    check_not_in_procfs(m, &place)?;
    let label = label.and_then(|label| label.option_for(&m.fstype));
    if !WITHOUT_DEVICE.contains(&m.fstype.as_str()) {
        return with_device(m, rootfs, &place, label);
    }
    let tree = match fresh(m, label, mode, finish) {
        Err(error) if m.fstype == "sysfs" && error.errno() == Some(Errno::PERM) => {
            // A user namespace may mount sysfs only with a network namespace of its own: the host's, as runc does.
            let tree = mount::clone_tree(rustix::fs::CWD, Path::new("/sys"), true)?;
            mount::mount_setattr(&tree, false, &m.options.attributes)?;
            tree
        }
        other => other?,
    };
    if m.options.copy_up && m.fstype == "tmpfs" {
        copy_up::apply(&place, &tree).context(|| "tmpcopyup")?;
    }
    mount::move_mount(&tree, place)?;
    Ok(tree)
}

/// `mode` is that of the directory which a tmpfs covers: it has the same unless its options say otherwise.
fn fresh(
    m: &Mount,
    label: Option<(&str, &str)>,
    mode: Option<u32>,
    finish: &mut Finish,
) -> Result<OwnedFd> {
    let context = FsContext::open(&m.fstype)?;
    if let Some(mode) = mode {
        context.string("mode", &format!("{mode:o}"))?;
    }
    if !m.source.as_os_str().is_empty() {
        context.string("source", &m.source.to_string_lossy())?;
    }
    for word in &m.options.filesystem_words {
        context.flag(word)?;
    }
    for entry in &m.options.data {
        // One option may hold several, as mount(8) writes them.
        for option in entry.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some((key, value)) => context.string(key, value)?,
                None => context.flag(option)?,
            }
        }
    }
    if let Some((kind, label)) = label {
        context
            .string(kind, label)
            .context(|| "linux.mountLabel, which needs a kernel with SELinux")?;
    }
    context.create()?;
    let mut attributes = m.options.attributes.set;
    let late = m.fstype == "tmpfs" && attributes & attr::RDONLY != 0;
    if late {
        attributes &= !attr::RDONLY;
    }
    let tree = context.mount(attributes)?;
    if late {
        let kept = rustix::io::fcntl_dupfd_cloexec(&tree, 3).call(|| "fcntl(F_DUPFD_CLOEXEC)")?;
        finish.0.push(kept);
    }
    Ok(tree)
}

fn with_device(
    m: &Mount,
    rootfs: &Rootfs,
    place: &OwnedFd,
    label: Option<(&str, &str)>,
) -> Result<OwnedFd> {
    let mut data = m.options.data.join(",");
    if let Some((kind, label)) = label {
        let separator = if data.is_empty() { "" } else { "," };
        data = format!("{data}{separator}{kind}=\"{label}\"");
    }
    let source = m
        .source
        .to_str()
        .ok_or_else(|| Error::config("the source is not UTF-8"))?;
    // All at once: no moment without nosuid, and nothing to look up again for it.
    let flags = m.options.filesystem_flags | mount_flags(m.options.attributes.set);
    mount::mount_legacy(source, place, &m.fstype, flags, &data)?;
    let tree = rootfs.open(&m.destination, OFlags::PATH)?;
    if mount::mount_id(&tree)? == mount::mount_id(place)? {
        return Err(Error::config("the destination was changed meanwhile"));
    }
    Ok(tree)
}

/// `remount` with options for the file system: the attributes of its mount at `place` are set anew as well (mount(2)).
pub(super) fn remount(m: &Mount, place: &OwnedFd) -> Result<()> {
    let flags =
        libc::MS_REMOUNT | m.options.filesystem_flags | mount_flags(m.options.attributes.set);
    mount::mount_legacy("", place, &m.fstype, flags, &m.options.data.join(","))
}

/// MOUNT_ATTR_* as the flags of mount(2).
fn mount_flags(attributes: u64) -> u64 {
    let atime = match attributes & attr::ATIME {
        attr::NOATIME => libc::MS_NOATIME,
        attr::STRICTATIME => libc::MS_STRICTATIME,
        _ => 0,
    };
    [
        (attr::RDONLY, libc::MS_RDONLY),
        (attr::NOSUID, libc::MS_NOSUID),
        (attr::NODEV, libc::MS_NODEV),
        (attr::NOEXEC, libc::MS_NOEXEC),
        (attr::NODIRATIME, libc::MS_NODIRATIME),
        (attr::NOSYMFOLLOW, mount::MS_NOSYMFOLLOW),
    ]
    .iter()
    .filter(|(attribute, _)| attributes & attribute != 0)
    .fold(atime, |flags, (_, flag)| flags | flag)
}
