//! What the container sees of files: the mounts, devices, masked and read-only
//! paths of Docker's default config.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, mknodat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
    fsopen, mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{fchdir, pivot_root};

use crate::kernel::set_mount_attributes;
use crate::steps::Steps;

const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const RDONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// The files that Docker makes for each container and binds into it.
const FILES: [&CStr; 3] = [c"resolv.conf", c"hostname", c"hosts"];
const FILE_TARGETS: [&CStr; 3] = [c"etc/resolv.conf", c"etc/hostname", c"etc/hosts"];

const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"null", 1, 3),
    (c"zero", 1, 5),
    (c"full", 1, 7),
    (c"random", 1, 8),
    (c"urandom", 1, 9),
    (c"tty", 5, 0),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"pts/ptmx", c"ptmx"),
];

const MASKED: [&CStr; 11] = [
    c"proc/asound",
    c"proc/acpi",
    c"proc/kcore",
    c"proc/keys",
    c"proc/latency_stats",
    c"proc/timer_list",
    c"proc/timer_stats",
    c"proc/sched_debug",
    c"proc/scsi",
    c"sys/firmware",
    c"sys/devices/virtual/powercap",
];

const READ_ONLY: [&CStr; 5] = [
    c"proc/bus",
    c"proc/fs",
    c"proc/irq",
    c"proc/sys",
    c"proc/sysrq-trigger",
];

/// One mount of a file system: its type, options, attributes and place.
struct FileSystem {
    kind: &'static CStr,
    options: &'static [(&'static CStr, &'static CStr)],
    attributes: MountAttrFlags,
    target: &'static CStr,
}

const PROC: FileSystem = FileSystem {
    kind: c"proc",
    options: &[],
    attributes: NOSUID.union(NOEXEC).union(NODEV),
    target: c"proc",
};
const DEV: FileSystem = FileSystem {
    kind: c"tmpfs",
    options: &[(c"mode", c"755"), (c"size", c"65536k")],
    attributes: NOSUID.union(MountAttrFlags::MOUNT_ATTR_STRICTATIME),
    target: c"dev",
};
const OTHERS: [FileSystem; 5] = [
    FileSystem {
        kind: c"devpts",
        options: &[(c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")],
        attributes: NOSUID.union(NOEXEC),
        target: c"dev/pts",
    },
    FileSystem {
        kind: c"sysfs",
        options: &[],
        attributes: NOSUID.union(NOEXEC).union(NODEV).union(RDONLY),
        target: c"sys",
    },
    FileSystem {
        kind: c"cgroup2",
        options: &[],
        attributes: NOSUID.union(NOEXEC).union(NODEV).union(RDONLY),
        target: c"sys/fs/cgroup",
    },
    FileSystem {
        kind: c"mqueue",
        options: &[],
        attributes: NOSUID.union(NOEXEC).union(NODEV),
        target: c"dev/mqueue",
    },
    FileSystem {
        kind: c"tmpfs",
        options: &[(c"mode", c"1777"), (c"size", c"67108864")],
        attributes: NOSUID.union(NOEXEC).union(NODEV),
        target: c"dev/shm",
    },
];

/// Everything from the host's mounts to a root of our own, in `root`, with the files of `bundle`.
pub(crate) fn enter(bundle: BorrowedFd<'_>, steps: &mut Steps) -> io::Result<()> {
    mount_change(
        c"/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    steps.done("private propagation");
    let root = open_tree(bundle, c"rootfs", cloned(OpenTreeFlags::AT_RECURSIVE))?;
    move_mount(
        &root,
        c"",
        bundle,
        c"rootfs",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    let root = root.as_fd();
    steps.done("rootfs bind");
    PROC.mount(root)?;
    steps.done("proc");
    DEV.mount(root)?;
    steps.done("dev tmpfs");
    devices(root)?;
    steps.done("devices, links, directories");
    for file_system in &OTHERS {
        file_system.mount(root)?;
        if steps.wanted() {
            steps.done(&format!(
                "{} {}",
                file_system.target.to_string_lossy(),
                file_system.kind.to_string_lossy()
            ));
        }
    }
    for (file, target) in FILES.iter().zip(FILE_TARGETS) {
        let tree = open_tree(bundle, *file, cloned(OpenTreeFlags::empty()))?;
        attach(&tree, root, target)?;
    }
    steps.done("3 file binds");
    fchdir(root)?;
    pivot_root(c".", c".")?;
    steps.done("pivot_root");
    unmount(c".", UnmountFlags::DETACH)?;
    steps.done("old root away");
    Ok(())
}

/// What is done to paths inside, after the sysctls are written.
pub(crate) fn protect(root: BorrowedFd<'_>, steps: &mut Steps) -> io::Result<()> {
    for path in READ_ONLY {
        read_only(root, path)?;
    }
    steps.done("read-only paths");
    mask(root)?;
    steps.done("masked paths");
    Ok(())
}

fn cloned(more: OpenTreeFlags) -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | more
}

fn attach(tree: &OwnedFd, root: BorrowedFd<'_>, target: &CStr) -> io::Result<()> {
    Ok(move_mount(
        tree,
        c"",
        root,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

impl FileSystem {
    /// The file system as a mount that is nowhere yet.
    fn open(&self) -> io::Result<OwnedFd> {
        let context = fsopen(self.kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in self.options {
            if value.is_empty() {
                fsconfig_set_flag(&context, *key)?;
            } else {
                fsconfig_set_string(&context, *key, *value)?;
            }
        }
        fsconfig_create(&context)?;
        Ok(fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            self.attributes,
        )?)
    }

    fn mount(&self, root: BorrowedFd<'_>) -> io::Result<()> {
        attach(&self.open()?, root, self.target)
    }
}

fn devices(root: BorrowedFd<'_>) -> io::Result<()> {
    let dev = openat(
        root,
        c"dev",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for (name, major, minor) in DEVICES {
        mknodat(
            &dev,
            name,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            fs::makedev(major, minor),
        )?;
    }
    for (target, name) in LINKS {
        symlinkat(target, &dev, name)?;
    }
    for directory in [c"pts", c"shm", c"mqueue"] {
        fs::mkdirat(&dev, directory, Mode::from_raw_mode(0o755))?;
    }
    Ok(())
}

/// Makes `path` read-only with what is mounted below it; what is not there needs nothing.
fn read_only(root: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let tree = match open_tree(root, path, cloned(OpenTreeFlags::AT_RECURSIVE)) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    set_mount_attributes(tree.as_fd(), c"", true, RDONLY.bits().into(), 0)?;
    attach(&tree, root, path)
}

/// Hides paths: a file under /dev/null, a directory under one empty tmpfs for all of them.
fn mask(root: BorrowedFd<'_>) -> io::Result<()> {
    let mut empty: Option<OwnedFd> = None;
    for path in MASKED {
        let file = match openat(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => continue,
            other => other?,
        };
        let cover = if FileType::from_raw_mode(fs::fstat(&file)?.st_mode) != FileType::Directory {
            open_tree(root, c"dev/null", cloned(OpenTreeFlags::empty()))?
        } else if let Some(tmpfs) = &empty {
            open_tree(tmpfs, c"", cloned(OpenTreeFlags::AT_EMPTY_PATH))?
        } else {
            // A clone of a mount that is nowhere yet is refused by older kernels,
            // so the first of them is mounted, and the others are clones of it.
            let nothing = FileSystem {
                kind: c"tmpfs",
                options: &[(c"nr_inodes", c"1")],
                attributes: RDONLY,
                target: c"",
            };
            nothing.open()?
        };
        let over =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&cover, c"", &file, c"", over)?;
        if empty.is_none()
            && FileType::from_raw_mode(fs::fstat(&cover)?.st_mode) == FileType::Directory
        {
            empty = Some(cover);
        }
    }
    Ok(())
}

/// Opens a directory, to work below it.
pub(crate) fn directory(path: &CStr) -> io::Result<OwnedFd> {
    Ok(openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Removes the directory `path`.
pub(crate) fn remove_directory(path: &CStr) -> io::Result<()> {
    Ok(fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}
