//! Moments at which images would be made that CRIU cannot restore.
//!
//! A service manager holds its helper program open with O_PATH and executes it by that descriptor. CRIU takes the two for one file,
//! opens it once, with O_PATH, and then cannot make it the program of the process (seen with CRIU 4.1 and systemd 257). The helper
//! soon becomes the service, so a later moment will do.

use std::collections::HashMap;

use super::preflight::below;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::fs;
use crate::sys::procfs::Procfs;

/// What a process is in the midst of.
const STARTING: &str = "is just being started";

/// Looks at processes that stand still.
///
/// # Errors
/// One is in the midst of something: they must go on for a while.
pub(crate) fn check(init: i32, procfs: &Procfs) -> Result<()> {
    let tree = below(init, procfs);
    let mut programs = HashMap::new();
    for pid in &tree {
        // A zombie has no program any more.
        if let Ok(stat) = procfs.stat_behind(&format!("{pid}/exe")) {
            programs.insert((stat.st_dev, stat.st_ino), *pid);
        }
    }
    for pid in &tree {
        for number in procfs.names(&format!("{pid}/fd")).unwrap_or_default() {
            let link = format!("{pid}/fd/{number}");
            // The link's permissions are what the descriptor is open for.
            let Ok(own) = fs::lstatat(procfs, &link) else {
                continue;
            };
            if own.st_mode & 0o600 != 0 {
                continue;
            }
            let Ok(stat) = procfs.stat_behind(&link) else {
                continue;
            };
            if let Some(program) = programs.get(&(stat.st_dev, stat.st_ino)) {
                let text = format!(
                    "process {program} {STARTING}: it runs a program that process {pid} has open for executing alone (O_PATH), which CRIU cannot restore"
                );
                return Err(Error::new(ErrorKind::InvalidState, text));
            }
        }
    }
    Ok(())
}

/// Whether this is such an error.
pub(super) fn is_passing(text: &str) -> bool {
    text.contains(STARTING)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    #[test]
    fn a_program_that_is_open_for_executing_alone() {
        let procfs = Procfs::open().unwrap();
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let _held = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open("/proc/self/exe")
            .unwrap();
        let error = check(own, &procfs).unwrap_err().to_string();
        assert!(is_passing(&error), "{error}");
    }
}
