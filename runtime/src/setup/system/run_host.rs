//! /run/host: what the container is told in files, made anew at each boot and not to be written.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;

use super::interface::{has_mount, value};
use crate::error::{Context, Result};
use crate::setup::rootfs::Rootfs;
use crate::spec;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mount::{self, MountAttr, attr};

pub(super) const RUN_HOST: &str = "/run/host";

/// Where init says that it is ready, unless somebody else wants to know: a socket of the keeper's.
pub(super) const NOTIFY: &str = "/run/host/notify";

/// Where systemd finds credentials, if the config has a directory mounted there.
pub(super) const CREDENTIALS: &str = "/run/host/credentials";

/// What systemd covers files with that a service must not see, a node of each type: these nobody can open.
const INACCESSIBLE: &str = "/run/host/inaccessible";
const NODES: [(&str, FileType); 5] = [
    ("reg", FileType::RegularFile),
    ("fifo", FileType::Fifo),
    ("sock", FileType::Socket),
    ("chr", FileType::CharacterDevice),
    ("blk", FileType::BlockDevice),
];

/// The host's os-release(5), and where it is if not there.
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];
/// It is some lines.
const LONGEST: u64 = 64 << 10;

/// What is in it.
#[derive(Debug)]
pub(crate) struct RunHost {
    /// Name and content.
    files: Vec<(&'static str, String)>,
    notifies: bool,
}

impl RunHost {
    /// `None`: the config has something else mounted there.
    pub(crate) fn plan(
        spec: &spec::Spec,
        env: &[String],
        os_release: impl FnOnce() -> Result<Option<String>>,
    ) -> Result<Option<RunHost>> {
        if has_mount(spec, RUN_HOST) {
            return Ok(None);
        }
        let line = |name| value(env, name).map(|value| format!("{value}\n"));
        let files = [
            ("container-manager", line("container")),
            ("container-uuid", line("container_uuid")),
            ("os-release", os_release()?),
        ];
        let there = files
            .into_iter()
            .filter_map(|(name, text)| text.map(|text| (name, text)));
        Ok(Some(RunHost {
            files: there.collect(),
            notifies: value(env, "NOTIFY_SOCKET") == Some(NOTIFY) && !has_mount(spec, NOTIFY),
        }))
    }

    /// Init tells the keeper that it is ready.
    pub(crate) fn notifies(&self) -> bool {
        self.notifies
    }

    /// Makes it, once all is mounted, with the tree of the keeper's socket.
    pub(crate) fn apply(&self, rootfs: &Rootfs, notify: Option<OwnedFd>) -> Result<()> {
        let directory = rootfs.directory(Path::new(RUN_HOST))?;
        for (name, text) in &self.files {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
            let file = fs::openat(&directory, *name, flags, 0o444)?;
            fs::write_once(file, text.as_bytes())?;
        }
        inaccessible(rootfs)?;
        if let Some(socket) = notify {
            mount::move_mount(socket, rootfs.file(Path::new(NOTIFY))?)?;
        }
        // What the config has below it stays as it is.
        let tree = mount::clone_tree(&directory, "", true)?;
        let readonly = MountAttr {
            set: attr::RDONLY,
            ..MountAttr::default()
        };
        mount::mount_setattr(&tree, false, &readonly)?;
        mount::move_mount(tree, directory)
    }
}

fn inaccessible(rootfs: &Rootfs) -> Result<()> {
    let directory = rootfs.directory(Path::new(INACCESSIBLE))?;
    let nodes = NODES.map(|(name, kind)| fs::mknodat(&directory, name, kind, 0, (0, 0)));
    for made in nodes.into_iter().chain([fs::mkdirat(&directory, "dir", 0)]) {
        match made {
            // Root of a user namespace makes no block device, and before Linux 5.8 no character device: systemd does without.
            Err(error) if matches!(error.errno(), Some(Errno::PERM | Errno::EXIST)) => {}
            other => other?,
        }
    }
    Ok(())
}

/// The host's os-release; `None`: it has none.
///
/// # Errors
/// It cannot be read, or is no such file.
pub(crate) fn os_release() -> Result<Option<String>> {
    let words = || "reading the host's os-release, which the container is told of";
    for path in OS_RELEASE {
        let file = match fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Err(error) if fs::is_missing(&error) => continue,
            other => other.context(words)?,
        };
        let text = fs::read_to_end(file, LONGEST).context(words)?;
        return Ok(Some(String::from_utf8_lossy(&text).into_owned()));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it() {
        let spec = |mounts: &str| -> spec::Spec {
            serde_json::from_str(&format!("{{\"mounts\":[{mounts}]}}")).unwrap()
        };
        let env = ["container=podman", "NOTIFY_SOCKET=/run/host/notify"].map(str::to_owned);
        let release = || Ok(Some("ID=debian\n".to_owned()));
        let plan = |mounts: &str| RunHost::plan(&spec(mounts), &env, release).unwrap();
        let made = plan("").unwrap();
        let files = [
            ("container-manager", "podman\n"),
            ("os-release", "ID=debian\n"),
        ];
        assert_eq!(
            made.files,
            files.map(|(name, text)| (name, text.to_owned()))
        );
        assert!(made.notifies());
        let other = plan(r#"{"destination":"/run/host/notify"}"#).unwrap();
        assert!(!other.notifies());
        assert!(plan(r#"{"destination":"/run/host"}"#).is_none());
    }
}
