//! The kernel, one file per interface. The only room with `unsafe`, and the only one that names system calls.
//!
//! A wrapper has the kernel's name for the call, takes and gives typed descriptors, and on failure prints the call as
//! strace would. What rustix has goes through rustix, the rest through libc: one way per call.

pub(crate) mod bpf;
pub(crate) mod datagram;
pub(crate) mod entry;
pub(crate) mod epoll;
pub(crate) mod exe;
pub(crate) mod flock;
pub(crate) mod fork;
pub(crate) mod fs;
pub(crate) mod fuse;
pub(crate) mod group;
#[cfg(target_env = "musl")]
pub(crate) mod heap;
pub(crate) mod ids;
pub(crate) mod keyring;
pub(crate) mod memfd;
mod memmove;
pub(crate) mod memory;
pub(crate) mod mempolicy;
pub(crate) mod mount;
pub(crate) mod mountinfo;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod null;
pub(crate) mod pidfd;
pub(crate) mod poll;
pub(crate) mod prctl;
pub(crate) mod process;
pub(crate) mod procfs;
mod remap;
pub(crate) mod rlimit;
pub(crate) mod sched;
pub(crate) mod seccomp;
pub(crate) mod seccomp_listener;
pub(crate) mod sendfile;
pub(crate) mod signal;
pub(crate) mod socket;
pub(crate) mod text;
pub(crate) mod tty;
pub(crate) mod unix_diag;
