//! The descriptors of a process.

use super::process::Process;
use super::sockets::Sockets;
use super::{Allowed, Finding, Surroundings, huge, is_gone};
use crate::checkpoint::streams;
use crate::error::Result;
use crate::sys::fs::{self, FileType, OFlags, Stat};

/// The major numbers of memory devices (null, zero, full, random), and of what CRIU knows beside them: terminals, tun.
pub(super) const MEMORY: u32 = 1;
const TUN: (u32, u32) = (10, 200);

pub(super) const DEVICE: &str =
    "CRIU saves no device but null, zero, full, random, tty and tun: close it first";
const OUTSIDE: &str = "have the program open it inside of the container";
const MIGRATABLE: &str =
    "have the program not use it, or run the container with io.vzrun.migratable=true";

/// Its version 256 and later remembers the numbers of pidfds. CRIU saves them, so it does not refuse it.
const MANAGER: &str = "systemd";
/// PID_FS_MAGIC of linux/magic.h.
const PID_FS_MAGIC: i64 = 0x5049_4446;

/// Files without a name that CRIU knows.
const KNOWN: [&str; 8] = [
    "[eventfd]",
    "[eventpoll]",
    "[signalfd]",
    "[timerfd]",
    "[pidfd]",
    "inotify",
    "[fanotify]",
    "bpf-map",
];

pub(super) fn look(
    process: &Process,
    around: &Surroundings<'_>,
    sockets: &Sockets,
) -> Result<Vec<Finding>> {
    let pid = process.pid;
    let mut found = Vec::new();
    let mut manages = process.name == MANAGER;
    for number in around.procfs.names(&format!("{pid}/fd"))? {
        if manages && is_numbered_pidfd(pid, &number, around) {
            let reason = "knows its services by pidfds, which have other numbers after a restore: it would not notice their end";
            let remedy = "run the container with io.vzrun.migratable=true";
            found.push((reason.into(), remedy));
            manages = false;
        }
        match of_descriptor(pid, &number, around, sockets) {
            Ok(findings) => found.extend(findings),
            // Closed since.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn of_descriptor(
    pid: i32,
    number: &str,
    around: &Surroundings<'_>,
    sockets: &Sockets,
) -> Result<Vec<Finding>> {
    let link = format!("{pid}/fd/{number}");
    let target = around.procfs.link(&link)?;
    if let Some(name) = target.strip_prefix("anon_inode:") {
        return Ok(anonymous(name).into_iter().collect());
    }
    if let Some(inode) = number_in(&target, "socket:[") {
        return sockets.look(pid, number, inode, around);
    }
    if !target.starts_with('/') {
        let lost = is_namespace(&target) && !around.namespaces.contains(&target);
        let finding = || {
            let reason = format!("has a namespace of the outside open: {target}");
            (reason, OUTSIDE)
        };
        return Ok(lost.then(finding).into_iter().collect());
    }
    let mut found = Vec::new();
    let info = around.procfs.read(&format!("{pid}/fdinfo/{number}"))?;
    if !around.allowed.file_locks && info.lines().any(|line| line.starts_with("lock:")) {
        found.push((
            format!("holds a lock on {target}"),
            "--file-locks saves file locks",
        ));
    }
    if target.starts_with("/memfd:") {
        return Ok(found);
    }
    let stat = around.procfs.stat_behind(&link)?;
    let huge = match fs::file_type(&stat) {
        FileType::RegularFile => huge::file(&link, &target, around.procfs)?,
        _ => None,
    };
    match huge {
        Some(finding) => found.push(finding),
        None => found.extend(by_kind(&target, &stat, &info, around)),
    }
    Ok(found)
}

/// A pidfd with an inode of its own (Linux 6.9).
fn is_numbered_pidfd(pid: i32, number: &str, around: &Surroundings<'_>) -> bool {
    let link = format!("{pid}/fd/{number}");
    let file = || fs::openat(around.procfs, &link, OFlags::PATH, 0).and_then(fs::file_system);
    around
        .procfs
        .link(&link)
        .is_ok_and(|target| target == "anon_inode:[pidfd]")
        && file().is_ok_and(|kind| kind == PID_FS_MAGIC)
}

/// A file that has a path.
fn by_kind(target: &str, stat: &Stat, info: &str, around: &Surroundings<'_>) -> Option<Finding> {
    if target.starts_with("/secretmem") {
        return Some(secret());
    }
    let mount = streams::mount_of(info);
    let outside = mount.filter(|id| !around.mounts.contains(id));
    let stream = |id| around.streams.contains(&streams::outside_name(id, stat));
    match fs::file_type(stat) {
        FileType::BlockDevice => Some((format!("has the device {target} open"), DEVICE)),
        FileType::CharacterDevice => {
            let device = fs::rdev(stat);
            let terminal = streams::is_terminal(device.0);
            if terminal && outside.is_some_and(|id| !stream(id)) && !around.allowed.shell_job {
                let reason = format!("has a terminal of the outside open: {target}");
                return Some((reason, "--shell-job allows a terminal of the outside"));
            }
            let known = terminal || device.0 == MEMORY || device == TUN;
            (!known).then(|| (format!("has the device {target} open"), DEVICE))
        }
        _ if outside.is_some_and(|id| !stream(id)) => {
            let reason = format!("has a file on a mount outside of the container open: {target}");
            Some((reason, OUTSIDE))
        }
        FileType::RegularFile if target.ends_with(" (deleted)") => {
            ghost(target, stat, around.allowed)
        }
        _ => None,
    }
}

/// A file that is used and has been deleted.
pub(super) fn ghost(path: &str, stat: &Stat, allowed: &Allowed) -> Option<Finding> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if stat.st_nlink > 0 {
        let reason = format!("uses a file that has lost this name and has another: {path}");
        return (!allowed.link_remap)
            .then_some((reason, "--link-remap saves files that are open and deleted"));
    }
    (size > allowed.ghost_limit).then(|| {
        let reason = format!("uses a deleted file of {size} bytes: {path}");
        let remedy = "restart the program, or set ghost-limit in /etc/criu/vzrun.conf";
        (reason, remedy)
    })
}

/// Kinds of files that have no path, by the kernel's name.
pub(super) fn anonymous(name: &str) -> Option<Finding> {
    if KNOWN.contains(&name) {
        return None;
    }
    let remedy = match name {
        "[io_uring]" | "[userfaultfd]" => MIGRATABLE,
        _ => "close it first",
    };
    Some((format!("uses {}", name.trim_matches(['[', ']'])), remedy))
}

/// memfd_secret(2).
pub(super) fn secret() -> Finding {
    (
        "has memory that nobody else can read (memfd_secret)".into(),
        "have the program not use it",
    )
}

/// `net:[4026531840]`, but for pipes.
fn is_namespace(target: &str) -> bool {
    target.ends_with(']') && !target.starts_with("pipe:[") && target.contains(":[")
}

fn number_in(target: &str, begin: &str) -> Option<u32> {
    target.strip_prefix(begin)?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_files() {
        for known in ["[eventfd]", "inotify", "[pidfd]"] {
            assert_eq!(anonymous(known), None);
        }
        let (reason, remedy) = anonymous("[io_uring]").unwrap();
        assert_eq!(reason, "uses io_uring");
        assert!(remedy.contains("io.vzrun.migratable"));
        assert_eq!(
            anonymous("seccomp notify").unwrap().0,
            "uses seccomp notify"
        );
    }

    #[test]
    fn what_links_say() {
        assert!(is_namespace("net:[1]") && !is_namespace("pipe:[1]") && !is_namespace("/a:[1]x"));
        assert_eq!(number_in("socket:[12]", "socket:["), Some(12));
        assert_eq!(number_in("socket:[x]", "socket:["), None);
    }
}
