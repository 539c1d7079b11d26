//! The mounts of a container: file systems that CRIU cannot mount again.

use std::collections::HashSet;
use std::path::Path;

use super::{Finding, Subject, huge};
use crate::checkpoint::external;
use crate::error::Result;
use crate::sys::mountinfo::{self, Line};

/// File systems that CRIU mounts anew, with what is in them where that matters.
const KNOWN: [&str; 18] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "binfmt_misc",
    "tmpfs",
    "devpts",
    "btrfs",
    "pstore",
    "securityfs",
    "fusectl",
    "debugfs",
    "tracefs",
    "cgroup",
    "cgroup2",
    "mqueue",
    "overlay",
    "autofs",
    huge::NAME,
];

pub(super) fn look(subject: &Subject<'_>) -> Result<Vec<Finding>> {
    let text = subject
        .procfs
        .read_list(&format!("{}/mountinfo", subject.init))?;
    let lines: Vec<Line> = mountinfo::lines(text.as_bytes()).collect();
    let map = external::mounts_of(subject.spec, subject.init, subject.procfs, &[])?;
    let external: HashSet<&Path> = map
        .iter()
        .map(|entry| Path::new(entry.key.as_str()))
        .collect();
    let inside = lines
        .iter()
        .filter(|line| !external.contains(line.place.as_path()));
    let finding = |line: &Line| {
        let (what, remedy) = judge(line, &lines)?;
        let reason = format!("the mount on {}: {what}", line.place.display());
        Some((reason, remedy))
    };
    let found = inside.filter_map(finding);
    let found = found.chain(huge::mounts(subject.spec, subject.init, subject.procfs)?);
    Ok(found.collect())
}

fn judge(line: &Line, all: &[Line]) -> Option<(String, &'static str)> {
    let root = all.iter().find(|line| line.place == Path::new("/"))?;
    // A part of the root filesystem in another place.
    if line.device == root.device {
        return None;
    }
    // What is seen of cgroup's root depends on who looks.
    let whole = line.root == Path::new("/") || line.kind.starts_with("cgroup");
    if !whole
        && !all
            .iter()
            .any(|other| other.id != line.id && holds(other, line))
    {
        return Some((
            "a part of a file system that is mounted nowhere else in the container".into(),
            "name it as a bind mount in the config, or unmount it first",
        ));
    }
    (whole && !KNOWN.contains(&line.kind.as_str())).then(|| {
        let what = format!("CRIU does not save the file system {}", line.kind);
        (
            what,
            "mount it on the host, and name it as a bind mount in the config",
        )
    })
}

/// What is mounted in one is a part of what is mounted in the other.
fn holds(other: &Line, line: &Line) -> bool {
    other.device == line.device && line.root != other.root && line.root.starts_with(&other.root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_that_come_back() {
        let text = "\
1 0 0:50 / / rw - overlay overlay rw
2 1 0:51 / /proc rw - proc proc rw
3 2 0:51 /sys /proc/sys ro - proc proc rw
4 1 0:50 /a /b rw - overlay overlay rw
5 1 0:52 / /fuse rw - fuse.sshfs x rw
6 1 8:1 /home/x /home rw - ext4 /dev/sda1 rw
7 1 0:53 /ct /sys/fs/cgroup rw - cgroup2 cgroup rw
8 1 8:2 / /data rw - ext4 /dev/sda2 rw
";
        let lines: Vec<Line> = mountinfo::lines(text.as_bytes()).collect();
        let found: Vec<u64> = lines
            .iter()
            .filter(|line| judge(line, &lines).is_some())
            .map(|line| line.id)
            .collect();
        assert_eq!(found, [5, 6, 8]);
    }
}
