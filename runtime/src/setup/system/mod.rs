//! The annotation io.vzrun.system: a container that behaves like a server of its own (docs/system-containers.md). A keeper
//! stands between the host and its init, which therefore can end and begin anew.

pub(crate) mod ids;
mod interface;
mod rights;
pub(crate) mod run_host;

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::spec;

/// Says whether it is one: `true`, `false`, or `auto`, by its program.
const ANNOTATION: &str = "io.vzrun.system";

/// The programs that are taken for an init by `auto`, by their file names.
const INITS: [&str; 4] = ["init", "systemd", "openrc-init", "runit-init"];

/// Whether the container is to be one; `otherwise` where the annotation is not there.
pub(crate) fn is_wanted(spec: &spec::Spec, otherwise: bool) -> Result<bool> {
    match spec::annotation(spec.annotations().as_ref(), ANNOTATION) {
        None => Ok(otherwise),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some("auto") => Ok(runs_an_init(spec)),
        Some(other) => Err(Error::config(format!(
            "annotation {ANNOTATION}: {other:?} is none of true, false and auto"
        ))),
    }
}

/// Whether sysinfo(2) is answered by the keeper: `true` or `false`.
const SYSINFO: &str = "io.vzrun.sysinfo";

/// Whether the annotation asks for it.
pub(crate) fn has_sysinfo(annotations: Option<&HashMap<String, String>>) -> Result<bool> {
    Ok(spec::switch(annotations, SYSINFO)?.unwrap_or(false))
}

fn runs_an_init(spec: &spec::Spec) -> bool {
    let args = spec.process().as_ref().and_then(|p| p.args().as_ref());
    let program = args.and_then(|args| args.first()).map(Path::new);
    let name = program.and_then(Path::file_name);
    name.is_some_and(|name| INITS.iter().any(|init| name == *init))
}

/// What a distribution finds on a machine of its own: its cgroups, its clocks, the power switch, root's rights, and the word that it is in a
/// container.
///
/// # Errors
/// A config that cannot be one of a system container.
pub(crate) fn complete(spec: &mut spec::Spec, id: &str, time_namespaces: bool) -> Result<()> {
    namespaces(spec, time_namespaces)?;
    interface::complete(spec, id)?;
    let own_users = has_own_users(spec);
    if own_users {
        rights::complete(spec)?;
    }
    if let Some(process) = spec.process_mut().as_mut().filter(|_| own_users) {
        rights::of_root(process);
    }
    open_up(spec, own_users)
}

/// The same for one more process of it, whose config this is.
pub(crate) fn complete_process(
    spec: &mut spec::Spec,
    process: &mut spec::Process,
    own_users: bool,
) -> Result<()> {
    if own_users {
        rights::of_root(process);
    }
    open_up(spec, own_users)
}

fn namespaces(spec: &mut spec::Spec, time_namespaces: bool) -> Result<()> {
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
    Ok(())
}

/// New or joined: its root is not the host's.
fn has_own_users(spec: &spec::Spec) -> bool {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_ref());
    let mut namespaces = namespaces.into_iter().flatten();
    namespaces.any(|entry| entry.typ() == spec::LinuxNamespaceType::User)
}

/// The calls that its seccomp profile is not to refuse.
fn open_up(spec: &mut spec::Spec, own_users: bool) -> Result<()> {
    let linux = spec.linux_mut().as_mut();
    let Some(profile) = linux.and_then(|linux| linux.seccomp_mut().as_mut()) else {
        return Ok(());
    };
    // It works on the caller's pid namespace, and needs a capability.
    let mut names = vec!["reboot"];
    if own_users {
        names.extend(rights::CALLS);
    }
    rights::allow(profile, &names)
}
