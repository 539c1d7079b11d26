//! What the kernel counts of a cgroup, in the shape in which runc's `events` prints it.
//!
//! A file that is not there (its controller is not in use, the kernel is older, pressure is not accounted) leaves its
//! part empty. It is no error: a container without a memory limit has statistics, too.

mod cpu;
mod hugetlb;
mod intel_rdt;
mod io;
mod memory;
mod pids;
mod pressure;

use std::collections::BTreeMap;
use std::path::Path;

use rustix::io::Errno;
use serde::Serialize;

pub use cpu::{Cpu, CpuUsage, Throttling};
pub use hugetlb::Hugetlb;
pub use intel_rdt::{BandwidthInfo, BandwidthMonitor, CacheInfo, CacheMonitor, IntelRdt};
pub use io::{Blkio, BlkioEntry};
pub use memory::{Memory, MemoryEntry};
pub use pids::Pids;
pub use pressure::{Pressure, PressureData};

use super::Cgroup;
use crate::error::{Error, Result};
use crate::sys::fs;

/// What a container has used since it was created. Serialised, it is the `data` of runc's `events`: keys, order and what is
/// left out are runc's, with those of cgroup v1 that have no counterpart in v2 as 0 or empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Stats {
    /// Time on CPUs.
    pub cpu: Cpu,
    cpuset: CpusetOfV1,
    /// Memory and swap.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages, by the size of a page as the kernel writes it: `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// The resctrl group; empty for a container that has none.
    pub intel_rdt: IntelRdt,
    /// runc fills it for interfaces that it makes itself, which no config.json can ask for: always null.
    network_interfaces: (),
}

/// The files of the cpuset controller of cgroup v1.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
struct CpusetOfV1 {
    cpu_exclusive: u64,
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

impl Cgroup {
    /// Reads all that there is about it and those below it.
    ///
    /// # Errors
    /// ENODEV where it is removed meanwhile; a file that does not have the form that the kernel's documentation gives it.
    pub(crate) fn stats(&self) -> Result<Stats> {
        let stats = Stats {
            cpu: Cpu::read(self)?,
            memory: Memory::read(self)?,
            pids: Pids::read(self)?,
            blkio: Blkio::read(self)?,
            hugetlb: hugetlb::read(self)?,
            ..Stats::default()
        };
        // Files of a removed cgroup are not there either, which must not be taken for nothing used.
        match fs::lstatat(self, "cgroup.procs") {
            Err(error) if fs::is_missing(&error) => {
                Err(Error::os("fstatat(\"cgroup.procs\")", Errno::NODEV))
            }
            other => other.map(|_| stats),
        }
    }

    /// A small file, `None` where there is none.
    fn read(&self, name: &str) -> Result<Option<String>> {
        match fs::read_at(self, name) {
            Ok(text) => Ok(Some(text)),
            Err(error) if fs::is_missing(&error) => Ok(None),
            Err(error) => Err(error.wrap(name)),
        }
    }

    /// A file with one number.
    fn read_number(&self, name: &str) -> Result<Option<u64>> {
        match self.read(name)? {
            Some(text) => number(name, &text).map(Some),
            None => Ok(None),
        }
    }
}

impl Stats {
    /// Adds what resctrl, mounted at `root`, says of a container's group; `monitored` is where it is monitored, the group
    /// itself or one in it.
    pub(crate) fn add_intel_rdt(
        &mut self,
        root: &Path,
        group: &Path,
        monitored: &Path,
    ) -> Result<()> {
        self.intel_rdt = IntelRdt::read(root, group, monitored)?;
        Ok(())
    }
}

/// A number, or `max`, which is the largest one.
fn number(file: &str, text: &str) -> Result<u64> {
    match text.trim() {
        "max" => Ok(u64::MAX),
        text => text.parse().map_err(|_| malformed(file, text)),
    }
}

/// The lines of a flat keyed file: `KEY NUMBER`.
fn keyed<'a>(file: &'a str, text: &'a str) -> impl Iterator<Item = Result<(&'a str, u64)>> {
    text.lines().map(move |line| {
        let value = line.split_once(' ');
        let value = value.and_then(|(key, value)| Some((key, value.parse().ok()?)));
        value.ok_or_else(|| malformed(file, line))
    })
}

/// The number behind `key` in a flat keyed file; 0 where it has none.
pub(super) fn value_of(file: &str, text: &str, key: &str) -> Result<u64> {
    for line in keyed(file, text) {
        let (have, value) = line?;
        if have == key {
            return Ok(value);
        }
    }
    Ok(0)
}

fn malformed(file: &str, text: &str) -> Error {
    Error::unsupported(format!("{file}: unexpected text {text:?}"))
}

/// For what Go leaves out (`omitempty`).
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_known_is_what_runc_prints_then() {
        // As runc 1.3 has printed it for a cgroup without controllers, but for the processor time.
        let expected = r#"{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"memory":{"usage":{"limit":0,"failcnt":0},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}},"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}"#;
        let printed = serde_json::to_string(&Stats::default()).unwrap();
        assert_eq!(printed, expected);
    }

    #[test]
    fn numbers_and_keys() {
        assert_eq!(number("x", "12\n").unwrap(), 12);
        assert_eq!(number("x", "max\n").unwrap(), u64::MAX);
        for wrong in ["", "-1", "1 2", "18446744073709551616", "Max"] {
            let error = number("pids.max", wrong).unwrap_err().to_string();
            assert!(error.starts_with("pids.max: unexpected text"), "{error}");
        }
        let text = "low 0\noom_kill 3\n";
        assert_eq!(value_of("memory.events", text, "oom_kill").unwrap(), 3);
        assert_eq!(value_of("memory.events", text, "high").unwrap(), 0);
        for wrong in ["oom_kill\n", "a 1\noom_kill -3\n", "\n"] {
            assert!(value_of("x", wrong, "oom_kill").is_err(), "{wrong:?}");
        }
    }
}
