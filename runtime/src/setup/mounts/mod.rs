//! mounts: what is mounted below the root, in the order of the list.

mod bind;
mod cgroup;
mod copy_up;
mod filesystem;
mod mapped;
mod places;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::host::Host;
use crate::setup::id_mappings::IdMappings;
use crate::setup::lsm::MountLabel;
use crate::setup::mount_options::{self, Options};
use crate::setup::rootfs::Rootfs;
use crate::spec;
use crate::sys::fs::{self, FileType, OFlags};
use crate::sys::mount::{self, MountAttr, attr};
use crate::sys::procfs::{PROC_SUPER_MAGIC, Procfs};

/// One entry of `mounts` in kernel terms.
#[derive(Debug)]
struct Mount {
    destination: PathBuf,
    source: PathBuf,
    fstype: String,
    options: Options,
    /// Its own maps, for an id-mapped mount.
    mappings: IdMappings,
}

/// All of `mounts`.
#[derive(Debug)]
pub(crate) struct Mounts {
    list: Vec<Mount>,
    label: Option<MountLabel>,
    /// A mount of type `cgroup` shows the container's own cgroup, not the host's.
    own_cgroups: bool,
}

/// What has been opened for the entries of the list beforehand.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// The trees of bind mounts, by the number of the entry.
    pub(crate) trees: Vec<Option<OwnedFd>>,
    /// Nothing is left to be found by its path: these are all.
    pub(crate) complete: bool,
}

impl Mounts {
    /// `container` are the maps of the container's own user namespace, for plain `idmap`; with `own_cgroups` it sees
    /// no cgroups but its own.
    pub(crate) fn plan(
        spec: &spec::Spec,
        bundle: &Path,
        container: &IdMappings,
        own_cgroups: bool,
    ) -> Result<Mounts> {
        let mut list = Vec::new();
        for (index, entry) in spec.mounts().iter().flatten().enumerate() {
            let mount = plan_one(entry, bundle, container)
                .context(|| format!("mounts[{index}] ({})", entry.destination().display()))?;
            list.push(mount);
        }
        let label = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.mount_label().as_ref());
        let label = MountLabel::plan(label, spec.annotations().as_ref())?;
        Ok(Mounts {
            list,
            label,
            own_cgroups,
        })
    }

    /// Whether `/dev` is the host's by bind mount: then no device nodes are made in it.
    pub(crate) fn binds_dev(&self) -> bool {
        self.list
            .iter()
            .any(|m| m.options.bind && m.destination == Path::new("/dev"))
    }

    /// Whether one of them may be of a file system on a block device, which the kernel lets init open only where the
    /// device rules do.
    pub(crate) fn may_open_devices(&self) -> bool {
        self.list.iter().any(|m| {
            !m.options.bind && m.source.starts_with("/") && filesystem::is_on_device(&m.fstype)
        })
    }

    /// Opens, in the parent, what the child cannot: id-mapped sources always, and every source of a bind mount where
    /// the child's root will be another user than the caller, who may not get there.
    pub(crate) fn open_outside(
        &self,
        new_user_namespace: bool,
        host: &Host,
        procfs: &Procfs,
    ) -> Result<Opened> {
        let trees = self
            .list
            .iter()
            .map(|m| {
                let idmapped = m.options.idmap.is_some() || !m.mappings.is_empty();
                let out_of_reach = m.options.bind && new_user_namespace && host.euid == 0;
                if !(idmapped || out_of_reach) {
                    return Ok(None);
                }
                match bind::open(m, idmapped, host, procfs).context(|| m.title()) {
                    // Root of a user namespace may have no rights over the mounts that it sees: then the child tries.
                    Err(_) if !idmapped && host.in_user_namespace => Ok(None),
                    tree => tree.map(Some),
                }
            })
            .collect::<Result<_>>()?;
        Ok(Opened {
            trees,
            complete: false,
        })
    }

    /// The trees of all bind mounts, for who will not find their sources any more.
    pub(crate) fn sources(&self, mut opened: Opened) -> Result<Vec<Option<OwnedFd>>> {
        let tree = |(index, m): (usize, &Mount)| {
            if !m.options.bind || m.options.remount {
                return Ok(None);
            }
            let outside = opened.trees.get_mut(index).and_then(Option::take);
            bind::tree(m, outside, opened.complete)
                .context(|| m.title())
                .map(Some)
        };
        self.list.iter().enumerate().map(tree).collect()
    }

    /// Whether some file system other than a bind mount is made of something of the host's.
    pub(crate) fn needs_the_host(&self) -> Option<&Path> {
        let found = self.list.iter().find(|m| {
            !m.options.bind
                && (m.fstype == "overlay"
                    || m.source.starts_with("/") && filesystem::is_on_device(&m.fstype))
        });
        found.map(|m| m.destination.as_path())
    }

    /// Mounts everything. What must become read-only only after all mounts are made is left to [`Finish::apply`].
    pub(crate) fn apply(
        &self,
        rootfs: &Rootfs,
        mut opened: Opened,
        cgroup: CgroupPlace<'_>,
    ) -> Result<Finish> {
        let mut finish = Finish(Vec::new());
        for (index, m) in self.list.iter().enumerate() {
            let outside = opened.trees.get_mut(index).and_then(Option::take);
            self.apply_one(m, rootfs, (outside, opened.complete), cgroup, &mut finish)
                .context(|| m.title())?;
        }
        Ok(finish)
    }

    fn apply_one(
        &self,
        m: &Mount,
        rootfs: &Rootfs,
        (outside, only): (Option<OwnedFd>, bool),
        cgroup: CgroupPlace<'_>,
        finish: &mut Finish,
    ) -> Result<()> {
        let tree = if m.options.remount {
            let place = rootfs.open(&m.destination, OFlags::PATH)?;
            if m.options.bind || !m.options.has_filesystem_options() {
                mount::mount_setattr(&place, false, &m.options.attributes)?;
            } else {
                filesystem::remount(m, &place)?;
            }
            place
        } else if m.options.bind {
            bind::apply(m, rootfs, outside, only)?
        } else if m.fstype == "cgroup" || m.fstype == "cgroup2" {
            cgroup::apply(m, rootfs, &cgroup()?, self.own_cgroups)?
        } else {
            filesystem::apply(m, rootfs, self.label.as_ref(), finish)?
        };
        if m.options.recursive_attributes != MountAttr::default() {
            mount::mount_setattr(&tree, true, &m.options.recursive_attributes)?;
        }
        for (propagation, recursive) in &m.options.propagation {
            let change = MountAttr {
                propagation: *propagation,
                ..MountAttr::default()
            };
            mount::mount_setattr(&tree, *recursive, &change)?;
        }
        Ok(())
    }
}

/// Where the container's cgroup is to be seen, for a mount of type `cgroup`.
#[derive(Debug, Clone, Default)]
pub(crate) struct CgroupView {
    /// The mount point of cgroup2 on the host.
    pub(crate) mount: PathBuf,
    /// The container's cgroup below it.
    pub(crate) path: Option<PathBuf>,
}

/// Finds that out, which may take a wait: so it is asked only by the mount that needs it.
pub(crate) type CgroupPlace<'a> = &'a mut dyn FnMut() -> Result<CgroupView>;

/// Mounts that become read-only at the end, so that places for other mounts could be made in them.
#[derive(Debug)]
pub(crate) struct Finish(Vec<OwnedFd>);

impl Finish {
    pub(crate) fn apply(self) -> Result<()> {
        let readonly = MountAttr {
            set: attr::RDONLY,
            ..MountAttr::default()
        };
        self.0
            .iter()
            .try_for_each(|tree| mount::mount_setattr(tree, false, &readonly))
    }
}

impl Mount {
    fn title(&self) -> String {
        let source = if self.source.as_os_str().is_empty() {
            self.fstype.clone()
        } else {
            self.source.display().to_string()
        };
        format!(
            "error mounting {source:?} to rootfs at {:?}",
            self.destination.display().to_string()
        )
    }
}

fn plan_one(entry: &spec::Mount, bundle: &Path, container: &IdMappings) -> Result<Mount> {
    let destination = entry.destination();
    if destination.as_os_str().is_empty() {
        return Err(Error::config("destination is empty"));
    }
    if !destination.is_absolute() {
        crate::log::warn(format_args!(
            "mount destination {} is not absolute, support for it will be removed",
            destination.display()
        ));
    }
    let destination = spec::clean_path(destination);
    let options = mount_options::parse(entry.options().as_deref().unwrap_or_default())?;
    let fstype = entry.typ().clone().unwrap_or_default();
    if fstype.is_empty() && !options.bind && !options.remount {
        return Err(Error::config(
            "no type, and none of the options bind, rbind and remount",
        ));
    }
    let source = entry.source().clone().unwrap_or_default();
    if options.bind && !options.remount && source.as_os_str().is_empty() {
        return Err(Error::config("a bind mount needs a source"));
    }
    let source = if options.bind {
        bundle.join(source)
    } else {
        source
    };
    let mut mappings =
        IdMappings::plan(entry.uid_mappings().as_ref(), entry.gid_mappings().as_ref())?;
    if mappings.uids.is_empty() != mappings.gids.is_empty() {
        return Err(Error::config(
            "id-mapped mounts need both uidMappings and gidMappings",
        ));
    }
    if (options.idmap.is_some() || !mappings.is_empty()) && !options.bind {
        return Err(Error::config("id-mapped mounts must be bind mounts"));
    }
    if options.idmap.is_some() && mappings.is_empty() {
        if container.is_empty() {
            return Err(Error::config(
                "the option idmap needs uidMappings and gidMappings on the mount or a user namespace",
            ));
        }
        mappings = container.clone();
    }
    let mount = Mount {
        destination,
        source,
        fstype,
        options,
        mappings,
    };
    check_inside_proc(&mount)?;
    Ok(mount)
}

/// Only files that tools like lxcfs replace may be mounted over inside /proc, and only a procfs at /proc: anything else
/// could feed a container's own data to later writes of labels and settings.
fn check_inside_proc(m: &Mount) -> Result<()> {
    const ALLOWED: [&str; 11] = [
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "net/dev",
        "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled",
    ];
    let Ok(inside) = m.destination.strip_prefix("/proc") else {
        return Ok(());
    };
    if inside.as_os_str().is_empty() {
        let procfs_bind = m.options.bind && m.source == Path::new("/proc");
        if m.fstype == "proc" && !m.options.bind || procfs_bind {
            return Ok(());
        }
        return Err(Error::config(
            "\"/proc\" cannot be mounted because it is not of type proc",
        ));
    }
    if ALLOWED.iter().any(|name| Path::new(name) == inside) {
        return Ok(());
    }
    let path = m.destination.display();
    Err(Error::config(format!(
        "{path:?} cannot be mounted because it is inside /proc"
    )))
}

/// The same for a place that only turned out to be inside a procfs when links on the way were followed.
fn check_not_in_procfs(m: &Mount, place: &OwnedFd) -> Result<()> {
    if m.destination.starts_with("/proc")
        || m.fstype == "proc"
        || fs::file_system(place)? != PROC_SUPER_MAGIC
    {
        return Ok(());
    }
    let path = m.destination.display();
    Err(Error::config(format!(
        "{path:?} cannot be mounted because it leads inside /proc"
    )))
}

/// The place for a procfs or sysfs: a real directory, never a link (CVE-2019-19921).
fn ordinary_directory(m: &Mount, rootfs: &Rootfs) -> Result<OwnedFd> {
    let parent = m.destination.parent().unwrap_or(Path::new("/"));
    let name = m
        .destination
        .file_name()
        .ok_or_else(|| Error::config("the root filesystem itself cannot be mounted over"))?;
    let parent = rootfs.directory(parent)?;
    match fs::lstatat(&parent, name) {
        Ok(stat) if fs::file_type(&stat) != FileType::Directory => {
            let fstype = &m.fstype;
            return Err(Error::config(format!(
                "filesystem {fstype:?} must be mounted on ordinary directory"
            )));
        }
        Ok(_) => {}
        Err(error) if fs::is_missing(&error) => fs::mkdirat(&parent, name, 0o755)?,
        Err(error) => return Err(error),
    }
    fs::openat(
        &parent,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY,
        0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Mounts> {
        let spec: spec::Spec = serde_json::from_str(json).unwrap();
        Mounts::plan(&spec, Path::new("/b"), &IdMappings::default(), true)
    }

    #[test]
    fn sources_and_destinations() {
        let mounts = plan(
            r#"{"mounts":[{"destination":"a/../b/./c","type":"bind","source":"x","options":["bind"]},
                          {"destination":"/d","source":"/y","options":["rbind"]},
                          {"destination":"/proc","type":"proc","source":"proc"}]}"#,
        )
        .unwrap();
        assert_eq!(mounts.list[0].destination, Path::new("/b/c"));
        assert_eq!(mounts.list[0].source, Path::new("/b/x"));
        assert_eq!(mounts.list[1].source, Path::new("/y"));
        assert!(mounts.list[1].options.recursive);
        assert_eq!(mounts.list[2].source, Path::new("proc"));
    }

    #[test]
    fn what_is_refused() {
        for (entry, words) in [
            (
                r#"{"destination":"/proc","type":"tmpfs"}"#,
                "not of type proc",
            ),
            (
                r#"{"destination":"/x/../proc/self","type":"tmpfs"}"#,
                "inside /proc",
            ),
            (r#"{"destination":"/x"}"#, "no type"),
            (
                r#"{"destination":"/x","options":["bind"]}"#,
                "needs a source",
            ),
            (
                r#"{"destination":"/x","type":"bind","source":"/","options":["bind","idmap"]}"#,
                "idmap",
            ),
            (
                r#"{"destination":"/x","type":"tmpfs","uidMappings":[{"size":1}],"gidMappings":[{"size":1}]}"#,
                "must be bind",
            ),
        ] {
            let error = plan(&format!(r#"{{"mounts":[{entry}]}}"#))
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{entry}: {error}");
        }
        let lxcfs = r#"{"mounts":[{"destination":"/proc/meminfo","type":"bind","source":"/m"}]}"#;
        assert!(plan(lxcfs).is_ok());
    }
}
