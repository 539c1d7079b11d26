//! seccomp(2).

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
pub(crate) const FLAG_LOG: u32 = 1 << 1;
pub(crate) const FLAG_SPEC_ALLOW: u32 = 1 << 2;
pub(crate) const FLAG_NEW_LISTENER: u32 = 1 << 3;
pub(crate) const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;
