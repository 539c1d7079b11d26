//! Watches of pressure stall information (Documentation/accounting/psi.rst), which CRIU does not restore.
//!
//! A program opens such a file, writes from which pressure on it wants to hear of it, and polls. CRIU opens the file again and writes
//! nothing, and poll(2) of a file without such a line says at once that there is an error, for ever: systemd and its services would
//! do nothing else. What was written nobody tells. So each gets the line that systemd writes.

use rustix::io::Errno;
use rustix::process::Pid;

use super::preflight::below;
use crate::error::Result;
use crate::sys::fs;
use crate::sys::pidfd;
use crate::sys::procfs::Procfs;

/// 200 ms of 2 s.
const LINE: &[u8] = b"some 200000 2000000";

/// Gives each of these files that processes have open for writing its line, while they stand still after a restore.
pub(crate) fn watch_again(init: i32, procfs: &Procfs) -> Result<()> {
    for pid in below(init, procfs) {
        let numbers = procfs.names(&format!("{pid}/fd"))?;
        let watches = numbers
            .into_iter()
            .filter(|number| is_watch(pid, number, procfs));
        let mut watches = watches.peekable();
        let Some(process) = Pid::from_raw(pid).filter(|_| watches.peek().is_some()) else {
            continue;
        };
        let process = pidfd::pidfd_open(process)?;
        for number in watches.filter_map(|number| number.parse().ok()) {
            let written =
                pidfd::getfd(&process, number).and_then(|file| fs::write_once(file, LINE));
            // EBUSY: it has one, by another descriptor of the same file.
            if let Err(error) = written
                && error.errno() != Some(Errno::BUSY)
            {
                crate::log::warn(format_args!(
                    "process {pid} watches pressure, and may be kept busy by that: {error}"
                ));
            }
        }
    }
    Ok(())
}

fn is_watch(pid: i32, number: &str, procfs: &Procfs) -> bool {
    const WRITABLE: u32 = 0o200;
    let link = format!("{pid}/fd/{number}");
    procfs.link(&link).is_ok_and(|path| is_of_pressure(&path))
        && fs::lstatat(procfs, &link).is_ok_and(|own| own.st_mode & WRITABLE != 0)
}

fn is_of_pressure(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let kinds = ["cpu", "io", "irq", "memory"];
    let in_cgroup = name
        .strip_suffix(".pressure")
        .is_some_and(|kind| kinds.contains(&kind));
    let in_proc = path
        .strip_prefix("/proc/pressure/")
        .is_some_and(|kind| kinds.contains(&kind));
    (in_cgroup && path.starts_with("/sys/fs/cgroup/")) || in_proc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_pressure() {
        for path in [
            "/sys/fs/cgroup/system.slice/a.service/memory.pressure",
            "/sys/fs/cgroup/cpu.pressure",
            "/proc/pressure/io",
        ] {
            assert!(is_of_pressure(path), "{path}");
        }
        for path in [
            "/tmp/memory.pressure",
            "/sys/fs/cgroup/x.pressure",
            "/proc/pressure/x",
            "",
        ] {
            assert!(!is_of_pressure(path), "{path}");
        }
    }
}
