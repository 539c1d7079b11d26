//! The birth of a process in a container.
//!
//! `parent` is vzrun as it was called. It forks (`birth`); the child has the plan in its memory and asks for what only the parent
//! can do, over one socket (`channel`). `stage` is the process in between where the kernel demands one, `init` the
//! container's first process (of a system container below its `keeper`, with `template`, `clocks`, `readiness`, `sysinfo` and `power` switch), `exec` one more that joins it. `attributes` is what both do last, `seccomp` the
//! filter over that, `foreground` the parent's waiting when it stays.

pub(crate) mod aside;
mod attributes;
pub(crate) mod birth;
mod channel;
mod clocks;
pub(crate) mod exec;
pub(crate) mod foreground;
mod init;
mod keeper;
mod mapped;
pub(crate) mod parent;
mod power;
mod readiness;
mod seccomp;
mod stage;
pub(crate) mod sysinfo;
mod template;

pub(crate) use init::NAME as INIT_NAME;
pub(crate) use power::kind_of_init;
