//! Drives a built OCI runtime binary from the outside, as a shell or an engine would.
//!
//! A test makes a [`Bundle`] (a directory of its own with a root filesystem, a `config.json` and a
//! state root), changes the config by JSON pointer, and calls the runtime through it:
//!
//! ```no_run
//! use integration::{Bundle, json};
//!
//! let bundle = Bundle::new();
//! bundle.set("/hostname", json!("here"));
//! let report = integration::probe_report(&bundle);
//! assert_eq!(report["hostname"], "here");
//! ```
//!
//! Which binary that is comes from `VZRUN_TEST_RUNTIME` (`runc`, `crun` or an absolute path), so
//! each test can be proved on the originals first. Where an original rightly differs, the test says
//! so with [`differs!`], and those lines are the list of differences.
//!
//! `VZRUN_TEST_CGROUP_DRIVER` says who makes the cgroups ([`CgroupDriver`]). A test that needs
//! controllers, or systemd on the host, is in a file `tests/vm_*.rs`: it is run in the VM only, once
//! with each driver.
//!
//! Inside the container runs `/probe`, a static program of this package that prints what it sees as
//! JSON (`src/bin/probe/`), or one of busybox's applets.

mod attack;
mod bundle;
mod call;
mod cgroup;
mod config;
mod container;
mod debian;
mod dice;
mod docker;
mod engine;
mod engine_command;
mod host;
mod host_mount;
mod installed;
mod mutation;
mod output;
mod podman;
mod podman_checkpoint;
mod rootfs;
mod runtime;
mod seccomp_agent;
mod socket;
mod terminal;
#[cfg(target_arch = "x86_64")]
mod tracer;
mod wait;

pub use attack::{
    CRUN_12, CRUN_13, CRUN_SID, RUNC_12, RUNC_13, attack, attack_proved_by, naive_exec,
};
pub use bundle::{Bundle, probe_report, probe_report_of};
pub use call::{Call, Running};
pub use cgroup::{Cgroup, CgroupDriver, has_controller};
pub use config::{default_config, rootless_config};
pub use container::Container;
pub use debian::Debian;
pub use dice::{Dice, rounds};
pub use docker::Docker;
pub use engine::{EngineLog, become_subreaper, parent_of, pid_in, reap};
pub use engine_command::{Engine, Started};
pub use host::{Snapshot, cgroup_dirs_named, mounts_under, processes_of, tree};
pub use host_mount::{HostMount, find_mount, has_attribute, has_option, mount_at};
pub use installed::{
    IMAGE, containers_conf, distribution, engine_call, engine_daemon, engine_dir, fresh_path,
    has_distribution, image_tar, open_to_all, wait_nothing_left,
};
pub use mutation::{mutation, places_of};
pub use output::Output;
pub use podman::Podman;
pub use podman_checkpoint::echoes;
pub use rootfs::probe_path;
pub use runtime::{Kind, Runtime};
pub use seccomp_agent::{Listener, Notified, SeccompAgent, Verdict};
pub use serde_json::{Value, json};
pub use socket::FdSocket;
pub use terminal::Terminal;
#[cfg(target_arch = "x86_64")]
pub use tracer::{KILLED, Place, Traced, Which, run_with_faults};
pub use wait::{DEADLINE, until, until_systemd_runs, until_within, wait_exit};

/// Ends the test early on a runtime that is known to behave otherwise, and says so.
///
/// `differs!(Crun, "why")`, `differs!(Runc | Crun, "why")`, or with the first version that behaves
/// as the test wants: `differs!(Runc < (1, 2), "why")`.
#[macro_export]
macro_rules! differs {
    ($kind:ident < ($major:literal, $minor:literal), $reason:literal) => {
        if $crate::Runtime::get().kind() == $crate::Kind::$kind
            && $crate::Runtime::get().version() < ($major, $minor)
        {
            $crate::Runtime::get().print_difference($reason);
            return;
        }
    };
    ($($kind:ident)|+, $reason:literal) => {
        if matches!($crate::Runtime::get().kind(), $($crate::Kind::$kind)|+) {
            $crate::Runtime::get().print_difference($reason);
            return;
        }
    };
}

/// Ends the test early where this machine lacks something, and says what.
#[macro_export]
macro_rules! needs {
    ($condition:expr, $what:literal) => {
        if !$condition {
            eprintln!("SKIPPED {}: needs {}", $crate::test_name(), $what);
            return;
        }
    };
}

/// The name of the running test (libtest names its threads so), fit to be the name of a container.
pub fn test_name() -> String {
    let thread = std::thread::current();
    thread.name().unwrap_or("?").replace("::", "-")
}
