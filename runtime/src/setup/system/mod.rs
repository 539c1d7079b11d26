//! The annotation io.vzrun.system: a container that behaves like a server of its own (docs/system-containers.md). A keeper
//! stands between the host and its init, which therefore can end and begin anew.

pub(crate) mod ids;

use std::path::Path;

use crate::error::{Error, Result};
use crate::spec;

/// Says whether it is one: `true`, `false`, or `auto`, by its program.
const ANNOTATION: &str = "io.vzrun.system";

/// The programs that are taken for an init by `auto`, by their file names.
const INITS: [&str; 4] = ["init", "systemd", "openrc-init", "runit-init"];

/// Whether the container is to be one; `otherwise` where the annotation is not there.
pub(crate) fn is_wanted(spec: &spec::Spec, otherwise: bool) -> Result<bool> {
    let annotations = spec.annotations().as_ref();
    match annotations
        .and_then(|all| all.get(ANNOTATION))
        .map(String::as_str)
    {
        None => Ok(otherwise),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some("auto") => Ok(runs_an_init(spec)),
        Some(other) => Err(Error::config(format!(
            "annotation {ANNOTATION}: {other:?} is none of true, false and auto"
        ))),
    }
}

fn runs_an_init(spec: &spec::Spec) -> bool {
    let args = spec.process().as_ref().and_then(|p| p.args().as_ref());
    let program = args.and_then(|args| args.first()).map(Path::new);
    let name = program.and_then(Path::file_name);
    name.is_some_and(|name| INITS.iter().any(|init| name == *init))
}

/// What a distribution finds on a machine of its own: its cgroups, its clocks, the power switch, and the word that it is in a
/// container.
///
/// # Errors
/// A config that cannot be one of a system container.
pub(crate) fn complete(spec: &mut spec::Spec, time_namespaces: bool) -> Result<()> {
    use spec::LinuxNamespaceType as Type;
    let linux = spec.linux_mut().get_or_insert_default();
    let namespaces = linux.namespaces_mut().get_or_insert_default();
    let new = |kind| {
        let found = namespaces.iter().find(|entry| entry.typ() == kind);
        found.map(|entry| {
            entry
                .path()
                .as_ref()
                .is_none_or(|path| path.as_os_str().is_empty())
        })
    };
    for (kind, name) in [(Type::Pid, "pid"), (Type::Mount, "mount")] {
        if new(kind) != Some(true) {
            return Err(Error::config(format!(
                "linux.namespaces: a system container ({ANNOTATION}) needs a new {name} namespace"
            )));
        }
    }
    match new(Type::Cgroup) {
        Some(true) => {}
        Some(false) => {
            return Err(Error::config(format!(
                "linux.namespaces: a system container ({ANNOTATION}) cannot join a cgroup namespace"
            )));
        }
        None => {
            let mut entry = spec::LinuxNamespace::default();
            entry.set_typ(Type::Cgroup);
            namespaces.push(entry);
        }
    }
    if time_namespaces && !namespaces.iter().any(|entry| entry.typ() == Type::Time) {
        let mut entry = spec::LinuxNamespace::default();
        entry.set_typ(Type::Time);
        namespaces.push(entry);
    }
    let own_user = namespaces.iter().any(|entry| entry.typ() == Type::User);
    if let Some(profile) = linux.seccomp_mut() {
        allow_reboot(profile)?;
    }
    if let Some(process) = spec.process_mut() {
        let env = process.env_mut().get_or_insert_default();
        if !env
            .iter()
            .any(|variable| variable.starts_with("container="))
        {
            env.push("container=vzrun".to_owned());
        }
        if own_user && let Some(mut sets) = process.capabilities().clone() {
            // Over its own pid namespace alone. Without a user namespace the same capability is one over the host's kernel
            // (kexec_load(2)), and is left to the config.
            let with = |set: &Option<spec::Capabilities>| {
                let mut set = set.clone().unwrap_or_default();
                set.insert(spec::Capability::SysBoot);
                Some(set)
            };
            let bounding = with(sets.bounding());
            let effective = with(sets.effective());
            let permitted = with(sets.permitted());
            sets.set_bounding(bounding);
            sets.set_effective(effective);
            sets.set_permitted(permitted);
            process.set_capabilities(Some(sets));
        }
    }
    Ok(())
}

/// reboot(2) works on the caller's pid namespace, and needs a capability.
fn allow_reboot(profile: &mut spec::LinuxSeccomp) -> Result<()> {
    const NAME: &str = "reboot";
    let mut rules = profile.syscalls().clone().unwrap_or_default();
    for rule in rules.iter_mut() {
        let names = rule.names().iter().filter(|name| *name != NAME).cloned();
        let names = names.collect();
        rule.set_names(names);
    }
    rules.retain(|rule| !rule.names().is_empty());
    let rule = spec::LinuxSyscallBuilder::default()
        .names([NAME.to_owned()])
        .action(spec::LinuxSeccompAction::ScmpActAllow)
        .build();
    rules.push(rule.map_err(|error| Error::config(format!("linux.seccomp: {error}")))?);
    profile.set_syscalls(Some(rules));
    Ok(())
}
