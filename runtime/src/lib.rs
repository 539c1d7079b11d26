//! vzrun: an OCI runtime as a library.
//!
//! The public API is what this page exports. Below it, from the top down:
//!
//! - `container`: what a front-end holds, one file per verb.
//! - `process`: the birth of a process: parent, stage, init, exec.
//! - `plan`: config.json in kernel terms. `host`: facts that a plan depends on.
//! - `setup`: one room per thing in config.json. `hooks`, `cgroup`: two larger ones.
//! - `view`: what a system container sees of its resources.
//! - `checkpoint`: what CRIU is asked for, and how.
//! - `seccomp`: a profile becomes a BPF program.
//! - `spec`: the one door for OCI JSON.
//! - `sys`: the kernel, and the only `unsafe`.
//! - `error`, `log`: for all of them.
//!
//! A process with several threads may use everything but [`create()`], [`run`], [`checkpoint()`], [`restore`] and
//! [`Container::exec`]: those fork, and
//! refuse to. It runs the `vzrun` binary for them.

mod cgroup;
mod checkpoint;
mod container;
mod error;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod hooks;
mod host;
pub mod log;
mod plan;
mod process;
mod seccomp;
mod setup;
mod spec;
mod sys;
mod view;

pub use checkpoint::{CriuOptions, ManageCgroups, NetworkLock, Obstacle};
pub use container::{
    CgroupDriver, CheckpointOptions, Container, CreateOptions, Event, Events, ExecOptions,
    Features, IdRange, RestoreOptions, Root, RunOptions, SPEC_VERSION, State, Status, SystemState,
    UpdateOptions, Wait, checkpoint, create, default_spec, delete, features, list, parse_signal,
    preflight, restore, run,
};
pub use error::{Error, ErrorKind, Result};
pub use seccomp::{Machine, SeccompProfile};
#[doc(hidden)]
pub use sys::entry::run_program;
pub use sys::exe::seal as seal_executable;
#[cfg(target_env = "musl")]
#[doc(hidden)]
pub use sys::heap::Heap;
pub use sys::process::{Exit, prepare_process};

/// What a container has used: the parts of [`stats::Stats`].
pub mod stats {
    pub use crate::cgroup::stats::*;
}
