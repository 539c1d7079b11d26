//! bpf(2) for programs that decide on devices (BPF_PROG_TYPE_CGROUP_DEVICE), attached to a cgroup.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::mount::last_errno;
use crate::error::{Error, Result};

/// One instruction: `struct bpf_insn` of linux/bpf.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Insn {
    pub(crate) code: u8,
    /// The register that is written to, and above it (4 bits each) the one that is read.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

#[cfg(feature = "fuzz")]
impl Insn {
    /// As it is in memory.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let [o, p] = self.offset.to_ne_bytes();
        let [i, j, k, l] = self.immediate.to_ne_bytes();
        [self.code, self.registers, o, p, i, j, k, l]
    }
}

// enum bpf_cmd of linux/bpf.h.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;

/// BPF_PROG_TYPE_CGROUP_DEVICE.
const TYPE_CGROUP_DEVICE: u32 = 15;
/// BPF_CGROUP_DEVICE of enum bpf_attach_type.
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Programs stand side by side, and each one has to agree.
const F_ALLOW_MULTI: u32 = 1 << 1;
const F_REPLACE: u32 = 1 << 2;

/// As many programs as a cgroup can have (BPF_CGROUP_MAX_PROGS).
const MOST_PROGRAMS: usize = 64;
/// How often a program is loaded anew that the verifier has let go, as libbpf does.
const TRIES: usize = 5;
/// For the reasons of the verifier.
const LOG_SIZE: usize = 64 << 10;
const NAME_LENGTH: usize = 16;

/// The arguments of BPF_PROG_LOAD, as of Linux 4.15; the kernel takes what is not given as 0.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_LENGTH],
}

/// The arguments of BPF_PROG_ATTACH and BPF_PROG_DETACH, as of Linux 5.6.
#[repr(C)]
struct Attach {
    target_fd: libc::c_int,
    attach_bpf_fd: libc::c_int,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: libc::c_int,
}

/// The arguments of BPF_PROG_QUERY.
#[repr(C)]
struct Query {
    target_fd: libc::c_int,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
}

/// The arguments of BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// bpf(2).
///
/// # Safety
/// `T` is the C struct that the command takes, and the addresses in it are of memory that lives during the call and has
/// the length that stands beside them.
unsafe fn bpf<T>(command: libc::c_int, arguments: &mut T) -> std::result::Result<i32, Errno> {
    let pointer: *mut T = arguments;
    // SAFETY: the arguments are live, exclusively borrowed and tell their own size; for the rest the caller answers.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    match i32::try_from(ret) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(last_errno()),
    }
}

/// Takes what a command that gives a descriptor has given.
fn owned(descriptor: i32) -> OwnedFd {
    // SAFETY: the kernel has just made it for this call (close-on-exec, as all of bpf(2)), and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// BPF_PROG_LOAD: a program that decides on devices, with at most 15 letters of a name.
///
/// # Errors
/// With the verifier's reason where that has one.
pub(crate) fn prog_load(program: &[Insn], name: &str) -> Result<OwnedFd> {
    let errno = match load(program, name, &mut []) {
        Ok(descriptor) => return Ok(descriptor),
        Err(errno) => errno,
    };
    let call = format!(
        "bpf(BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE, {} instructions)",
        program.len()
    );
    if matches!(errno, Errno::PERM | Errno::NOSYS | Errno::NOMEM) {
        return Err(Error::os(call, errno));
    }
    // Only now: writing the log costs the verifier more than the program itself.
    let mut log = vec![0; LOG_SIZE];
    if let Ok(descriptor) = load(program, name, &mut log) {
        return Ok(descriptor);
    }
    let reason = last_lines(&log);
    match reason.is_empty() {
        true => Err(Error::os(call, errno)),
        false => Err(Error::os(format!("{call} ({reason})"), errno)),
    }
}

fn load(program: &[Insn], name: &str, log: &mut [u8]) -> std::result::Result<OwnedFd, Errno> {
    let mut prog_name = [0; NAME_LENGTH];
    for (to, from) in prog_name[..NAME_LENGTH - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let mut arguments = Load {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).map_err(|_| Errno::INVAL)?,
        log_buf: if log.is_empty() {
            0
        } else {
            log.as_mut_ptr() as u64
        },
        kern_version: 0,
        prog_flags: 0,
        prog_name,
    };
    let mut tries = 1;
    loop {
        // SAFETY: instructions, licence (a C string) and log are live during the call, the lengths are theirs, and the log
        // is exclusively borrowed.
        match unsafe { bpf(PROG_LOAD, &mut arguments) } {
            // A signal has come, or this process is being frozen (signal_pending() in kernel/bpf/verifier.c).
            Err(Errno::AGAIN) if tries < TRIES => tries += 1,
            other => return other.map(owned),
        }
    }
}

/// What the verifier said last: the reason stands at the end, before a line of statistics.
fn last_lines(log: &[u8]) -> String {
    let length = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..length]);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("processed "))
        .collect();
    lines[lines.len().saturating_sub(2)..].join("; ")
}

/// BPF_PROG_QUERY: the ids of the programs that decide on devices for this cgroup (not those of the ones above it).
pub(crate) fn prog_query(cgroup: impl AsFd) -> Result<Vec<u32>> {
    let target = cgroup.as_fd().as_raw_fd();
    let mut ids = [0u32; MOST_PROGRAMS];
    let mut arguments = Query {
        target_fd: target,
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST_PROGRAMS as u32,
    };
    // SAFETY: the array of ids is live during the call and as long as prog_cnt says.
    match unsafe { bpf(PROG_QUERY, &mut arguments) } {
        Ok(_) => {
            let count = MOST_PROGRAMS.min(arguments.prog_cnt as usize);
            Ok(ids[..count].to_vec())
        }
        Err(errno) => Err(Error::os(
            format!("bpf(BPF_PROG_QUERY, {target}, BPF_CGROUP_DEVICE)"),
            errno,
        )),
    }
}

/// BPF_PROG_GET_FD_BY_ID.
pub(crate) fn prog_get_fd_by_id(id: u32) -> Result<OwnedFd> {
    let mut arguments = ById {
        prog_id: id,
        next_id: 0,
        open_flags: 0,
    };
    // SAFETY: plain numbers only.
    match unsafe { bpf(PROG_GET_FD_BY_ID, &mut arguments) } {
        Ok(descriptor) => Ok(owned(descriptor)),
        Err(errno) => Err(Error::os(
            format!("bpf(BPF_PROG_GET_FD_BY_ID, {id})"),
            errno,
        )),
    }
}

/// BPF_PROG_ATTACH to a cgroup, beside the programs that are there, or in the place of one of them with no moment in
/// between.
pub(crate) fn prog_attach(
    cgroup: impl AsFd,
    program: impl AsFd,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let flags = match replaced {
        Some(_) => F_ALLOW_MULTI | F_REPLACE,
        None => F_ALLOW_MULTI,
    };
    let replaced = replaced.map_or(0, |program| program.as_raw_fd());
    let mut arguments = attachment(&cgroup, &program, flags, replaced);
    // SAFETY: plain numbers only; the descriptors are borrowed.
    match unsafe { bpf(PROG_ATTACH, &mut arguments) } {
        Ok(_) => Ok(()),
        Err(errno) => {
            let names = match flags & F_REPLACE {
                0 => "BPF_F_ALLOW_MULTI",
                _ => "BPF_F_ALLOW_MULTI|BPF_F_REPLACE",
            };
            let target = arguments.target_fd;
            Err(Error::os(
                format!("bpf(BPF_PROG_ATTACH, {target}, BPF_CGROUP_DEVICE, {names})"),
                errno,
            ))
        }
    }
}

/// BPF_PROG_DETACH from a cgroup.
pub(crate) fn prog_detach(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut arguments = attachment(&cgroup, &program, 0, 0);
    // SAFETY: plain numbers only; the descriptors are borrowed.
    match unsafe { bpf(PROG_DETACH, &mut arguments) } {
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::os(
            format!(
                "bpf(BPF_PROG_DETACH, {}, BPF_CGROUP_DEVICE)",
                arguments.target_fd
            ),
            errno,
        )),
    }
}

fn attachment(cgroup: &impl AsFd, program: &impl AsFd, flags: u32, replaced: i32) -> Attach {
    Attach {
        target_fd: cgroup.as_fd().as_raw_fd(),
        attach_bpf_fd: program.as_fd().as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: flags,
        replace_bpf_fd: replaced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_in_the_last_lines() {
        let log = b"0: (b7) r0 = 2\n1: (95) exit\n\nAt program exit the register R0 has 2\nprocessed 2 insns\n\0\0";
        assert_eq!(
            last_lines(log),
            "1: (95) exit; At program exit the register R0 has 2"
        );
        assert_eq!(last_lines(b"\0"), "");
    }
}
