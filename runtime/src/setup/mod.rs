//! One room per thing in config.json. Each has `plan` (from the spec to kernel terms: pure, refuses nonsense) and `apply`
//! (system calls only).

pub(crate) mod capabilities;
pub(crate) mod console;
pub(crate) mod cpu_affinity;
pub(crate) mod devices;
pub(crate) mod environment;
pub(crate) mod hostname;
pub(crate) mod id_leases;
pub(crate) mod id_mappings;
pub(crate) mod intel_rdt;
pub(crate) mod io_priority;
pub(crate) mod keyring;
pub(crate) mod listen_fds;
pub(crate) mod lsm;
pub(crate) mod memory_policy;
pub(crate) mod mount_options;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod net_devices;
pub(crate) mod notify_socket;
pub(crate) mod oom_score_adj;
pub(crate) mod overlay;
pub(crate) mod personality;
pub(crate) mod pidfd_socket;
pub(crate) mod protected_paths;
pub(crate) mod rlimits;
pub(crate) mod rootfs;
pub(crate) mod scheduler;
pub(crate) mod sysctl;
pub(crate) mod system;
pub(crate) mod time_offsets;
pub(crate) mod user;
pub(crate) mod user_database;
