//! Why CRIU has failed, by its log: the error that came first, the process that it was at, and what helps.

use std::os::fd::OwnedFd;

use super::{moment, preflight};
use crate::error::Error;
use crate::sys::fs;

/// More than CRIU writes for a container with thousands of processes.
const LONGEST_LOG: u64 = 256 << 20;

/// What CRIU says, and what to do about it.
const REMEDIES: [(&str, &str); 20] = [
    (
        "Can't get 1:16 opt",
        "sockets on Linux 6.16 and later need CRIU 4.2 or later",
    ),
    (
        "Connected TCP socket",
        "--tcp-established saves connections, --tcp-skip-in-flight leaves out half-open ones",
    ),
    (
        "In-flight connection",
        "--tcp-skip-in-flight leaves half-open connections out",
    ),
    (
        "external socket",
        "--ext-unix-sk allows connections to sockets outside",
    ),
    (
        "file locks are hold by dumping tasks",
        "--file-locks saves file locks",
    ),
    ("a TTY", "--shell-job allows a terminal of the outside"),
    (
        "has sid outside of its pid namespace",
        "--shell-job allows a session that is led from outside",
    ),
    (
        "session leader",
        "--shell-job allows a session that is led from outside",
    ),
    (
        "Use link-remap option",
        "--link-remap saves files that are open and deleted",
    ),
    (
        "Can't find suitable path for handle",
        "a file that is watched by inotify has no path any more, or is on an overlay: restart the watcher, or set force-irmap and irmap-scan-path in /etc/criu/vzrun.conf",
    ),
    (
        "Can't lookup mount=",
        "an open file is on a mount outside of the container",
    ),
    (
        "nested",
        "a service has namespaces of its own: switch its PrivateUsers=, PrivateIPC=, PrivatePIDs= and the like off",
    ),
    (
        "io_uring",
        "CRIU cannot save io_uring: have the program not use it",
    ),
    (
        "Can't open /dev/userfaultfd",
        "the kernel has no userfaultfd",
    ),
    (
        "Tracking memory is not available",
        "the kernel lacks CONFIG_MEM_SOFT_DIRTY: no --pre-dump and no --parent-path",
    ),
    (
        "Ghost file",
        "a deleted file that is still open is larger than ghost-limit: set that in /etc/criu/vzrun.conf",
    ),
    (
        "No mapping for",
        "the config that is restored has another list of mounts than the one at the checkpoint",
    ),
    ("/net: Operation not permitted", preflight::NETWORK_REMEDY),
    (
        ".img: Permission denied",
        "the root of the container's user namespace must be able to read the images: make them readable for their group, root, on a filesystem that has id-mapped mounts",
    ),
    (
        "No space left on device",
        "the directory of the images is full",
    ),
];

/// What CRIU stumbles over that is gone a moment later.
const PASSING: [&str; 1] = [
    // A service that tells its manager how it is has just done so.
    "Control messages in queue",
];

/// Whether it may well succeed if it is asked again.
pub(crate) fn passes(error: &Error) -> bool {
    let text = error.to_string();
    PASSING.iter().any(|words| text.contains(words)) || moment::is_passing(&text)
}

/// The text to add to an error, if the log says anything.
pub(crate) fn find(log: OwnedFd) -> Option<String> {
    let bytes = fs::read_to_end(log, LONGEST_LOG).ok()?;
    in_log(&String::from_utf8_lossy(&bytes))
}

pub(super) fn in_log(log: &str) -> Option<String> {
    let mut process = None;
    let mut first: Option<(Option<(&str, &str)>, &str)> = None;
    let mut remedy = None;
    for line in log.lines() {
        if let Some(found) = dumped(line) {
            process = Some(found);
        }
        let Some(text) = error_of(line) else { continue };
        if is_beside_the_point(text) {
            continue;
        }
        first = first.or(Some((process, text)));
        remedy = remedy.or_else(|| {
            let known = REMEDIES.iter().find(|(words, _)| text.contains(words));
            known.map(|(_, remedy)| *remedy)
        });
    }
    let (process, text) = first?;
    let mut reason = match process {
        Some((pid, name)) => format!("process {pid} ({name}): {text}"),
        None => text.to_owned(),
    };
    if let Some(remedy) = remedy {
        reason += &format!(" ({remedy})");
    }
    Some(reason)
}

/// What CRIU reports as an error and gets over.
fn is_beside_the_point(text: &str) -> bool {
    text.contains("Can't setup RLIMIT_NOFILE for self")
}

/// The text of an error: `(00.0123) Error (criu/files.c:12): text`, with the pid of the process that says it in between
/// at a restore.
fn error_of(line: &str) -> Option<&str> {
    let rest = line.strip_prefix('(')?;
    let (_, rest) = rest.split_once(") ")?;
    let rest = rest.trim_start();
    let rest = match rest.split_once(": ") {
        Some((pid, rest)) if pid.bytes().all(|b| b.is_ascii_digit()) && !pid.is_empty() => {
            rest.trim_start()
        }
        _ => rest,
    };
    let rest = rest.strip_prefix("Error (")?;
    rest.split_once("): ").map(|(_, text)| text.trim())
}

/// The pid and the name of the process that is being dumped from here on: `Dumping task (pid: 7 comm: sh)`.
fn dumped(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("Dumping task (pid: ")?;
    let (pid, rest) = rest.split_once(" comm: ")?;
    Some((pid, rest.strip_suffix(')')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_and_its_process() {
        let log = "\
(00.028858) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.030000) Dumping task (pid: 142 comm: (sd-pam))
(00.036334) Error (criu/files-reg.c:1790): Can't lookup mount=117 for fd=1 path=/tmp/c/out1
(00.036339) Error (criu/cr-dump.c:1681): Dump files (pid: 142) failed with -1
(00.097227) Error (criu/cr-dump.c:2111): Dumping FAILED.
";
        assert_eq!(
            in_log(log).unwrap(),
            "process 142 ((sd-pam)): Can't lookup mount=117 for fd=1 path=/tmp/c/out1 \
             (an open file is on a mount outside of the container)"
        );
    }

    #[test]
    fn a_restore_names_the_process_itself() {
        let log = "(00.01) mnt: x\n(00.02)      1: Error (criu/mount.c:9): mnt: No mapping for 3:/a mountpoint\n";
        let reason = in_log(log).unwrap();
        assert!(
            reason.starts_with("mnt: No mapping for 3:/a mountpoint (the config"),
            "{reason}"
        );
    }

    #[test]
    fn no_error_no_reason() {
        assert_eq!(
            in_log("(00.01) all is well\nError without a form\n\u{fffd}"),
            None
        );
        assert_eq!(in_log(""), None);
    }
}
