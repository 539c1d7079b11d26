//! `update`

use clap::Args;
use vzrun::{Container, Result, UpdateOptions};

use super::{Verb, flags};
use crate::args::{Globals, bare};
use crate::input;
use crate::quantity::{bytes, number};

pub(super) const VERB: Verb = Verb {
    name: "update",
    about: "update container resource constraints",
    synopsis: "[command options] <container-id>",
    description: "\
Changes limits of a container: all that are given or, if one of them cannot be had, none. Devices stay as they are. With
--resources they come in the form of \"linux.resources\" of config.json. Sizes may have a unit (b, k, m, g, t, p).",
    define: || UpdateFlags::augment_args(bare("update")),
    run: |globals, matches| update(globals, flags(matches)?),
    ..Verb::ON_ONE_CONTAINER
};

#[derive(Debug, Args)]
#[rustfmt::skip]
struct UpdateFlags {
    /// path to a file with the limits in JSON, or - for stdin; other flags are passed over then
    #[arg(long, short, value_name = "FILE")] resources: Option<String>,
    /// weight for input and output, 10 to 1000
    #[arg(long, value_name = "WEIGHT")] blkio_weight: Option<u16>,
    /// period of the CPU quota in microseconds
    #[arg(long, value_name = "USECS")] cpu_period: Option<String>,
    /// CPU time in each period in microseconds (-1: no limit)
    #[arg(long, value_name = "USECS")] cpu_quota: Option<String>,
    /// CPU time that may be saved up for a burst, in microseconds
    #[arg(long, value_name = "USECS")] cpu_burst: Option<String>,
    /// CPU shares (weight against other containers; 1024 is everybody's)
    #[arg(long, value_name = "SHARES")] cpu_share: Option<String>,
    /// CPU period of realtime processes (cgroup v1 only, ignored)
    #[arg(long, value_name = "USECS")] cpu_rt_period: Option<String>,
    /// CPU time of realtime processes (cgroup v1 only, ignored)
    #[arg(long, value_name = "USECS")] cpu_rt_runtime: Option<String>,
    /// CPUs to use
    #[arg(long, value_name = "LIST")] cpuset_cpus: Option<String>,
    /// memory nodes to use
    #[arg(long, value_name = "LIST")] cpuset_mems: Option<String>,
    /// (obsolete, ignored)
    #[arg(long, value_name = "BYTES", hide = true)] kernel_memory: Option<String>,
    /// (obsolete, ignored)
    #[arg(long, value_name = "BYTES", hide = true)] kernel_memory_tcp: Option<String>,
    /// memory limit in bytes (-1: no limit)
    #[arg(long, value_name = "BYTES")] memory: Option<String>,
    /// 1: use a CPU only when nobody else wants it; 0: as others
    #[arg(long, value_name = "0|1")] cpu_idle: Option<String>,
    /// memory that is not taken away as long as others have some, in bytes
    #[arg(long, value_name = "BYTES")] memory_reservation: Option<String>,
    /// limit of memory and swap together in bytes (-1: no limit of swap)
    #[arg(long, value_name = "BYTES")] memory_swap: Option<String>,
    /// number of processes and threads (-1: no limit)
    #[arg(long, value_name = "N")] pids_limit: Option<i64>,
    /// schema of Intel RDT for the L3 cache
    #[arg(long, value_name = "SCHEMA")] l3_cache_schema: Option<String>,
    /// schema of Intel RDT for memory bandwidth
    #[arg(long, value_name = "SCHEMA")] mem_bw_schema: Option<String>,
    /// name of the container
    #[arg(value_name = "container-id")] id: String,
}

fn update(globals: &Globals, flags: UpdateFlags) -> Result<u8> {
    let mut container = Container::load(&globals.root()?, &flags.id)?;
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let mut options = UpdateOptions {
        l3_cache_schema: some(flags.l3_cache_schema),
        mem_bw_schema: some(flags.mem_bw_schema),
        ..UpdateOptions::default()
    };
    if let Some(file) = some(flags.resources) {
        options.resources = Some(input::read(&file)?);
    } else {
        options = UpdateOptions {
            memory: bytes("memory", flags.memory)?,
            memory_reservation: bytes("memory-reservation", flags.memory_reservation)?,
            memory_swap: bytes("memory-swap", flags.memory_swap)?,
            kernel_memory: bytes("kernel-memory", flags.kernel_memory)?,
            kernel_memory_tcp: bytes("kernel-memory-tcp", flags.kernel_memory_tcp)?,
            cpu_period: number("cpu-period", flags.cpu_period)?,
            cpu_quota: number("cpu-quota", flags.cpu_quota)?,
            cpu_burst: number("cpu-burst", flags.cpu_burst)?,
            cpu_shares: number("cpu-share", flags.cpu_share)?,
            cpu_idle: number("cpu-idle", flags.cpu_idle)?,
            cpu_realtime_period: number("cpu-rt-period", flags.cpu_rt_period)?,
            cpu_realtime_runtime: number("cpu-rt-runtime", flags.cpu_rt_runtime)?,
            cpuset_cpus: some(flags.cpuset_cpus),
            cpuset_mems: some(flags.cpuset_mems),
            blkio_weight: flags.blkio_weight.filter(|weight| *weight != 0),
            pids_limit: flags.pids_limit,
            ..options
        };
    }
    container.update(&options).map(|()| 0)
}
