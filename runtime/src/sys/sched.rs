//! How a process is scheduled: sched_setattr(2), sched_setaffinity(2) and ioprio_set(2).

use rustix::process::Pid;
use rustix::thread::CpuSet;

use super::mount::last_errno;
use crate::error::{Context, Error, Result};

/// Scheduling attributes: what `struct sched_attr` has but for its size and its clamps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SchedAttr {
    /// SCHED_*.
    pub(crate) policy: u32,
    /// SCHED_FLAG_*.
    pub(crate) flags: u64,
    /// For SCHED_OTHER and SCHED_BATCH.
    pub(crate) nice: i32,
    /// For SCHED_FIFO and SCHED_RR.
    pub(crate) priority: u32,
    /// For SCHED_DEADLINE, in nanoseconds, like the next two.
    pub(crate) runtime: u64,
    /// See `runtime`.
    pub(crate) deadline: u64,
    /// See `runtime`.
    pub(crate) period: u64,
}

/// `struct sched_attr` of linux/sched/types.h, as of Linux 5.3.
#[repr(C)]
struct KernelAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    clamp_min: u32,
    clamp_max: u32,
}

/// sched_setattr(2) of the calling thread; the clamps that a flag may ask for are 0.
pub(crate) fn sched_setattr(attr: &SchedAttr) -> Result<()> {
    const SIZE: u32 = 56;
    const { assert!(size_of::<KernelAttr>() == SIZE as usize) };
    let kernel = KernelAttr {
        size: SIZE,
        policy: attr.policy,
        flags: attr.flags,
        nice: attr.nice,
        priority: attr.priority,
        runtime: attr.runtime,
        deadline: attr.deadline,
        period: attr.period,
        clamp_min: 0,
        clamp_max: 0,
    };
    // SAFETY: the attributes are live during the call and tell their own size.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&kernel), 0) };
    if ret == 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os(format!("sched_setattr(0, {attr:?})"), errno))
}

/// The largest number of CPUs that [`sched_setaffinity`] takes.
pub(crate) const CPUS: usize = CpuSet::MAX_CPU;

/// sched_setaffinity(2) of a process, or of the calling thread; CPU numbers from [`CPUS`] on are left out.
pub(crate) fn sched_setaffinity(pid: Option<Pid>, cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus.iter().filter(|cpu| **cpu < CPUS) {
        set.set(*cpu);
    }
    rustix::thread::sched_setaffinity(pid, &set).call(|| {
        let pid = pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        format!("sched_setaffinity({pid}, {cpus:?})")
    })
}

/// ioprio_set(2) of the calling thread.
pub(crate) fn ioprio_set(class: u16, level: u16) -> Result<()> {
    /// IOPRIO_WHO_PROCESS of linux/ioprio.h.
    const WHO_PROCESS: libc::c_int = 1;
    /// IOPRIO_CLASS_SHIFT of linux/ioprio.h.
    const CLASS_SHIFT: u32 = 13;
    let value = libc::c_int::from(class) << CLASS_SHIFT | libc::c_int::from(level);
    // SAFETY: plain numbers only.
    let ret = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) };
    if ret == 0 {
        return Ok(());
    }
    let errno = last_errno();
    Err(Error::os(
        format!("ioprio_set(IOPRIO_WHO_PROCESS, 0, {class}<<13|{level})"),
        errno,
    ))
}
