//! seccomp(2).

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::mount::last_errno;
use crate::error::{Error, Result};

/// One instruction of a classic BPF program: `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SockFilter {
    pub(crate) code: u16,
    /// How many instructions to skip if the test holds.
    pub(crate) jt: u8,
    /// How many if not.
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

// SECCOMP_FILTER_FLAG_* of linux/seccomp.h.
pub(crate) const FLAG_TSYNC: u32 = 1;
pub(crate) const FLAG_LOG: u32 = 1 << 1;
pub(crate) const FLAG_SPEC_ALLOW: u32 = 1 << 2;
pub(crate) const FLAG_NEW_LISTENER: u32 = 1 << 3;
pub(crate) const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

impl SockFilter {
    /// A program as bytes, for a process of this machine.
    pub(crate) fn to_bytes(program: &[SockFilter]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size_of_val(program));
        for instruction in program {
            bytes.extend(instruction.code.to_ne_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_ne_bytes());
        }
        bytes
    }

    /// The program of these bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Vec<SockFilter> {
        let (instructions, _) = bytes.as_chunks::<8>();
        let decoded = instructions
            .iter()
            .map(|&[a, b, jt, jf, k @ ..]| SockFilter {
                code: u16::from_ne_bytes([a, b]),
                jt,
                jf,
                k: u32::from_ne_bytes(k),
            });
        decoded.collect()
    }
}

/// `struct sock_fprog` of linux/filter.h.
#[repr(C)]
struct SockProgram {
    length: u16,
    instructions: *const SockFilter,
}

/// seccomp(2) SECCOMP_SET_MODE_FILTER on this thread; gives the listener with FLAG_NEW_LISTENER. It is close-on-exec.
///
/// # Errors
/// Names a flag that the kernel does not know.
pub(crate) fn set_filter(program: &[SockFilter], flags: u32) -> Result<Option<OwnedFd>> {
    let length = u16::try_from(program.len())
        .map_err(|_| Error::config("linux.seccomp: the filter is too long"))?;
    let program = SockProgram {
        length,
        instructions: program.as_ptr(),
    };
    match set_mode_filter(flags, &raw const program) {
        // SAFETY: with this flag the result is a new descriptor, which nobody else owns.
        Ok(fd) if flags & FLAG_NEW_LISTENER != 0 => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Ok(_) => Ok(None),
        Err(errno) => Err(explain(errno, flags, length)),
    }
}

fn set_mode_filter(
    flags: u32,
    program: *const SockProgram,
) -> std::result::Result<libc::c_int, Errno> {
    // SAFETY: `program` is null, which the kernel answers with EFAULT, or a live sock_fprog whose pointer is to as many
    // instructions as it says; the kernel only reads them.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            program,
        )
    };
    // An error's -1 is one that does not fit.
    libc::c_int::try_from(ret)
        .ok()
        .filter(|ret| *ret >= 0)
        .ok_or_else(last_errno)
}

/// Whether the kernel knows these flags. Changes nothing.
pub(crate) fn supports(flags: u32) -> bool {
    set_mode_filter(flags, std::ptr::null()) == Err(Errno::FAULT)
}

fn explain(errno: Errno, flags: u32, length: u16) -> Error {
    let call = format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {{len={length}}})");
    match errno {
        Errno::NOSYS => {
            Error::unsupported(format!("linux.seccomp: {call}: the kernel has no seccomp"))
        }
        Errno::INVAL if !supports(0) => {
            Error::unsupported("linux.seccomp: the kernel has no seccomp filters")
        }
        Errno::INVAL => {
            // WAIT_KILLABLE_RECV is taken with a listener only.
            let listener = flags & FLAG_NEW_LISTENER;
            let unknown = FLAGS
                .iter()
                .find(|(flag, _)| flags & flag != 0 && !supports(flag | listener));
            match unknown {
                Some((_, name)) => Error::unsupported(format!(
                    "linux.seccomp.flags: this kernel does not know {name}"
                )),
                None => Error::os(call, errno),
            }
        }
        Errno::BUSY if flags & FLAG_NEW_LISTENER != 0 => {
            Error::os(call, errno).wrap("a filter around this one has a listener already")
        }
        Errno::ACCESS => {
            Error::os(call, errno).wrap("linux.seccomp needs noNewPrivileges or CAP_SYS_ADMIN")
        }
        _ => Error::os(call, errno),
    }
}

/// The flags that a profile can name.
pub(crate) const FLAGS: [(u32, &str); 4] = [
    (FLAG_TSYNC, "SECCOMP_FILTER_FLAG_TSYNC"),
    (FLAG_SPEC_ALLOW, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
    (FLAG_LOG, "SECCOMP_FILTER_FLAG_LOG"),
    (
        FLAG_WAIT_KILLABLE_RECV,
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ),
];

/// Those of [`FLAGS`] that this kernel knows.
pub(crate) fn supported_flags() -> Vec<&'static str> {
    let needs = |flag: u32| match flag {
        FLAG_WAIT_KILLABLE_RECV => flag | FLAG_NEW_LISTENER,
        _ => flag,
    };
    let supported = FLAGS.iter().filter(|(flag, _)| supports(needs(*flag)));
    supported.map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_survive_the_way() {
        let program = [
            SockFilter {
                code: 0x20,
                jt: 0,
                jf: 0,
                k: 4,
            },
            SockFilter {
                code: 0x15,
                jt: 255,
                jf: 7,
                k: 0xc000_003e,
            },
        ];
        let bytes = SockFilter::to_bytes(&program);
        assert_eq!(bytes.len(), 16);
        assert_eq!(SockFilter::from_bytes(&bytes), program);
    }

    #[test]
    fn asking_for_flags_changes_nothing() {
        assert!(supported_flags().contains(&"SECCOMP_FILTER_FLAG_LOG"));
        assert!(!supports(1 << 30));
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("Seccomp:\t"));
    }
}
