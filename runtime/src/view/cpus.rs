//! The CPUs that the container has: /proc/cpuinfo, /proc/stat and /sys/devices/system/cpu/online.

use super::times::Shown;

/// The CPUs in /proc/stat of the host, by their numbers there: those that are online.
pub(super) fn online(stat: &str) -> Vec<u32> {
    let number = |line: &str| line.strip_prefix("cpu")?.split(' ').next()?.parse().ok();
    stat.lines().filter_map(number).collect()
}

/// The container's: those of its cpuset, and no more of them than its quota is worth of.
pub(super) fn of_container(online: &[u32], cpuset: Option<&str>, quota: Option<usize>) -> Vec<u32> {
    let mut cpus: Vec<u32> = match cpuset.map(parse_list).filter(|set| !set.is_empty()) {
        Some(set) => {
            let has = |cpu: u32| set.iter().any(|(from, to)| (*from..=*to).contains(&cpu));
            online.iter().copied().filter(|cpu| has(*cpu)).collect()
        }
        None => online.to_vec(),
    };
    cpus.truncate(quota.unwrap_or(usize::MAX));
    cpus
}

/// `0-2,5` as pairs of first and last (cpuset(7), "List format").
fn parse_list(text: &str) -> Vec<(u32, u32)> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some((from.parse().ok()?, to.parse().ok()?))
    };
    text.trim().split(',').filter_map(range).collect()
}

/// The list format: those are numbers by which threads can be bound, so they are the real ones.
pub(super) fn list(cpus: &[u32]) -> String {
    let mut text = String::new();
    let mut cpus = cpus.iter().copied().peekable();
    while let Some(from) = cpus.next() {
        let mut to = from;
        while let Some(next) = cpus.next_if(|next| *next == to + 1) {
            to = next;
        }
        let comma = if text.is_empty() { "" } else { "," };
        match from == to {
            true => text += &format!("{comma}{from}"),
            false => text += &format!("{comma}{from}-{to}"),
        }
    }
    text.push('\n');
    text
}

/// The host's paragraphs of these CPUs, numbered from 0.
pub(super) fn cpuinfo(host: &str, cpus: &[u32]) -> String {
    let mut text = String::with_capacity(host.len());
    let mut seen = 0;
    for paragraph in host.split_inclusive("\n\n") {
        let of_cpu = paragraph
            .split_once('\n')
            .and_then(|(first, rest)| Some((processor(first)?, first.split_once(':')?.0, rest)));
        match of_cpu {
            Some((cpu, name, rest)) if cpus.contains(&cpu) => {
                text += &format!("{name}: {seen}\n{rest}");
                seen += 1;
            }
            Some(_) => {}
            // About all of them, as on 32-bit ARM.
            None => text += paragraph,
        }
    }
    text
}

/// `processor : 3`.
fn processor(line: &str) -> Option<u32> {
    let (name, value) = line.split_once(':')?;
    (name.trim() == "processor").then(|| value.trim().parse().ok())?
}

/// The lines of /proc/stat that are the container's; the others are the host's: interrupts and switches are not counted by
/// container.
pub(super) struct Counts {
    /// In seconds since 1970; `None`: the kernel's own is right.
    pub(super) btime: Option<u64>,
    /// Processes and threads made since boot.
    pub(super) processes: u64,
    pub(super) running: u64,
    pub(super) blocked: u64,
}

/// /proc/stat out of the host's. The time of all CPUs is known, that of each is not: it is shared out evenly.
pub(super) fn stat(host: &str, cpus: usize, times: &Shown, counts: &Counts) -> String {
    let mut text = String::with_capacity(host.len());
    let share = |all: u64| all / u64::try_from(cpus.max(1)).unwrap_or(1);
    text += &line("cpu ", times, |all| all);
    for cpu in 0..cpus {
        text += &line(&format!("cpu{cpu}"), times, share);
    }
    for line in host.lines().filter(|line| !line.starts_with("cpu")) {
        let value = match (line.split(' ').next(), counts.btime) {
            (Some("btime"), Some(btime)) => Some(btime),
            (Some("processes"), _) => Some(counts.processes),
            (Some("procs_running"), _) => Some(counts.running),
            (Some("procs_blocked"), _) => Some(counts.blocked),
            _ => None,
        };
        match (line.split_once(' '), value) {
            (Some((name, _)), Some(value)) => text += &format!("{name} {value}\n"),
            _ => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

/// user, nice, system, idle; iowait, irq, softirq, steal, guest and guest_nice are not known by container (proc_stat(5)).
fn line(name: &str, times: &Shown, share: impl Fn(u64) -> u64) -> String {
    let [user, nice, system, idle] =
        [times.user, times.nice, times.system, times.idle].map(|usec| share(usec) / 10_000);
    format!("{name} {user} {nice} {system} {idle} 0 0 0 0 0 0\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "\
cpu  79829 209908 52031 26691 521 0 537 389 0 0
cpu0 39827 104928 24442 15366 131 0 36 208 0 0
cpu1 40002 104979 27589 11324 389 0 500 180 0 0
cpu3 40002 104979 27589 11324 389 0 500 180 0 0
intr 3893782 0 1
ctxt 14786754
btime 1795963135
processes 317327
procs_running 10
procs_blocked 0
softirq 2635121 0 233170
";

    #[test]
    fn which_cpus() {
        let online = online(STAT);
        assert_eq!(online, [0, 1, 3]);
        for (cpuset, quota, cpus, text) in [
            (None, None, vec![0, 1, 3], "0-1,3\n"),
            (None, Some(2), vec![0, 1], "0-1\n"),
            (Some("1-7\n"), None, vec![1, 3], "1,3\n"),
            (Some("1-7\n"), Some(1), vec![1], "1\n"),
            (Some("3"), Some(5), vec![3], "3\n"),
            (Some("\n"), None, vec![0, 1, 3], "0-1,3\n"),
        ] {
            assert_eq!(of_container(&online, cpuset, quota), cpus, "{cpuset:?}");
            assert_eq!(list(&cpus), text);
        }
        assert_eq!(list(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8\n");
    }

    #[test]
    fn paragraphs_are_numbered_anew() {
        let host = "processor\t: 0\nmodel\t\t: a\n\nprocessor\t: 1\nmodel\t\t: b\n\n\
                    processor\t: 3\nmodel\t\t: c\n\nHardware\t: x\n";
        assert_eq!(
            cpuinfo(host, &[1, 3]),
            "processor\t: 0\nmodel\t\t: b\n\nprocessor\t: 1\nmodel\t\t: c\n\nHardware\t: x\n"
        );
        assert_eq!(cpuinfo(host, &[0, 1, 3]).lines().count(), 10);
        let own = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let all: Vec<u32> = (0..4096).collect();
        // With no CPU missing in between it is the same text.
        if own.matches("processor\t").count() == online_of_this_host().len() {
            assert_eq!(cpuinfo(&own, &all), own);
        }
    }

    fn online_of_this_host() -> Vec<u32> {
        online(&std::fs::read_to_string("/proc/stat").unwrap())
    }

    #[test]
    fn stat_of_two_cpus() {
        let times = Shown {
            user: 4_000_000,
            nice: 20_000,
            system: 2_000_000,
            idle: 10_000_000,
        };
        let counts = Counts {
            btime: Some(1_795_970_000),
            processes: 12,
            running: 1,
            blocked: 0,
        };
        let expected = "\
cpu  400 2 200 1000 0 0 0 0 0 0
cpu0 200 1 100 500 0 0 0 0 0 0
cpu1 200 1 100 500 0 0 0 0 0 0
intr 3893782 0 1
ctxt 14786754
btime 1795970000
processes 12
procs_running 1
procs_blocked 0
softirq 2635121 0 233170
";
        assert_eq!(stat(STAT, 2, &times, &counts), expected);
        let host = std::fs::read_to_string("/proc/stat").unwrap();
        let form = |text: &str| -> Vec<(String, usize)> {
            let line = |line: &str| {
                let words: Vec<&str> = line.split(' ').collect();
                (words[0].to_owned(), words.len())
            };
            text.lines().map(line).collect()
        };
        let ours = stat(&host, online(&host).len(), &times, &counts);
        assert_eq!(form(&ours), form(&host));
    }
}
