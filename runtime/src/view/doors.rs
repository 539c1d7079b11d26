//! For the fuzz targets (feature `fuzz`): what the kernel asks of a keeper, and what it is told.

use super::cpus::{self, Counts};
use super::meminfo::{self, Room};
use super::sources::{Keyed, Memory, Use};
use super::times::{self, Busy, CpuTime, Load, Waits};
use super::{devices, vmstat};
use crate::sys::fuse;

/// Which operation a message of the kernel asks for, with its arguments; `None`: it is no message.
pub fn request(bytes: &[u8]) -> Option<String> {
    fuse::parse(bytes).map(|request| format!("{:?}", request.kind))
}

/// What there is to be read: the host's files, those of the container's cgroup, and its limits.
#[derive(Debug, Default)]
pub struct Kernel {
    /// /proc/meminfo.
    pub meminfo: String,
    /// /proc/stat.
    pub stat: String,
    /// /proc/cpuinfo.
    pub cpuinfo: String,
    /// /proc/swaps.
    pub swaps: String,
    /// /proc/diskstats.
    pub diskstats: String,
    /// /proc/vmstat.
    pub vmstat: String,
    /// memory.stat.
    pub memory_stat: String,
    /// cpu.stat before and now.
    pub cpu_stat: [String; 2],
    /// io.stat.
    pub io_stat: String,
    /// cpu.pressure.
    pub pressure: String,
    /// cpuset.cpus.effective.
    pub cpuset: Option<String>,
    /// Limit and use.
    pub memory: (u64, u64),
    /// The same of swap.
    pub swap: Option<(u64, u64)>,
    /// CPUs by quota.
    pub quota: Option<usize>,
    /// Microseconds, before and now.
    pub now: [u64; 2],
}

/// What the container reads.
#[derive(Debug)]
pub struct Shown {
    /// /proc/meminfo.
    pub meminfo: String,
    /// /proc/stat.
    pub stat: String,
    /// /proc/cpuinfo.
    pub cpuinfo: String,
    /// The CPUs that are online.
    pub online: String,
    /// How many these are.
    pub cpus: usize,
    /// /proc/loadavg.
    pub loadavg: String,
    /// /proc/uptime.
    pub uptime: String,
    /// All others.
    pub others: [String; 3],
}

/// All files.
pub fn shown(kernel: &Kernel) -> Shown {
    let uses = |(limit, current)| Use { limit, current };
    let memory = Memory {
        memory: uses(kernel.memory),
        swap: kernel.swap.map(uses),
        stat: Keyed(kernel.memory_stat.clone()),
        oom_kill: 0,
    };
    let room = Room::of(&kernel.meminfo, &memory);
    let huge = meminfo::huge_page(&kernel.meminfo).map(|_| memory.memory);
    let online = cpus::online(&kernel.stat);
    let cpus = cpus::of_container(&online, kernel.cpuset.as_deref(), kernel.quota);
    let [before, now] = kernel.cpu_stat.each_ref().map(|text| Keyed(text.clone()));
    let mut time = CpuTime::begin(kernel.now[0], Busy::of(&before));
    let waits = |stat: &Keyed, for_cpu| Waits {
        used: stat.get("usage_usec"),
        for_cpu,
        for_io: 0,
    };
    let mut load = Load::begin(kernel.now[0], waits(&before, 0));
    let total = times::some_total(&kernel.pressure);
    load.bring_forward(kernel.now[1], waits(&now, total));
    let count = u64::try_from(cpus.len()).unwrap_or(1);
    let times = time.bring_forward(kernel.now[1], Busy::of(&now), count);
    let counts = Counts {
        btime: Some(1),
        processes: 2,
        running: 3,
        blocked: 4,
    };
    let bytes = devices::bytes(&kernel.io_stat);
    Shown {
        meminfo: meminfo::meminfo(&kernel.meminfo, Some(&memory), huge),
        stat: cpus::stat(&kernel.stat, cpus.len(), &times, &counts),
        cpuinfo: cpus::cpuinfo(&kernel.cpuinfo, &cpus),
        online: cpus::list(&cpus),
        cpus: cpus.len(),
        loadavg: load.text(5, 6),
        uptime: times::uptime(kernel.now[1], times.idle),
        others: [
            devices::swaps(&kernel.swaps, Some(&room)),
            devices::diskstats(&kernel.diskstats, Some(&kernel.io_stat)),
            vmstat::vmstat(&kernel.vmstat, Some((&memory, &room)), bytes, 4096),
        ],
    }
}
