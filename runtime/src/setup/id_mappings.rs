//! linux.uidMappings and linux.gidMappings: the id maps of a new user namespace (user_namespaces(7)).

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::Pid;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::host::Host;
use crate::spec;
use crate::sys::fork::{self, Fork};
use crate::sys::fs::{self, OFlags};
use crate::sys::process;
use crate::sys::procfs::Procfs;

/// One line of a map: `size` ids from `container` on are those from `host` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) container: u32,
    pub(crate) host: u32,
    pub(crate) size: u32,
}

/// The maps of a user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IdMappings {
    pub(crate) uids: Vec<Range>,
    pub(crate) gids: Vec<Range>,
}

/// The kernel takes 340 lines at most (user_namespaces(7)).
const MAX_LINES: usize = 340;

impl IdMappings {
    /// Reads a pair of maps.
    pub(crate) fn plan(
        uids: Option<&Vec<spec::LinuxIdMapping>>,
        gids: Option<&Vec<spec::LinuxIdMapping>>,
    ) -> Result<IdMappings> {
        Ok(IdMappings {
            uids: ranges(uids).context(|| "uidMappings")?,
            gids: ranges(gids).context(|| "gidMappings")?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// The host's user id of one of the container's.
    pub(crate) fn host_uid(&self, id: u32) -> Option<u32> {
        host_id(&self.uids, id)
    }

    /// The host's group id of one of the container's.
    pub(crate) fn host_gid(&self, id: u32) -> Option<u32> {
        host_id(&self.gids, id)
    }

    /// The host's ids for these of the container. Without maps all ids are the same.
    pub(crate) fn outer(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        match self.is_empty() {
            true => Some((uid, gid)),
            false => Some((host_id(&self.uids, uid)?, host_id(&self.gids, gid)?)),
        }
    }

    /// The container's ids for these of the host.
    pub(crate) fn inner(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        let turned = |ranges: &[Range], id| {
            ranges.iter().find_map(|range| {
                let offset = u32::checked_sub(id, range.host)?;
                (offset < range.size).then(|| range.container + offset)
            })
        };
        match self.is_empty() {
            true => Some((uid, gid)),
            false => Some((turned(&self.uids, uid)?, turned(&self.gids, gid)?)),
        }
    }

    /// The host's ids of the container's root.
    pub(crate) fn root(&self) -> Option<(u32, u32)> {
        Some((host_id(&self.uids, 0)?, host_id(&self.gids, 0)?))
    }

    /// Writes the maps of a process that has just been born into a new user namespace.
    ///
    /// Root writes them itself. An ordinary user asks newuidmap(1) and newgidmap(1); where those are missing, the one
    /// map that the kernel allows without them is used: the caller's own id as the container's root. Where they refuse,
    /// the user has asked for ids that are not his.
    pub(crate) fn apply(&self, procfs: &Procfs, pid: Pid, host: &Host) -> Result<()> {
        if host.privileged() || self.write(procfs, pid).is_ok() {
            return if host.privileged() {
                self.write(procfs, pid)
            } else {
                Ok(())
            };
        }
        if self.only(host) {
            return self.write_single(procfs, pid, host);
        }
        let by_tools = map_with("newuidmap", pid, &self.uids)
            .and_then(|()| map_with("newgidmap", pid, &self.gids));
        by_tools.or_else(|error| {
            if !fs::is_missing(&error) {
                return Err(error);
            }
            crate::log::warn(format_args!("{error}; mapping only the caller's own id"));
            self.write_single(procfs, pid, host).map_err(|_| error)
        })
    }

    fn write(&self, procfs: &Procfs, pid: Pid) -> Result<()> {
        procfs.write_pid(pid, "gid_map", lines(&self.gids))?;
        procfs.write_pid(pid, "uid_map", lines(&self.uids))
    }

    /// Checks that the user namespace that this process has joined has these maps: engines give both, and everything
    /// that is planned by the maps would be wrong with others.
    pub(crate) fn check_joined(&self, procfs: &Procfs) -> Result<()> {
        for (name, key, ranges) in [
            ("uid_map", "uidMappings", &self.uids),
            ("gid_map", "gidMappings", &self.gids),
        ] {
            let text = procfs.read_self(name)?;
            if parse(&text) != sorted(ranges.clone()) {
                return Err(Error::config(format!(
                    "linux.{key}: the user namespace to join has other mappings"
                )));
            }
        }
        Ok(())
    }

    /// The maps are exactly one id each, and it is the caller's own.
    fn only(&self, host: &Host) -> bool {
        let own =
            |ranges: &[Range], id| matches!(ranges, [range] if range.size == 1 && range.host == id);
        own(&self.uids, host.euid) && own(&self.gids, host.egid)
    }

    fn write_single(&self, procfs: &Procfs, pid: Pid, host: &Host) -> Result<()> {
        let first = |ranges: &[Range]| ranges.first().map_or(0, |range| range.container);
        // An unprivileged process must give up setgroups(2) before it may write a gid map.
        procfs.write_pid(pid, "setgroups", "deny")?;
        procfs.write_pid(
            pid,
            "gid_map",
            format!("{} {} 1\n", first(&self.gids), host.egid),
        )?;
        procfs.write_pid(
            pid,
            "uid_map",
            format!("{} {} 1\n", first(&self.uids), host.euid),
        )
    }

    /// A user namespace with these maps, for an id-mapped mount (mount_setattr(2) MOUNT_ATTR_IDMAP).
    pub(crate) fn namespace(&self, procfs: &Procfs, host: &Host) -> Result<OwnedFd> {
        let (ours, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .call(|| "pipe2(O_CLOEXEC)")?;
        let child = match fork::clone3(libc::CLONE_NEWUSER as u64, None, false)? {
            Fork::Child => fork::exit_after(|| {
                drop(theirs);
                // Lives until the parent closes its end.
                let _ = rustix::io::read(&ours, &mut [0u8; 1]);
                0
            }),
            Fork::Parent(child) => child,
        };
        let opened = self.apply(procfs, child.pid, host).and_then(|()| {
            let path = format!("/proc/{}/ns/user", child.pid);
            fs::open(path, OFlags::RDONLY)
        });
        drop(theirs);
        process::wait(&child.pidfd)?;
        opened
    }
}

fn ranges(list: Option<&Vec<spec::LinuxIdMapping>>) -> Result<Vec<Range>> {
    let list: Vec<Range> = list
        .into_iter()
        .flatten()
        .map(|m| Range {
            container: m.container_id(),
            host: m.host_id(),
            size: m.size(),
        })
        .collect();
    if list.len() > MAX_LINES {
        return Err(Error::config(format!(
            "{} lines; the kernel takes {MAX_LINES}",
            list.len()
        )));
    }
    for range in &list {
        let past = |start: u32| start.checked_add(range.size.saturating_sub(1)).is_none();
        if range.size == 0 || past(range.container) || past(range.host) {
            return Err(Error::config(format!(
                "containerID {}, hostID {}, size {} is not a range of ids",
                range.container, range.host, range.size
            )));
        }
    }
    Ok(list)
}

/// The host's id of a container's id.
pub(crate) fn host_id(ranges: &[Range], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.container)?;
        (offset < range.size).then(|| range.host + offset)
    })
}

/// A map as the kernel prints it, in order.
fn parse(text: &str) -> Vec<Range> {
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        Some(Range {
            container: numbers.next()?.ok()?,
            host: numbers.next()?.ok()?,
            size: numbers.next()?.ok()?,
        })
    };
    sorted(text.lines().filter_map(range).collect())
}

fn sorted(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_by_key(|range| range.container);
    ranges
}

fn lines(ranges: &[Range]) -> String {
    ranges
        .iter()
        .map(|r| format!("{} {} {}\n", r.container, r.host, r.size))
        .collect()
}

/// newuidmap(1) or newgidmap(1).
fn map_with(tool: &str, pid: Pid, ranges: &[Range]) -> Result<()> {
    let mut command = Command::new(tool);
    command.arg(pid.to_string());
    for range in ranges {
        command.args([range.container, range.host, range.size].map(|n| n.to_string()));
    }
    let (status, said) = run(&mut command).context(|| {
        format!("running {tool} (package uidmap) to map more than one id as an ordinary user")
    })?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Err(Error::new(
        ErrorKind::Process,
        format!("{tool} {pid} failed ({status}): {said}; see /etc/subuid and /etc/subgid"),
    ))
}

/// To its end, with what it says on stderr. (The standard library's way ends this process should reading fail.)
fn run(command: &mut Command) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let mut said = Vec::new();
    let read = match child.stderr.take() {
        Some(mut stderr) => stderr.read_to_end(&mut said),
        None => Ok(0),
    };
    let status = child.wait()?;
    read.map(|_| (status, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_the_kernel() {
        let range = |container, host, size| Range {
            container,
            host,
            size,
        };
        let text = "      1000       5000          1\n         0     100000       1000\n";
        let expected = [range(0, 100_000, 1000), range(1000, 5000, 1)];
        assert_eq!(parse(text), expected);
        assert_eq!(parse(&lines(&expected)), expected);
    }

    #[test]
    fn ids_through_a_map() {
        let map = [
            Range {
                container: 0,
                host: 100_000,
                size: 10,
            },
            Range {
                container: 1000,
                host: 5,
                size: 1,
            },
        ];
        for (id, host) in [
            (0, Some(100_000)),
            (9, Some(100_009)),
            (10, None),
            (1000, Some(5)),
            (1001, None),
        ] {
            assert_eq!(host_id(&map, id), host, "{id}");
        }
        assert_eq!(lines(&map), "0 100000 10\n1000 5 1\n");
    }

    #[test]
    fn nonsense_is_refused() {
        for (container, host, size) in [(0u32, 0u32, 0u32), (u32::MAX, 0, 2), (0, u32::MAX, 2)] {
            let json = format!(r#"[{{"containerID":{container},"hostID":{host},"size":{size}}}]"#);
            let list: Vec<spec::LinuxIdMapping> = serde_json::from_str(&json).unwrap();
            assert!(ranges(Some(&list)).is_err(), "{json}");
        }
    }
}
