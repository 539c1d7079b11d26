//! Mounts on the host's side that a test needs, and what the probe tells of those in the container.

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use serde_json::Value;
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

/// A mount on the host, made below the bundle's directory and gone when this is dropped. To be declared after the
/// bundle, so that it goes first.
#[derive(Debug)]
pub struct HostMount {
    path: PathBuf,
}

impl HostMount {
    /// A tmpfs; the directory is made.
    pub fn tmpfs(path: &Path) -> HostMount {
        HostMount::new("tmpfs", path, "tmpfs", "")
    }

    /// Any file system; the directory is made.
    pub fn new(source: &str, path: &Path, kind: &str, data: &str) -> HostMount {
        fs::create_dir_all(path).unwrap();
        let data = CString::new(data).unwrap();
        rustix::mount::mount(source, path, kind, MountFlags::empty(), data.as_c_str()).unwrap();
        let mount = HostMount { path: path.into() };
        mount.propagation("private");
        mount
    }

    /// A directory bound onto itself, so that it is a mount of its own.
    pub fn of(path: &Path) -> HostMount {
        fs::create_dir_all(path).unwrap();
        rustix::mount::mount_bind(path, path).unwrap();
        let mount = HostMount { path: path.into() };
        mount.propagation("private");
        mount
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets its propagation: private, shared, slave or unbindable.
    pub fn propagation(&self, word: &str) {
        let flag = match word {
            "private" => MountPropagationFlags::PRIVATE,
            "shared" => MountPropagationFlags::SHARED,
            "slave" => MountPropagationFlags::DOWNSTREAM,
            "unbindable" => MountPropagationFlags::UNBINDABLE,
            _ => panic!("what propagation is {word:?}?"),
        };
        rustix::mount::mount_change(&self.path, flag).unwrap();
    }

    /// Sets attributes of the mount (ro, nosuid, nodev, noexec, noatime), all others are cleared.
    pub fn attributes(&self, words: &[&str]) {
        let mut flags = MountFlags::BIND;
        for word in words {
            flags |= match *word {
                "ro" => MountFlags::RDONLY,
                "nosuid" => MountFlags::NOSUID,
                "nodev" => MountFlags::NODEV,
                "noexec" => MountFlags::NOEXEC,
                "noatime" => MountFlags::NOATIME,
                _ => panic!("what attribute is {word:?}?"),
            };
        }
        rustix::mount::mount_remount(&self.path, flags, c"").unwrap();
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let gone = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
        if !std::thread::panicking() {
            gone.unwrap_or_else(|e| panic!("umount {}: {e}", self.path.display()));
        }
    }
}

/// The topmost mount at exactly this path, in a [`crate::probe_report`].
pub fn find_mount<'r>(report: &'r Value, path: &str) -> Option<&'r Value> {
    let mounts = report["mounts"].as_array().expect("a report has mounts");
    mounts
        .iter()
        .rev()
        .find(|mount| mount["mountpoint"] == path)
}

/// The same; the test fails where there is none.
#[track_caller]
pub fn mount_at<'r>(report: &'r Value, path: &str) -> &'r Value {
    find_mount(report, path).unwrap_or_else(|| panic!("no mount at {path}: {}", report["mounts"]))
}

/// Whether a mount of a report has this option, be it one of the mount or of the file system.
pub fn has_option(mount: &Value, option: &str) -> bool {
    ["options", "super"].iter().any(|list| {
        let list = mount[*list].as_array().expect("a mount has options");
        list.iter().any(|word| word == option)
    })
}

/// Whether the mount itself has this option.
pub fn has_attribute(mount: &Value, option: &str) -> bool {
    let list = mount["options"].as_array().expect("a mount has options");
    list.iter().any(|word| word == option)
}
