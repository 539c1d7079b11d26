//! What CRIU will refuse, found before anything is stopped: by looking at the processes through /proc.
//!
//! [`look`] goes from the outside in: [`mounts`] and [`network`], then for each process what [`process`] sees of it as a whole, its
//! descriptors ([`files`], [`sockets`]) and its memory ([`mappings`]). All they do is read; a process that ends meanwhile
//! has no obstacles.

mod allowed;
mod files;
mod huge;
mod mappings;
mod mounts;
mod network;
mod process;
mod sockets;

use std::collections::{BTreeSet, HashSet};
use std::fmt;

pub(crate) use allowed::{Allowed, GHOST_LIMIT};
pub(crate) use huge::check as check_huge;
pub(in crate::checkpoint) use network::REMEDY as NETWORK_REMEDY;
pub(in crate::checkpoint) use process::below;

use super::external::Table;
use super::streams;
use crate::error::{Error, Result};
use crate::spec::Spec;
use crate::sys::fs;
use crate::sys::procfs::Procfs;
use process::Process;

/// Something that CRIU does not save.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Obstacle {
    /// The process, by its pid for the caller; `None` for what belongs to the whole container.
    pub pid: Option<i32>,
    /// What the process calls itself.
    pub name: String,
    /// The unit of the container's service manager that it belongs to, by its cgroup.
    pub unit: Option<String>,
    /// What it is about it.
    pub reason: String,
    /// What helps.
    pub remedy: &'static str,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pid) = self.pid {
            // A name may hold anything.
            write!(f, "process {pid} ({}", self.name.escape_debug())?;
            match &self.unit {
                Some(unit) => write!(f, ", {}): ", unit.escape_debug())?,
                None => write!(f, "): ")?,
            }
        }
        write!(f, "{} ({})", self.reason.escape_debug(), self.remedy)
    }
}

/// What is looked at.
pub(crate) struct Subject<'a> {
    pub(crate) spec: &'a Spec,
    /// The first process of the container.
    pub(crate) init: i32,
    /// All that are in its cgroup; empty where it has none.
    pub(crate) members: Vec<i32>,
    /// Where that cgroup is, as /proc/PID/cgroup has it.
    pub(crate) cgroup: String,
    pub(crate) procfs: &'a Procfs,
}

/// What all of the container's processes have in common.
struct Surroundings<'a> {
    procfs: &'a Procfs,
    allowed: &'a Allowed,
    /// The processes below init, and init.
    tree: BTreeSet<i32>,
    /// All their namespaces, as links name them.
    namespaces: HashSet<String>,
    /// The ids of all their mounts.
    mounts: HashSet<u64>,
    /// The streams of init that become those of the caller of a restore, by their names.
    streams: Vec<String>,
}

/// All that is in the way of a dump.
///
/// # Errors
/// The container has ended, or nobody is allowed to look into it.
pub(crate) fn look(subject: &Subject<'_>, allowed: &Allowed) -> Result<Vec<Obstacle>> {
    let procfs = subject.procfs;
    let tree = process::below(subject.init, procfs);
    let mut around = Surroundings {
        procfs,
        allowed,
        namespaces: HashSet::new(),
        mounts: HashSet::new(),
        streams: streams::of(subject.init, procfs)?.1,
        tree,
    };
    for pid in &around.tree {
        around.namespaces.extend(process::namespaces(*pid, procfs));
        // The same for all, but for services with mounts of their own.
        if let Ok(table) = Table::of(*pid, procfs) {
            around.mounts.extend(table.ids());
        }
    }
    let findings = mounts::look(subject)?;
    let findings = findings
        .into_iter()
        .chain(network::look(subject.init, procfs)?);
    let mut found: Vec<Obstacle> = findings.map(of_the_container).collect();
    let sockets = sockets::Sockets::of(&around)?;
    let mut all: BTreeSet<i32> = around.tree.clone();
    all.extend(&subject.members);
    for pid in all {
        match of_process(pid, subject, &around, &sockets) {
            Ok(obstacles) => found.extend(obstacles),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error.wrap(format!("looking at process {pid}"))),
        }
    }
    Ok(found)
}

fn of_the_container((reason, remedy): Finding) -> Obstacle {
    Obstacle {
        pid: None,
        name: String::new(),
        unit: None,
        reason,
        remedy,
    }
}

fn of_process(
    pid: i32,
    subject: &Subject<'_>,
    around: &Surroundings<'_>,
    sockets: &sockets::Sockets,
) -> Result<Vec<Obstacle>> {
    let process = Process::look(pid, &subject.cgroup, around.procfs)?;
    // CRIU saves no more of one that has ended than that it has.
    if process.is_dead() {
        return Ok(Vec::new());
    }
    let mut found = process.look_at_itself(subject, around)?;
    // Those outside of the tree are not dumped, so what they have does not matter.
    if around.tree.contains(&pid) {
        found.extend(files::look(&process, around, sockets)?);
        found.extend(mappings::look(&process, around)?);
    }
    found.dedup();
    let obstacles = found.into_iter().map(|(reason, remedy)| Obstacle {
        pid: Some(pid),
        name: process.name.clone(),
        unit: process.unit.clone(),
        reason,
        remedy,
    });
    Ok(obstacles.collect())
}

/// What is wrong, and what helps.
type Finding = (String, &'static str);

/// It has ended since it was found.
fn is_gone(error: &Error) -> bool {
    fs::is_missing(error) || error.errno() == Some(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_whatever_the_process_is_called() {
        let mut obstacle = Obstacle {
            pid: Some(7),
            name: "a\nb".into(),
            unit: Some("cron.service".into()),
            reason: "has a lock".into(),
            remedy: "--file-locks saves file locks",
        };
        let text = "process 7 (a\\nb, cron.service): has a lock (--file-locks saves file locks)";
        assert_eq!(obstacle.to_string(), text);
        obstacle.unit = None;
        assert!(obstacle.to_string().starts_with("process 7 (a\\nb): "));
        obstacle.pid = None;
        assert!(obstacle.to_string().starts_with("has a lock ("));
    }
}
