//! /proc/meminfo: the host's lines in their order, with the container's numbers.

use super::sources::{Keyed, Memory, Use};

/// Where the numbers end in each line (fs/proc/meminfo.c).
const COLUMNS: usize = 24;

/// Memory and swap as the container has them, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) available: u64,
    pub(super) swap_total: u64,
    pub(super) swap_free: u64,
}

impl Room {
    /// MemTotal is the limit, but never more than the host has. Free is what of that is not in use, whoever else may be using it
    /// on the host; available is what the page cache and the kernel's caches would give back, too.
    pub(super) fn of(host: &str, memory: &Memory) -> Room {
        let limited = |total: u64, uses: Use| {
            let total = total.min(uses.limit / 1024);
            (total, total.saturating_sub(uses.current / 1024))
        };
        let (total, free) = limited(of_host(host, "MemTotal"), memory.memory);
        let caches = ["active_file", "inactive_file", "slab_reclaimable"];
        let caches: u64 = caches.iter().map(|key| memory.stat.get(key) / 1024).sum();
        let (swap_total, swap_free) = match memory.swap {
            Some(swap) => limited(of_host(host, "SwapTotal"), swap),
            None => (of_host(host, "SwapTotal"), of_host(host, "SwapFree")),
        };
        Room {
            total,
            free,
            available: (free + caches).min(total),
            swap_total,
            swap_free,
        }
    }
}

/// The name of the host's usual huge page as files of the hugetlb controller have it: `2MB`.
pub(super) fn huge_page(host: &str) -> Option<String> {
    let size = of_host(host, "Hugepagesize");
    match size {
        0 => None,
        1..1024 => Some(format!("{size}KB")),
        1024..0x10_0000 => Some(format!("{}MB", size / 1024)),
        _ => Some(format!("{}GB", size / 0x10_0000)),
    }
}

/// The text, out of the host's. Without a controller its lines are the host's.
pub(super) fn meminfo(host: &str, memory: Option<&Memory>, huge: Option<Use>) -> String {
    let room = memory.map(|memory| (Room::of(host, memory), memory));
    let mut text = String::with_capacity(host.len() + 64);
    for line in host.lines() {
        let parts = split(line);
        let value = parts.and_then(|(name, host_value, _)| {
            let of_memory = room.as_ref().and_then(|(room, memory)| {
                let value = of_container(name, room, &memory.stat, host, host_value);
                value.or_else(|| commitments(name, room, memory, host))
            });
            of_memory.or_else(|| huge.and_then(|huge| huge_pages(name, huge, host)))
        });
        match (parts, value) {
            (Some((name, _, unit)), Some(value)) => {
                let width = COLUMNS.saturating_sub(name.len() + 1);
                text += &format!("{name}:{value:>width$}{unit}\n");
            }
            _ => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

/// Name, number, and what comes after it.
fn split(line: &str) -> Option<(&str, u64, &str)> {
    let (name, rest) = line.split_once(':')?;
    let rest = rest.trim_start();
    let end = rest.find(' ').unwrap_or(rest.len());
    let (value, unit) = rest.split_at_checked(end)?;
    Some((name, value.parse().ok()?, unit))
}

/// A number of the host's file; 0 where it has none.
pub(super) fn of_host(host: &str, name: &str) -> u64 {
    let mut lines = host.lines().filter_map(split);
    lines
        .find(|(have, _, _)| *have == name)
        .map_or(0, |(_, value, _)| value)
}

/// `None`: no cgroup counts that, the line stays as it is.
fn of_container(name: &str, room: &Room, stat: &Keyed, host: &str, host_value: u64) -> Option<u64> {
    let sum = |keys: &[&str]| Some(keys.iter().map(|key| stat.get(key)).sum::<u64>() / 1024);
    match name {
        "MemTotal" => Some(room.total),
        "MemFree" => Some(room.free),
        "MemAvailable" => Some(room.available),
        "SwapTotal" => Some(room.swap_total),
        "SwapFree" => Some(room.swap_free),
        // Files of block devices are counted with the others.
        "Buffers" => Some(0),
        "Cached" => Some(stat.get("file").saturating_sub(stat.get("swapcached")) / 1024),
        "SwapCached" => sum(&["swapcached"]),
        "Active" => sum(&["active_anon", "active_file"]),
        "Inactive" => sum(&["inactive_anon", "inactive_file"]),
        "Active(anon)" => sum(&["active_anon"]),
        "Inactive(anon)" => sum(&["inactive_anon"]),
        "Active(file)" => sum(&["active_file"]),
        "Inactive(file)" => sum(&["inactive_file"]),
        "Unevictable" => sum(&["unevictable"]),
        // At most that much of the host's.
        "Mlocked" => Some(host_value.min(stat.get("unevictable") / 1024)),
        "Zswap" => sum(&["zswap"]),
        "Zswapped" => sum(&["zswapped"]),
        "Dirty" => sum(&["file_dirty"]),
        "Writeback" => sum(&["file_writeback"]),
        "AnonPages" => sum(&["anon"]),
        "Mapped" => sum(&["file_mapped"]),
        "Shmem" => sum(&["shmem"]),
        "KReclaimable" | "SReclaimable" => sum(&["slab_reclaimable"]),
        "Slab" => sum(&["slab_reclaimable", "slab_unreclaimable"]),
        "SUnreclaim" => sum(&["slab_unreclaimable"]),
        "KernelStack" => sum(&["kernel_stack"]),
        "PageTables" => sum(&["pagetables"]),
        "SecPageTables" => sum(&["sec_pagetables"]),
        "VmallocUsed" => sum(&["vmalloc"]),
        "Percpu" => sum(&["percpu"]),
        "AnonHugePages" => sum(&["anon_thp"]),
        "ShmemHugePages" => sum(&["shmem_thp"]),
        "FileHugePages" => sum(&["file_thp"]),
        "ShmemPmdMapped" => Some(host_value.min(stat.get("shmem_thp") / 1024)),
        "FilePmdMapped" => Some(host_value.min(stat.get("file_thp") / 1024)),
        "CommitLimit" => {
            // The host's share of its memory, of the container's.
            let (total, swap) = (of_host(host, "MemTotal"), of_host(host, "SwapTotal"));
            let share = u128::from(host_value.saturating_sub(swap)) * u128::from(room.total);
            let share = share.checked_div(u128::from(total)).unwrap_or(0);
            Some(u64::try_from(share).unwrap_or(host_value) + room.swap_total)
        }
        _ => None,
    }
}

/// Committed_AS is not counted by cgroup: what has been made use of is the part that is known.
fn commitments(name: &str, room: &Room, memory: &Memory, host: &str) -> Option<u64> {
    let used = |key: &str| memory.stat.get(key) / 1024;
    let swap = room.swap_total.saturating_sub(room.swap_free);
    let least = used("anon") + used("shmem") + swap;
    (name == "Committed_AS").then(|| least.min(of_host(host, name)))
}

fn huge_pages(name: &str, huge: Use, host: &str) -> Option<u64> {
    let size = of_host(host, "Hugepagesize");
    let pages = |bytes: u64| (bytes / 1024).checked_div(size).unwrap_or(0);
    let total = of_host(host, "HugePages_Total").min(pages(huge.limit));
    let free = total.saturating_sub(pages(huge.current));
    let free = free.min(of_host(host, "HugePages_Free"));
    match name {
        "HugePages_Total" => Some(total),
        "HugePages_Free" => Some(free),
        "HugePages_Rsvd" => Some(free.min(of_host(host, name))),
        "HugePages_Surp" => Some(total.min(of_host(host, name))),
        // Of huge pages of all sizes; others than the usual one are rare.
        "Hugetlb" => Some((total * size).min(of_host(host, name))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
MemTotal:       24684084 kB
MemFree:        16507476 kB
MemAvailable:   23483764 kB
Buffers:           34748 kB
Cached:          6989464 kB
SwapCached:            0 kB
SwapTotal:       2097152 kB
SwapFree:        2097000 kB
Mlocked:              10 kB
CommitLimit:    14439194 kB
Committed_AS:    1000000 kB
HardwareCorrupted:     0 kB
HugePages_Total:       8
HugePages_Free:        6
HugePages_Rsvd:        1
HugePages_Surp:        0
Hugepagesize:       2048 kB
Hugetlb:           16384 kB
DirectMap4k:      100000 kB
";

    fn memory(limit: u64, swap: Option<Use>) -> Memory {
        let stat = "anon 10485760\nfile 52428800\nshmem 1048576\nactive_file 20971520\n\
                    inactive_file 30408704\nslab_reclaimable 1048576\nunevictable 0\n";
        Memory {
            memory: Use {
                limit,
                current: 104_857_600,
            },
            swap,
            stat: Keyed(stat.into()),
            oom_kill: 0,
        }
    }

    #[test]
    fn the_limit_is_the_size() {
        let swap = Use {
            limit: 64 << 20,
            current: 1 << 20,
        };
        let text = meminfo(HOST, Some(&memory(512 << 20, Some(swap))), None);
        let expected = "\
MemTotal:         524288 kB
MemFree:          421888 kB
MemAvailable:     473088 kB
Buffers:               0 kB
Cached:            51200 kB
SwapCached:            0 kB
SwapTotal:         65536 kB
SwapFree:          64512 kB
Mlocked:               0 kB
CommitLimit:      327680 kB
Committed_AS:      12288 kB
HardwareCorrupted:     0 kB
HugePages_Total:       8
";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(text.lines().count(), HOST.lines().count());
    }

    #[test]
    fn nothing_is_larger_than_the_host() {
        let none = Use {
            limit: u64::MAX,
            current: 0,
        };
        let text = meminfo(HOST, Some(&memory(u64::MAX, Some(none))), Some(none));
        assert_eq!(of_host(&text, "MemTotal"), 24_684_084);
        assert_eq!(of_host(&text, "MemFree"), 24_684_084 - 102_400);
        assert_eq!(of_host(&text, "SwapTotal"), 2_097_152);
        assert_eq!(of_host(&text, "HugePages_Free"), 6);
        // And not negative where more is in use than the limit of now.
        let room = Room::of(HOST, &memory(1 << 20, None));
        assert_eq!((room.total, room.free, room.available), (1024, 0, 1024));
        assert_eq!((room.swap_total, room.swap_free), (2_097_152, 2_097_000));
    }

    #[test]
    fn without_controllers_it_is_the_hosts() {
        assert_eq!(meminfo(HOST, None, None), HOST);
    }

    #[test]
    fn huge_pages_by_their_limit() {
        let huge = Use {
            limit: 8 << 20,
            current: 2 << 20,
        };
        let text = meminfo(HOST, None, Some(huge));
        let expected = "\
HugePages_Total:       4
HugePages_Free:        3
HugePages_Rsvd:        1
HugePages_Surp:        0
Hugepagesize:       2048 kB
Hugetlb:            8192 kB
DirectMap4k:      100000 kB
";
        assert!(text.ends_with(expected), "{text}");
        for (size, name) in [("64", "64KB"), ("2048", "2MB"), ("1048576", "1GB")] {
            let host = format!("Hugepagesize:    {size} kB\n");
            assert_eq!(huge_page(&host).as_deref(), Some(name));
        }
        assert_eq!(huge_page(""), None);
    }

    #[test]
    fn this_kernels_own_file_keeps_its_form() {
        let host = std::fs::read_to_string("/proc/meminfo").unwrap();
        let form = |text: &str| -> Vec<String> {
            let shape = |line: &str| {
                let (name, rest) = line.split_once(':').unwrap();
                let unit = rest.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
                let end = line.rfind(|c: char| c.is_ascii_digit()).unwrap();
                format!("{name} {unit} {}", end.max(COLUMNS - 1))
            };
            text.lines().map(shape).collect()
        };
        let huge = Use {
            limit: 0,
            current: 0,
        };
        let ours = meminfo(&host, Some(&memory(512 << 20, None)), Some(huge));
        assert_eq!(form(&ours), form(&host));
        assert_eq!(meminfo(&host, None, None), host);
    }
}
