//! For the fuzz targets (feature `fuzz`): what a config's words become in the terms of cgroups.

use std::path::{Path, PathBuf};

use super::systemd::{self, Bus, annotation};
use super::{DeviceRules, Limits, path};
use crate::error::{Error, Result};
use crate::spec;
use crate::sys::procfs::Procfs;

pub use super::systemd::doors::message;

/// Where the container's cgroup is, with cgroupfs.
///
/// # Errors
/// What create would say.
pub fn place(given: Option<&Path>, id: &str) -> Result<PathBuf> {
    path::resolve(given, id, &Procfs::open()?)
}

/// What an image says of the cgroups in the container: the directories that a restore makes, and the files in them that it
/// writes to. `None`: it is refused.
pub fn tree(image: &[u8]) -> Option<Vec<(PathBuf, Vec<String>)>> {
    let tree: super::Tree = serde_json::from_slice(image).ok()?;
    Some(tree.places())
}

/// The cgroup in a /proc/PID/cgroup.
pub fn of_process(text: &str) -> PathBuf {
    path::of_process(text)
}

/// The container's scope, with systemd.
#[derive(Debug)]
pub struct Scope {
    /// The slice that it is in.
    pub slice: String,
    /// Its name.
    pub name: String,
    /// Where its cgroup is, if systemd's own is `/`.
    pub path: Option<PathBuf>,
}

/// What a cgroupsPath is to systemd.
///
/// # Errors
/// What create would say.
pub fn scope(given: &str, id: &str, of_user: bool) -> Result<Scope> {
    let bus = if of_user { Bus::User } else { Bus::System };
    let unit = systemd::Unit::plan(Some(Path::new(given)), id, bus)?;
    Ok(Scope {
        path: unit.usual_path(Path::new("/")),
        slice: unit.slice,
        name: unit.name,
    })
}

/// What is asked of cgroups, and of systemd.
#[derive(Debug)]
pub struct Values {
    /// Files, and what is written to them.
    pub files: Vec<(String, String)>,
    /// The call that starts a scope with the same limits, as it goes over the bus.
    pub call: Vec<u8>,
    /// The names of the properties in it.
    pub properties: Vec<String>,
}

/// The values of a LinuxResources document, in a container that has `old` ones already.
///
/// # Errors
/// What update would say.
pub fn values(resources: &[u8], old: Option<&[u8]>) -> Result<Values> {
    let new = spec::parse_resources(resources)?;
    let old = old.map(spec::parse_resources).transpose()?;
    let limits = Limits::plan_change(&new, old.as_ref())?;
    let properties = systemd::limits::of_new(&limits);
    Ok(Values {
        files: limits.written(),
        call: systemd::doors::start(&properties)?,
        properties: properties.into_iter().map(|one| one.name).collect(),
    })
}

/// The call that starts a scope with what the annotation `org.systemd.property.NAME` says.
///
/// # Errors
/// What create would say.
pub fn annotation(name: &str, text: &str) -> Result<Vec<u8>> {
    let key = format!("org.systemd.property.{name}");
    let all = std::collections::HashMap::from([(key, text.to_owned())]);
    systemd::doors::start(&annotation::plan(Some(&all))?)
}

/// Device rules for the kernel and for systemd.
#[derive(Debug)]
pub struct Devices {
    /// `struct bpf_insn`s, in bytes.
    pub program: Vec<[u8; 8]>,
    /// DevicePolicy.
    pub policy: &'static str,
    /// DeviceAllow.
    pub list: Vec<(String, String)>,
}

/// The device rules of a config.
///
/// # Errors
/// What create would say.
pub fn devices(config: &[u8]) -> Result<Devices> {
    let config = spec::parse(config.to_vec())?;
    let linux = config.spec.linux().as_ref();
    let rules = DeviceRules::plan(linux.ok_or_else(|| Error::config("no linux"))?)?;
    let allow = rules.device_allow();
    let program = rules.compile()?;
    Ok(Devices {
        program: program.iter().map(|one| one.to_bytes()).collect(),
        policy: allow.policy,
        list: allow.list,
    })
}
