//! `features`: what this build knows, in the terms of features.md of the runtime specification.
//!
//! Engines read it to decide what they may ask for, so it says only what works.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::seccomp::names;
use crate::setup::{capabilities, mount_options};
use crate::spec;
use crate::sys::seccomp as kernel;

/// The newest runtime specification whose config.json is understood.
pub const SPEC_VERSION: &str = spec::VERSION;

const HOOKS: &[&str] = &[
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

const NAMESPACES: &[&str] = &[
    "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts",
];

const MEMORY_POLICY_MODES: &[&str] = &[
    "MPOL_BIND",
    "MPOL_DEFAULT",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

const MEMORY_POLICY_FLAGS: &[&str] = &[
    "MPOL_F_NUMA_BALANCING",
    "MPOL_F_RELATIVE_NODES",
    "MPOL_F_STATIC_NODES",
];

/// Annotations that give a container's author a say over the host: engines filter them.
const UNSAFE_ANNOTATIONS: &[&str] = &["bundle", "org.systemd.property.", "org.criu.config"];

type Names = &'static [&'static str];

/// What this build knows; made to be serialised to JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    oci_version_min: &'static str,
    oci_version_max: &'static str,
    hooks: Names,
    mount_options: Vec<String>,
    linux: Linux,
    annotations: BTreeMap<&'static str, &'static str>,
    potentially_unsafe_config_annotations: Names,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    namespaces: Names,
    capabilities: Names,
    cgroup: Cgroup,
    seccomp: Seccomp,
    apparmor: Enabled,
    selinux: Enabled,
    intel_rdt: IntelRdt,
    memory_policy: MemoryPolicy,
    mount_extensions: MountExtensions,
    net_devices: Enabled,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cgroup {
    v1: bool,
    v2: bool,
    systemd: bool,
    systemd_user: bool,
    rdma: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Seccomp {
    enabled: bool,
    actions: Names,
    operators: Names,
    archs: Names,
    known_flags: Vec<&'static str>,
    /// Of this kernel.
    supported_flags: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct Enabled {
    enabled: bool,
}

#[derive(Debug, Serialize)]
struct IntelRdt {
    enabled: bool,
    schemata: bool,
    monitoring: bool,
}

#[derive(Debug, Serialize)]
struct MemoryPolicy {
    modes: Names,
    flags: Names,
}

#[derive(Debug, Serialize)]
struct MountExtensions {
    idmap: Enabled,
}

/// What this build knows.
pub fn features() -> Features {
    let yes = || Enabled { enabled: true };
    let mut annotations = BTreeMap::from([
        // The name that engines look for, whatever the runtime is called.
        ("org.opencontainers.runc.checkpoint.enabled", "true"),
        ("run.oci.vzrun.version", env!("CARGO_PKG_VERSION")),
    ]);
    if let Some(commit) = option_env!("VZRUN_COMMIT") {
        annotations.insert("run.oci.vzrun.commit", commit);
    }
    Features {
        oci_version_min: "1.0.0",
        oci_version_max: SPEC_VERSION,
        hooks: HOOKS,
        mount_options: mount_options::names(),
        linux: Linux {
            namespaces: NAMESPACES,
            capabilities: &capabilities::NAMES,
            cgroup: Cgroup {
                v1: false,
                v2: true,
                systemd: true,
                systemd_user: true,
                rdma: false,
            },
            seccomp: Seccomp {
                enabled: true,
                actions: &names::ACTIONS,
                operators: &names::OPERATORS,
                archs: &names::ARCHS,
                known_flags: kernel::FLAGS.iter().map(|(_, name)| *name).collect(),
                supported_flags: kernel::supported_flags(),
            },
            apparmor: yes(),
            selinux: yes(),
            intel_rdt: IntelRdt {
                enabled: true,
                schemata: true,
                monitoring: true,
            },
            memory_policy: MemoryPolicy {
                modes: MEMORY_POLICY_MODES,
                flags: MEMORY_POLICY_FLAGS,
            },
            mount_extensions: MountExtensions { idmap: yes() },
            net_devices: yes(),
        },
        annotations,
        potentially_unsafe_config_annotations: UNSAFE_ANNOTATIONS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_look_for_is_there() {
        let json = serde_json::to_value(features()).unwrap();
        assert_eq!(json["ociVersionMin"], "1.0.0");
        assert_eq!(json["ociVersionMax"], "1.3.0");
        let linux = &json["linux"];
        assert_eq!(linux["mountExtensions"]["idmap"]["enabled"], true);
        assert_eq!(linux["seccomp"]["enabled"], true);
        assert_eq!(linux["cgroup"]["systemdUser"], true);
        let has = |list: &serde_json::Value, name: &str| {
            list.as_array().unwrap().iter().any(|item| item == name)
        };
        assert!(has(&json["mountOptions"], "rro"));
        assert!(has(&linux["namespaces"], "user"));
        assert!(has(&linux["seccomp"]["archs"], "SCMP_ARCH_X32"));
        assert!(has(
            &linux["seccomp"]["knownFlags"],
            "SECCOMP_FILTER_FLAG_LOG"
        ));
        assert!(has(&linux["capabilities"], "CAP_CHECKPOINT_RESTORE"));
        assert_eq!(
            json["annotations"]["org.opencontainers.runc.checkpoint.enabled"],
            "true"
        );
    }

    #[test]
    fn lists_are_in_order() {
        assert!(mount_options::names().is_sorted());
        assert!(NAMESPACES.is_sorted() && MEMORY_POLICY_MODES.is_sorted());
    }
}
