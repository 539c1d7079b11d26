//! What a keeper is asked and tells: a message of any bytes is a request or none, and what a container reads of its resources has the
//! host's lines in the host's order and never more than the host or the limit has.

#![cfg_attr(feature = "libfuzzer", no_main)]

use vzrun::fuzz::view::{Kernel, request, shown};
use vzrun_fuzz::{Bytes, target};

const MEMINFO: [&str; 12] = [
    "MemTotal",
    "MemFree",
    "MemAvailable",
    "Cached",
    "SwapTotal",
    "SwapFree",
    "Dirty",
    "SReclaimable",
    "CommitLimit",
    "HugePages_Total",
    "Hugepagesize",
    "Unknown",
];
const MEMORY_STAT: [&str; 10] = [
    "active_file",
    "inactive_file",
    "slab_reclaimable",
    "file",
    "anon",
    "shmem",
    "pgfault",
    "kernel_stack",
    "swapcached",
    "x",
];
const VMSTAT: [&str; 6] = [
    "nr_free_pages",
    "nr_shmem",
    "pgpgin",
    "pgfault",
    "oom_kill",
    "nr_unknown",
];
const CPU_STAT: [&str; 4] = ["usage_usec", "user_usec", "system_usec", "nice_usec"];

target!(|data| {
    if let Some(kind) = request(data) {
        assert!(data.len() >= 40, "{kind}");
        assert_eq!(
            data[..4],
            u32::try_from(data.len()).expect("a length").to_ne_bytes()
        );
    }
    // Whatever the texts are.
    let text = String::from_utf8_lossy(data).into_owned();
    let mut bytes = Bytes::new(data);
    let any = Kernel {
        cpuinfo: text.clone(),
        cpuset: Some(text.clone()),
        swaps: text.clone(),
        memory: (0, 0),
        ..Kernel::default()
    };
    shown(&any);
    well_formed(&mut bytes);
});

/// Of a size that there may be.
fn number(bytes: &mut Bytes<'_>) -> u64 {
    bytes.number() >> (14 + bytes.byte() % 50)
}

/// Some of the names, in any order, and as the file has them.
fn lines(bytes: &mut Bytes<'_>, names: &[&str], between: &str, unit: &str) -> String {
    let mut text = String::new();
    for _ in 0..bytes.byte() % 16 {
        let name = bytes.one_of(names);
        text += &format!("{name}{between}{}{unit}\n", number(bytes));
    }
    text
}

fn well_formed(bytes: &mut Bytes<'_>) {
    let cpus = 1 + u32::from(bytes.byte() % 20);
    let each = |line: &dyn Fn(u32) -> String| (0..cpus).map(line).collect::<String>();
    let kernel = Kernel {
        meminfo: lines(bytes, &MEMINFO, ":       ", " kB"),
        stat: each(&|cpu| format!("cpu{cpu} 1 2 3 4 0 0 0 0 0 0\n"))
            + "intr 5\nbtime 9\nprocesses 7\n",
        cpuinfo: each(&|cpu| format!("processor\t: {cpu}\nmodel\t: x\n\n")),
        swaps: "Filename\nx 1 2 3 4\n".to_owned(),
        diskstats: "   8  0 sda 1 2 3 4\n 253  1 vda 1\n".to_owned(),
        vmstat: lines(bytes, &VMSTAT, " ", ""),
        memory_stat: lines(bytes, &MEMORY_STAT, " ", ""),
        cpu_stat: [
            lines(bytes, &CPU_STAT, " ", ""),
            lines(bytes, &CPU_STAT, " ", ""),
        ],
        io_stat: format!("8:0 rbytes={} wbytes={}\n", number(bytes), number(bytes)),
        pressure: format!("some avg10=0.00 total={}\n", number(bytes)),
        cpuset: match bytes.byte() % 3 {
            0 => None,
            1 => Some(format!("{}-{}", bytes.byte() % 20, bytes.byte() % 20)),
            _ => Some(format!("{},{}", bytes.byte() % 20, bytes.byte() % 20)),
        },
        memory: (number(bytes), number(bytes)),
        swap: bytes
            .byte()
            .is_multiple_of(2)
            .then(|| (number(bytes), number(bytes))),
        quota: bytes
            .byte()
            .is_multiple_of(2)
            .then(|| usize::from(bytes.byte() % 20)),
        now: [number(bytes), number(bytes)],
    };
    let seen = shown(&kernel);
    let words = || format!("{kernel:?}\n{seen:?}");

    let names = |text: &str, end: char| {
        let lines = text.lines().filter_map(|line| line.split(end).next());
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&kernel.meminfo, ':'),
        names(&seen.meminfo, ':'),
        "{}",
        words()
    );
    assert_eq!(
        names(&kernel.vmstat, ' '),
        names(&seen.others[2], ' '),
        "{}",
        words()
    );
    let total = of(&seen.meminfo, "MemTotal");
    assert!(total <= of(&kernel.meminfo, "MemTotal"), "{}", words());
    assert!(total <= kernel.memory.0 / 1024, "{}", words());
    for name in ["MemFree", "MemAvailable"] {
        let has_total = kernel.meminfo.contains("MemTotal:");
        assert!(
            !has_total || of(&seen.meminfo, name) <= total,
            "{name}: {}",
            words()
        );
    }
    let online: usize = seen
        .online
        .trim()
        .split(',')
        .filter(|part| !part.is_empty())
        .map(span)
        .sum();
    let count =
        |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert!(
        seen.cpus <= cpus as usize && online == seen.cpus,
        "{}",
        words()
    );
    assert_eq!(count(&seen.cpuinfo, "processor"), seen.cpus, "{}", words());
    assert_eq!(count(&seen.stat, "cpu"), seen.cpus + 1, "{}", words());
    assert_eq!(seen.loadavg.split(' ').count(), 5, "{}", words());
    assert_eq!(seen.uptime.split(' ').count(), 2, "{}", words());
}

/// How many CPUs `3-5` or `3` are.
fn span(part: &str) -> usize {
    let (from, to) = part.split_once('-').unwrap_or((part, part));
    let number = |text: &str| text.parse::<usize>().expect("the number of a CPU");
    number(to) + 1 - number(from)
}

/// The number in the first line of that name.
fn of(meminfo: &str, name: &str) -> u64 {
    let mut lines = meminfo.lines().filter_map(|line| line.split_once(':'));
    let value = lines
        .find(|(have, _)| *have == name)
        .map_or("0", |(_, value)| value.trim());
    value.trim_end_matches(" kB").parse().expect("a number")
}
