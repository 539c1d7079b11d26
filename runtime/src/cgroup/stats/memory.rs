//! memory.current, memory.max, memory.peak, the same for swap, memory.stat and memory.pressure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Cgroup, Pressure, is_zero, keyed};
use crate::error::Result;

/// Memory and swap.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Memory {
    /// Bytes of the page cache (`file` of memory.stat).
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory without swap.
    pub usage: MemoryEntry,
    /// Memory and swap together, as cgroup v1 counted them. [`MemoryEntry::max`] is not known of the two together: 0.
    pub swap: MemoryEntry,
    kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: MemoryEntry,
    /// All of memory.stat: bytes, or numbers of events.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Waiting for memory; `None` where the kernel does not account for it.
    #[serde(rename = "psi", skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// A use of memory in bytes. All is 0 without the memory controller.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MemoryEntry {
    /// What it may have; `u64::MAX` without a limit.
    pub limit: u64,
    /// What it has now.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// The most that it has had (Linux 5.19, for swap 6.5).
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    failcnt: u64,
}

impl Memory {
    pub(super) fn read(cgroup: &Cgroup) -> Result<Memory> {
        let pressure = Pressure::read(cgroup, "memory.pressure")?;
        let Some(text) = cgroup.read("memory.stat")? else {
            return Ok(Memory {
                pressure,
                ..Memory::default()
            });
        };
        let raw = parse(&text)?;
        let usage = MemoryEntry::read(cgroup, "memory")?.unwrap_or_default();
        // There is none where the kernel does not account for swap.
        let swap = MemoryEntry::read(cgroup, "memory.swap")?.unwrap_or_default();
        Ok(Memory {
            cache: raw.get("file").copied().unwrap_or(0),
            swap: together(&usage, &swap),
            usage,
            raw,
            pressure,
            ..Memory::default()
        })
    }
}

impl MemoryEntry {
    fn read(cgroup: &Cgroup, prefix: &str) -> Result<Option<MemoryEntry>> {
        let number = |suffix: &str| cgroup.read_number(&format!("{prefix}.{suffix}"));
        let Some(usage) = number("current")? else {
            return Ok(None);
        };
        Ok(Some(MemoryEntry {
            usage,
            limit: number("max")?.unwrap_or(0),
            max: number("peak")?.unwrap_or(0),
            failcnt: 0,
        }))
    }
}

/// Memory and swap as one; no limit of either is no limit of both.
fn together(memory: &MemoryEntry, swap: &MemoryEntry) -> MemoryEntry {
    MemoryEntry {
        limit: swap.limit.saturating_add(memory.limit),
        usage: swap.usage.saturating_add(memory.usage),
        ..MemoryEntry::default()
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, u64>> {
    keyed("memory.stat", text)
        .map(|line| line.map(|(key, value)| (key.to_owned(), value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(limit: u64, usage: u64, max: u64) -> MemoryEntry {
        MemoryEntry {
            limit,
            usage,
            max,
            failcnt: 0,
        }
    }

    #[test]
    fn swap_is_memory_and_swap() {
        for (memory, swap, both) in [
            (entry(100, 7, 9), entry(50, 3, 4), entry(150, 10, 0)),
            (entry(100, 7, 9), entry(0, 0, 0), entry(100, 7, 0)),
            (
                entry(100, 7, 9),
                entry(u64::MAX, 0, 0),
                entry(u64::MAX, 7, 0),
            ),
            (
                entry(u64::MAX, 7, 9),
                entry(50, 1, 1),
                entry(u64::MAX, 8, 0),
            ),
        ] {
            assert_eq!(together(&memory, &swap), both);
        }
    }

    #[test]
    fn as_the_kernel_writes_it() {
        let raw =
            parse("anon 1396736\nfile 4096\nkernel 1138688\npgfault 2171\nthp_fault_alloc 0\n")
                .unwrap();
        let memory = Memory {
            cache: raw["file"],
            usage: entry(u64::MAX, 2539520, 3461120),
            swap: entry(u64::MAX, 2539520, 0),
            raw,
            ..Memory::default()
        };
        assert_eq!(
            serde_json::to_string(&memory).unwrap(),
            r#"{"cache":4096,"usage":{"limit":18446744073709551615,"usage":2539520,"max":3461120,"failcnt":0},"swap":{"limit":18446744073709551615,"usage":2539520,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0},"raw":{"anon":1396736,"file":4096,"kernel":1138688,"pgfault":2171,"thp_fault_alloc":0}}"#
        );
        assert!(parse("anon\n").is_err());
    }
}
