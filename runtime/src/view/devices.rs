//! /proc/swaps and /proc/diskstats.

use super::meminfo::Room;

/// What the io controller counts of one device (io.stat of Documentation/admin-guide/cgroup-v2.rst).
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    read_bytes: u64,
    written_bytes: u64,
    reads: u64,
    writes: u64,
    discarded_bytes: u64,
    discards: u64,
}

/// One file for all that there is: which of the host's the pages are on is not known.
pub(super) fn swaps(host: &str, room: Option<&Room>) -> String {
    let Some(room) = room else {
        return host.to_owned();
    };
    let title = host.lines().next().unwrap_or_default();
    let mut text = format!("{title}\n");
    if room.swap_total > 0 {
        let used = room.swap_total.saturating_sub(room.swap_free);
        // As the kernel sets it: a name of 40 columns, and tabs behind shorter numbers.
        let tab = |kib: u64| if kib < 10_000_000 { "\t" } else { "" };
        let total = room.swap_total;
        text += &format!(
            "{:<40}virtual\t\t{total}\t{}{used}\t{}-2\n",
            "none",
            tab(total),
            tab(used)
        );
    }
    text
}

/// The host's devices with the container's numbers: those that it has used. io.stat has neither merges nor times.
pub(super) fn diskstats(host: &str, io_stat: Option<&str>) -> String {
    let Some(io_stat) = io_stat else {
        return host.to_owned();
    };
    let mut text = String::new();
    for line in host.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(major), Some(minor), Some(name)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let Some(counts) = counts_of(io_stat, &format!("{major}:{minor}")) else {
            continue;
        };
        let fields = [
            counts.reads,
            0,
            counts.read_bytes / 512,
            0,
            counts.writes,
            0,
            counts.written_bytes / 512,
            0,
            0,
            0,
            0,
            counts.discards,
            0,
            counts.discarded_bytes / 512,
        ];
        text += &format!("{major:>4} {minor:>7} {name}");
        // As many as this kernel has.
        let shown = fields.into_iter().chain(std::iter::repeat(0));
        for value in shown.take(words.count()) {
            text += &format!(" {value}");
        }
        text.push('\n');
    }
    text
}

/// Bytes read and written, on all devices.
pub(super) fn bytes(io_stat: &str) -> (u64, u64) {
    let counts = io_stat.lines().map(counts);
    counts.fold((0, 0), |(read, written), counts| {
        (read + counts.read_bytes, written + counts.written_bytes)
    })
}

fn counts_of(io_stat: &str, device: &str) -> Option<Counts> {
    let mut lines = io_stat.lines();
    lines
        .find(|line| line.split(' ').next() == Some(device))
        .map(counts)
}

fn counts(line: &str) -> Counts {
    let mut counts = Counts::default();
    for (key, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
        let value = value.parse().unwrap_or(0);
        match key {
            "rbytes" => counts.read_bytes = value,
            "wbytes" => counts.written_bytes = value,
            "rios" => counts.reads = value,
            "wios" => counts.writes = value,
            "dbytes" => counts.discarded_bytes = value,
            "dios" => counts.discards = value,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_swap() {
        let host = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/vdb                                partition\t2097148\t\t0\t\t-2\n";
        let room = |swap_total, swap_free| Room {
            total: 0,
            free: 0,
            available: 0,
            swap_total,
            swap_free,
        };
        let title = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert_eq!(swaps(host, None), host);
        assert_eq!(swaps(host, Some(&room(0, 0))), title);
        let text = swaps(host, Some(&room(65_536, 65_000)));
        let line = format!("{:<40}virtual\t\t65536\t\t536\t\t-2\n", "none");
        assert_eq!(text, format!("{title}{line}"));
    }

    #[test]
    fn devices_that_are_used() {
        let host = "\
   7       0 loop0 39 1 80 3 0 0 0 0 0 4 3 0 0 0 0 0 0
 259       0 nvme0n1 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21
";
        let stat = "259:0 rbytes=1024 wbytes=4096 rios=2 wios=1 dbytes=512 dios=1\n8:0 rbytes=0\n";
        assert_eq!(
            diskstats(host, Some(stat)),
            " 259       0 nvme0n1 2 0 2 0 1 0 8 0 0 0 0 1 0 1 0 0 0\n"
        );
        assert_eq!(diskstats(host, Some("")), "");
        assert_eq!(diskstats(host, None), host);
        assert_eq!(bytes(stat), (1024, 4096));
    }
}
