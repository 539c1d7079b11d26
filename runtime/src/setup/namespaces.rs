//! linux.namespaces: which are new, which are joined by path (namespaces(7)).

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::error::{Context, Error, Result};
use crate::spec::{self, LinuxNamespaceType as Type};
use crate::sys::fs::{self, OFlags};
use crate::sys::namespace;

/// CLONE_NEWTIME of linux/sched.h.
const CLONE_NEWTIME: u64 = 0x80;
const NEWNS: u64 = libc::CLONE_NEWNS as u64;
const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWPID: u64 = libc::CLONE_NEWPID as u64;
const NEWNET: u64 = libc::CLONE_NEWNET as u64;

/// Names as in the specification, with the CLONE_NEW* bit and the name in /proc/PID/ns. `features` prints the names.
pub(crate) const KINDS: [(&str, u64, &str); 8] = [
    ("cgroup", NEWCGROUP, "cgroup"),
    ("ipc", NEWIPC, "ipc"),
    ("mount", NEWNS, "mnt"),
    ("network", NEWNET, "net"),
    ("pid", NEWPID, "pid"),
    ("time", CLONE_NEWTIME, "time"),
    ("user", NEWUSER, "user"),
    ("uts", NEWUTS, "uts"),
];

/// linux.namespaces in kernel terms.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// CLONE_NEW* of those to be made.
    pub(crate) new: u64,
    /// Those to be joined: the bit and the path.
    pub(crate) joined: Vec<(u64, PathBuf)>,
}

/// How the container's first process comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth {
    /// CLONE_NEW* for the parent's clone3.
    pub(crate) first: u64,
    /// What the stage, a process between parent and init, unshares and clones with; `None`: no stage is needed.
    pub(crate) stage: Option<Stage>,
}

/// The work of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stage {
    /// A new time namespace takes its offsets before its first process is born.
    pub(crate) unshare_time: bool,
    /// CLONE_NEW* for the stage's clone3.
    pub(crate) clone: u64,
}

impl Namespaces {
    /// Each kind at most once.
    pub(crate) fn plan(list: Option<&Vec<spec::LinuxNamespace>>) -> Result<Namespaces> {
        let mut namespaces = Namespaces::default();
        let mut seen = 0;
        for entry in list.into_iter().flatten() {
            let bit = bit(entry.typ());
            if seen & bit != 0 {
                let name = name(bit);
                return Err(Error::config(format!(
                    "malformed spec file: duplicated ns \"{name}\""
                )));
            }
            seen |= bit;
            match entry.path() {
                Some(path) if !path.as_os_str().is_empty() => {
                    if path.as_os_str().as_encoded_bytes().contains(&0) {
                        return Err(Error::config(format!("namespace path {path:?} has a NUL")));
                    }
                    namespaces.joined.push((bit, path.clone()));
                }
                _ => namespaces.new |= bit,
            }
        }
        if seen & NEWNS == 0 {
            return Err(Error::unsupported(
                "linux.namespaces: a container without a mount namespace of its own is not supported",
            ));
        }
        Ok(namespaces)
    }

    pub(crate) fn is_new(&self, bit: u64) -> bool {
        self.new & bit != 0
    }

    pub(crate) fn is_joined(&self, bit: u64) -> bool {
        self.joined.iter().any(|(joined, _)| *joined == bit)
    }

    /// New or joined: not the caller's own.
    pub(crate) fn has(&self, bit: u64) -> bool {
        self.is_new(bit) || self.is_joined(bit)
    }

    /// The bits of all that are not the caller's own.
    pub(crate) fn all(&self) -> u64 {
        self.joined
            .iter()
            .fold(self.new, |bits, (bit, _)| bits | bit)
    }

    /// Decides about the stage. The kernel demands one where
    /// - a user namespace is joined and others are new: these must belong to it, so it has to be entered first;
    /// - a user namespace is new and others are joined: that takes the caller's privileges, gone once it is entered;
    /// - a pid namespace is joined: only children of who joins are in it;
    /// - a new time namespace has offsets: they are fixed when its first process is born.
    ///
    /// The cgroup namespace is never cloned: its root is the cgroup of the process that makes it, and with
    /// CLONE_INTO_CGROUP that is still the parent's. Init unshares it.
    pub(crate) fn birth(&self, time_offsets: bool) -> Birth {
        let new = self.new & !NEWCGROUP;
        let offsets = time_offsets && self.is_new(CLONE_NEWTIME);
        let joins_others = self.joined.iter().any(|(bit, _)| *bit != NEWUSER);
        let needed = offsets
            || self.is_joined(NEWPID)
            || self.is_joined(NEWUSER) && new != 0
            || self.is_new(NEWUSER) && joins_others;
        if !needed {
            return Birth {
                first: new,
                stage: None,
            };
        }
        // The user namespace must be there before a time namespace that is to belong to it.
        let first = if offsets && !joins_others {
            new & NEWUSER
        } else {
            0
        };
        let unshare = if offsets { CLONE_NEWTIME } else { 0 };
        let clone = new & !first & !unshare;
        Birth {
            first,
            stage: Some(Stage {
                unshare_time: offsets,
                clone,
            }),
        }
    }

    /// Opens those to be joined, from the host's side.
    pub(crate) fn open(&self) -> Result<Vec<(u64, OwnedFd)>> {
        self.joined
            .iter()
            .map(|(bit, path)| {
                let fd = fs::open(path, OFlags::RDONLY)
                    .context(|| format!("opening the {} namespace to join", name(*bit)))?;
                Ok((*bit, fd))
            })
            .collect()
    }
}

/// Joins namespaces. Those that the caller's privileges open come first; the user namespace next; then the rest, with
/// the privileges that it gives (namespaces of a rootless pod belong to its user namespace).
pub(crate) fn join(opened: &[(u64, OwnedFd)]) -> Result<()> {
    let mut later = Vec::new();
    for (bit, fd) in opened.iter().filter(|(bit, _)| *bit != NEWUSER) {
        let joined = namespace::setns(fd, *bit);
        match joined {
            Ok(()) => {}
            Err(_) if opened.iter().any(|(bit, _)| *bit == NEWUSER) => later.push((*bit, fd)),
            Err(error) => return Err(error.wrap(format!("joining the {} namespace", name(*bit)))),
        }
    }
    for (bit, fd) in opened.iter().filter(|(bit, _)| *bit == NEWUSER) {
        namespace::setns(fd, *bit).context(|| "joining the user namespace")?;
    }
    for (bit, fd) in later {
        namespace::setns(fd, bit).context(|| format!("joining the {} namespace", name(bit)))?;
    }
    Ok(())
}

/// The CLONE_NEW* bits under the names that plans use.
pub(crate) mod kind {
    pub(crate) const CGROUP: u64 = super::NEWCGROUP;
    pub(crate) const IPC: u64 = super::NEWIPC;
    pub(crate) const MOUNT: u64 = super::NEWNS;
    pub(crate) const NETWORK: u64 = super::NEWNET;
    pub(crate) const PID: u64 = super::NEWPID;
    pub(crate) const TIME: u64 = super::CLONE_NEWTIME;
    pub(crate) const USER: u64 = super::NEWUSER;
    pub(crate) const UTS: u64 = super::NEWUTS;
}

fn bit(kind: Type) -> u64 {
    match kind {
        Type::Mount => NEWNS,
        Type::Cgroup => NEWCGROUP,
        Type::Uts => NEWUTS,
        Type::Ipc => NEWIPC,
        Type::User => NEWUSER,
        Type::Pid => NEWPID,
        Type::Network => NEWNET,
        Type::Time => CLONE_NEWTIME,
    }
}

fn name(bit: u64) -> &'static str {
    KINDS
        .iter()
        .find(|(_, known, _)| *known == bit)
        .map_or("unknown", |(name, _, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_stage_is_needed() {
        const ALL: u64 = NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS;
        let none = |first| Birth { first, stage: None };
        let stage = |first, unshare_time, clone| Birth {
            first,
            stage: Some(Stage {
                unshare_time,
                clone,
            }),
        };
        for (new, joined, offsets, birth) in [
            (ALL | NEWCGROUP, vec![], false, none(ALL)),
            (ALL | NEWUSER, vec![], false, none(ALL | NEWUSER)),
            (ALL, vec![NEWNET, NEWIPC], false, none(ALL)),
            (
                ALL | CLONE_NEWTIME,
                vec![],
                false,
                none(ALL | CLONE_NEWTIME),
            ),
            (ALL | CLONE_NEWTIME, vec![], true, stage(0, true, ALL)),
            (
                ALL | CLONE_NEWTIME | NEWUSER,
                vec![],
                true,
                stage(NEWUSER, true, ALL),
            ),
            (
                NEWNS | NEWUSER,
                vec![NEWNET],
                false,
                stage(0, false, NEWNS | NEWUSER),
            ),
            (NEWNS, vec![NEWUSER], false, stage(0, false, NEWNS)),
            (0, vec![NEWUSER, NEWNS], false, none(0)),
            (NEWNS, vec![NEWPID], false, stage(0, false, NEWNS)),
        ] {
            let joined = joined
                .into_iter()
                .map(|bit| (bit, PathBuf::new()))
                .collect();
            let namespaces = Namespaces { new, joined };
            assert_eq!(namespaces.birth(offsets), birth, "{namespaces:?}");
        }
    }

    #[test]
    fn a_kind_comes_once() {
        let list: Vec<spec::LinuxNamespace> =
            serde_json::from_str(r#"[{"type":"mount"},{"type":"pid"},{"type":"pid","path":"/x"}]"#)
                .unwrap();
        let error = Namespaces::plan(Some(&list)).unwrap_err().to_string();
        assert_eq!(error, "malformed spec file: duplicated ns \"pid\"");
    }
}
