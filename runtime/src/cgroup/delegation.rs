//! The container's cgroup given to the container: whoever runs its process may make cgroups below it, move processes
//! between them and hand controllers down, as systemd does as PID 1 of a container.
//!
//! What the kernel calls safe to give away is given away and nothing else: the limits in the other files are the host's
//! (Documentation/admin-guide/cgroup-v2.rst, Delegation; runtime-spec, config-linux.md, Cgroup ownership).

use std::path::Path;

use rustix::io::Errno;

use super::Cgroup;
use crate::error::{Context, Result};
use crate::spec;
use crate::sys::fs::{self, OFlags};

/// The kernel's own list of the files (Linux 4.15).
const LIST: &str = "/sys/kernel/cgroup/delegate";
/// Where there is none.
const LIST_OF_OLD: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// To whom the container's cgroup goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delegation {
    /// The host's user id of the container's process.
    owner: u32,
}

impl Delegation {
    /// Only a container that has the cgroup to itself (a new cgroup namespace) and is to write to it (/sys/fs/cgroup is
    /// mounted so) gets it. `host_id`: the host's user id of one of the container's.
    ///
    /// `None`: the cgroup stays as it is; a user id that is not mapped is refused elsewhere.
    pub(crate) fn plan(
        spec: &spec::Spec,
        new_cgroup_namespace: bool,
        host_id: impl Fn(u32) -> Option<u32>,
    ) -> Option<Delegation> {
        let writable = spec.mounts().iter().flatten().any(is_writable_cgroup);
        if !new_cgroup_namespace || !writable {
            return None;
        }
        let user = spec.process().as_ref()?.user().uid();
        let owner = host_id(user)?;
        // It belongs to root as it is.
        (owner != 0).then_some(Delegation { owner })
    }

    /// To a user of the host, who may be root.
    pub(crate) fn to(owner: Option<u32>) -> Option<Delegation> {
        let owner = owner.filter(|owner| *owner != 0);
        owner.map(|owner| Delegation { owner })
    }

    /// Gives the directory and the files away. The group stays, as with runc.
    ///
    /// # Errors
    /// EPERM for an ordinary user who would give it to somebody else.
    pub(crate) fn apply(self, cgroup: &Cgroup) -> Result<()> {
        let list = fs::open(LIST, OFlags::RDONLY).and_then(|file| fs::read_to_end(file, 1 << 16));
        let list = match list.context(|| LIST) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if fs::is_missing(&error) => LIST_OF_OLD.to_owned(),
            Err(error) => return Err(error),
        };
        for name in std::iter::once(".").chain(list.lines()) {
            match fs::chown_user_at(&cgroup.directory, name, self.owner) {
                // memory.oom.group, where the cgroup has no memory controller.
                Err(error) if error.errno() == Some(Errno::NOENT) => {}
                other => other.context(|| {
                    format!(
                        "giving the cgroup {:?} to the container's user",
                        cgroup.path
                    )
                })?,
            }
        }
        Ok(())
    }
}

/// As the container's processes will find it. Of two at the same place (ctr adds one to its read-only default) the last would count;
/// who asks for a writable one at all is given it.
fn is_writable_cgroup(mount: &spec::Mount) -> bool {
    let kind = mount.typ().as_deref().unwrap_or_default();
    let options = mount.options().as_deref().unwrap_or_default();
    let read_only = options
        .iter()
        .rev()
        .find(|option| *option == "ro" || *option == "rw");
    matches!(kind, "cgroup" | "cgroup2")
        && spec::clean_path(mount.destination()) == Path::new("/sys/fs/cgroup")
        && read_only.is_none_or(|option| option == "rw")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(mount: &str, user: u32, new_namespace: bool) -> Option<u32> {
        let text = format!(
            r#"{{"ociVersion": "1.0.2", "root": {{"path": "rootfs"}},
            "process": {{"cwd": "/", "args": ["x"], "user": {{"uid": {user}, "gid": 0}}}},
            "mounts": [{{"source": "cgroup", {mount}}}]}}"#
        );
        let spec: spec::Spec = serde_json::from_str(&text).unwrap();
        let host_id = |id: u32| (id < 10).then_some(100_000 + id);
        Delegation::plan(&spec, new_namespace, host_id).map(|delegation| delegation.owner)
    }

    #[test]
    fn who_gets_it() {
        let place = r#""destination": "/sys/fs/cgroup""#;
        let rw = format!(r#"{place}, "type": "cgroup", "options": ["ro", "nosuid", "rw"]"#);
        let v2 = format!(r#"{place}, "type": "cgroup2""#);
        let ro = format!(r#"{place}, "type": "cgroup", "options": ["rw", "ro"]"#);
        let bind = format!(r#"{place}, "type": "bind", "options": ["rbind"]"#);
        let untidy = r#""destination": "/sys//fs/x/../cgroup/", "type": "cgroup""#;
        let elsewhere = r#""destination": "/mnt", "type": "cgroup""#;
        for (mount, user, new_namespace, owner) in [
            (rw.as_str(), 0, true, Some(100_000)),
            (&rw, 7, true, Some(100_007)),
            (&rw, 11, true, None),
            (&rw, 0, false, None),
            (&v2, 0, true, Some(100_000)),
            (&ro, 0, true, None),
            (&bind, 0, true, None),
            (untidy, 0, true, Some(100_000)),
            (elsewhere, 0, true, None),
        ] {
            assert_eq!(planned(mount, user, new_namespace), owner, "{mount} {user}");
        }
    }

    #[test]
    fn root_has_it_already() {
        let text = r#"{"ociVersion": "1.0.2", "root": {"path": "rootfs"},
            "process": {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}},
            "mounts": [{"source": "cgroup", "type": "cgroup", "destination": "/sys/fs/cgroup"}]}"#;
        let spec: spec::Spec = serde_json::from_str(text).unwrap();
        assert_eq!(Delegation::plan(&spec, true, Some), None);
    }
}
