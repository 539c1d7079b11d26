//! /proc/vmstat: the host's names in their order, with what memory.stat counts of the container; 0 for what nobody does.

use super::meminfo::Room;
use super::sources::Memory;

/// Names whose number is in memory.stat under another name, in bytes there and in pages here.
const PAGES: [(&str, &str); 21] = [
    ("nr_inactive_anon", "inactive_anon"),
    ("nr_active_anon", "active_anon"),
    ("nr_inactive_file", "inactive_file"),
    ("nr_active_file", "active_file"),
    ("nr_unevictable", "unevictable"),
    ("nr_zone_inactive_anon", "inactive_anon"),
    ("nr_zone_active_anon", "active_anon"),
    ("nr_zone_inactive_file", "inactive_file"),
    ("nr_zone_active_file", "active_file"),
    ("nr_zone_unevictable", "unevictable"),
    ("nr_anon_pages", "anon"),
    ("nr_mapped", "file_mapped"),
    ("nr_file_pages", "file"),
    ("nr_dirty", "file_dirty"),
    ("nr_writeback", "file_writeback"),
    ("nr_shmem", "shmem"),
    ("nr_slab_reclaimable", "slab_reclaimable"),
    ("nr_slab_unreclaimable", "slab_unreclaimable"),
    ("nr_page_table_pages", "pagetables"),
    ("nr_sec_page_table_pages", "sec_pagetables"),
    ("nr_swapcached", "swapcached"),
];

/// Rules by which the kernel writes back, of the whole machine.
const OF_HOST: [&str; 2] = ["nr_dirty_threshold", "nr_dirty_background_threshold"];

/// `bytes` were read from and written to devices; `page` is the size of one.
pub(super) fn vmstat(
    host: &str,
    memory: Option<(&Memory, &Room)>,
    bytes: (u64, u64),
    page: u64,
) -> String {
    let Some((memory, room)) = memory else {
        return host.to_owned();
    };
    let mut text = String::with_capacity(host.len());
    for line in host.lines() {
        let Some((name, of_host)) = line.split_once(' ') else {
            continue;
        };
        let pages = PAGES.iter().find(|(have, _)| *have == name);
        let value = match (name, pages) {
            (_, Some((_, key))) => memory.stat.get(key) / page,
            ("nr_free_pages", _) => room.free * 1024 / page,
            ("nr_kernel_stack", _) => memory.stat.get("kernel_stack") / 1024,
            // In KiB.
            ("pgpgin", _) => bytes.0 / 1024,
            ("pgpgout", _) => bytes.1 / 1024,
            ("oom_kill", _) => memory.oom_kill,
            // Events have the same names in both.
            _ if name.starts_with("nr_") => 0,
            _ => memory.stat.get(name),
        };
        match OF_HOST.contains(&name) {
            true => text += &format!("{name} {of_host}\n"),
            false => text += &format!("{name} {value}\n"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::sources::{Keyed, Use};
    use super::*;

    fn memory() -> Memory {
        let stat = "anon 8192\nfile 4096\nkernel_stack 32768\npgfault 12\npgmajfault 3\npgscan_direct 5\nshmem 4096\n";
        Memory {
            memory: Use {
                limit: 1 << 20,
                current: 1 << 19,
            },
            swap: None,
            stat: Keyed(stat.into()),
            oom_kill: 2,
        }
    }

    const ROOM: Room = Room {
        total: 1024,
        free: 512,
        available: 600,
        swap_total: 0,
        swap_free: 0,
    };

    #[test]
    fn names_of_the_host_numbers_of_the_container() {
        let host = "nr_free_pages 99\nnr_anon_pages 99\nnr_kernel_stack 99\nnr_bounce 99\nnr_dirty_threshold 99\n\
                    pgpgin 99\npgpgout 99\npgfault 99\npgscan_direct 99\noom_kill 99\nballoon_inflate 99\n";
        let expected = "nr_free_pages 128\nnr_anon_pages 2\nnr_kernel_stack 32\nnr_bounce 0\nnr_dirty_threshold 99\n\
                        pgpgin 4\npgpgout 8\npgfault 12\npgscan_direct 5\noom_kill 2\nballoon_inflate 0\n";
        let text = vmstat(host, Some((&memory(), &ROOM)), (4096, 8192), 4096);
        assert_eq!(text, expected);
        assert_eq!(vmstat(host, None, (0, 0), 4096), host);
    }

    #[test]
    fn this_kernels_own_file_keeps_its_form() {
        let host = std::fs::read_to_string("/proc/vmstat").unwrap();
        let names = |text: &str| -> Vec<String> {
            let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
            text.lines().map(name).collect()
        };
        let ours = vmstat(&host, Some((&memory(), &ROOM)), (0, 0), 4096);
        assert_eq!(names(&ours), names(&host));
    }
}
