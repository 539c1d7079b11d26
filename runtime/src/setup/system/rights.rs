//! What root of a system of its own may do, where that is not the host's root: all that the kernel takes for a power over the
//! container's own namespaces.

use super::interface;
use crate::error::{Error, Result};
use crate::spec::{self, Capability};
use crate::sys::fs;

/// All but those that are powers over the machine (modules, clock, audit, ports, security modules, the kernel's log, sleep): a
/// user namespace makes nothing of them, and distributions leave out what needs them where they are missing.
const CAPABILITIES: [Capability; 31] = [
    Capability::AuditWrite,
    Capability::Bpf,
    Capability::CheckpointRestore,
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::Kill,
    Capability::Lease,
    Capability::LinuxImmutable,
    Capability::Mknod,
    Capability::NetAdmin,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetRaw,
    Capability::Perfmon,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysChroot,
    Capability::SysNice,
    Capability::SysPacct,
    Capability::SysPtrace,
    Capability::SysResource,
    Capability::SysTtyConfig,
];

/// The calls behind them, which engines allow only with the capabilities that they know of: mounts, namespaces, names, keys,
/// BPF for devices of cgroups, processes of others.
pub(super) const CALLS: [&str; 38] = [
    "add_key",
    "bpf",
    "chroot",
    "clone",
    "clone3",
    "fanotify_init",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_mempolicy",
    "kcmp",
    "keyctl",
    "mbind",
    "mknod",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "open_by_handle_at",
    "open_tree",
    "pidfd_getfd",
    "pivot_root",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "request_key",
    "set_mempolicy",
    "setdomainname",
    "sethostname",
    "setns",
    "syslog",
    "umount",
    "umount2",
    "unshare",
    "vhangup",
];

/// Nodes that programs find on a machine, path and number; those that the host has.
const DEVICES: [(&str, i64, i64); 2] = [("/dev/fuse", 10, 229), ("/dev/net/tun", 10, 200)];

/// Gives a process that is root's the capabilities; another one can get at them as far as it can become root.
pub(super) fn of_root(process: &mut spec::Process) {
    let all = || Some(CAPABILITIES.into_iter().collect());
    let mut sets = process.capabilities().clone().unwrap_or_default();
    sets.set_bounding(all());
    if process.user().uid() == 0 {
        sets.set_effective(all());
        sets.set_permitted(all());
    }
    process.set_capabilities(Some(sets));
}

/// Devices; /sys/fs/cgroup to write in, where nothing but what is delegated is the container's; and /proc as it is, for the
/// kernel does not let who sees a part of it mount one (in containers inside), and protects it from roots of user namespaces.
pub(super) fn complete(spec: &mut spec::Spec) -> Result<()> {
    let options = ["nosuid", "nodev", "noexec", "relatime"];
    interface::mount(spec, "/sys/fs/cgroup", "cgroup", &options)?;
    let is_cgroup = |mount: &spec::Mount| {
        let kind = mount.typ().as_deref();
        matches!(kind, Some("cgroup" | "cgroup2"))
    };
    let mounts = spec.mounts_mut().get_or_insert_default();
    for mount in mounts.iter_mut().filter(|mount| is_cgroup(mount)) {
        let options = mount.options_mut().get_or_insert_default();
        options.retain(|option| option != "ro");
    }
    let linux = spec.linux_mut().get_or_insert_default();
    linux.set_masked_paths(None);
    linux.set_readonly_paths(None);
    for (path, major, minor) in DEVICES {
        if fs::stat(path).is_ok() {
            device(linux, path, major, minor)?;
        }
    }
    Ok(())
}

fn device(linux: &mut spec::Linux, path: &str, major: i64, minor: i64) -> Result<()> {
    let wrong = |error| Error::config(format!("linux.devices ({path}): {error}"));
    let devices = linux.devices_mut().get_or_insert_default();
    if !devices
        .iter()
        .any(|device| device.path().as_os_str() == path)
    {
        let device = spec::LinuxDeviceBuilder::default()
            .path(path)
            .typ(spec::LinuxDeviceType::C)
            .major(major)
            .minor(minor)
            .file_mode(0o666u32)
            .build();
        devices.push(device.map_err(wrong)?);
    }
    let rule = spec::LinuxDeviceCgroupBuilder::default()
        .allow(true)
        .typ(spec::LinuxDeviceType::C)
        .major(major)
        .minor(minor)
        .access("rwm")
        .build();
    let resources = linux.resources_mut().get_or_insert_default();
    let rules = resources.devices_mut().get_or_insert_default();
    rules.push(rule.map_err(wrong)?);
    Ok(())
}

/// Takes the calls out of all rules, and allows them.
pub(super) fn allow(profile: &mut spec::LinuxSeccomp, calls: &[&str]) -> Result<()> {
    let mut rules = profile.syscalls().clone().unwrap_or_default();
    for rule in rules.iter_mut() {
        let names = rule.names().iter();
        let names = names.filter(|name| !calls.contains(&name.as_str()));
        let names = names.cloned().collect();
        rule.set_names(names);
    }
    rules.retain(|rule| !rule.names().is_empty());
    let names: Vec<String> = calls.iter().map(|name| (*name).to_owned()).collect();
    let rule = spec::LinuxSyscallBuilder::default()
        .names(names)
        .action(spec::LinuxSeccompAction::ScmpActAllow)
        .build();
    rules.push(rule.map_err(|error| Error::config(format!("linux.seccomp: {error}")))?);
    profile.set_syscalls(Some(rules));
    Ok(())
}
