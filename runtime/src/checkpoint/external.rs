//! What of a container belongs to the host: CRIU is told not to save it at a dump, and gets what takes its place at a
//! restore.
//!
//! Both sides must choose the same names, from the config alone. A mount is named after its place in the config, a
//! covered file after what covers it, a standard stream after the file that it was.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::rpc::MountMap;
use crate::error::{Error, Result};
use crate::spec::{self, LinuxNamespaceType, Spec};
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mount;
use crate::sys::mountinfo::{self, Line};
use crate::sys::procfs::Procfs;

/// What covers files in `maskedPaths`, and the name for it.
pub(super) const NULL: &str = "/dev/null";
/// Nodes that every container has, which are the host's in a user namespace.
const NODES: [&str; 6] = [
    "/dev/null",
    "/dev/random",
    "/dev/full",
    "/dev/tty",
    "/dev/zero",
    "/dev/urandom",
];

/// The mounts of a container that are there, with its root.
pub(super) struct Table {
    lines: Vec<Line>,
    root: OwnedFd,
}

impl Table {
    pub(super) fn of(pid: i32, procfs: &Procfs) -> Result<Table> {
        let text = procfs.read(&format!("{pid}/mountinfo"))?;
        Ok(Table {
            lines: mountinfo::lines(text.as_bytes()).collect(),
            root: fs::open(
                format!("/proc/{pid}/root"),
                OFlags::PATH | OFlags::DIRECTORY,
            )?,
        })
    }

    /// Whether the mount of this id is one of them.
    pub(super) fn has(&self, id: u64) -> bool {
        self.lines.iter().any(|line| line.id == id)
    }

    /// The ids of all of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> {
        self.lines.iter().map(|line| line.id)
    }

    /// The mount that a path of the container is the root of, links followed.
    fn at(&self, path: &Path) -> Option<&Line> {
        let fd = fs::open_in_root(&self.root, path, OFlags::PATH).ok()?;
        let id = mount::mount_id(&fd).ok()?;
        let line = self.lines.iter().find(|line| line.id == id)?;
        // What is not mounted on is on the mount around it.
        let is_root = line.place == path || self.is_place(line, &fd);
        is_root.then_some(line)
    }

    fn is_place(&self, line: &Line, fd: &OwnedFd) -> bool {
        let place = fs::open_in_root(&self.root, &line.place, OFlags::PATH);
        let ids = |fd: &OwnedFd| fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
        place.is_ok_and(|place| matches!((ids(&place), ids(fd)), (Ok(a), Ok(b)) if a == b))
    }
}

/// A bind mount of the config.
struct Bind {
    /// Its place in the config, cleaned: its name, too.
    place: PathBuf,
    /// What is mounted there, on the host.
    source: PathBuf,
    recursive: bool,
}

fn options(mount: &spec::Mount) -> impl Iterator<Item = &str> {
    let options = mount.options().as_deref().unwrap_or_default();
    options.iter().map(String::as_str)
}

/// The bind mounts of the config.
///
/// # Errors
/// One is id-mapped: CRIU would restore it without its maps.
fn binds(spec: &Spec, bundle: &Path) -> Result<Vec<Bind>> {
    let mut binds = Vec::new();
    for mount in spec.mounts().iter().flatten() {
        let place = spec::clean_path(mount.destination());
        let maps = mount.uid_mappings().iter().flatten().count();
        if maps > 0 || options(mount).any(|option| option == "idmap" || option == "ridmap") {
            return Err(Error::unsupported(format!(
                "mounts: {} is id-mapped, which CRIU can neither save nor restore",
                place.display()
            )));
        }
        let kind = mount.typ().as_deref().unwrap_or_default();
        let bind = options(mount).any(|option| option == "bind");
        let recursive = options(mount).any(|option| option == "rbind");
        let remount = options(mount).any(|option| option == "remount");
        if remount || !(bind || recursive || kind == "bind") {
            continue;
        }
        let source = mount.source().clone().unwrap_or_default();
        binds.push(Bind {
            place,
            source: bundle.join(source),
            recursive,
        });
    }
    Ok(binds)
}

/// The places of mounts of the config that are no bind mounts.
fn others(spec: &Spec, binds: &[Bind]) -> Vec<PathBuf> {
    let places = spec.mounts().iter().flatten();
    let places = places.map(|mount| spec::clean_path(mount.destination()));
    places
        .filter(|place| !binds.iter().any(|bind| bind.place == *place))
        .collect()
}

fn entry(key: &Path, value: &Path) -> MountMap {
    MountMap {
        key: key.to_string_lossy().into_owned(),
        value: value.to_string_lossy().into_owned(),
    }
}

/// Nodes that may be the host's.
fn nodes(spec: &Spec) -> Vec<PathBuf> {
    let linux = spec.linux().as_ref();
    let listed = linux.and_then(|linux| linux.devices().as_deref());
    let listed = listed
        .unwrap_or_default()
        .iter()
        .map(|node| node.path().clone());
    listed.chain(NODES.map(PathBuf::from)).collect()
}

/// At a dump: the mounts of the container that are the host's. `also`: places of mounts that are not in the config.
pub(crate) fn mounts_of(
    spec: &Spec,
    pid: i32,
    procfs: &Procfs,
    also: &[&str],
) -> Result<Vec<MountMap>> {
    let table = Table::of(pid, procfs)?;
    let binds = binds(spec, Path::new("/"))?;
    let others = others(spec, &binds);
    let mut map = Vec::new();
    for bind in &binds {
        let Some(line) = table.at(&bind.place) else {
            continue;
        };
        map.push(entry(&line.place, &bind.place));
        if !bind.recursive {
            continue;
        }
        // What is mounted below the source came along; what the config mounts there did not.
        let below = table.lines.iter().filter_map(|inner| {
            let rest = inner.place.strip_prefix(&line.place).ok()?;
            let own = rest.as_os_str().is_empty()
                || others
                    .iter()
                    .any(|other| inner.place.starts_with(other) && other.starts_with(&bind.place))
                || binds
                    .iter()
                    .any(|other| other.place != bind.place && inner.place == other.place);
            (!own).then(|| entry(&inner.place, &bind.place.join(rest)))
        });
        map.extend(below);
    }
    let linux = spec.linux().as_ref();
    for path in linux
        .and_then(|linux| linux.masked_paths().as_deref())
        .unwrap_or_default()
    {
        let path = spec::clean_path(Path::new(path));
        let Some(line) = table.at(&path) else {
            continue;
        };
        let stat = fs::open_in_root(&table.root, &path, OFlags::PATH).and_then(fs::fstat)?;
        if fs::file_type(&stat) != FileType::Directory {
            map.push(entry(&line.place, Path::new(NULL)));
        }
    }
    let also = also.iter().map(PathBuf::from);
    for path in nodes(spec).into_iter().chain(also) {
        if let Some(line) = table.at(&path) {
            map.push(entry(&line.place, &path));
        }
    }
    for path in cgroup_mounts(spec) {
        if let Some(line) = table.at(&path) {
            map.push(entry(&line.place, &path));
        }
    }
    Ok(map)
}

/// Mounts of cgroups that are the host's, as they are without a cgroup namespace.
fn cgroup_mounts(spec: &Spec) -> impl Iterator<Item = PathBuf> {
    let linux = spec.linux().as_ref();
    let namespaces = linux.and_then(|linux| linux.namespaces().as_deref());
    let own = namespaces
        .unwrap_or_default()
        .iter()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::Cgroup);
    let mounts = spec.mounts().iter().flatten();
    let of_cgroup = mounts
        .filter(move |mount| !own && matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2")));
    of_cgroup.map(|mount| spec::clean_path(mount.destination()))
}

/// At a restore: what takes the places of those. `cgroups`: where the hierarchy is mounted on the host.
pub(crate) fn mounts_for(
    spec: &Spec,
    bundle: &Path,
    cgroups: &Path,
    procfs: &Procfs,
) -> Result<Vec<MountMap>> {
    let mut map = Vec::new();
    let mut host: Option<Vec<Line>> = None;
    for bind in binds(spec, bundle)? {
        map.push(entry(&bind.place, &bind.source));
        if !bind.recursive {
            continue;
        }
        let lines = match &host {
            Some(lines) => lines,
            None => {
                let text = procfs.read_self("mountinfo")?;
                host.insert(mountinfo::lines(text.as_bytes()).collect())
            }
        };
        let source = std::fs::canonicalize(&bind.source).unwrap_or(bind.source);
        let below = lines.iter().filter_map(|line| {
            let rest = line.place.strip_prefix(&source).ok()?;
            let rest = (!rest.as_os_str().is_empty()).then_some(rest)?;
            Some(entry(&bind.place.join(rest), &line.place))
        });
        map.extend(below);
    }
    map.extend(nodes(spec).iter().map(|path| entry(path, path)));
    map.extend(cgroup_mounts(spec).map(|path| entry(&path, cgroups)));
    Ok(map)
}

/// How CRIU calls a namespace of this kind, and the name that runc has for one from outside.
fn namespace_names(kind: LinuxNamespaceType) -> (&'static str, &'static str) {
    match kind {
        LinuxNamespaceType::Network => ("net", "extRootNetNS"),
        LinuxNamespaceType::Pid => ("pid", "extRootPidNS"),
        LinuxNamespaceType::Ipc => ("ipc", ""),
        LinuxNamespaceType::Uts => ("uts", ""),
        LinuxNamespaceType::User => ("user", ""),
        LinuxNamespaceType::Mount => ("mnt", ""),
        LinuxNamespaceType::Time => ("time", ""),
        LinuxNamespaceType::Cgroup => ("cgroup", ""),
    }
}

/// A namespace that the config joins.
pub(crate) struct Joined<'a> {
    /// CRIU's name of the kind.
    pub(crate) kind: &'static str,
    /// The name of one that stays outside; empty where CRIU can only join one.
    pub(crate) key: &'static str,
    /// Its path.
    pub(crate) path: &'a Path,
}

/// The namespaces that the config joins.
pub(crate) fn joined(spec: &Spec) -> impl Iterator<Item = Joined<'_>> {
    let linux = spec.linux().as_ref();
    let list = linux.and_then(|linux| linux.namespaces().as_deref());
    list.unwrap_or_default().iter().filter_map(|namespace| {
        let path = namespace.path().as_deref();
        let path = path.filter(|path| !path.as_os_str().is_empty())?;
        let (kind, key) = namespace_names(namespace.typ());
        Some(Joined { kind, key, path })
    })
}

/// At a dump: `external` for the namespaces that were there before the container.
pub(crate) fn namespaces_of(spec: &Spec, pid: i32) -> Result<Vec<String>> {
    let mut external = Vec::new();
    for joined in joined(spec).filter(|joined| !joined.key.is_empty()) {
        let kind = joined.kind;
        let inode = fs::stat(format!("/proc/{pid}/ns/{kind}"))?.st_ino;
        external.push(format!("{kind}[{inode}]:{}", joined.key));
    }
    Ok(external)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(mounts: &str) -> Spec {
        serde_json::from_str(&format!(r#"{{"ociVersion":"1.0.2","mounts":[{mounts}]}}"#)).unwrap()
    }

    #[test]
    fn what_is_mounted_again() {
        let spec = spec(
            r#"{"destination":"/a/../etc/hosts","type":"bind","source":"hosts","options":["rbind","ro"]},
               {"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup"},
               {"destination":"/proc","type":"proc","source":"proc"}"#,
        );
        let procfs = Procfs::open().unwrap();
        let map = mounts_for(&spec, Path::new("/b"), Path::new("/own"), &procfs).unwrap();
        let has = |key: &str, value: &str| map.iter().any(|m| m.key == key && m.value == value);
        assert!(
            has("/etc/hosts", "/b/hosts") && has("/dev/null", "/dev/null"),
            "{map:?}"
        );
        assert!(has("/sys/fs/cgroup", "/own"), "{map:?}");
        assert!(!map.iter().any(|m| m.key == "/proc"));
    }

    #[test]
    fn id_mapped_mounts_are_refused() {
        let spec = spec(r#"{"destination":"/a","source":"/a","options":["rbind","ridmap"]}"#);
        let error = binds(&spec, Path::new("/")).err().unwrap().to_string();
        assert!(error.contains("/a is id-mapped"), "{error}");
    }
}
