//! config.json in kernel terms.
//!
//! [`Plan::new`] makes no system call: every room turns its part of the spec into flags, numbers and C strings, and
//! refuses what makes no sense. A property that is not supported is refused here, never passed over.

mod process;
mod reboot_hooks;

use std::path::Path;

use crate::cgroup::{Delegation, DeviceRules, Limits};
use crate::error::{Error, Result};
use crate::hooks::Hooks;
use crate::host::Host;
use crate::seccomp::{self, Filter};
use crate::setup::devices::Devices;
use crate::setup::hostname::Hostname;
use crate::setup::id_mappings::{IdMappings, Range};
use crate::setup::intel_rdt::IntelRdt;
use crate::setup::keyring::Keyring;
use crate::setup::memory_policy::MemoryPolicy;
use crate::setup::mounts::Mounts;
use crate::setup::namespaces::{Birth, Namespaces, kind};
use crate::setup::net_devices::NetDevices;
use crate::setup::personality::Personality;
use crate::setup::protected_paths::ProtectedPaths;
use crate::setup::rootfs::RootfsPlan;
use crate::setup::sysctl::{NamespaceView, Sysctl};
use crate::setup::system;
use crate::setup::system::run_host::{self, RunHost};
use crate::setup::time_offsets;
use crate::setup::user::Mappings;
use crate::spec;

pub(crate) use process::ProcessPlan;
use reboot_hooks::RebootHooks;

/// What the caller of create or run wants, beside the config.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) id: &'a str,
    pub(crate) bundle: &'a Path,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    /// It is a system container, and the spec has been completed for one.
    pub(crate) system: bool,
    /// Its ids are its own, and so what it is made of is seen through them.
    pub(crate) mapped: bool,
}

/// A container to be.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) process: ProcessPlan,
    pub(crate) namespaces: Namespaces,
    pub(crate) birth: Birth,
    pub(crate) mappings: IdMappings,
    /// The text for /proc/PID/timens_offsets.
    pub(crate) time_offsets: Option<String>,
    pub(crate) net_devices: NetDevices,
    pub(crate) keyring: Keyring,
    pub(crate) hostname: Hostname,
    pub(crate) rootfs: RootfsPlan,
    pub(crate) mounts: Mounts,
    /// `None`: /dev is the host's.
    pub(crate) devices: Option<Devices>,
    /// Which nodes may be used, whoever has made them.
    pub(crate) device_rules: DeviceRules,
    pub(crate) protected_paths: ProtectedPaths,
    /// `None`: the cgroup stays the host's.
    pub(crate) delegation: Option<Delegation>,
    pub(crate) sysctl: Sysctl,
    pub(crate) personality: Personality,
    pub(crate) memory_policy: MemoryPolicy,
    pub(crate) intel_rdt: Option<IntelRdt>,
    pub(crate) limits: Limits,
    pub(crate) hooks: Hooks,
    /// Those of a system container that run at each boot.
    pub(crate) reboot_hooks: RebootHooks,
    /// `None`: no filter.
    pub(crate) seccomp: Option<Filter>,
    /// Its init lives below a keeper.
    pub(crate) system: bool,
    /// sysinfo(2) says what is the container's.
    pub(crate) sysinfo: bool,
    /// What its init is told in files.
    pub(crate) run_host: Option<RunHost>,
    /// See [`Options::mapped`].
    pub(crate) mapped: bool,
}

impl Plan {
    /// Turns a spec into a plan.
    pub(crate) fn new(spec: &spec::Spec, options: &Options<'_>, host: &Host) -> Result<Plan> {
        let none = spec::empty_linux()?;
        let linux = spec.linux().as_ref().unwrap_or(&none);
        let process = spec
            .process()
            .as_ref()
            .ok_or_else(|| Error::config("process is missing"))?;

        let namespaces = Namespaces::plan(linux.namespaces().as_ref())?;
        let mappings =
            IdMappings::plan(linux.uid_mappings().as_ref(), linux.gid_mappings().as_ref())?;
        check_mappings(&namespaces, &mappings, host)?;
        let own_user_namespace = namespaces.has(kind::USER);
        let user_mappings = (namespaces.is_new(kind::USER)).then(|| Mappings {
            uids: linux.uid_mappings().as_deref().unwrap_or_default(),
            gids: linux.gid_mappings().as_deref().unwrap_or_default(),
        });
        let time_offsets =
            time_offsets::plan(linux.time_offsets().as_ref(), namespaces.is_new(kind::TIME))?;
        let view = NamespaceView {
            network: namespaces.has(kind::NETWORK),
            ipc: namespaces.has(kind::IPC),
            uts: namespaces.has(kind::UTS),
            user: own_user_namespace,
        };
        let own_cgroups = namespaces.has(kind::CGROUP) || own_user_namespace;
        let mounts = Mounts::plan(spec, options.bundle, &mappings, own_cgroups)?;
        let devices = Devices::plan(Some(linux), own_user_namespace || host.rootless)?;
        let host_uid = |id| match own_user_namespace {
            true => mappings.host_uid(id),
            false => Some(id),
        };
        let delegation = match options.system {
            true => Delegation::to(host_uid(0)),
            false => Delegation::plan(spec, namespaces.is_new(kind::CGROUP), host_uid),
        };
        let plan = Plan {
            delegation,
            process: ProcessPlan::plan(process, user_mappings, host.rootless, spec)?,
            birth: namespaces.birth(time_offsets.is_some()),
            net_devices: NetDevices::plan(spec)?,
            keyring: Keyring::plan(options.id, !options.no_new_keyring)?,
            hostname: Hostname::plan(
                spec.hostname().as_deref(),
                spec.domainname().as_deref(),
                view.uts,
            )?,
            rootfs: RootfsPlan::plan(spec, options.bundle, options.no_pivot, options.system)?,
            devices: (!mounts.binds_dev()).then_some(devices),
            mounts,
            device_rules: DeviceRules::plan(linux)?,
            protected_paths: ProtectedPaths::plan(spec),
            sysctl: Sysctl::plan(linux.sysctl().as_ref(), view)?,
            personality: Personality::plan(linux.personality().as_ref()),
            memory_policy: MemoryPolicy::plan(linux.memory_policy().as_ref())?,
            intel_rdt: IntelRdt::plan(linux.intel_rdt().as_ref(), options.id)?,
            limits: Limits::plan(linux.resources().as_ref())?,
            hooks: Hooks::plan(spec.hooks().as_ref())?.with_output(spec.annotations().as_ref()),
            reboot_hooks: match options.system {
                true => RebootHooks::plan(spec.annotations().as_ref())?,
                false => RebootHooks::default(),
            },
            seccomp: plan_seccomp(spec)?,
            namespaces,
            mappings,
            time_offsets,
            system: options.system,
            sysinfo: options.system && system::has_sysinfo(spec.annotations().as_ref())?,
            run_host: match options.system {
                true => {
                    let env = process.env().as_deref().unwrap_or_default();
                    RunHost::plan(spec, env, run_host::os_release)?
                }
                false => None,
            },
            mapped: options.mapped,
        };
        plan.check_system(options.no_pivot)?;
        Ok(plan)
    }

    /// The keeper makes a time namespace for each boot: the config wants one, and does not say what its clocks show.
    pub(crate) fn has_clocks_per_boot(&self) -> bool {
        self.system && self.namespaces.is_new(kind::TIME) && self.time_offsets.is_none()
    }

    /// Its user namespaces are to be able to mount a procfs and a sysfs, though the container's own ones are partly covered: where the
    /// config covers nothing in them, or no user of the container is the host's root, whom a covered file might serve.
    pub(crate) fn keeps_whole_procfs(&self) -> bool {
        let is_root = |ids: &[Range]| ids.iter().any(|range| range.host == 0);
        let others = self.namespaces.is_new(kind::USER)
            && !is_root(&self.mappings.uids)
            && !is_root(&self.mappings.gids);
        let paths = &self.protected_paths;
        self.system && paths.has_procfs() && (others || !paths.are_in_proc_or_sys())
    }

    /// Its init tells the keeper that it is ready.
    pub(crate) fn hears_of_readiness(&self) -> bool {
        self.run_host.as_ref().is_some_and(RunHost::notifies)
    }

    /// What the keeper of a system container cannot do at each boot.
    fn check_system(&self, no_pivot: bool) -> Result<()> {
        let refused = [
            (no_pivot, "--no-pivot"),
            (
                self.seccomp.as_ref().is_some_and(|filter| filter.notify),
                "linux.seccomp with SCMP_ACT_NOTIFY",
            ),
        ];
        let refused = refused.iter().find(|(asked, _)| self.system && *asked);
        if let Some((_, what)) = refused {
            let text = format!("{what}: not supported in a system container (io.vzrun.system)");
            return Err(Error::unsupported(text));
        }
        match self.mounts.needs_the_host() {
            Some(path) if self.system => Err(Error::unsupported(format!(
                "the mount on {}: a system container (io.vzrun.system) takes bind mounts and file systems without a \
                 device; mount it on the host, and bind that",
                path.display()
            ))),
            _ => Ok(()),
        }
    }
}

/// The filter of a container's processes.
pub(crate) fn plan_seccomp(spec: &spec::Spec) -> Result<Option<Filter>> {
    let linux = spec.linux().as_ref();
    let annotations = spec.annotations().as_ref();
    let guarded = seccomp::is_migratable(annotations)?;
    let filter = match linux.and_then(|linux| linux.seccomp().as_ref()) {
        None if guarded => Filter::open()?,
        None => return Ok(None),
        Some(profile) => {
            seccomp::check_names(profile, annotations)?;
            Filter::plan(profile)?.with_receiver(annotations)?
        }
    };
    Ok(Some(match guarded {
        true => filter.guarded(),
        false => filter,
    }))
}

/// Maps belong to a user namespace, and a new user namespace needs maps.
fn check_mappings(namespaces: &Namespaces, mappings: &IdMappings, host: &Host) -> Result<()> {
    if namespaces.is_new(kind::USER) {
        if mappings.uids.is_empty() || mappings.gids.is_empty() {
            return Err(Error::config(
                "linux.uidMappings and linux.gidMappings: a new user namespace needs both",
            ));
        }
        if mappings.root().is_none() {
            return Err(Error::config(
                "linux.uidMappings and linux.gidMappings must map the container's root (id 0)",
            ));
        }
    } else if !mappings.is_empty() && !namespaces.has(kind::USER) {
        return Err(Error::config(
            "user namespace mappings specified, but user namespace isn't enabled in the config",
        ));
    }
    if host.euid != 0 && !namespaces.has(kind::USER) {
        return Err(Error::config("rootless container requires user namespaces"));
    }
    Ok(())
}
