//! linux.devices and the nodes that every container has.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::setup::rootfs::Rootfs;
use crate::spec;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mount;

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    path: PathBuf,
    kind: FileType,
    number: (u32, u32),
    mode: u32,
    uid: u32,
    gid: u32,
}

/// All nodes to be made.
#[derive(Debug)]
pub(crate) struct Devices {
    list: Vec<Device>,
    /// mknod(2) is not allowed in a user namespace: the host's nodes are bound instead.
    bind: bool,
}

/// Path, major and minor of the nodes that config-linux demands in every container.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/random", 1, 8),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5),
    ("/dev/urandom", 1, 9),
];

/// Links of config-linux ("Default Devices" and /dev symbolic links).
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

impl Devices {
    /// A listed device takes the place of a default one at the same path.
    pub(crate) fn plan(linux: Option<&spec::Linux>, bind: bool) -> Result<Devices> {
        let mut list = Vec::new();
        for device in linux
            .and_then(|linux| linux.devices().as_ref())
            .into_iter()
            .flatten()
        {
            let path = device.path();
            list.push(plan_one(device).context(|| format!("linux.devices ({})", path.display()))?);
        }
        for (path, major, minor) in DEFAULT {
            if !list
                .iter()
                .any(|device: &Device| device.path == Path::new(path))
            {
                list.push(Device {
                    path: path.into(),
                    kind: FileType::CharacterDevice,
                    number: (major, minor),
                    mode: 0o666,
                    uid: 0,
                    gid: 0,
                });
            }
        }
        Ok(Devices { list, bind })
    }

    /// Makes the nodes and links. The umask must be 0.
    pub(crate) fn apply(&self, rootfs: &Rootfs) -> Result<()> {
        let dev = rootfs.directory(Path::new("/dev"))?;
        for device in &self.list {
            let below = device.path.strip_prefix("/dev").unwrap_or(&device.path);
            let path = device.path.display();
            // Most are directly in /dev, whose descriptor is at hand.
            let made = if device.path.parent() == Some(Path::new("/dev")) {
                self.make(device, rootfs, &dev, below)
            } else {
                let parent = device.path.parent().unwrap_or(Path::new("/"));
                let name = device.path.file_name().map(Path::new).unwrap_or(below);
                rootfs
                    .directory(parent)
                    .and_then(|parent| self.make(device, rootfs, &parent, name))
            };
            made.context(|| format!("error creating device node {path}"))?;
        }
        for (name, target) in LINKS {
            link(target, &dev, name)?;
        }
        // As runc: only where the host has it.
        if fs::stat("/proc/kcore").is_ok() {
            link("/proc/kcore", &dev, "core")?;
        }
        match fs::unlinkat(&dev, "ptmx") {
            Err(error) if !fs::is_missing(&error) => Err(error),
            _ => fs::symlinkat("pts/ptmx", &dev, "ptmx"),
        }
    }

    /// Keeps the host's nodes that are to be bound, in a root of those who will not see the host's.
    pub(crate) fn keep(&self, root: &Rootfs) -> Result<()> {
        if fs::stat("/proc/kcore").is_ok() {
            root.file(Path::new("/proc/kcore"))?;
        }
        let null = Path::new("/dev/null");
        let bound = self.list.iter().filter(|_| self.bind);
        if !self.bind || !self.list.iter().any(|device| device.path == null) {
            // Masks are made of it.
            keep(null, root)?;
        }
        bound
            .map(|device| &device.path)
            .try_for_each(|path| keep(path, root))
    }

    fn make(
        &self,
        device: &Device,
        rootfs: &Rootfs,
        parent: &std::os::fd::OwnedFd,
        name: &Path,
    ) -> Result<()> {
        if self.bind {
            return bind(device, rootfs);
        }
        match fs::mknodat(parent, name, device.kind, device.mode, device.number) {
            Ok(()) if (device.uid, device.gid) == (0, 0) => Ok(()),
            Ok(()) => fs::lchownat(parent, name, device.uid, device.gid),
            Err(error) if error.errno() == Some(Errno::EXIST) => same(device, parent, name),
            Err(error) if error.errno() == Some(Errno::PERM) => bind(device, rootfs),
            Err(error) => Err(error),
        }
    }
}

/// Something is there already: good if it is that very node, else it would be used in its place.
fn same(device: &Device, parent: &std::os::fd::OwnedFd, name: &Path) -> Result<()> {
    let stat = fs::lstatat(parent, name)?;
    let same_kind = fs::file_type(&stat) == device.kind;
    if same_kind && (device.kind == FileType::Fifo || fs::rdev(&stat) == device.number) {
        return Ok(());
    }
    Err(Error::config(
        "there is something else at that path in the root filesystem",
    ))
}

/// The host's node of the same path, bound onto an empty file.
fn bind(device: &Device, rootfs: &Rootfs) -> Result<()> {
    keep(&device.path, rootfs).context(|| "the host's node, to bind in a user namespace")
}

fn keep(path: &Path, rootfs: &Rootfs) -> Result<()> {
    let source = fs::open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
    let tree = mount::clone_tree(source, "", false)?;
    let place = rootfs.file(path)?;
    mount::move_mount(tree, place)
}

fn link(target: &str, dev: &std::os::fd::OwnedFd, name: &str) -> Result<()> {
    match fs::symlinkat(target, dev, name) {
        Err(error) if error.errno() == Some(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn plan_one(device: &spec::LinuxDevice) -> Result<Device> {
    let kind = match device.typ() {
        spec::LinuxDeviceType::C | spec::LinuxDeviceType::U => FileType::CharacterDevice,
        spec::LinuxDeviceType::B => FileType::BlockDevice,
        spec::LinuxDeviceType::P => FileType::Fifo,
        spec::LinuxDeviceType::A => {
            return Err(Error::config("type \"a\" is not a kind of device node"));
        }
    };
    if !device.path().is_absolute() || device.path().file_name().is_none() {
        return Err(Error::config("the path must be absolute and name a file"));
    }
    let number = |name: &str, value: i64| {
        u32::try_from(value).map_err(|_| Error::config(format!("{name} {value} is out of range")))
    };
    Ok(Device {
        path: device.path().clone(),
        kind,
        number: (
            number("major", device.major())?,
            number("minor", device.minor())?,
        ),
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(devices: &str) -> Result<Devices> {
        let linux: spec::Linux =
            serde_json::from_str(&format!(r#"{{"devices":{devices}}}"#)).unwrap();
        Devices::plan(Some(&linux), false)
    }

    #[test]
    fn a_listed_device_replaces_the_default() {
        let devices =
            plan(r#"[{"path":"/dev/null","type":"c","major":1,"minor":3,"fileMode":384}]"#)
                .unwrap();
        assert_eq!(devices.list.len(), DEFAULT.len());
        assert_eq!(devices.list[0].mode, 0o600);
    }

    #[test]
    fn nonsense_is_refused() {
        for json in [
            r#"[{"path":"dev/x","type":"c","major":1,"minor":3}]"#,
            r#"[{"path":"/","type":"c","major":1,"minor":3}]"#,
            r#"[{"path":"/dev/x","type":"c","major":-1,"minor":3}]"#,
            r#"[{"path":"/dev/x","type":"a"}]"#,
        ] {
            assert!(plan(json).is_err(), "{json}");
        }
    }
}
