//! What a system container sees of its resources in /proc and /sys, as its cgroup has them: what each file says (`meminfo`, `cpus`,
//! `times`, `devices`, `vmstat`, out of `sources`), the file system that its keeper serves them by (`server`), and how they get
//! into place (`places`).
//!
//! Names, order and form are always those of the host's own file, so that they are this kernel's. Without the controller that a
//! number needs it is the host's number.

mod cpus;
mod devices;
#[cfg(feature = "fuzz")]
pub mod doors;
mod meminfo;
mod places;
mod server;
mod sources;
mod sysinfo;
mod times;
mod vmstat;

use rustix::time::{ClockId, clock_gettime};

pub(crate) use places::{Trees, keep_whole};
pub(crate) use server::Server;
pub(crate) use sources::Sources;
pub(crate) use sysinfo::SysInfo;

use crate::error::Result;
use crate::sys::process;
use meminfo::Room;
use sources::Keyed;
use times::{Busy, CpuTime, Load, Shown, Waits};

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    MemInfo,
    CpuInfo,
    Stat,
    LoadAvg,
    Uptime,
    Swaps,
    DiskStats,
    VmStat,
    /// `cpu`, `io`, `memory` or `irq`.
    Pressure(&'static str),
    CpusOnline,
}

/// Its name in the file system of the keeper, and where it is put: below /proc, or below /sys.
const FILES: [(&str, Place, File); 13] = [
    ("meminfo", Place::Proc("meminfo"), File::MemInfo),
    ("cpuinfo", Place::Proc("cpuinfo"), File::CpuInfo),
    ("stat", Place::Proc("stat"), File::Stat),
    ("loadavg", Place::Proc("loadavg"), File::LoadAvg),
    ("uptime", Place::Proc("uptime"), File::Uptime),
    ("swaps", Place::Proc("swaps"), File::Swaps),
    ("diskstats", Place::Proc("diskstats"), File::DiskStats),
    ("vmstat", Place::Proc("vmstat"), File::VmStat),
    (
        "pressure-cpu",
        Place::Proc("pressure/cpu"),
        File::Pressure("cpu"),
    ),
    (
        "pressure-io",
        Place::Proc("pressure/io"),
        File::Pressure("io"),
    ),
    (
        "pressure-memory",
        Place::Proc("pressure/memory"),
        File::Pressure("memory"),
    ),
    (
        "pressure-irq",
        Place::Proc("pressure/irq"),
        File::Pressure("irq"),
    ),
    (
        "cpus-online",
        Place::Sys("devices/system/cpu/online"),
        File::CpusOnline,
    ),
];

/// A path below a file system of the kernel's.
#[derive(Debug, Clone, Copy)]
enum Place {
    Proc(&'static str),
    Sys(&'static str),
}

/// What is to be remembered between two looks.
#[derive(Debug, Default)]
struct View {
    /// When this boot began, in microseconds of CLOCK_BOOTTIME of the keeper; `None`: its clocks are not its own.
    begun: Option<u64>,
    /// The last pid that had been given away before it, in the keeper's pid namespace.
    last_pid: u64,
    time: CpuTime,
    load: Load,
}

impl View {
    /// A boot begins, which has its own clocks or not.
    fn begin(sources: &Sources<'_>, own_clocks: bool) -> View {
        let now = now();
        let stat = cpu_stat(sources);
        View {
            begun: own_clocks.then_some(now),
            last_pid: last_pid(sources),
            time: CpuTime::begin(now, Busy::of(&stat)),
            load: Load::begin(now, waits(sources, &stat)),
        }
    }

    /// What the file says now.
    fn text(&mut self, file: File, sources: &Sources<'_>) -> Result<String> {
        Ok(match file {
            File::MemInfo => {
                let host = sources.host("meminfo")?;
                let huge = meminfo::huge_page(&host);
                let huge = huge.and_then(|size| sources.uses(&format!("hugetlb.{size}")));
                meminfo::meminfo(&host, sources.memory().as_ref(), huge)
            }
            File::CpuInfo => {
                let cpus = cpus(sources, &sources.host("stat")?);
                cpus::cpuinfo(&sources.host("cpuinfo")?, &cpus)
            }
            File::CpusOnline => cpus::list(&cpus(sources, &sources.host("stat")?)),
            File::Stat => self.stat(sources)?,
            File::LoadAvg => {
                self.bring_load_forward(sources);
                self.load.text(threads(sources), self.processes(sources))
            }
            File::Uptime => {
                let idle = self.times(sources, &cpus(sources, &sources.host("stat")?));
                times::uptime(self.since_boot(sources)?, idle.idle)
            }
            File::Swaps => {
                let host = sources.host("swaps")?;
                devices::swaps(&host, room(sources)?.as_ref())
            }
            File::DiskStats => {
                let io_stat = sources.cgroup("io.stat");
                devices::diskstats(&sources.host("diskstats")?, io_stat.as_deref())
            }
            File::VmStat => {
                let memory = sources.memory();
                let room = room(sources)?;
                let bytes = devices::bytes(&sources.cgroup("io.stat").unwrap_or_default());
                let memory = memory.as_ref().zip(room.as_ref());
                vmstat::vmstat(
                    &sources.host("vmstat")?,
                    memory,
                    bytes,
                    process::page_size(),
                )
            }
            File::Pressure(kind) => match sources.cgroup(&format!("{kind}.pressure")) {
                Some(text) => text,
                None => sources.host(&format!("pressure/{kind}"))?,
            },
        })
    }

    /// What sysinfo(2) says now.
    fn sysinfo(&mut self, sources: &Sources<'_>) -> Result<SysInfo> {
        let meminfo = self.text(File::MemInfo, sources)?;
        self.bring_load_forward(sources);
        Ok(SysInfo {
            uptime: self.since_boot(sources)?.div_ceil(1_000_000),
            loads: self.load.averages().map(sysinfo::load),
            memory: sysinfo::memory(&meminfo),
            threads: threads(sources),
        })
    }

    /// In microseconds.
    fn since_boot(&self, sources: &Sources<'_>) -> Result<u64> {
        Ok(match self.begun {
            Some(begun) => now().saturating_sub(begun),
            None => microseconds(&sources.host("uptime")?),
        })
    }

    fn stat(&mut self, sources: &Sources<'_>) -> Result<String> {
        let host = sources.host("stat")?;
        let cpus = cpus(sources, &host);
        let times = self.times(sources, &cpus);
        self.bring_load_forward(sources);
        let (running, blocked) = self.load.now(threads(sources));
        let counts = cpus::Counts {
            btime: self.begun.map(|begun| {
                let age = now().saturating_sub(begun);
                (since_1970().saturating_sub(age)) / 1_000_000
            }),
            processes: self.processes(sources),
            running,
            blocked,
        };
        Ok(cpus::stat(&host, cpus.len(), &times, &counts))
    }

    fn times(&mut self, sources: &Sources<'_>, cpus: &[u32]) -> Shown {
        let count = u64::try_from(cpus.len()).unwrap_or(1);
        let busy = Busy::of(&cpu_stat(sources));
        self.time.bring_forward(now(), busy, count)
    }

    fn bring_load_forward(&mut self, sources: &Sources<'_>) {
        let waits = waits(sources, &cpu_stat(sources));
        self.load.bring_forward(now(), waits);
    }

    /// The last pid of the container: its processes have numbers in the keeper's pid namespace, too, one after the other as in
    /// their own.
    fn processes(&self, sources: &Sources<'_>) -> u64 {
        last_pid(sources).saturating_sub(self.last_pid)
    }
}

fn cpu_stat(sources: &Sources<'_>) -> Keyed {
    Keyed(sources.cgroup("cpu.stat").unwrap_or_default())
}

fn waits(sources: &Sources<'_>, stat: &Keyed) -> Waits {
    let total = |name| times::some_total(&sources.cgroup(name).unwrap_or_default());
    Waits {
        used: stat.get("usage_usec"),
        for_cpu: total("cpu.pressure"),
        for_io: total("io.pressure"),
    }
}

fn cpus(sources: &Sources<'_>, stat: &str) -> Vec<u32> {
    let cpuset = sources.cgroup("cpuset.cpus.effective");
    let quota = sources.cpus_by_quota();
    cpus::of_container(&cpus::online(stat), cpuset.as_deref(), quota)
}

fn room(sources: &Sources<'_>) -> Result<Option<Room>> {
    let host = sources.host("meminfo")?;
    Ok(sources.memory().map(|memory| Room::of(&host, &memory)))
}

/// How many threads there are, without the keeper; without the pids controller, how many processes.
fn threads(sources: &Sources<'_>) -> u64 {
    let current = sources.cgroup("pids.current");
    let current = current.and_then(|text| text.trim().parse::<u64>().ok());
    let counted = || {
        let processes = sources.cgroup.map(|cgroup| cgroup.processes());
        let processes = processes.and_then(std::result::Result::ok);
        processes.and_then(|list| u64::try_from(list.len()).ok())
    };
    current.or_else(counted).unwrap_or(2).saturating_sub(1)
}

/// Of the pid namespace of this process. 0 where the kernel does not tell (CONFIG_CHECKPOINT_RESTORE).
fn last_pid(sources: &Sources<'_>) -> u64 {
    let text = sources.host("sys/kernel/ns_last_pid").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// CLOCK_BOOTTIME of this process, in microseconds.
fn now() -> u64 {
    microseconds_of(ClockId::Boottime)
}

fn since_1970() -> u64 {
    microseconds_of(ClockId::Realtime)
}

fn microseconds_of(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

/// The first number of /proc/uptime.
fn microseconds(uptime: &str) -> u64 {
    let seconds = uptime.split(' ').next().and_then(|word| word.parse().ok());
    (seconds.unwrap_or(0.0f64) * 1e6) as u64
}
