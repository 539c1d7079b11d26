//! The cgroup side of a test: which driver the runtime is told to use, and a container's cgroup as the host sees it.

use crate::host;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const MOUNT: &str = "/sys/fs/cgroup";

/// Who makes the cgroups of the containers under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupDriver {
    /// The runtime itself, with mkdir(2).
    Cgroupfs,
    /// systemd, asked over D-Bus: every call has `--systemd-cgroup`, and a config begins with a
    /// `cgroupsPath` of systemd's form.
    Systemd,
}

impl CgroupDriver {
    /// The driver that `VZRUN_TEST_CGROUP_DRIVER` names (`cgroupfs`, `systemd`), or cgroupfs.
    pub fn get() -> CgroupDriver {
        static DRIVER: OnceLock<CgroupDriver> = OnceLock::new();
        *DRIVER.get_or_init(|| match std::env::var("VZRUN_TEST_CGROUP_DRIVER") {
            Err(_) => CgroupDriver::Cgroupfs,
            Ok(name) if name == "cgroupfs" => CgroupDriver::Cgroupfs,
            Ok(name) if name == "systemd" => CgroupDriver::Systemd,
            Ok(name) => panic!("VZRUN_TEST_CGROUP_DRIVER={name}: neither cgroupfs nor systemd"),
        })
    }

    /// Its name, in engines' words, too.
    pub fn name(self) -> &'static str {
        match self {
            CgroupDriver::Cgroupfs => "cgroupfs",
            CgroupDriver::Systemd => "systemd",
        }
    }

    /// The global flag that tells a runtime of it; with cgroupfs none.
    pub fn flag(self) -> Option<&'static str> {
        (self == CgroupDriver::Systemd).then_some("--systemd-cgroup")
    }

    /// The `cgroupsPath` that a container gets unless its test sets another; with cgroupfs none,
    /// for the id serves.
    pub(crate) fn default_path(self, id: &str, rootless: bool) -> Option<String> {
        let slice = if rootless { "user" } else { "system" };
        match self {
            CgroupDriver::Cgroupfs => None,
            CgroupDriver::Systemd => Some(format!("{slice}.slice:vzrun:{id}")),
        }
    }
}

/// Whether the cgroup2 hierarchy that containers get their cgroups from has this controller.
pub fn has_controller(name: &str) -> bool {
    let controllers = fs::read_to_string(Path::new(MOUNT).join("cgroup.controllers"));
    controllers.is_ok_and(|list| list.split_whitespace().any(|have| have == name))
}

/// A cgroup, by its directory on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    dir: PathBuf,
}

impl Cgroup {
    /// The one at a directory below `/sys/fs/cgroup`.
    pub fn at(dir: impl Into<PathBuf>) -> Cgroup {
        Cgroup { dir: dir.into() }
    }

    /// The one that a process is in now.
    #[track_caller]
    pub fn of_process(pid: i32) -> Cgroup {
        let file = format!("/proc/{pid}/cgroup");
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
        let path = path.unwrap_or_else(|| panic!("{file} has no cgroup2 line: {text}"));
        Cgroup::at(Path::new(MOUNT).join(path))
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its path in the hierarchy, from `/` on.
    pub fn path(&self) -> PathBuf {
        Path::new("/").join(self.dir.strip_prefix(MOUNT).unwrap())
    }

    /// The cgroup above it.
    pub fn parent(&self) -> Cgroup {
        Cgroup::at(self.dir.parent().unwrap())
    }

    /// The cgroup of this name below it.
    pub fn child(&self, name: &str) -> Cgroup {
        Cgroup::at(self.dir.join(name))
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.dir.is_dir()
    }

    /// What one of its files says, without the newline at the end.
    #[track_caller]
    pub fn read(&self, file: &str) -> String {
        let path = self.dir.join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim_end().to_string()
    }

    /// The number behind a key in one of its files that have lines `key number` (`memory.events`).
    #[track_caller]
    pub fn field(&self, file: &str, key: &str) -> u64 {
        let text = self.read(file);
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let found = lines.find(|(have, _)| *have == key);
        let (_, value) = found.unwrap_or_else(|| panic!("{file} has no {key}: {text}"));
        value.parse().unwrap()
    }

    /// Writes to one of its files, as root on the host.
    pub fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.dir.join(file), text)
    }

    /// The processes in it (not those below it), as the host counts them.
    #[track_caller]
    pub fn processes(&self) -> Vec<i32> {
        let pids = self.read("cgroup.procs");
        pids.lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// The cgroups below it, at any depth.
    pub fn below(&self) -> Vec<Cgroup> {
        host::dirs_below(&self.dir)
            .into_iter()
            .map(Cgroup::at)
            .collect()
    }
}
