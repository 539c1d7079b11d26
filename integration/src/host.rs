//! What there is on the host: to see that nothing is left behind.

use crate::Kind;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The processes, mounts and cgroups of the whole machine, to compare before and after. Only for
/// tests that have the machine to themselves; for others [`crate::Bundle::leftovers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
}

impl Snapshot {
    /// What there is now.
    pub fn take() -> Snapshot {
        let processes = pids().filter_map(|pid| Some(format!("{pid} {}", alive(pid)?)));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut cgroups = BTreeSet::new();
        walk_dirs(Path::new("/sys/fs/cgroup"), 8, &mut |dir| {
            cgroups.insert(dir.to_path_buf());
        });
        Snapshot {
            processes: processes.collect(),
            mounts: mounts.lines().map(str::to_string).collect(),
            cgroups,
        }
    }

    /// What is there in `later` that was not there in `self`, one line each.
    pub fn added_in(&self, later: &Snapshot) -> Vec<String> {
        let processes = later
            .processes
            .difference(&self.processes)
            .map(|p| format!("process {p}"));
        let mounts = later
            .mounts
            .difference(&self.mounts)
            .map(|m| format!("mount {m}"));
        let cgroups = later.cgroups.difference(&self.cgroups);
        let cgroups = cgroups.map(|c| format!("cgroup {}", c.display()));
        processes.chain(mounts).chain(cgroups).collect()
    }
}

/// The cgroup directories of this name, wherever they are in the hierarchy; for systemd's scopes
/// also `*-NAME.scope`.
pub fn cgroup_dirs_named(name: &str) -> Vec<PathBuf> {
    let scope = format!("-{name}.scope");
    let mut found = Vec::new();
    walk_dirs(Path::new("/sys/fs/cgroup"), 5, &mut |dir| {
        let dir_name = dir.file_name().unwrap_or_default().to_string_lossy();
        if dir_name == name || dir_name.ends_with(&scope) {
            found.push(dir.to_path_buf());
        }
    });
    found
}

/// The cgroup directories of this name that a runtime left behind. The originals give up on one that
/// the kernel calls busy for a moment after its last process has gone; that is done for them.
pub(crate) fn cgroups_left(name: &str, runtime: Kind) -> Vec<PathBuf> {
    let mut dirs = cgroup_dirs_named(name);
    if runtime != Kind::Vzrun {
        let used = |dir: &Path| {
            fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|procs| !procs.is_empty())
        };
        dirs.retain(|dir| used(dir) || fs::remove_dir(dir).is_err());
    }
    dirs
}

/// The mount points at or below a directory, deepest last.
pub fn mounts_under(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .map(PathBuf::from)
        .filter(|point| point.starts_with(dir))
        .collect()
}

/// The living processes that have to do with a directory: their root, working directory or command
/// line names it, or their cgroup has the last part of its name. As `pid command`.
pub fn processes_of(dir: &Path) -> Vec<String> {
    let name = dir
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let text = dir.to_string_lossy().into_owned();
    let concerns = |pid: i32| {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let inside = |link: &str| fs::read_link(proc.join(link)).is_ok_and(|t| t.starts_with(dir));
        let names = |file: &str, what: &str| {
            fs::read(proc.join(file)).is_ok_and(|b| String::from_utf8_lossy(&b).contains(what))
        };
        inside("root") || inside("cwd") || names("cmdline", &text) || names("cgroup", &name)
    };
    pids()
        .filter(|pid| *pid != std::process::id() as i32 && concerns(*pid))
        .filter_map(|pid| Some(format!("{pid} {}", alive(pid)?)))
        .collect()
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The command of a process, unless it is gone or a zombie (which is its parent's business).
fn alive(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(") ")?;
    if tail.starts_with(['Z', 'X']) {
        return None;
    }
    Some(head.split_once('(')?.1.to_string())
}

/// The directories below one, at any depth a cgroup has in a test.
pub(crate) fn dirs_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk_dirs(dir, 8, &mut |dir| found.push(dir.to_path_buf()));
    found
}

fn walk_dirs(dir: &Path, depth: u32, visit: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path());
            if depth > 1 {
                walk_dirs(&entry.path(), depth - 1, visit);
            }
        }
    }
}

/// All paths below a directory.
pub fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// The ranges of ids that are leased to containers whose state is below `root`.
pub(crate) fn leases_of(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/run/vzrun-ids") else {
        return Vec::new();
    };
    let of_root = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|container| container.starts_with(root))
    };
    let names = entries.flatten().filter(of_root);
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}
