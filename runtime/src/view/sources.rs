//! What the files are made of: the host's files of the same names, and what the kernel says of the container's cgroup and of
//! those above it.

use std::os::fd::OwnedFd;

use crate::cgroup::Cgroup;
use crate::error::Result;
use crate::sys::fs::{self, OFlags};
use crate::sys::procfs::Procfs;

/// Where they are found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) procfs: &'a Procfs,
    /// `None`: the container has none of its own, and so no limits.
    pub(crate) cgroup: Option<&'a Cgroup>,
}

/// Lines of `KEY NUMBER`, as in memory.stat.
#[derive(Debug, Default)]
pub(super) struct Keyed(pub(super) String);

/// A use of something, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    /// The least limit of the cgroup and those above it; `u64::MAX` where there is none.
    pub(super) limit: u64,
    pub(super) current: u64,
}

/// What the memory controller says.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) memory: Use,
    /// `None`: the kernel does not account for swap.
    pub(super) swap: Option<Use>,
    /// memory.stat.
    pub(super) stat: Keyed,
    /// memory.events: how often something was killed for want of memory.
    pub(super) oom_kill: u64,
}

impl Keyed {
    /// The number behind `key`.
    pub(super) fn find(&self, key: &str) -> Option<u64> {
        self.0.lines().find_map(|line| {
            let (have, value) = line.split_once(' ')?;
            (have == key).then(|| value.parse().ok())?
        })
    }

    /// The number behind `key`; 0 where this kernel does not count it.
    pub(super) fn get(&self, key: &str) -> u64 {
        self.find(key).unwrap_or(0)
    }
}

impl Sources<'_> {
    /// A file of the host's, by its path below /proc.
    pub(super) fn host(&self, path: &str) -> Result<String> {
        self.procfs.read_shown(path)
    }

    /// A file of the cgroup; `None` where there is none, or the kernel does not account for it.
    pub(super) fn cgroup(&self, name: &str) -> Option<String> {
        self.cgroup
            .and_then(|cgroup| fs::read_at(cgroup, name).ok())
    }

    /// `None` without the memory controller.
    pub(super) fn memory(&self) -> Option<Memory> {
        let stat = Keyed(self.cgroup("memory.stat")?);
        let events = Keyed(self.cgroup("memory.events").unwrap_or_default());
        Some(Memory {
            memory: self.uses("memory")?,
            swap: self.uses("memory.swap"),
            stat,
            oom_kill: events.get("oom_kill"),
        })
    }

    /// `PREFIX.max` and `PREFIX.current`.
    pub(super) fn uses(&self, prefix: &str) -> Option<Use> {
        let current = self.cgroup(&format!("{prefix}.current"))?;
        let limits = self.each_level(&format!("{prefix}.max"));
        Some(Use {
            current: current.trim().parse().ok()?,
            limit: limits.iter().filter_map(|text| limit(text)).min()?,
        })
    }

    /// How many CPUs' time there is: the least cpu.max of the cgroup and those above it, rounded up.
    pub(crate) fn cpus_by_quota(&self) -> Option<usize> {
        let levels = self.each_level("cpu.max");
        levels.iter().filter_map(|text| whole_cpus(text)).min()
    }

    /// The file in the cgroup and in all above it.
    fn each_level(&self, name: &str) -> Vec<String> {
        let Some(cgroup) = self.cgroup else {
            return Vec::new();
        };
        let above = cgroup.path.iter().filter(|name| *name != "/").count();
        let mut found = Vec::new();
        let mut level: Option<OwnedFd> = None;
        for _ in 0..above {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let next = match &level {
                None => fs::openat(cgroup, ".", flags, 0),
                Some(level) => fs::openat(level, "..", flags, 0),
            };
            let Ok(next) = next else { break };
            found.extend(fs::read_at(&next, name).ok());
            level = Some(next);
        }
        found
    }
}

/// A number of bytes, or `max`.
fn limit(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

/// `QUOTA PERIOD`, in microseconds; `None` without a quota.
fn whole_cpus(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (usize, usize) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota.div_ceil(period).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas() {
        for (text, cpus) in [
            ("max 100000\n", None),
            ("150000 100000\n", Some(2)),
            ("100000 100000\n", Some(1)),
            ("1000 100000\n", Some(1)),
            ("200001 100000", Some(3)),
            ("1 0", None),
            ("", None),
        ] {
            assert_eq!(whole_cpus(text), cpus, "{text:?}");
        }
    }

    #[test]
    fn limits_and_keys() {
        assert_eq!(limit("max\n"), Some(u64::MAX));
        assert_eq!(limit("536870912\n"), Some(536_870_912));
        assert_eq!(limit("-1"), None);
        let stat = Keyed("anon 12\nanon_thp 7\nfile x\n".into());
        assert_eq!(stat.get("anon"), 12);
        assert_eq!(stat.get("anon_thp"), 7);
        assert_eq!(stat.find("file"), None);
        assert_eq!(stat.get("kernel"), 0);
    }
}
